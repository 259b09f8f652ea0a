"""The contract of every session store; each test runs on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mulgil.domain.model import Profile, Value
from mulgil.sessions.base import Exchange, Session, SessionStore, VersionConflict
from mulgil.sessions.codec import MAX_BYTES, encode
from mulgil.sessions.memory import MemorySessions
from mulgil.sessions.sqlite import SqliteSessions

FULL = Session(
    profile=Profile(
        "VEGAN", "PLOGGING", {"location": Value("바닷가", chosen=True), "workType": Value("", chosen=False)}
    ),
    exchanges=(Exchange("비건 챌린지\n추천해줘 🌱", '{"recommend":"좋아요"}'),),
    given=("vegan-001",),
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Callable[[], SessionStore]:
    if request.param == "memory":
        return lambda: MemorySessions(ttl=100.0, limit=3, clock=clock)
    return lambda: SqliteSessions(tmp_path / "sessions.db", ttl=100.0, limit=3, clock=clock)


@pytest.fixture
async def store(make: Callable[[], SessionStore]) -> AsyncIterator[SessionStore]:
    store = make()
    yield store
    await store.close()


async def test_an_unknown_session_is_empty_with_version_0(store: SessionStore) -> None:
    assert await store.load("nobody") == Session()


async def test_what_was_saved_is_loaded_with_the_next_version(store: SessionStore) -> None:
    saved = await store.save("a", FULL)
    assert saved == replace(FULL, version=1)
    assert await store.load("a") == saved


async def test_sessions_are_apart(store: SessionStore) -> None:
    await store.save("a", FULL)
    assert await store.load("A") == Session()
    assert await store.load("") == Session()


async def test_any_text_is_an_id(store: SessionStore) -> None:
    for id_ in ("", "'; DROP TABLE sessions; --", "물길 \n\0 🌊"):
        await store.save(id_, FULL)
        assert await store.load(id_) == replace(FULL, version=1)


async def test_a_save_with_an_old_version_conflicts_and_changes_nothing(store: SessionStore) -> None:
    first = await store.save("a", FULL)
    second = await store.save("a", replace(first, given=("x",)))
    with pytest.raises(VersionConflict):
        await store.save("a", replace(first, given=("y",)))
    with pytest.raises(VersionConflict):
        await store.save("a", Session())
    assert await store.load("a") == second


async def test_a_save_with_a_version_of_the_future_conflicts(store: SessionStore) -> None:
    with pytest.raises(VersionConflict):
        await store.save("a", replace(FULL, version=1))
    assert await store.load("a") == Session()


async def test_of_many_saves_at_once_exactly_one_wins(store: SessionStore) -> None:
    saves = [store.save("a", Session(given=(str(n),))) for n in range(20)]
    results = await asyncio.gather(*saves, return_exceptions=True)
    won = [result for result in results if isinstance(result, Session)]
    assert [type(result) for result in results].count(VersionConflict) == 19
    assert await store.load("a") == won[0]


async def test_a_deleted_session_is_empty_and_its_old_version_conflicts(store: SessionStore) -> None:
    saved = await store.save("a", FULL)
    await store.delete("a")
    await store.delete("a")
    assert await store.load("a") == Session()
    with pytest.raises(VersionConflict):
        await store.save("a", saved)
    assert (await store.save("a", FULL)).version == 1


async def test_a_session_expires_after_its_last_write(store: SessionStore, clock: Clock) -> None:
    saved = await store.save("a", FULL)
    clock.now += 99
    saved = await store.save("a", saved)
    clock.now += 99
    assert await store.load("a") == saved
    clock.now += 1
    assert await store.load("a") == Session()


async def test_reading_a_session_does_not_prolong_it(store: SessionStore, clock: Clock) -> None:
    await store.save("a", FULL)
    clock.now += 99
    await store.load("a")
    clock.now += 1
    assert await store.load("a") == Session()


async def test_an_expired_session_conflicts_with_its_old_version_and_begins_again_at_0(
    store: SessionStore, clock: Clock
) -> None:
    saved = await store.save("a", FULL)
    clock.now += 100
    with pytest.raises(VersionConflict):
        await store.save("a", saved)
    assert await store.save("a", Session(given=("new",))) == Session(given=("new",), version=1)


async def test_a_clock_that_goes_back_hides_nothing_and_revives_nothing(store: SessionStore, clock: Clock) -> None:
    ahead = await store.save("ahead", FULL)
    clock.now -= 500
    behind = await store.save("behind", FULL)
    assert (await store.load("ahead"), await store.load("behind")) == (ahead, behind)
    clock.now += 100
    assert (await store.load("ahead"), await store.load("behind")) == (ahead, Session())


async def test_over_the_limit_the_least_recently_written_session_goes(store: SessionStore) -> None:
    first = await store.save("first", FULL)
    for id_ in ("second", "third"):
        await store.save(id_, FULL)
    await store.save("first", first)
    await store.load("second")
    await store.save("fourth", FULL)
    versions = {id_: (await store.load(id_)).version for id_ in ("first", "second", "third", "fourth")}
    assert versions == {"first": 2, "second": 0, "third": 1, "fourth": 1}


async def test_expired_sessions_make_room_before_living_ones(store: SessionStore, clock: Clock) -> None:
    await store.save("old", FULL)
    clock.now += 60
    for id_ in ("b", "c"):
        await store.save(id_, FULL)
    clock.now += 60
    await store.save("d", FULL)
    assert [(await store.load(id_)).version for id_ in ("old", "b", "c", "d")] == [0, 1, 1, 1]


async def test_a_session_that_grows_too_long_loses_its_oldest_exchanges(store: SessionStore) -> None:
    exchanges = tuple(Exchange(f"{n} " + "가" * 2000, "나" * 2000) for n in range(40))
    saved = await store.save("a", Session(exchanges=exchanges))
    assert 0 < len(saved.exchanges) < 40
    assert saved.exchanges == exchanges[-len(saved.exchanges) :]
    assert len(encode(saved).encode()) <= MAX_BYTES
    assert await store.load("a") == saved


async def test_what_a_caller_does_to_its_session_afterwards_is_not_stored(store: SessionStore) -> None:
    values = {"location": Value("산", chosen=True)}
    saved = await store.save("a", Session(profile=Profile(values=values)))
    values["location"] = Value("도시", chosen=True)
    assert (await store.load("a")).profile.values == {"location": Value("산", chosen=True)}
    assert saved.version == 1


async def test_a_text_that_is_no_unicode_is_stored_all_the_same(store: SessionStore) -> None:
    saved = await store.save("a", Session(exchanges=(Exchange("\ud800 반쪽", "\0"),)))
    assert await store.load("a") == saved


async def test_closing_twice_is_no_error(make: Callable[[], SessionStore]) -> None:
    store = make()
    await store.save("a", FULL)
    await store.close()
    await store.close()
