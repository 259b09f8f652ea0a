"""The stream that GET sends: its framing, its events and their order, when they go out (contract.md, SSE)."""

import json
import uuid

import pytest
from langchain_core.documents import Document

from harness import ON_TOPIC, PLACE, TEXT, Event, Open, Running, answer, gated, pieces, rendered, script
from mulgil.engines.scripted import Answer, Script
from mulgil.retrieval.base import Entry

FREE = "free-text"


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def texts(events: list[Event]) -> list[str]:
    return [event.data for event in events if event.name == "challenge"]


def writes(*parts: str) -> Script:
    """The engine writes these pieces of `recommend`, then the rest."""
    rest = json.dumps({f"d{n}": f"{n}번째 설명이에요." for n in (1, 2, 3)}, ensure_ascii=False)[1:]
    return script(Answer(pieces=('{"recommend": "', *parts, '", ', rest)))


def recommended(events: list[Event]) -> list[str]:
    """The pieces up to the first fixed text, which is the answer's structure."""
    every = texts(events)
    return every[: next(n for n, text in enumerate(every) if text.startswith("\n\n1. "))]


# -- framing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "query"), [(FREE, {"message": ON_TOPIC}), ("base-info", PLACE)])
def test_the_headers_keep_every_proxy_from_holding_the_stream_back(
    gateway: Running, kind: str, query: dict[str, str]
) -> None:
    call = gateway.get(kind, {"accept-encoding": "gzip, br"}, **query)
    told = {name: text for name, text in call.headers.items() if name != "date"}
    assert call.status == 200
    assert told == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache, no-store, no-transform",
        "vary": "Accept",
        "x-accel-buffering": "no",
        "transfer-encoding": "chunked",
    }


def test_the_first_block_tells_the_client_when_to_come_back(gateway: Running) -> None:
    assert gateway.get(FREE, message=ON_TOPIC).event().raw == b"retry: 1000\n\n"


def test_every_event_is_three_lines_of_utf_8_with_unescaped_korean(gateway: Running) -> None:
    # `Event` parses strictly: another line, a CR or an unquoted newline fails there.
    body = gateway.get(FREE, message=ON_TOPIC).body()
    assert "토큰 생성".encode() in body
    assert b"\\ubc" not in body
    assert b"\r" not in body


def test_ids_are_the_turns_id_and_a_number_from_1(gateway: Running) -> None:
    events = gateway.get(FREE, message=ON_TOPIC).events()
    turn_id = events[0].data["turnId"]
    assert str(uuid.UUID(turn_id)) == turn_id
    assert [event.id for event in events] == [f"{turn_id}:{n}" for n in range(1, len(events) + 1)]


def test_line_separators_inside_text_are_escaped(opened: Open, retriever: object) -> None:
    running = opened()
    entry = Entry("e1", "가\u0085나\u2028다\u2029라", "설명이에요.", "VEGAN")
    others = [Entry(f"e{n}", f"제목 {n}", "설명이에요.", "VEGAN") for n in (2, 3)]
    running.retriever.can(
        [Document(page_content="", id=each.id, metadata={"entry": each, "score": 0.5}) for each in [entry, *others]]
    )
    body = running.get(FREE, message=ON_TOPIC, sessionId="s\u2028t").body()
    assert b"\\u0085" in body
    assert b"s\\u2028t" in body
    assert not any(char.encode() in body for char in "\u0085\u2028\u2029")
    assert body.count(b"\\u2029") == 4  # sources, the piece, item, close


# -- events and their order ---------------------------------------------------------------------------------------


def test_the_events_come_in_the_contracts_order(gateway: Running) -> None:
    told = names(gateway.get(FREE, message=ON_TOPIC).events())
    assert told[:2] == ["turn", "sources"]
    assert set(told[2:-1]) == {"challenge", "item"}
    assert told.count("item") == 3
    assert told[-1] == "close"
    assert told.count("close") == 1


def test_turn_sources_and_item_say_200_and_nothing_else(gateway: Running) -> None:
    events = gateway.get(FREE, message=ON_TOPIC).events()
    quiet = [event for event in events if event.name in {"turn", "sources", "item"}]
    assert {(event.status, event.message) for event in quiet} == {(200, "")}
    assert {(each.status, each.message) for each in events if each.name == "challenge"} == {(200, "토큰 생성")}
    assert (events[-1].status, events[-1].message) == (200, "모든 챌린지 추천 완료")


def test_turn_names_the_turn_and_the_session(gateway: Running) -> None:
    alone = gateway.get(FREE, message=ON_TOPIC).until("turn")[-1]
    assert list(alone.data) == ["turnId", "sessionId"]
    assert alone.data["sessionId"] is None
    assert gateway.get(FREE, message=ON_TOPIC, sessionId="나").until("turn")[-1].data["sessionId"] == "나"


def test_sources_come_best_first_with_a_score_of_0_to_1(gateway: Running) -> None:
    sources = gateway.get(FREE, message=ON_TOPIC).until("sources")[-1].data
    assert [list(source) for source in sources] == [["id", "title", "category", "score"]] * 3
    scores = [source["score"] for source in sources]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_items_and_close_tell_titles_without_numbers_and_where_they_come_from(gateway: Running) -> None:
    events = gateway.get("base-info", **PLACE).events()
    sources = next(event.data for event in events if event.name == "sources")
    items = [event.data for event in events if event.name == "item"]
    assert [list(item) for item in items] == [
        ["index", "title", "description", "category", "label", "sourceId"],
    ] * 3
    assert [(item["index"], item["sourceId"], item["title"]) for item in items] == [
        (n, source["id"], source["title"]) for n, source in enumerate(sources, 1)
    ]
    assert {(item["category"], item["label"]) for item in items} == {("ZERO_WASTE", "제로웨이스트")}
    closed = events[-1].data
    assert list(closed) == ["recommend", "challenges"]
    assert closed["challenges"] == [{key: item[key] for key in ("title", "description", "category")} for item in items]


def test_an_item_without_an_entry_has_no_source(opened: Open) -> None:
    written = {"recommend": "추천이에요."} | {f"{key}{n}": f"글 {key}{n}" for n in (1, 2, 3) for key in "td"}
    running = opened(script(Answer(text=json.dumps(written, ensure_ascii=False))), grounding="generate")
    events = running.get(FREE, message=ON_TOPIC).events()
    assert [event.data["sourceId"] for event in events if event.name == "item"] == [None] * 3


def test_an_item_comes_when_its_challenge_is_finished(opened: Open) -> None:
    at = TEXT.index('"d2"') // 4 + 1
    call = opened(script(gated(at))).get(FREE, message=ON_TOPIC)
    seen = call.until("item")
    assert seen[-1].data["index"] == 1
    assert seen[-1].data["description"] in pieces(seen)


# -- the pieces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 7, 10_000])
def test_the_pieces_add_up_to_the_rendered_answer(opened: Open, chunk: int) -> None:
    events = opened(script(answer(chunk=chunk))).get(FREE, message=ON_TOPIC).events()
    assert pieces(events) == rendered(events[-1])
    assert "2.5kg" in pieces(events)


def test_each_chunk_of_the_engine_is_one_event(opened: Open) -> None:
    parts = ("오", "늘", "부터 ", "해 볼", " 수", " 있는", " 챌린지예요", ".")
    events = opened(writes(*parts)).get(FREE, message=ON_TOPIC).events()
    # A space at a chunk's end waits for what follows it, since the text may end there.
    assert recommended(events) == ["오", "늘", "부터", " 해 볼", " 수", " 있는", " 챌린지예요", "."]


@pytest.mark.parametrize("at", [4, 5, 6])
def test_a_piece_goes_out_before_the_engine_writes_the_next(opened: Open, at: int) -> None:
    running = opened(script(gated(at)))
    before = running.get(FREE, message=ON_TOPIC).until("challenge", at - 3)
    # TEXT is cut into fours: the third ends in the quote, the fourth is the first with text to show.
    assert pieces(before) == TEXT[15 : 4 * at].rstrip()


def test_half_an_emoji_waits_for_its_other_half(opened: Open) -> None:
    events = opened(writes("나무", "\\ud83c", "\\udf33", "예요.")).get(FREE, message=ON_TOPIC).events()
    assert recommended(events) == ["나무", "🌳", "예요."]


def test_line_breaks_come_from_the_structure_alone(opened: Open) -> None:
    call = opened(writes("2.", "5kg", "을\\n줄", "여요.\\n\\n1. 아닌 것", ".")).get(FREE, message=ON_TOPIC)
    events = call.events()
    assert events[-1].data["recommend"] == "2.5kg을 줄여요. 1. 아닌 것."
    assert pieces(events) == rendered(events[-1])


@pytest.mark.parametrize(
    "dirt",
    ["\ufffd", "\\ufffd", "\\u0007", "\\u0000", "<|im_end|>", "<|endoftext|>", "```json", "\\ud800", "\\u001b", "</s>"],
)
def test_what_is_no_display_text_never_appears(opened: Open, dirt: str) -> None:
    events = opened(writes("오늘", dirt, "부터", f" 해{dirt}요.")).get(FREE, message=ON_TOPIC).events()
    assert events[-1].data["recommend"] == "오늘부터 해요."
    assert pieces(events) == rendered(events[-1])


def test_a_code_fence_around_the_answer_never_appears(opened: Open) -> None:
    fenced = Answer(text=f"좋아요!\n```json\n{TEXT}\n```\n도움이 되셨나요?", chunk=3)
    events = opened(script(fenced)).get(FREE, message=ON_TOPIC).events()
    assert pieces(events) == rendered(events[-1])
    assert not set(pieces(events)) & set('`{}"')


# -- when it goes out ---------------------------------------------------------------------------------------------


def test_the_first_byte_waits_for_no_work_at_all(opened: Open) -> None:
    running = opened(script(gated(0)))
    running.retriever.hold()
    call = running.get(FREE, message=ON_TOPIC)
    assert names(call.until("turn")) == ["retry", "turn"]
    assert running.asked == []
    running.retriever.release()
    assert names(call.until("sources")) == ["sources"]
    running.engine.release("g0")
    assert call.events()[-1].status == 200


def test_the_first_write_holds_the_turn(opened: Open) -> None:
    running = opened(script(gated(0)))
    running.retriever.hold()
    assert running.get(FREE, message=ON_TOPIC).chunk().count(b"\n\n") == 2


def test_a_silent_stream_beats(opened: Open) -> None:
    running = opened(script(gated(0)), heartbeat=0.05)
    call = running.get(FREE, message=ON_TOPIC)
    assert [event.raw for event in call.until(":", 3)][-1] == b": ping\n\n"
    running.engine.release("g0")
    assert call.events()[-1].name == "close"


def test_the_heart_beats_every_10_seconds_unless_set_otherwise(gateway: Running) -> None:
    assert gateway.settings.heartbeat == 10


def test_nothing_is_written_after_close_not_even_a_heartbeat(opened: Open) -> None:
    running = opened(script(answer(), gated(0)), heartbeat=0.05)
    call = running.get(FREE, message=ON_TOPIC)
    assert call.until("close")[-1].name == "close"
    assert call.body() == b""
    running.get(FREE, message=ON_TOPIC).until(":", 3)  # so long have both been silent
    call.socket.sendall(b"GET /health/live HTTP/1.1\r\nhost: gateway\r\n\r\n")
    assert call.socket.recv(15) == b"HTTP/1.1 200 OK"


def test_a_failed_stream_ends_in_one_error_and_one_close(opened: Open) -> None:
    call = opened(script(Answer(text="아니요"), Answer(text="아니요"))).get(FREE, message=ON_TOPIC)
    events = call.events()
    assert names(events) == ["turn", "sources", "error", "close"]
    assert (events[-1].status, events[-1].message) == (events[-2].status, events[-2].message)
    assert events[-1].data is events[-2].data is None


# -- many readers -------------------------------------------------------------------------------------------------


def test_all_readers_of_a_turn_see_the_same_bytes(opened: Open) -> None:
    running = opened(script(gated(9)))
    turn = str(uuid.uuid4())
    calls = [running.get(FREE, message=ON_TOPIC, turnId=turn) for _ in range(5)]
    for call in calls:
        call.until("turn")
    running.engine.release("g9")
    assert len({call.body() for call in calls if call.until("sources")}) == 1
    assert len(running.asked) == 1


def lengthy() -> Answer:
    """The longest answer, a character a chunk: more than the buffers between two sockets with small windows hold."""
    limits = {"recommend": 255} | {f"{key}{n}": most for n in (1, 2, 3) for key, most in (("t", 100), ("d", 255))}
    written = {key: key.ljust(most, "글") for key, most in limits.items()}
    return Answer(text=json.dumps(written, ensure_ascii=False), chunk=1)


def test_a_slow_reader_holds_nobody_up_and_loses_nothing(opened: Open) -> None:
    running = opened(script(lengthy()), grounding="generate")
    running.narrow()
    turn = str(uuid.uuid4())
    slow = running.get(FREE, window=2048, message=ON_TOPIC, turnId=turn)
    slow.until("turn")
    others = running.get(FREE, message=ON_TOPIC, turnId=turn).events()
    assert others[-1].status == 200
    assert running.metric("mulgil_turns_running") == 0
    assert running.held_back() == 1
    assert slow.events() == others[1:]
