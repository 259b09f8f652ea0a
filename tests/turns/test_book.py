"""All turns of a process: who may join which, what a new one ends, and what is remembered for how long."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from doubles import ANSWER, BASE_INFO, FREE_TEXT, LIMIT, Flow, Store, error_of, over, remember, request, settled, text

from mulgil.errors import Busy, Gone, ShuttingDown, Stopped, Superseded, TurnIdReused
from mulgil.events import Closed
from mulgil.turns.book import Lifetimes, TurnBook
from mulgil.turns.turn import Turn, Workshop

ID = "11111111-2222-4333-8444-555555555555"

Open = Callable[..., TurnBook]


@pytest.fixture
async def opened(flow: Flow, store: Store) -> AsyncIterator[Open]:
    books: list[TurnBook] = []

    def open_(admit: Callable[[], None] = lambda: None, **lifetimes: float) -> TurnBook:
        told: list[Turn] = []
        book = TurnBook(Workshop(flow, store, remember), Lifetimes(**lifetimes), admit, told.append)
        book.told = told  # type: ignore[attr-defined]
        books.append(book)
        return book

    yield open_
    for book in books:
        async with asyncio.timeout(LIMIT):
            await book.close(0)


@pytest.fixture
async def book(opened: Open) -> TurnBook:
    return opened()


async def test_a_turn_without_an_id_gets_one(book):
    turn = book.start(request(), FREE_TEXT)
    assert str(uuid.UUID(turn.id)) == turn.id
    assert (await over(turn))[-1] == Closed(ANSWER)
    assert book.told == [turn]


async def test_the_grace_is_longer_for_a_turn_that_the_client_named(opened):
    book = opened(grace=5, named_grace=30)
    assert book.start(request(), FREE_TEXT).grace == 5
    assert book.start(request(), FREE_TEXT, ID).grace == 30
    assert book.start(request(None), FREE_TEXT, grace=0.0).grace == 0


async def test_what_admission_refuses_starts_nothing_and_ends_nothing(opened, flow):
    flow.open = False
    refusals: list[Exception] = []

    def admit() -> None:
        if refusals:
            raise refusals[0]

    book = opened(admit)
    turn = book.start(request(), FREE_TEXT)
    await flow.begins()
    refusals.append(Busy(3))
    with pytest.raises(Busy):
        book.start(request(), FREE_TEXT, ID)
    assert book.running == 1
    assert book.join(ID, request()) is None
    flow.gate.set()
    assert (await over(turn))[-1] == Closed(ANSWER)
    assert book.running == 0


# -- join and resume ----------------------------------------------------------------------------------------------


async def test_a_known_id_joins_its_turn_whether_it_runs_or_has_ended(book, flow):
    flow.open = False
    assert book.join(ID, request()) is None
    turn = book.start(request(), FREE_TEXT, ID)
    assert book.join(ID, request()) is turn
    assert book.resume(ID, request()) is turn
    flow.gate.set()
    await over(turn)
    assert book.join(ID, request()) is turn
    assert book.resume(ID, request()) is turn
    assert [number for number, _ in turn.follow(2).take()] == [3, 4]


async def test_several_readers_follow_one_turn(book, flow):
    flow.open = False
    turn = book.start(request(), FREE_TEXT, ID)
    await flow.begins()
    early, late = turn.follow(), book.resume(ID, request()).follow(2)
    flow.gate.set()
    await over(turn)
    assert [number for number, _ in early.take()] == [1, 2, 3, 4]
    assert [number for number, _ in late.take()] == [3, 4]


@pytest.mark.parametrize("other", [request("other"), request(None), request("s", "another key")])
async def test_somebody_elses_turn_is_gone(book, other):
    turn = book.start(request(), FREE_TEXT, ID)
    for ask in (book.join, book.resume):
        with pytest.raises(Gone):
            ask(ID, other)
    assert (await over(turn))[-1] == Closed(ANSWER)


async def test_the_same_id_with_other_parameters_is_refused_but_an_event_id_needs_none(book):
    turn = book.start(request("s", "", "비건"), FREE_TEXT, ID)
    other = request("s", "", "플로깅")
    with pytest.raises(TurnIdReused):
        book.join(ID, other)
    assert book.resume(ID, other) is turn
    await over(turn)


async def test_an_event_id_of_an_unknown_turn_is_gone(book):
    with pytest.raises(Gone):
        book.resume(ID, request())


async def test_a_forgotten_turn_is_gone_and_never_starts_again(opened):
    book = opened(log=0.0)
    turn = book.start(request(), FREE_TEXT, ID)
    await over(turn)
    await settled()  # a lifetime of no time is over
    for ask in (book.join, book.resume):
        with pytest.raises(Gone):
            ask(ID, request())


@pytest.mark.parametrize(("session", "lifetimes"), [("s", {"session": 0.0}), (None, {"alone": 0.0})])
async def test_an_id_is_forgotten_for_good_with_its_session(opened, session, lifetimes):
    book = opened(log=0.0, **({"session": 60.0, "alone": 60.0} | lifetimes))
    await over(book.start(request(session), FREE_TEXT, ID))
    await settled()
    assert book.join(ID, request(session)) is None


# -- one turn a session -------------------------------------------------------------------------------------------


async def test_a_new_turn_ends_the_sessions_running_one(book, flow, store):
    flow.open = False
    first = book.start(request(), FREE_TEXT)
    await flow.begins()
    second = book.start(request(), FREE_TEXT)
    await flow.begins()
    assert error_of(first) is Superseded
    flow.gate.set()
    assert (await over(second))[-1] == Closed(ANSWER)
    assert len((await store.load("s")).exchanges) == 1


async def test_the_new_turn_sees_what_base_info_told_and_nothing_else_of_the_old_one(book, flow):
    flow.open = False
    first = book.start(request(), BASE_INFO)
    second = book.start(request(), FREE_TEXT)
    await flow.begins()
    assert error_of(first) is Superseded
    assert [(seen.profile.category, seen.exchanges) for seen in flow.seen] == [("비건", ())]
    flow.gate.set()
    await over(second)


async def test_the_new_turn_waits_for_the_commit_of_the_old_one_and_sees_it(book, flow, store):
    store.saves.clear()
    first = book.start(request(), FREE_TEXT)
    async with asyncio.timeout(LIMIT):
        await store.saving.wait()
    second = book.start(request(), FREE_TEXT)
    await settled()
    assert len(flow.seen) == 1
    store.saves.set()
    assert (await over(first))[-1] == Closed(ANSWER)
    assert (await over(second))[-1] == Closed(ANSWER)
    assert len(flow.seen[1].exchanges) == 1
    assert len((await store.load("s")).exchanges) == 2


async def test_of_many_at_once_only_the_last_is_answered(book, store):
    turns = [book.start(request(), BASE_INFO if n == 0 else FREE_TEXT) for n in range(6)]
    for turn in turns:
        await over(turn)
    assert [error_of(turn) for turn in turns] == [Superseded] * 5 + [None]
    stored = await store.load("s")
    assert (stored.profile.category, len(stored.exchanges)) == ("비건", 1)


async def test_other_sessions_and_turns_without_one_are_left_alone(book, flow):
    flow.open = False
    turns = [book.start(request(session), FREE_TEXT) for session in ("a", "b", None, None)]
    await settled()
    assert book.running == 4
    flow.gate.set()
    assert [(await over(turn))[-1] for turn in turns] == [Closed(ANSWER)] * 4


# -- stop and close -----------------------------------------------------------------------------------------------


async def test_a_stop_ends_the_turn_and_of_an_unknown_or_ended_one_nothing(book, flow):
    book.stop("unknown")
    flow.open = False
    turn = book.start(request(), FREE_TEXT, ID)
    await flow.begins()
    book.stop(ID)
    await over(turn)
    assert error_of(turn) is Stopped
    book.stop(ID)
    await settled()
    assert error_of(turn) is Stopped
    assert book.running == 0


async def test_closing_starts_nothing_more_and_lets_turns_end_within_the_drain(book, flow):
    flow.open = False
    turn = book.start(request(), FREE_TEXT)
    await flow.begins()
    closing = asyncio.create_task(book.close(60))
    await settled()
    with pytest.raises(ShuttingDown):
        book.start(request("other"), FREE_TEXT)
    assert book.join(ID, request()) is None
    flow.gate.set()
    async with asyncio.timeout(LIMIT):
        await closing
    assert error_of(turn) is None
    assert text(turn) == "해 봐요."


async def test_closing_ends_what_outlasts_the_drain(book, flow):
    flow.open = False
    turn = book.start(request(), FREE_TEXT)
    await flow.begins()
    async with asyncio.timeout(LIMIT):
        await book.close(0.001)
    assert error_of(turn) is ShuttingDown
    assert book.running == 0


async def test_closing_waits_for_a_commit_that_has_begun(book, store):
    store.saves.clear()
    turn = book.start(request(), FREE_TEXT)
    async with asyncio.timeout(LIMIT):
        await store.saving.wait()
    closing = asyncio.create_task(book.close(0))
    await settled()
    assert not closing.done()
    store.saves.set()
    async with asyncio.timeout(LIMIT):
        await closing
    assert error_of(turn) is None


async def test_a_closed_book_leaves_no_timer_behind(opened):
    book = opened()
    turns: list[Any] = [book.start(request(str(n)), FREE_TEXT) for n in range(3)]
    for turn in turns:
        await over(turn)
    timers = list(book._forgotten.values())
    assert len(timers) == 3
    async with asyncio.timeout(LIMIT):
        await book.close(0)
    assert all(timer.cancelled() for timer in timers)
