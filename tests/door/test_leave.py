"""A client that leaves stops the model: seen from the engine, whose own connection is closed (contract.md, leaving)."""

import json
import socket
import time
import uuid

import pytest

from harness import ON_TOPIC, PLACE, Call, Open, Running, answer, gated, pieces, rendered, script
from mulgil.engines.scripted import Answer, Fault

FREE = "free-text"
ASK = {"message": ON_TOPIC}
GRACE = 0.3
SOON = 1.0
"""Seconds within which an abort must have reached the engine (contract.md)."""

GOES_ON = script(gated(9), answer())
STOPPED = ("답변 생성을 중지했습니다.", 410)
SUPERSEDED = ("새 요청이 시작되어 이 답변은 중단되었습니다.", 409)


def new() -> str:
    return str(uuid.uuid4())


def begun(running: Running, **query: object) -> Call:
    """A stream that has shown its first pieces, and whose engine is in the middle."""
    call = running.get(FREE, **ASK, **query)
    call.until("challenge", 3)
    return call


def told(call: Call) -> list[tuple[str, int]]:
    ends = call.events()[-2:]
    assert [event.name for event in ends] == ["error", "close"]
    return [(event.message, event.status) for event in ends]


def slot_is_free(running: Running) -> None:
    """The only slot answers somebody else."""
    assert running.get(FREE, **ASK).events()[-1].status == 200


# -- leaving a stream ---------------------------------------------------------------------------------------------


def test_a_client_that_leaves_stops_the_model_after_the_grace(opened: Open) -> None:
    running = opened(GOES_ON, slots=1, resume_grace=GRACE)
    left = begun(running).close()
    record = running.abandoned()
    assert record.left is not None
    assert GRACE - 0.05 <= record.left - left <= GRACE + SOON
    slot_is_free(running)


@pytest.mark.parametrize("end", ["reset", "half-close"])
def test_any_end_of_the_connection_counts_as_leaving(opened: Open, end: str) -> None:
    running = opened(GOES_ON, slots=1, resume_grace=0)
    call = begun(running)
    if end == "reset":
        call.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        call.close()
    else:
        call.socket.shutdown(socket.SHUT_WR)
    running.abandoned()
    slot_is_free(running)


def test_a_client_that_leaves_before_the_engines_first_token_stops_it(opened: Open) -> None:
    running = opened(script(gated(0)), resume_grace=0)
    call = running.get(FREE, **ASK)
    running.arrived()
    call.close()
    running.abandoned()


def test_a_client_that_leaves_during_retrieval_never_reaches_the_engine(opened: Open) -> None:
    running = opened(resume_grace=0)
    running.retriever.hold()
    call = running.get(FREE, **ASK)
    call.until("turn")
    call.close()
    running.becomes("mulgil_turns_running", 0)
    running.retriever.release()
    assert running.get(FREE, **ASK).events()[-1].status == 200
    assert len(running.asked) == 1


def test_a_client_that_leaves_the_queue_never_reaches_the_engine(opened: Open) -> None:
    running = opened(script(gated(9), answer()), slots=1, resume_grace=0)
    first = begun(running)
    waiting = running.get(FREE, **ASK)
    waiting.until("queue")
    assert running.metric("mulgil_turns_waiting") == 1
    waiting.close()
    running.becomes("mulgil_turns_waiting", 0)
    running.engine.release("g9")
    assert first.events()[-1].status == 200
    assert len(running.asked) == 1


def test_a_client_that_comes_back_within_the_grace_finds_its_generation_going_on(opened: Open) -> None:
    running = opened(GOES_ON, resume_grace=5)
    call = running.get(FREE, **ASK)
    seen = call.until("challenge", 3)[1:]
    call.close()
    back = running.resume(FREE, seen[-1].id, **ASK)
    running.engine.release("g9")
    seen += back.events()
    assert pieces(seen) == rendered(seen[-1])
    assert len(running.asked) == 1
    assert running.asked[0].left is None


def test_a_turn_goes_on_while_one_of_its_readers_stays(opened: Open) -> None:
    running = opened(GOES_ON, resume_grace=0, named_grace=0)
    turn = new()
    stays, leaves = (begun(running, turnId=turn) for _ in range(2))
    leaves.close()
    for _ in range(3):
        running.get(FREE, **ASK, turnId=turn).until("turn")
    running.engine.release("g9")
    assert stays.events()[-1].status == 200


def test_who_comes_back_after_the_grace_is_told_that_it_was_stopped(opened: Open) -> None:
    running = opened(GOES_ON, resume_grace=0)
    call = running.get(FREE, **ASK)
    last = call.until("challenge", 3)[-1]
    call.close()
    running.abandoned()
    assert told(running.resume(FREE, last.id, **ASK)) == [STOPPED] * 2


def test_a_turn_whose_id_the_client_chose_has_a_longer_grace(opened: Open) -> None:
    running = opened(script(gated(9), gated(9)), resume_grace=0, named_grace=30)
    turn = new()
    begun(running, turnId=turn).close()
    begun(running).close()
    running.abandoned(1)
    assert running.asked[0].left is None
    back = running.get(FREE, **ASK, turnId=turn)
    running.engine.release("g9")
    assert back.events()[-1].status == 200


def test_the_graces_are_5_and_30_seconds_unless_set_otherwise(gateway: Running) -> None:
    assert (gateway.settings.resume_grace, gateway.settings.named_grace) == (5, 30)


def test_a_slow_reader_that_leaves_stops_the_model(opened: Open) -> None:
    written = json.dumps({"recommend": "추" * 250} | {f"d{n}": "설" * 250 for n in (1, 2, 3)}, ensure_ascii=False)
    many = Answer(text=written, chunk=1, fault=Fault(kind="stall", at=len(written) - 2))
    running = opened(script(many), resume_grace=0)
    running.narrow()
    slow = running.get(FREE, window=2048, **ASK)
    slow.until("turn")
    running.until(running.held_back)
    slow.close()
    running.abandoned()


def test_leaving_after_the_end_changes_nothing(opened: Open) -> None:
    running = opened(resume_grace=0)
    turn = new()
    call = running.get(FREE, **ASK, turnId=turn)
    whole = call.events()
    call.close()
    running.delete(turn)
    assert running.get(FREE, **ASK, turnId=turn).events() == whole


def test_a_phone_that_vanished_counts_as_gone_after_20_seconds(gateway: Running) -> None:
    gateway.get(FREE, **ASK).until("turn")
    for connection in list(gateway.server.server_state.connections):
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000


# -- DELETE -------------------------------------------------------------------------------------------------------


def test_delete_stops_the_model_at_once(opened: Open) -> None:
    running = opened(GOES_ON, slots=1)
    turn = new()
    call = begun(running, turnId=turn)
    asked = time.time()
    assert running.delete(turn).status == 204
    record = running.abandoned()
    assert record.left is not None
    assert record.left - asked < SOON
    assert told(call) == [STOPPED] * 2
    slot_is_free(running)


def test_delete_stops_a_turn_of_any_stage(opened: Open) -> None:
    running = opened(GOES_ON, slots=1)
    retrieving, queued = new(), new()
    begun(running)
    waiting = running.get(FREE, **ASK, turnId=queued)
    waiting.until("queue")
    running.retriever.hold()
    finding = running.get(FREE, **ASK, turnId=retrieving)
    finding.until("turn")
    for turn, call in ((queued, waiting), (retrieving, finding)):
        running.delete(turn)
        assert told(call) == [STOPPED] * 2
    assert len(running.asked) == 1


@pytest.mark.parametrize("turn", [new(), "no-uuid", "x" * 300])
def test_delete_of_an_unknown_turn_is_no_error(gateway: Running, turn: str) -> None:
    call = gateway.delete(turn)
    assert call.status == 204
    assert call.body() == b""


def test_delete_of_an_ended_turn_changes_nothing(gateway: Running) -> None:
    turn = new()
    whole = gateway.get(FREE, **ASK, turnId=turn).events()
    assert gateway.delete(turn.upper()).status == 204
    assert gateway.get(FREE, **ASK, turnId=turn).events() == whole


# -- a new turn of the same session -------------------------------------------------------------------------------


def test_a_new_turn_ends_the_sessions_running_one(opened: Open) -> None:
    running = opened(GOES_ON, slots=1)
    first = begun(running, sessionId="s")
    second = running.get(FREE, **ASK, sessionId="s")
    asked = time.time()
    record = running.abandoned()
    assert record.left is not None
    assert record.left - asked < SOON
    assert told(first) == [SUPERSEDED] * 2
    assert second.events()[-1].status == 200


def test_a_new_post_ends_the_sessions_running_post(opened: Open) -> None:
    running = opened(GOES_ON)
    first = running.post(FREE, **ASK, sessionId="s")
    running.arrived()
    assert running.post(FREE, **ASK, sessionId="s").status == 200
    assert first.status == 409
    assert first.json() == {"status": 409, "message": SUPERSEDED[0], "data": None}


def test_two_callers_without_a_session_never_meet(opened: Open) -> None:
    running = opened(script(gated(9), gated(9)))
    calls = [begun(running), begun(running)]
    running.engine.release("g9")
    assert [call.events()[-1].status for call in calls] == [200, 200]


def test_a_turn_that_was_ended_leaves_nothing_in_its_sessions_history(opened: Open) -> None:
    running = opened(script(gated(9), answer(), gated(9), answer()))
    begun(running, sessionId="s")
    running.get(FREE, message="비건 식단을 알려줘", sessionId="s").events()
    turn = new()
    begun(running, sessionId="s", turnId=turn)
    running.delete(turn)
    running.get(FREE, message="비건 간식을 알려줘", sessionId="s").events()
    last = json.dumps(running.asked[-1].body["messages"], ensure_ascii=False)
    assert "비건 식단을 알려줘" in last
    assert ON_TOPIC not in last


def test_a_superseded_base_info_still_counts(opened: Open) -> None:
    running = opened(script(gated(9), answer()))
    first = running.get("base-info", **PLACE | {"category": "비건"}, sessionId="s")
    first.until("challenge")
    second = running.get(FREE, message="챌린지를 추천해 주세요", sessionId="s").events()
    assert told(first) == [SUPERSEDED] * 2
    assert {each["category"] for each in second[-1].data["challenges"]} == {"VEGAN"}
    assert "바닷가" in json.dumps(running.asked[-1].body["messages"][-1], ensure_ascii=False)


# -- POST ---------------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_a_post_stops_the_model_at_once(opened: Open) -> None:
    running = opened(GOES_ON, slots=1, resume_grace=30)
    call = running.post(FREE, **ASK)
    running.arrived()
    left = call.close()
    record = running.abandoned()
    assert record.left is not None
    assert record.left - left < SOON
    slot_is_free(running)


def test_a_client_that_leaves_a_queued_post_never_reaches_the_engine(opened: Open) -> None:
    running = opened(GOES_ON, slots=1)
    first = begun(running)
    call = running.post(FREE, **ASK)
    running.becomes("mulgil_turns_waiting", 1)
    call.close()
    running.becomes("mulgil_turns_waiting", 0)
    running.engine.release("g9")
    assert first.events()[-1].status == 200
    assert len(running.asked) == 1


def test_a_post_with_a_key_goes_on_within_the_grace_and_its_retry_joins(opened: Open) -> None:
    running = opened(GOES_ON, resume_grace=0, named_grace=30)
    key = {"idempotency-key": new()}
    call = running.post(FREE, key, **ASK)
    running.arrived()
    call.close()
    retry = running.post(FREE, key, **ASK)
    running.engine.release("g9")
    assert retry.status == 200
    assert len(running.asked) == 1
    assert running.asked[0].left is None


def test_a_post_with_a_key_is_stopped_after_the_grace(opened: Open) -> None:
    running = opened(GOES_ON, named_grace=GRACE)
    key = {"idempotency-key": new()}
    call = running.post(FREE, key, **ASK)
    running.arrived()
    left = call.close()
    record = running.abandoned()
    assert record.left is not None
    assert GRACE - 0.05 <= record.left - left <= GRACE + SOON
    assert running.post(FREE, key, **ASK).json() == {"status": 410, "message": STOPPED[0], "data": None}
