"""The engine's slots: first come, first served, seen from those who wait; and none is ever lost."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.engines import slots as module
from mulgil.engines.slots import Slots
from mulgil.errors import Busy

LIMIT = 5.0


class Person:
    """Somebody who takes a slot and holds it until told to leave."""

    def __init__(self, slots: Slots, failure: Exception | None = None) -> None:
        self.told: list[tuple[float | None, ...]] = []
        self.inside = asyncio.Event()
        self._news = asyncio.Event()
        self._leave = asyncio.Event()
        self._failure = failure
        self.task = asyncio.create_task(self._visit(slots))

    async def _visit(self, slots: Slots) -> None:
        async with slots.hold(self._tell):
            self.inside.set()
            await self._leave.wait()
            if self._failure:
                raise self._failure

    def _tell(self, *now: float | None) -> None:
        self.told.append(now)
        self._news.set()

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(LIMIT):
            while len(self.told) < count:
                self._news.clear()
                await self._news.wait()

    async def entered(self) -> None:
        async with asyncio.timeout(LIMIT):
            await self.inside.wait()

    async def left(self) -> None:
        self._leave.set()
        async with asyncio.timeout(LIMIT):
            await asyncio.wait({self.task})

    async def cancelled(self) -> None:
        self.task.cancel()
        async with asyncio.timeout(LIMIT):
            await asyncio.wait({self.task})


async def settled() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_as_many_as_there_are_slots_enter_at_once_and_are_told_nothing():
    slots = Slots(2, 8)
    people = [Person(slots) for _ in range(2)]
    for person in people:
        await person.entered()
    assert [person.told for person in people] == [[], []]
    assert (slots.running, slots.waiting) == (2, 0)
    for person in people:
        await person.left()
    assert slots.running == 0


async def test_those_who_wait_enter_in_the_order_in_which_they_came():
    slots = Slots(1, 8)
    people = [Person(slots) for _ in range(4)]
    for place, person in enumerate(people):
        await person.entered()
        assert [each.inside.is_set() for each in people] == [True] * (place + 1) + [False] * (3 - place)
        await person.left()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_nobody_passes_those_who_wait_when_a_slot_gets_free():
    slots = Slots(1, 8)
    first, second = Person(slots), Person(slots)
    await first.entered()
    await settled()
    first._leave.set()
    late = Person(slots)
    await second.entered()
    await settled()
    assert not late.inside.is_set()
    await second.left()
    await late.entered()
    await late.left()


async def test_the_position_is_told_at_once_and_again_when_it_changes(monkeypatch):
    monkeypatch.setattr(module, "_PACE", 0.001)
    slots = Slots(1, 8)
    people = [Person(slots) for _ in range(3)]
    await people[0].entered()
    await settled()
    assert [person.told for person in people] == [[], [(1, None)], [(2, None)]]
    await people[1].cancelled()
    await people[2].heard(2)
    assert people[2].told == [(2, None), (1, None)]
    await people[0].left()
    await people[2].left()


async def test_while_nothing_changes_nothing_is_told_again(monkeypatch):
    monkeypatch.setattr(module, "_PACE", 0.001)
    slots = Slots(1, 8)
    first, second = Person(slots), Person(slots)
    await settled()
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(0.02, passed.set_result, None)  # twenty paces
    await passed
    assert second.told == [(1, None)]
    await first.left()
    await second.left()


async def test_the_time_to_wait_is_told_from_how_long_whole_answers_took():
    slots = Slots(2, 8)
    slots._measure(8.0)
    people = [Person(slots) for _ in range(4)]
    await settled()
    assert [person.told for person in people] == [[], [], [(1, 4.0)], [(2, 8.0)]]
    for person in people:
        await person.cancelled()


async def test_an_answer_that_failed_tells_nothing_of_the_time():
    slots = Slots(1, 8)
    person = Person(slots, ValueError())
    await person.left()
    assert isinstance(person.task.exception(), ValueError)
    cut_off = Person(slots)
    await cut_off.entered()
    await cut_off.cancelled()
    waits = [Person(slots) for _ in range(2)]
    await settled()
    assert waits[1].told == [(1, None)]
    for each in waits:
        await each.cancelled()


async def test_a_full_queue_is_busy_and_says_when_to_come_back():
    slots = Slots(1, 2)
    people = []
    for _ in range(3):
        slots.check(60)
        people.append(Person(slots))
        await settled()
    with pytest.raises(Busy) as refused:
        slots.check(60)
    assert refused.value.retry_after == 5
    slots._measure(7.2)
    with pytest.raises(Busy) as refused:
        slots.check(60)
    assert refused.value.retry_after == 22
    await people[1].cancelled()
    slots.check(60)
    await people[0].cancelled()
    await people[2].cancelled()


async def test_without_a_queue_the_first_who_would_wait_is_refused():
    slots = Slots(1, 0)
    slots.check(60)
    person = Person(slots)
    await person.entered()
    with pytest.raises(Busy):
        slots.check(60)
    await person.left()
    slots.check(60)


async def test_a_wait_longer_than_the_turns_limit_is_refused():
    slots = Slots(1, 64)
    slots._measure(100.0)
    slots.check(250)
    people = [Person(slots) for _ in range(3)]
    await settled()
    with pytest.raises(Busy) as refused:
        slots.check(250)
    assert refused.value.retry_after == 300
    for person in people:
        await person.cancelled()


async def test_a_burst_counts_before_it_has_come_to_the_queue():
    slots = Slots(2, 3)
    for unfinished in range(5):
        slots.check(60, unfinished)
    with pytest.raises(Busy):
        slots.check(60, 5)


async def test_a_cancellation_at_the_moment_of_the_hand_over_gives_the_slot_to_the_next():
    slots = Slots(1, 8)
    async with slots.hold(lambda *_: None):
        second, third = Person(slots), Person(slots)
        await settled()
    assert slots.waiting == 1  # the second has been given the slot, and has not run since
    second.task.cancel()
    await third.entered()
    assert not second.inside.is_set()
    await third.left()
    assert (slots.running, slots.waiting) == (0, 0)


async def test_an_error_while_telling_the_position_leaves_the_queue():
    slots = Slots(1, 8)
    person = Person(slots)
    await person.entered()

    def fails(*_: object) -> None:
        raise RuntimeError("closed")

    with pytest.raises(RuntimeError):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(slots.hold(fails))
    assert slots.waiting == 0
    await person.left()
    assert slots.running == 0


async def play(count: int, people: int, rng: random.Random) -> None:
    """Let people come, enter, fail, leave and be cancelled in any order; then everything must be free."""
    slots = Slots(count, 100)
    visits = [Person(slots, ValueError() if rng.random() < 0.2 else None) for _ in range(people)]
    left = list(visits)
    while left:
        person = rng.choice(left)
        if rng.random() < 0.4:
            person.task.cancel()
            left.remove(person)
        elif person.inside.is_set():
            person._leave.set()
            left.remove(person)
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        assert slots.running <= count
    async with asyncio.timeout(LIMIT):
        await asyncio.wait({person.task for person in visits})
    assert (slots.running, slots.waiting) == (0, 0)
    for person in visits:
        if not person.task.cancelled():
            person.task.exception()


@given(st.integers(1, 4), st.integers(1, 12), st.randoms(use_true_random=False))
def test_no_schedule_of_leaving_and_cancelling_loses_a_slot(count, people, rng):
    asyncio.run(play(count, people, rng))
