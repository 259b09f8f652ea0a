"""A turn's log: numbers, replay, and any number of readers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.errors import Stopped
from mulgil.events import Answer, Closed, Event, Failed, Piece, Queued, TurnStarted
from mulgil.turns.log import Follower, TurnLog

LIMIT = 5.0
STARTED = TurnStarted("t", None)
CLOSED = Closed(Answer("네.", ()))


def log_of(*events: Event) -> TurnLog:
    log = TurnLog()
    for event in events:
        log.append(event)
    return log


async def bounded(follower: Follower) -> None:
    async with asyncio.timeout(LIMIT):
        await follower.wait()


def test_events_are_numbered_from_one_in_the_order_in_which_they_came():
    log = log_of(STARTED, Piece("가"), Piece("나"), CLOSED)
    assert log.since(0) == [(1, STARTED), (2, Piece("가")), (3, Piece("나")), (4, CLOSED)]
    assert log.since(2) == [(3, Piece("나")), (4, CLOSED)]
    assert log.since(4) == []


def test_of_queue_events_a_replay_has_only_the_latest_with_its_own_number():
    log = log_of(STARTED, Queued(3, None), Queued(2, 4.0), Queued(1, 2.0), Piece("가"), CLOSED)
    assert log.since(0) == [(1, STARTED), (4, Queued(1, 2.0)), (5, Piece("가")), (6, CLOSED)]
    assert log.since(2) == [(4, Queued(1, 2.0)), (5, Piece("가")), (6, CLOSED)]
    assert log.since(4) == [(5, Piece("가")), (6, CLOSED)]


def test_nothing_follows_the_end():
    log = log_of(STARTED, CLOSED)
    assert log.closed
    for event in (Piece("가"), Failed(Stopped()), CLOSED):
        with pytest.raises(RuntimeError):
            log.append(event)
    assert log.events == [STARTED, CLOSED]


def test_a_log_is_open_until_its_end_came():
    assert not TurnLog().closed
    assert not log_of(STARTED, Failed(Stopped())).closed


EVENTS = st.lists(
    st.one_of(st.builds(Piece, st.text(max_size=2)), st.builds(Queued, st.integers(1, 9), st.none())), max_size=20
)


@given(EVENTS, st.data())
def test_every_reader_gets_every_event_but_old_queue_events_once_and_in_order(events, data):
    log = TurnLog()
    start = data.draw(st.integers(0, len(events)))
    late: Follower | None = None
    readers = [Follower(log) for _ in range(3)]
    got: list[list[tuple[int, Event]]] = [[] for _ in readers]
    for number, event in enumerate(events):
        if number == start:
            late = Follower(log, number)
        log.append(event)
        for reader, taken in zip(readers, got, strict=True):
            if data.draw(st.booleans()):
                taken.extend(reader.take())
    for reader, taken in zip(readers, got, strict=True):
        taken.extend(reader.take())
        assert [number for number, _ in taken] == sorted({number for number, _ in taken})
        assert all(log.events[number - 1] == event for number, event in taken)
        assert [event for _, event in taken if isinstance(event, Piece)] == [e for e in events if isinstance(e, Piece)]
    if late is not None:
        assert [event for _, event in late.take() if isinstance(event, Piece)] == [
            event for event in events[start:] if isinstance(event, Piece)
        ]


async def test_a_wait_ends_when_an_event_comes():
    log = log_of(STARTED)
    readers = [Follower(log, 1), Follower(log, 1)]
    waits = [asyncio.create_task(bounded(reader)) for reader in readers]
    await asyncio.sleep(0)
    log.append(Piece("가"))
    await asyncio.gather(*waits)
    assert [reader.take() for reader in readers] == [[(2, Piece("가"))]] * 2
    assert [reader.take() for reader in readers] == [[], []]


async def test_a_wait_does_not_begin_where_there_is_something_to_take():
    await bounded(Follower(log_of(STARTED, CLOSED), 1))


async def test_a_wait_ends_when_woken_without_an_event():
    reader = Follower(log_of(STARTED), 1)
    wait = asyncio.create_task(bounded(reader))
    await asyncio.sleep(0)
    reader.wake()
    await wait
    assert reader.take() == []


async def test_a_wake_that_comes_before_the_wait_ends_it_and_only_that_one():
    reader = Follower(log_of(STARTED), 1)
    reader.wake()
    await bounded(reader)
    wait = asyncio.create_task(bounded(reader))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not wait.done()
    reader.wake()
    await wait


async def test_a_reader_that_left_is_told_nothing_and_disturbs_nobody():
    log = log_of(STARTED)
    gone, stays = Follower(log, 1), Follower(log, 1)
    wait = asyncio.create_task(bounded(gone))
    await asyncio.sleep(0)
    gone.leave()
    gone.leave()
    log.append(Piece("가"))
    await bounded(stays)
    assert not wait.done()
    wait.cancel()
    await asyncio.wait({wait})


async def test_a_cancelled_wait_leaves_the_log_usable():
    log = log_of(STARTED)
    reader = Follower(log, 1)
    wait = asyncio.create_task(bounded(reader))
    await asyncio.sleep(0)
    wait.cancel()
    await asyncio.wait({wait})
    log.append(Piece("가"))
    await bounded(reader)
    assert reader.take() == [(2, Piece("가"))]
