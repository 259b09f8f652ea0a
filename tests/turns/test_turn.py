"""One turn: however it ends, its log ends in exactly one `Closed`, and its session holds it whole or not at all."""

import asyncio
from collections.abc import Callable

import pytest
from doubles import (
    ANSWER,
    BASE_INFO,
    FREE_TEXT,
    LIMIT,
    Flow,
    Store,
    ends,
    error_of,
    over,
    remember,
    request,
    settled,
    text,
)

from mulgil.errors import InternalError, MulgilError, OffTopic, Stopped, Superseded, UpstreamFailed, UpstreamTimeout
from mulgil.events import Closed, TurnStarted
from mulgil.flow.question import Question
from mulgil.sessions.base import Session
from mulgil.turns.turn import Turn, Workshop

Start = Callable[..., Turn]


@pytest.fixture
async def start(flow: Flow, store: Store) -> Start:
    def start_(question: Question = FREE_TEXT, after: Turn | None = None, limit: float = 60, **more: object) -> Turn:
        turn = Turn("t", request(**{k: v for k, v in more.items() if k == "session_id"}), question, 0.0)
        turn.start(Workshop(flow, store, remember, limit), after, lambda _: None)
        return turn

    return start_


async def test_a_turn_begins_with_its_name_and_ends_with_its_answer(start):
    turn = start()
    assert turn.log.events == [TurnStarted("t", "s")]
    assert (await over(turn))[-1] == Closed(ANSWER)
    assert text(turn) == "해 봐요."


async def test_its_session_then_holds_it(start, store):
    await over(start())
    stored = await store.load("s")
    assert [exchange.user for exchange in stored.exchanges] == [FREE_TEXT.message]
    assert stored.version == 1


async def test_without_a_session_nothing_is_kept_and_nothing_is_found(start, store, flow):
    turn = start(session_id=None)
    assert (await over(turn))[-1] == Closed(ANSWER)
    await over(start(BASE_INFO, session_id=None))
    assert flow.seen[0] == Session()
    assert flow.seen[1].profile.category == "비건"
    assert not store._rows


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (UpstreamFailed("x"), UpstreamFailed),
        (UpstreamTimeout("x"), UpstreamTimeout),
        (OffTopic(), OffTopic),
        (ValueError("secret"), InternalError),
        (TimeoutError(), UpstreamTimeout),
        (ExceptionGroup("x", [ValueError()]), InternalError),
        (asyncio.CancelledError(), InternalError),
        (RecursionError(), InternalError),
    ],
)
async def test_whatever_the_flow_raises_the_log_ends_once(start, store, flow, raised, shown):
    flow.failure = raised
    turn = start()
    await over(turn)
    assert error_of(turn) is shown
    assert "secret" not in str(turn.failure)
    assert text(turn) == "해 "
    assert (await store.load("s")) == Session()


async def test_a_turn_that_takes_too_long_ends_in_time(start, flow):
    flow.open = False
    turn = start(limit=0.01)
    await over(turn)
    assert error_of(turn) is UpstreamTimeout
    assert flow.cancelled == 1


async def test_waiting_for_the_turn_before_counts_as_part_of_the_time(start, flow, store):
    store.saves.clear()
    before = start()
    async with asyncio.timeout(LIMIT):
        await store.saving.wait()
    turn = start(after=before, limit=0.01)
    async with asyncio.timeout(LIMIT):
        await asyncio.wait({turn._task})
    assert error_of(turn) is UpstreamTimeout
    assert len(flow.seen) == 1
    store.saves.set()
    await over(before)
    await over(turn)


async def test_a_store_that_fails_ends_the_turn(start, store):
    store.failure = OSError("disk full")
    turn = start()
    await over(turn)
    assert error_of(turn) is InternalError


async def test_a_session_that_another_process_wrote_meanwhile_supersedes_the_turn(start, store):
    store.conflicts = 1
    turn = start()
    await over(turn)
    assert error_of(turn) is Superseded
    assert (await store.load("s")).given == ("elsewhere",)
    assert (await store.load("s")).exchanges == ()


# -- stopping -----------------------------------------------------------------------------------------------------


async def test_a_stop_before_the_commit_ends_the_turn_and_the_session_keeps_nothing(start, store, flow):
    flow.open = False
    turn = start()
    await flow.begins()
    turn.stop(Stopped())
    await over(turn)
    assert error_of(turn) is Stopped
    assert flow.cancelled == 1
    assert await store.load("s") == Session()


async def test_a_stop_in_the_same_moment_as_the_start_ends_the_turn(start, flow):
    turn = start()
    turn.stop(Stopped())
    await over(turn)
    assert error_of(turn) is Stopped
    assert flow.seen == []


async def test_base_infos_values_are_kept_of_a_turn_that_was_stopped_at_once(start, store):
    turn = start(BASE_INFO)
    turn.stop(Superseded())
    await over(turn)
    assert error_of(turn) is Superseded
    assert (await store.load("s")).profile.category == "비건"
    assert (await store.load("s")).exchanges == ()


async def test_base_infos_values_are_added_to_what_another_process_wrote(start, store):
    store.conflicts = 2
    turn = start(BASE_INFO)
    assert (await over(turn))[-1] == Closed(ANSWER)
    stored = await store.load("s")
    assert stored.profile.category == "비건"
    assert stored.given == ("elsewhere", "elsewhere")


async def test_a_stop_during_the_commit_changes_nothing(start, store):
    store.saves.clear()
    turn = start()
    async with asyncio.timeout(LIMIT):
        await store.saving.wait()
    turn.stop(Stopped())
    await settled()
    assert not turn.log.closed
    store.saves.set()
    assert (await over(turn))[-1] == Closed(ANSWER)
    assert len((await store.load("s")).exchanges) == 1


async def test_a_stop_after_the_end_changes_nothing(start):
    turn = start()
    end = await over(turn)
    turn.stop(Stopped())
    await settled()
    assert ends(turn) == end


async def test_the_first_reason_to_stop_is_the_one_that_is_told(start, flow):
    flow.open = False
    turn = start()
    await flow.begins()
    turn.stop(Superseded())
    turn.stop(Stopped())
    await over(turn)
    assert error_of(turn) is Superseded


async def test_a_flow_that_hides_its_cancellation_is_not_committed(store):
    running = asyncio.Event()

    async def stubborn(question, session, emit):
        try:
            running.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return await Flow()(question, session, emit)

    turn = Turn("t", request(), FREE_TEXT, 0.0)
    turn.start(Workshop(stubborn, store, remember), None, lambda _: None)
    async with asyncio.timeout(LIMIT):
        await running.wait()
    turn.stop(Stopped())
    await over(turn)
    assert error_of(turn) is Stopped
    assert await store.load("s") == Session()


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("question", [FREE_TEXT, BASE_INFO])
async def test_a_stop_at_any_step_ends_the_turn_whole_or_not_at_all(start, store, question, steps):
    turn = start(question)
    for _ in range(steps):
        await asyncio.sleep(0)
    turn.stop(Stopped())
    await over(turn)
    whole = len((await store.load("s")).exchanges) == 1
    assert error_of(turn) is (None if whole else Stopped)
    assert (await store.load("s")).profile.category == ("비건" if question is BASE_INFO else None)


# -- readers ------------------------------------------------------------------------------------------------------


async def test_a_turn_goes_on_while_somebody_reads_it(start, flow):
    flow.open = False
    turn = start()
    one, other = turn.follow(), turn.follow()
    await flow.begins()
    turn.unfollow(one, Stopped())
    await settled()
    assert turn._left is None
    flow.gate.set()
    assert (await over(turn))[-1] == Closed(ANSWER)
    turn.unfollow(other, Stopped())
    assert turn._left is None


async def test_a_turn_without_a_reader_ends_after_its_grace(start, flow):
    flow.open = False
    turn = start()
    turn.grace = 0.01
    reader = turn.follow()
    await flow.begins()
    turn.unfollow(reader, Stopped())
    assert not turn.log.closed
    await over(turn)
    assert error_of(turn) is Stopped
    assert flow.cancelled == 1


async def test_a_reader_who_comes_back_within_the_grace_keeps_the_turn(start, flow):
    flow.open = False
    turn = start()
    turn.grace = 60.0
    reader = turn.follow()
    await flow.begins()
    turn.unfollow(reader, Stopped())
    timer = turn._left
    back = turn.follow(reader.number)
    assert timer.cancelled()
    flow.gate.set()
    assert (await over(turn))[-1] == Closed(ANSWER)
    assert [number for number, _ in back.take()] == [1, 2, 3, 4]


async def test_leaving_during_the_commit_changes_nothing(start, store):
    store.saves.clear()
    turn = start()
    reader = turn.follow()
    async with asyncio.timeout(LIMIT):
        await store.saving.wait()
    turn.unfollow(reader, Stopped())
    await settled()
    store.saves.set()
    assert (await over(turn))[-1] == Closed(ANSWER)


async def test_the_end_of_a_turn_is_told_once(flow, store):
    told: list[MulgilError | None] = []
    turn = Turn("t", request(), FREE_TEXT, 0.0)
    turn.start(Workshop(flow, store, remember), None, lambda ended: told.append(ended.failure))
    await over(turn)
    turn.stop(Stopped())
    await settled()
    assert told == [None]
