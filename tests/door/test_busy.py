"""More askers than slots, and a server on its way out (contract.md, errors)."""

import time

import pytest

from harness import ON_TOPIC, PLACE, TIMEOUT, Call, Open, Running, answer, gated, script

FREE = "free-text"
ASK = {"message": ON_TOPIC}
BUSY = "지금은 요청이 많아 답변을 드리기 어렵습니다. 잠시 후 다시 시도해 주세요."
LEAVING = "서버를 다시 시작하는 중입니다. 잠시 후 다시 시도해 주세요."
TURN = "11111111-2222-4333-8444-555555555555"


def occupied(opened: Open, **given: object) -> tuple[Running, Call]:
    """A gateway with one slot, and the stream that holds it until `g9`."""
    running = opened(script(gated(9), answer()), **{"slots": 1} | given)
    call = running.get(FREE, **ASK)
    call.until("challenge")
    return running, call


# -- the queue ----------------------------------------------------------------------------------------------------


def test_a_free_slot_needs_no_queue(gateway: Running) -> None:
    assert "queue" not in {event.name for event in gateway.get(FREE, **ASK).events()}


def test_who_waits_is_told_its_position(opened: Open) -> None:
    running, first = occupied(opened)
    waiting = [running.get(FREE, **ASK)]
    waiting[0].until("queue")
    waiting.append(running.get(FREE, **ASK))
    running.becomes("mulgil_turns_waiting", 2)
    told = waiting[1].until("queue")[-1]
    assert (told.status, told.message, told.data) == (200, "", {"position": 2, "etaSeconds": None})
    running.engine.release("g9")
    assert [call.events()[-1].status for call in [first, *waiting]] == [200] * 3


def test_the_wait_is_estimated_where_a_rate_is_known(opened: Open) -> None:
    running = opened(script(answer(), gated(9)), slots=1)
    running.get(FREE, **ASK).events()
    running.get(FREE, **ASK).until("challenge")
    eta = running.get(FREE, **ASK).until("queue")[-1].data["etaSeconds"]
    assert isinstance(eta, float)
    assert 0 <= eta < TIMEOUT


def test_a_position_is_told_again_only_when_it_changes_and_once_a_second_at_most(opened: Open) -> None:
    running = opened(script(*[gated(9)] * 2, answer()), slots=1, heartbeat=0.3)
    running.get(FREE, **ASK, turnId=TURN).until("challenge")
    running.get(FREE, **ASK).until("queue")
    last = running.get(FREE, **ASK)
    last.until("queue")
    told = time.monotonic()
    running.delete(TURN)  # at once the next one runs, and the last is the first in line
    after = last.until("queue")
    assert time.monotonic() - told > 0.9
    assert after[-1].data["position"] == 1
    still = last.until(":", 4)  # more than a second of silence: nothing changes, nothing is told
    assert {event.name for event in still} == {":"}


def test_the_first_in_line_is_served_first(opened: Open) -> None:
    running, _ = occupied(opened)
    waiting = []
    for number in range(3):
        waiting.append(running.get(FREE, message=f"비건 식단 {number}번"))
        waiting[-1].until("queue")
    running.engine.release("g9")
    for call in waiting:
        call.events()
    order = [record.body["messages"][-1]["content"].splitlines()[0] for record in running.asked[1:]]
    assert order == [f"요청: 비건 식단 {number}번" for number in range(3)]


def test_the_engine_is_never_asked_for_more_than_its_slots(opened: Open) -> None:
    running = opened(script(), slots=2)
    calls = [running.get(FREE, **ASK) for _ in range(8)]
    assert [call.events()[-1].status for call in calls] == [200] * 8
    assert running.engine.recorder.peak <= 2


# -- no room ------------------------------------------------------------------------------------------------------


def test_a_full_queue_tells_a_stream_when_to_ask_again(opened: Open) -> None:
    running, _ = occupied(opened, queue_limit=1)
    running.get(FREE, **ASK).until("queue")
    call = running.get(FREE, **ASK)
    assert call.status == 200
    retry = call.event()
    events = call.events()
    assert [(event.id, event.name, event.status, event.message, event.data) for event in events] == [
        ("refused:1", "error", 503, BUSY, None),
        ("refused:2", "close", 503, BUSY, None),
    ]
    told = int(running.post(FREE, **ASK).headers["retry-after"])
    assert told >= 1
    assert retry.data == told * 1000


@pytest.mark.parametrize("kind", [FREE, "base-info"])
def test_a_full_queue_is_503_with_retry_after_for_the_others(opened: Open, kind: str) -> None:
    running, _ = occupied(opened, queue_limit=0)
    for call in (running.post(kind, **ASK, **PLACE), running.plain(kind, **ASK, **PLACE)):
        assert call.status == 503
        assert int(call.headers["retry-after"]) >= 1
        assert call.json() == {"status": 503, "message": BUSY, "data": None}
    assert len(running.asked) == 1


def test_a_wait_that_would_outlast_the_limit_is_refused(opened: Open) -> None:
    running = opened(script(answer(first_ms=1100), gated(9)), slots=1, turn_timeout=2)
    running.get(FREE, **ASK).events()
    running.get(FREE, **ASK).until("challenge")
    waiting = running.get(FREE, **ASK)
    waiting.until("queue")
    refused = running.get(FREE, **ASK).events()
    assert {(event.status, event.message) for event in refused} == {(503, BUSY)}


def test_input_is_checked_before_room_is_looked_for(opened: Open) -> None:
    running, _ = occupied(opened, queue_limit=0)
    assert running.post(FREE, message="").status == 400


def test_a_refused_turn_does_not_end_the_sessions_running_one(opened: Open) -> None:
    running = opened(script(gated(9)), slots=1, queue_limit=0)
    call = running.get(FREE, **ASK, sessionId="s")
    call.until("challenge")
    assert running.post(FREE, **ASK, sessionId="s").status == 503
    running.engine.release("g9")
    assert call.events()[-1].status == 200


# -- shutting down ------------------------------------------------------------------------------------------------


def test_running_turns_end_with_503_and_close_when_the_drain_is_over(opened: Open) -> None:
    running, first = occupied(opened, drain=0.2)
    waiting, posted = running.get(FREE, **ASK), running.post(FREE, **ASK)
    running.becomes("mulgil_turns_waiting", 2)
    began = time.monotonic()
    running.stop()
    for call in (first, waiting):
        ends = call.events()[-2:]
        assert [(event.name, event.status, event.message) for event in ends] == [
            ("error", 503, LEAVING),
            ("close", 503, LEAVING),
        ]
    assert posted.status == 503
    assert int(posted.headers["retry-after"]) >= 1
    assert posted.json() == {"status": 503, "message": LEAVING, "data": None}
    running.abandoned()
    assert running.ended.wait(TIMEOUT)
    assert time.monotonic() - began < 0.2 + 1


def test_a_turn_that_ends_within_the_drain_is_answered(opened: Open) -> None:
    running, first = occupied(opened, drain=TIMEOUT)
    running.stop()
    running.until(lambda: running.post(FREE, **ASK).status == 503)
    running.engine.release("g9")
    assert first.events()[-1].status == 200
    assert running.ended.wait(TIMEOUT / 2)


def test_new_turns_are_refused_while_the_old_ones_drain(opened: Open) -> None:
    running, first = occupied(opened, drain=TIMEOUT)
    running.stop()
    running.until(lambda: running.post(FREE, **ASK).json()["message"] == LEAVING)
    refused = running.post("base-info", **PLACE)
    assert (refused.status, refused.json()) == (503, {"status": 503, "message": LEAVING, "data": None})
    stream = running.get(FREE, **ASK)
    assert stream.event().data == int(refused.headers["retry-after"]) * 1000
    assert [(event.name, event.status) for event in stream.events()] == [("error", 503), ("close", 503)]
    running.engine.release("g9")
    first.events()


def test_a_reader_may_come_back_while_the_turns_drain(opened: Open) -> None:
    running = opened(script(gated(9)), drain=TIMEOUT)
    first = running.get(FREE, **ASK, turnId=TURN)
    first.until("challenge")
    first.close()
    running.stop()
    running.until(lambda: running.post(FREE, **ASK).status == 503)
    back = running.resume(FREE, f"{TURN}:1", **ASK)
    running.engine.release("g9")
    assert back.events()[-1].status == 200


def test_a_silent_keep_alive_connection_does_not_hold_the_server_up(opened: Open) -> None:
    running = opened(drain=TIMEOUT)
    call = running.get(FREE, **ASK)
    call.events()
    began = time.monotonic()
    running.stop()
    assert running.ended.wait(TIMEOUT)
    assert time.monotonic() - began < 1
