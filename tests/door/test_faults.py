"""Whatever the engine does wrong becomes the contract's error, for GET and POST alike (contract.md, errors)."""

import json
import time
from typing import Any

import pytest
from langchain_core.documents import Document

from harness import FIELDS, ON_TOPIC, TEXT, Open, Running, answer, gated, pieces, rendered, script
from mulgil.engines.scripted import Answer, Fault, Script

FREE = "free-text"
ASK = {"message": ON_TOPIC}
FAILED = "AI 서버로부터 추천 결과를 받아오는 데 실패했습니다."
LEAK = "Traceback at /srv/models/secret.gguf http://10.0.0.7:8000"
MIDDLE = TEXT.index('"d1"') // 4


def fault(kind: str, at: int = 0, **more: Any) -> Script:
    return script(*[answer(fault=Fault(kind=kind, at=at, **more))] * 2)


def says(text: str, chunk: int = 4) -> Script:
    return script(*[Answer(text=text, chunk=chunk)] * 2)


def wrong(**fields: str | None) -> Script:
    """An answer with these fields changed, or left out."""
    told = {key: text for key, text in (FIELDS | fields).items() if text is not None}
    return says(json.dumps(told, ensure_ascii=False))


FAULTS = {
    **{f"status {status}": fault("status", status=status, body=LEAK) for status in (400, 401, 404, 429, 500, 503)},
    "status 302": fault("status", status=302, body=LEAK),
    "hangup": fault("hangup"),
    **{
        f"{kind} at {at}": fault(kind, at)
        for kind in ("close", "reset", "garbage", "broken_json", "error")
        for at in (0, 1, MIDDLE)
        if kind != "garbage"
    },
    "nothing": says(""),
    "no JSON": says(LEAK),
    "an array": says("[1, 2, 3]"),
    "cut off": says(TEXT[:60]),
    "cut off by the token limit": script(*[Answer(text=TEXT[:60], finish="length")] * 2),
    "a value that is no string": says(TEXT.replace('"d2": "', '"d2": 5, "x": "')),
    "an object inside": says('{"recommend": {"text": "추천해요."}}'),
    "a field missing": wrong(d3=None),
    "a field empty": wrong(d2=""),
    "a field of white space": wrong(d2=" \n\t "),
    "a description too long": wrong(d1="긴" * 256),
    "a key twice": says(TEXT.replace('"d2"', '"d1"')),
    "an escape that is none": says(TEXT.replace("커피", "\\q")),
    "white space without end": says('{"recommend": "추천해요.",' + "\t" * 3000, chunk=100),
}


TITLES = {"recommend": "추천해요."} | {f"{key}{n}": f"글 {key}{n}" for n in (1, 2, 3) for key in "td"}


@pytest.mark.parametrize(("length", "status"), [(100, 200), (101, 502)])
def test_a_title_is_at_most_100_characters_long(opened: Open, length: int, status: int) -> None:
    play = says(json.dumps(TITLES | {"t2": "긴" * length}, ensure_ascii=False))
    assert opened(play, grounding="generate").post(FREE, **ASK).status == status


def test_three_titles_are_three_different_ones(opened: Open) -> None:
    play = says(json.dumps(TITLES | {"t2": TITLES["t1"]}, ensure_ascii=False))
    assert opened(play, grounding="generate").post(FREE, **ASK).status == 502


def test_anything_else_is_500_and_says_nothing_of_itself(opened: Open) -> None:
    running = opened()
    running.retriever.can([Document(page_content=LEAK, metadata={LEAK: LEAK})])  # a KeyError in the turn
    events = running.get(FREE, **ASK).events()
    sentence = "서버 내부 오류로 추천에 실패했습니다."
    assert [(event.name, event.status, event.message) for event in events[1:]] == [
        ("error", 500, sentence),
        ("close", 500, sentence),
    ]
    posted = running.post(FREE, **ASK)
    assert (posted.status, posted.json()) == (500, {"status": 500, "message": sentence, "data": None})


@pytest.mark.parametrize("name", FAULTS)
def test_a_stream_ends_in_the_contracts_error(opened: Open, name: str) -> None:
    call = opened(FAULTS[name]).get(FREE, **ASK)
    assert call.status == 200
    body = call.body()
    *_, error, close = blocks = [part for part in body.split(b"\n\n") if part]
    for block, kind in ((error, "error"), (close, "close")):
        head, data = block.decode().split("\ndata: ")
        assert head.endswith(f"event: {kind}")
        assert json.loads(data) == {"status": 502, "message": FAILED, "data": None}
    assert sum(b"event: close" in block for block in blocks) == 1
    assert not any(leak in body for leak in (b"Traceback", b"/srv", b"10.0.0.7", b"scripted fault", b"{{{"))


@pytest.mark.parametrize("name", FAULTS)
def test_a_post_gets_the_contracts_error(opened: Open, name: str) -> None:
    call = opened(FAULTS[name]).post(FREE, **ASK)
    assert (call.status, call.json()) == (502, {"status": 502, "message": FAILED, "data": None})


def test_an_engine_that_is_not_there_is_502(opened: Open) -> None:
    running = opened(engine="http://127.0.0.1:9/v1")
    assert [event.status for event in running.get(FREE, **ASK).events()[-2:]] == [502, 502]
    assert running.post(FREE, **ASK).json() == {"status": 502, "message": FAILED, "data": None}


# -- time limits --------------------------------------------------------------------------------------------------

LIMITS = {
    "no headers": (script(answer(headers_ms=60_000)), {"first_token_timeout": 0.2, "connect_timeout": 0.2}),
    "no first token": (script(gated(0)), {"first_token_timeout": 0.2, "connect_timeout": 0.2}),
    "silence in the middle": (fault("stall", MIDDLE), {"silence_timeout": 0.2}),
    "the whole turn": (script(gated(9)), {"turn_timeout": 0.3}),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_time_limit_is_504_and_closes_the_engines_request(opened: Open, name: str) -> None:
    play, limits = LIMITS[name]
    running = opened(play, **limits)
    events = running.get(FREE, **ASK).events()
    assert [(event.name, event.status, event.message) for event in events[-2:]] == [
        ("error", 504, FAILED),
        ("close", 504, FAILED),
    ]
    running.abandoned()


def test_a_post_that_runs_out_of_time_is_504(opened: Open) -> None:
    call = opened(script(gated(9)), turn_timeout=0.3).post(FREE, **ASK)
    assert (call.status, call.json()) == (504, {"status": 504, "message": FAILED, "data": None})


def test_time_in_the_queue_counts(opened: Open) -> None:
    running = opened(script(gated(9), gated(9)), slots=1, turn_timeout=1)
    running.get(FREE, **ASK).until("challenge")
    asked = time.monotonic()
    waiting = running.get(FREE, **ASK)
    waiting.until("queue")
    assert waiting.events()[-1].status == 504
    assert time.monotonic() - asked < 1.6  # by then it has waited its second for the first turn, which took as long


def test_the_whole_turn_stays_under_the_relays_300_seconds(gateway: Running) -> None:
    assert gateway.settings.turn_timeout + gateway.settings.heartbeat < 300


# -- what is survived ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "style",
    [
        {"crlf": True},
        {"comments": True},
        {"split_bytes": 1, "chunk": 80},
        {"split_bytes": 40},
        {"deltas_per_write": 5},
        {"usage": True},
        {"ascii": True},
        {"fault": Fault(kind="no_done")},
        {"finish": "length"},
    ],
    ids=str,
)
def test_engines_may_write_in_any_style(opened: Open, style: dict[str, Any]) -> None:
    running = opened(script(answer(**style)))
    events = running.get(FREE, **ASK).events()
    assert pieces(events) == rendered(events[-1])
    assert len(running.asked) == 1


def rest(cut: str) -> dict[str, str]:
    """The fields that a retry is asked for, when `cut` was being written."""
    keys = list(FIELDS)
    return {key: FIELDS[key] for key in keys[keys.index(cut) :]}


@pytest.mark.parametrize("kind", ["close", "reset", "error", "broken_json"])
@pytest.mark.parametrize("cut", ["recommend", "d2"])
def test_an_engine_that_dies_in_the_middle_is_asked_once_more_for_what_is_missing(
    opened: Open, kind: str, cut: str
) -> None:
    at = (TEXT.index(f'"{cut}"') + len(cut) + 5) // 4 + 3
    retry = Answer(text=json.dumps(rest(cut), ensure_ascii=False), chunk=4)
    running = opened(script(answer(fault=Fault(kind=kind, at=at)), retry))
    events = running.get(FREE, **ASK).events()
    assert events[-1].status == 200
    assert pieces(events) == rendered(events[-1])
    assert [each["description"] for each in events[-1].data["challenges"]] == [FIELDS[f"d{n}"] for n in (1, 2, 3)]
    first, second = running.asked
    asked = second.body["response_format"]["json_schema"]["schema"]["properties"]
    assert list(asked) == list(rest(cut))
    assert first.body["messages"] == second.body["messages"]


def test_a_retry_that_no_longer_begins_with_what_was_sent_takes_nothing_back(opened: Open) -> None:
    at = (TEXT.index('"d1"') + 7) // 4 + 3
    other = Answer(text=json.dumps(rest("d1") | {"d1": "물을 아껴 쓰면 돼요."}, ensure_ascii=False))
    running = opened(script(answer(fault=Fault(kind="close", at=at)), other))
    events = running.get(FREE, **ASK).events()
    assert events[-1].status == 502
    shown = pieces(events)
    assert FIELDS["recommend"] in shown
    assert "물을" not in shown
    assert len(running.asked) == 2


def test_an_engine_that_fails_twice_is_not_asked_a_third_time(opened: Open) -> None:
    running = opened(script(*[answer(fault=Fault(kind="hangup"))] * 2, answer()))
    assert running.get(FREE, **ASK).events()[-1].status == 502
    assert len(running.asked) == 2


def test_a_failed_turn_leaves_the_next_one_its_slot(opened: Open) -> None:
    running = opened(script(*[answer(fault=Fault(kind="hangup"))] * 2, answer()), slots=1)
    assert running.post(FREE, **ASK, sessionId="s").status == 502
    assert running.post(FREE, **ASK, sessionId="s").status == 200
    messages = running.asked[-1].body["messages"]
    assert sum(ON_TOPIC in message["content"] for message in messages) == 1  # nothing of the failed one


def test_an_engine_that_talks_on_after_its_answer_is_left(opened: Open) -> None:
    running = opened(script(answer(text=TEXT + " 그리고 " * 50, fault=Fault(kind="stall", at=len(TEXT) // 4 + 20))))
    assert running.get(FREE, **ASK).events()[-1].status == 200


def test_a_very_long_description_never_leaves_the_limits(opened: Open) -> None:
    running = opened(wrong(d1="긴" * 255))
    told = running.post(FREE, **ASK).json()["data"]["challenges"]
    assert max(len(each["description"]) for each in told) == 255
    assert max(len(each["title"]) for each in told) <= 100
