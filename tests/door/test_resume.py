"""Coming back to a turn: by `Last-Event-ID`, and by a `turnId` that the client chose (contract.md, leaving)."""

import uuid

import pytest

from harness import (
    OFF_TOPIC,
    ON_TOPIC,
    PLACE,
    TEXT,
    Event,
    Open,
    Running,
    answer,
    before,
    gated,
    pieces,
    rendered,
    script,
)

FREE = "free-text"
GONE = (410, "이 답변은 더 이상 이어받을 수 없습니다. 다시 요청해 주세요.")
ASK = {"message": ON_TOPIC}
CHUNKS = range(0, len(TEXT), 8)


def new() -> str:
    return str(uuid.uuid4())


def refused(events: list[Event]) -> tuple[int, str]:
    """What a stream without a turn tells, in both of its events."""
    assert [(event.id, event.name, event.data) for event in events] == [
        ("refused:1", "error", None),
        ("refused:2", "close", None),
    ]
    assert events[0].status == events[1].status
    assert events[0].message == events[1].message
    return events[0].status, events[0].message


# -- Last-Event-ID ------------------------------------------------------------------------------------------------


def test_a_client_cut_off_after_any_event_gets_the_rest_once_each_and_in_order(opened: Open) -> None:
    running = opened(script(gated(*range(len(CHUNKS)), chunk=8)))
    seen = running.get(FREE, **ASK).until("turn")[1:]
    for piece in range(len(CHUNKS)):
        running.engine.release(f"g{piece}")
        call = running.resume(FREE, seen[-1].id, **ASK)
        call.until("retry")
        seen += [call.event()]
        call.close()
    while seen[-1].name != "close":
        seen.append(next(iter(running.resume(FREE, seen[-1].id, **ASK).events())))
    assert [event.number for event in seen] == list(range(1, len(seen) + 1))
    assert pieces(seen) == rendered(seen[-1])
    assert len(running.asked) == 1


def test_after_the_end_every_earlier_id_gets_exactly_what_follows_it(gateway: Running) -> None:
    whole = gateway.get(FREE, **ASK).events()
    for at in (1, 2, 3, len(whole) - 2, len(whole) - 1):
        assert gateway.resume(FREE, whole[at - 1].id, **ASK).events() == whole[at:]
    assert len(gateway.asked) == 1


def test_who_comes_back_after_close_is_told_to_stop(gateway: Running) -> None:
    last = gateway.get(FREE, **ASK).events()[-1]
    call = gateway.resume(FREE, last.id, **ASK)
    assert call.status == 204
    assert call.body() == b""
    assert len(gateway.asked) == 1


def test_who_comes_back_after_a_failed_close_is_told_to_stop(gateway: Running) -> None:
    last = gateway.get(FREE, message=OFF_TOPIC).events()[-1]
    assert gateway.resume(FREE, last.id, message=OFF_TOPIC).status == 204


def test_a_client_between_error_and_close_gets_the_close(gateway: Running) -> None:
    error, close = gateway.get(FREE, message=OFF_TOPIC).events()[-2:]
    assert gateway.resume(FREE, error.id, message=OFF_TOPIC).events() == [close]


@pytest.mark.parametrize("last", ["refused:1", "refused:2", "refused:9"])
@pytest.mark.parametrize("query", [{}, {"message": ""}, ASK, {"turnId": "no uuid"}])
def test_who_was_refused_is_told_to_stop_before_any_other_check(
    gateway: Running, last: str, query: dict[str, str]
) -> None:
    assert gateway.resume(FREE, last, **query).status == 204
    assert gateway.asked == []


@pytest.mark.parametrize(
    "last", ["x", "1", "abc:1", f"{uuid.UUID(int=1)}", f"{uuid.UUID(int=1)}:", f"{uuid.UUID(int=1)}:0", "refused", "::"]
)
def test_an_id_that_is_none_of_ours_starts_nothing(gateway: Running, last: str) -> None:
    assert refused(gateway.resume(FREE, last, **ASK).events()) == GONE
    assert gateway.asked == []


def test_the_id_of_an_unknown_turn_starts_nothing(gateway: Running) -> None:
    assert refused(gateway.resume(FREE, f"{new()}:4", **ASK).events()) == GONE
    assert gateway.retriever.calls == 0


def test_an_id_beyond_the_last_event_starts_nothing(gateway: Running) -> None:
    last = gateway.get(FREE, **ASK).events()[-1]
    assert refused(gateway.resume(FREE, f"{last.id}0", **ASK).events()) == GONE


def test_another_sessions_turn_can_not_be_followed(gateway: Running) -> None:
    whole = gateway.get(FREE, **ASK, sessionId="mine").events()
    for other in ({}, {"sessionId": "yours"}):
        assert refused(gateway.resume(FREE, whole[3].id, **ASK, **other).events()) == GONE
    assert gateway.resume(FREE, whole[3].id, **ASK, sessionId="mine").events() == whole[4:]


def test_a_plain_client_is_told_gone_as_json(gateway: Running) -> None:
    call = gateway.request("GET", "/ai/chatbot/recommendation/free-text", {"last-event-id": f"{new()}:1"})
    assert call.status == 410
    assert call.json() == {"status": 410, "message": GONE[1], "data": None}


def test_an_id_is_looked_at_before_validation(gateway: Running) -> None:
    whole = gateway.get(FREE, **ASK).events()
    assert gateway.resume(FREE, whole[2].id, message="").events() == whole[3:]


def test_an_id_is_looked_at_before_admission(opened: Open) -> None:
    running = opened(script(gated(9)), slots=1, queue_limit=0)
    call = running.get(FREE, **ASK)
    seen = call.until("challenge")
    call.close()
    back = running.resume(FREE, seen[-1].id, **ASK)
    running.engine.release("g9")
    assert back.events()[-1].status == 200


def test_an_empty_id_is_none(gateway: Running) -> None:
    assert gateway.resume(FREE, "", **ASK).events()[-1].status == 200


def test_an_expired_turn_is_only_remembered_by_its_name(opened: Open) -> None:
    running = opened(log_ttl=0.05)
    turn = new()
    whole = running.get(FREE, **ASK, turnId=turn).events()
    for _ in before():
        if running.resume(FREE, whole[-1].id, **ASK).status != 204:
            break
    assert refused(running.resume(FREE, whole[4].id, **ASK).events()) == GONE
    assert refused(running.get(FREE, **ASK, turnId=turn).events()) == GONE
    assert refused(running.get(FREE, message="", turnId=turn).events()) == GONE
    assert len(running.asked) == 1


def test_an_ended_turn_is_kept_for_10_minutes_unless_set_otherwise(gateway: Running) -> None:
    assert gateway.settings.log_ttl == 600


def test_of_old_queue_events_only_the_latest_comes_again(opened: Open) -> None:
    running = opened(script(gated(0), gated(0), answer()), slots=1)
    turn = new()
    running.get(FREE, **ASK, turnId=turn).until("sources")
    running.arrived()
    running.get(FREE, **ASK).until("queue")
    third = running.get(FREE, **ASK)
    seen = third.until("queue")
    assert seen[-1].data["position"] == 2
    running.delete(turn)
    seen += third.until("queue")
    running.engine.release("g0")
    seen += third.events()
    queued = [event for event in seen if event.name == "queue"]
    assert [event.data["position"] for event in queued] == [2, 1]
    again = running.resume(FREE, seen[1].id, **ASK).events()
    assert [event for event in again if event.name == "queue"] == queued[-1:]
    assert again == [event for event in seen[2:] if event != queued[0]]


# -- turnId: create or join ---------------------------------------------------------------------------------------


def test_a_turn_has_the_id_that_its_client_chose(gateway: Running) -> None:
    turn = new()
    assert gateway.get(FREE, **ASK, turnId=turn.upper()).events()[0].data["turnId"] == turn


def test_two_at_the_same_instant_share_one_generation(opened: Open) -> None:
    running = opened(script(gated(3)))
    turn = new()
    calls = [running.get(FREE, **ASK, turnId=turn) for _ in range(2)]
    running.arrived()
    running.engine.release("g3")
    one, two = (call.events() for call in calls)
    assert one == two
    assert len(running.asked) == 1


def test_a_join_begins_at_event_1(gateway: Running) -> None:
    turn = new()
    whole = gateway.get(FREE, **ASK, turnId=turn).events()
    assert gateway.get(FREE, **ASK, turnId=turn).events() == whole
    assert len(gateway.asked) == 1


def test_who_left_before_the_first_byte_joins_the_turn_that_it_started(opened: Open) -> None:
    running = opened(script(gated(0)))
    turn = new()
    running.get(FREE, **ASK, turnId=turn).close()
    running.arrived()
    back = running.get(FREE, **ASK, turnId=turn)
    running.engine.release("g0")
    whole = back.events()
    assert whole[0].name == "turn"
    assert pieces(whole) == rendered(whole[-1])
    assert len(running.asked) == 1


def test_a_join_with_other_parameters_is_refused(gateway: Running) -> None:
    turn = new()
    gateway.get(FREE, **ASK, turnId=turn).events()
    status, message = refused(gateway.get(FREE, message="비건 식단을 알려줘", turnId=turn).events())
    assert status == 422
    assert message
    assert refused(gateway.get("base-info", **PLACE, turnId=turn).events())[0] == 422
    assert len(gateway.asked) == 1


def test_a_join_of_another_sessions_turn_is_refused_and_starts_nothing(gateway: Running) -> None:
    turn = new()
    gateway.get(FREE, **ASK, turnId=turn, sessionId="mine").events()
    assert refused(gateway.get(FREE, **ASK, turnId=turn, sessionId="yours").events()) == GONE
    assert refused(gateway.get(FREE, **ASK, turnId=turn).events()) == GONE
    assert len(gateway.asked) == 1


def test_last_event_id_wins_over_turn_id(gateway: Running) -> None:
    turn = new()
    whole = gateway.get(FREE, **ASK, turnId=turn).events()
    assert gateway.resume(FREE, whole[4].id, **ASK, turnId=new()).events() == whole[5:]
    assert gateway.resume(FREE, whole[4].id, **ASK, turnId="no uuid").events() == whole[5:]
    assert len(gateway.asked) == 1


def test_a_turn_id_is_looked_at_before_validation_and_admission(opened: Open) -> None:
    running = opened(script(gated(9)), slots=1, queue_limit=0)
    turn = new()
    running.get(FREE, **ASK, turnId=turn).until("challenge")
    assert running.get(FREE, **ASK, turnId=turn).until("challenge")
    assert refused(running.get(FREE, message="", turnId="no uuid").events()) == (422, "turnId는 UUID여야 합니다.")
    assert refused(running.get(FREE, message="", turnId=turn).events())[0] == 422


def test_a_join_never_supersedes(opened: Open) -> None:
    running = opened(script(gated(9)))
    turn = new()
    first = running.get(FREE, **ASK, turnId=turn, sessionId="s")
    first.until("challenge")
    second = running.get(FREE, **ASK, turnId=turn, sessionId="s")
    second.until("challenge")
    running.engine.release("g9")
    assert first.events()[-1].status == second.events()[-1].status == 200


def test_a_join_of_a_turn_that_was_ended_replays_its_end(opened: Open) -> None:
    running = opened(script(gated(9), answer(), gated(9)))
    superseded, stopped = new(), new()
    first = running.get(FREE, **ASK, turnId=superseded, sessionId="s")
    seen = first.until("challenge")
    running.get(FREE, **ASK, sessionId="s").events()
    assert running.get(FREE, **ASK, turnId=superseded, sessionId="s").events() == seen[1:] + first.events()
    other = running.get(FREE, **ASK, turnId=stopped)
    other.until("challenge")
    running.delete(stopped)
    again = running.get(FREE, **ASK, turnId=stopped).events()
    assert [(event.name, event.status) for event in again[-2:]] == [("error", 410), ("close", 410)]
    assert len(running.asked) == 3


def test_a_refused_request_leaves_its_turn_id_free(opened: Open) -> None:
    running = opened(script(gated(9)), slots=1, queue_limit=0)
    busy = running.get(FREE, **ASK)
    busy.until("challenge")
    turn = new()
    assert refused(running.get(FREE, **ASK, turnId=turn).events())[0] == 503
    running.engine.release("g9")
    busy.events()
    assert running.get(FREE, **ASK, turnId=turn).events()[-1].status == 200


# -- Idempotency-Key, the same for a POST -------------------------------------------------------------------------


def test_a_retried_post_joins_the_first(gateway: Running) -> None:
    key = {"idempotency-key": new()}
    first, second = (gateway.post(FREE, key, **ASK).body() for _ in range(2))
    assert first == second
    assert len(gateway.asked) == 1


def test_a_post_with_a_used_key_and_other_parameters_is_refused(gateway: Running) -> None:
    key = {"idempotency-key": new()}
    gateway.post(FREE, key, **ASK).body()
    assert gateway.post(FREE, key, message="비건 식단을 알려줘").status == 422
    assert gateway.post(FREE, key, **ASK, sessionId="other").status == 410
    assert gateway.post(FREE, {"idempotency-key": "no uuid"}, **ASK).json()["message"] == "turnId는 UUID여야 합니다."
    assert len(gateway.asked) == 1
