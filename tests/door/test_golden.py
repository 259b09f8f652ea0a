"""What clients see, byte for byte: `pytest tests/door/test_golden.py --update-golden` writes the transcripts anew."""

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.documents import Document

from harness import BASE, OFF_TOPIC, ON_TOPIC, PLACE, Call, Open, Running, gated, script
from mulgil.engines.scripted import Answer, Fault
from mulgil.retrieval.base import Entry

GOLDEN = Path(__file__).parent / "golden"
TURN = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
ENTRIES = (
    ("zero-waste-101", "카페에서 텀블러로 음료 받기", 0.91234),
    ("zero-waste-102", "리필 가게에서 세제 채우기", 0.9),
    ("zero-waste-103", "장바구니 들고 시장 가기", 0.5),
)
GIVES_UP = script(Answer(text="아니요"), Answer(text="아니요"))
HALF = script(gated(8))


def found() -> list[Document]:
    """What retrieval finds here: the bytes must depend on the wire alone."""
    entries = [(Entry(id_, title, f"{title}. 쉬워요.", "ZERO_WASTE"), score) for id_, title, score in ENTRIES]
    return [
        Document(page_content=entry.description, id=entry.id, metadata={"entry": entry, "score": score})
        for entry, score in entries
    ]


@pytest.fixture
def canned(opened: Open) -> Open:
    def open_(*play: object, **given: object) -> Running:
        running = opened(*play, **given)
        running.retriever.can(found())
        return running

    return open_


def free_text(opened: Open) -> Call:
    return opened().get("free-text", message=ON_TOPIC, sessionId="세션 1", turnId=TURN)


def base_info(opened: Open) -> Call:
    return opened().get("base-info", **PLACE, turnId=TURN)


def off_topic(opened: Open) -> Call:
    return opened().get("free-text", message=OFF_TOPIC, turnId=TURN)


def engine_failure(opened: Open) -> Call:
    return opened(script(Answer(fault=Fault(kind="status", status=400)))).get(
        "free-text", message=ON_TOPIC, turnId=TURN
    )


def engine_failure_in_the_middle(opened: Open) -> Call:
    broken = Answer(text='{"recommend": "오늘부터 해 봐요.", "d1": "컵을 들', chunk=8)
    other = Answer(text='{"d1": "병을 들고 가요."}')
    return opened(script(broken, other)).get("free-text", message=ON_TOPIC, turnId=TURN)


def input_error(opened: Open) -> Call:
    return opened().get("base-info", location="산", workType="현장직", category="수영")


def input_error_without_accept(opened: Open) -> Call:
    return opened().plain("base-info", location="산", workType="현장직", category="수영")


def busy(opened: Open) -> Call:
    running = opened(HALF, slots=1, queue_limit=0)
    running.get("free-text", message=ON_TOPIC)
    running.arrived()
    return running.get("free-text", message=ON_TOPIC, turnId=TURN)


def busy_post(opened: Open) -> Call:
    running = opened(HALF, slots=1, queue_limit=0)
    running.get("free-text", message=ON_TOPIC)
    running.arrived()
    return running.post("free-text", message=ON_TOPIC)


def unknown_turn(opened: Open) -> Call:
    return opened().resume("free-text", f"{TURN}:3", message=ON_TOPIC)


def refused_and_back(opened: Open) -> Call:
    return opened().resume("free-text", "refused:2", message="")


def closed_and_back(opened: Open) -> Call:
    running = opened()
    last = running.get("free-text", message=ON_TOPIC, turnId=TURN).events()[-1]
    return running.resume("free-text", last.id, message=ON_TOPIC, turnId=TURN)


def stopped(opened: Open) -> Call:
    running = opened(HALF)
    call = running.get("free-text", message=ON_TOPIC, turnId=TURN)
    call.until("challenge", 5)
    assert running.delete(TURN).status == 204
    return running.get("free-text", message=ON_TOPIC, turnId=TURN) if call.until("close") else call


def superseded(opened: Open) -> Call:
    running = opened(HALF)
    first = running.get("free-text", message=ON_TOPIC, sessionId="s", turnId=TURN)
    first.until("challenge", 5)
    running.get("free-text", message=ON_TOPIC, sessionId="s", turnId=OTHER)
    first.until("close")
    return running.get("free-text", message=ON_TOPIC, sessionId="s", turnId=TURN)


def deleted(opened: Open) -> Call:
    return opened().delete(TURN)


def unknown_path(opened: Open) -> Call:
    return opened().request("GET", f"{BASE}/nothing", {"accept": "text/event-stream"})


def unknown_path_without_accept(opened: Open) -> Call:
    return opened().request("GET", f"{BASE}/nothing")


def wrong_method(opened: Open) -> Call:
    return opened().request("PUT", f"{BASE}/free-text")


def head(opened: Open) -> Call:
    return opened().request("HEAD", f"{BASE}/free-text?message=x")


def prefetch(opened: Open) -> Call:
    return opened().get("free-text", {"sec-purpose": "prefetch"}, message=ON_TOPIC)


def post_free_text(opened: Open) -> Call:
    return opened().post("free-text", message=ON_TOPIC, sessionId="세션 1")


def post_base_info(opened: Open) -> Call:
    return opened().post("base-info", **PLACE)


def post_off_topic(opened: Open) -> Call:
    return opened().post("free-text", message=OFF_TOPIC)


def post_input_error(opened: Open) -> Call:
    return opened().post("free-text", message="짧다")


def post_unknown_choice(opened: Open) -> Call:
    return opened().post("base-info", **PLACE | {"category": "수영"})


def post_engine_failure(opened: Open) -> Call:
    return opened(GIVES_UP).post("free-text", message=ON_TOPIC)


def post_wrong_type(opened: Open) -> Call:
    return opened().request("POST", f"{BASE}/free-text", {"content-type": "text/plain"}, b"{}")


CASES = [
    *(free_text, base_info, off_topic, engine_failure, engine_failure_in_the_middle),
    *(input_error, input_error_without_accept, busy, busy_post, unknown_turn, refused_and_back, closed_and_back),
    *(stopped, superseded, deleted, unknown_path, unknown_path_without_accept, wrong_method, head, prefetch),
    *(post_free_text, post_base_info, post_off_topic, post_input_error, post_unknown_choice),
    *(post_engine_failure, post_wrong_type),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_client_sees_these_bytes(case: Callable[[Open], Call], canned: Open, request: pytest.FixtureRequest) -> None:
    told = case(canned).transcript()
    file = GOLDEN / f"{case.__name__}.txt"
    if request.config.getoption("--update-golden"):
        file.write_bytes(told)
    assert told.decode() == file.read_text(encoding="utf-8")


def test_every_transcript_is_checked() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {case.__name__ for case in CASES}
