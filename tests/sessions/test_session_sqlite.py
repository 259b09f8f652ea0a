"""What only the SQLite store promises: one file, many processes, kills, damage."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mulgil.errors import InternalError, SetupError
from mulgil.sessions.base import Exchange, Session, VersionConflict
from mulgil.sessions.sqlite import SqliteSessions

processes = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteSessions]:
    store = SqliteSessions(path)
    yield store
    await store.close()


async def test_sessions_outlive_the_process_that_wrote_them(path: Path) -> None:
    store = SqliteSessions(path)
    saved = await store.save("a", Session(given=("x",)))
    await store.close()
    store = SqliteSessions(path)
    assert await store.load("a") == saved
    await store.close()


async def test_two_stores_on_one_file_see_each_other(store: SqliteSessions, path: Path) -> None:
    other = SqliteSessions(path)
    saved = await store.save("a", Session())
    with pytest.raises(VersionConflict):
        await other.save("a", Session())
    assert await other.save("a", saved) == await store.load("a")
    await other.close()


def increment(path: Path, times: int, start: multiprocessing.synchronize.Barrier) -> None:
    asyncio.run(_increment(path, times, start))


async def _increment(path: Path, times: int, start: multiprocessing.synchronize.Barrier) -> None:
    start.wait()  # the file is created by all at once, too
    store = SqliteSessions(path)
    done = 0
    while done < times:
        session = await store.load("counter")
        try:
            await store.save("counter", replace(session, given=(*session.given, f"{os.getpid()}-{done}")))
            done += 1
        except VersionConflict:
            continue
    await store.close()


async def test_of_four_processes_that_write_one_session_no_write_is_lost(path: Path) -> None:
    start = processes.Barrier(4)
    workers = [processes.Process(target=increment, args=(path, 50, start)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    store = SqliteSessions(path)
    counter = await store.load("counter")
    await store.close()
    assert counter.version == 200
    assert set(counter.given) == {f"{worker.pid}-{n}" for worker in workers for n in range(50)}


def write_for_ever(path: Path, told: Connection) -> None:
    asyncio.run(_write_for_ever(path, told))


async def _write_for_ever(path: Path, told: Connection) -> None:
    store = SqliteSessions(path)
    sessions = {id_: await store.load(id_) for id_ in ("a", "b", "c")}
    while True:
        for id_, session in sessions.items():
            sessions[id_] = await store.save(id_, marked(session.version + 1))
            told.send((id_, sessions[id_].version))


def marked(version: int) -> Session:
    """A long session in which every part tells its version."""
    return Session(exchanges=tuple(Exchange(f"{version}", "가" * 1000) for _ in range(30)), version=version - 1)


async def test_a_writer_killed_at_any_moment_leaves_whole_sessions_and_every_write_it_told_of(path: Path) -> None:
    told: dict[str, int] = {}
    for kill_after in (1, 20, 47):
        reader, writer = processes.Pipe(duplex=False)
        process = processes.Process(target=write_for_ever, args=(path, writer))
        process.start()
        writer.close()
        for _ in range(kill_after):
            assert reader.poll(60)
            told.update([reader.recv()])
        process.kill()
        process.join(60)
        while reader.poll(0):
            try:
                told.update([reader.recv()])
            except EOFError:
                break
        reader.close()
        store = SqliteSessions(path)
        for id_, version in told.items():
            session = await store.load(id_)
            assert session == replace(marked(session.version), version=session.version)
            assert session.version in {version, version + 1}  # one more, if it died before it could tell
        await store.close()


def damage(path: Path, data: str | bytes) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE sessions SET data = ? WHERE id = 'a'", (data,))
    db.close()


@pytest.mark.parametrize("data", ["{", "null", "", b"\xff\xfe", "[" * 100_000])
async def test_a_damaged_session_counts_as_absent_is_logged_and_can_be_written_anew(
    store: SqliteSessions, path: Path, data: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    saved = await store.save("a", Session())
    neighbour = await store.save("b", Session())
    damage(path, data)
    with caplog.at_level(logging.WARNING):
        assert await store.load("a") == Session()
    assert "damaged" in caplog.text
    assert await store.load("b") == neighbour
    with pytest.raises(VersionConflict):
        await store.save("a", saved)
    assert await store.save("a", Session(given=("new",))) == Session(given=("new",), version=1)


def test_importing_the_store_creates_no_file(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", "import mulgil.sessions.sqlite"], cwd=tmp_path, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_its_owners_alone(path: Path) -> None:
    asyncio.run(SqliteSessions(path).close())
    assert path.stat().st_mode & 0o777 == 0o600


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)


def other_text(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("no database, but more than a few bytes of text " * 50, encoding="utf-8")


def under_a_file(path: Path) -> None:
    path.parent.write_text("", encoding="utf-8")


def another_database(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE sessions (id TEXT, owner TEXT)")
    db.close()


@pytest.mark.parametrize(
    "spoil",
    [
        a_folder,
        other_text,
        under_a_file,
        another_database,
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start_with_a_sentence(path: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(path)
    with pytest.raises(SetupError, match=r"The session file .*sessions\.db can't be used .*: choose a path"):
        SqliteSessions(path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sessions")]


@pytest.mark.parametrize("path", [Path("/proc/sessions.db"), Path("/proc/new/sessions.db")])
def test_a_folder_that_not_even_root_may_write_stops_the_start_with_a_sentence(path: Path) -> None:
    with pytest.raises(SetupError, match=r"The session file /proc/.*sessions\.db can't be used .*: choose a path"):
        SqliteSessions(path)


async def test_a_failure_of_the_file_while_serving_is_an_internal_error(store: SqliteSessions, path: Path) -> None:
    await store.save("a", Session())
    db = sqlite3.connect(path)
    db.execute("DROP TABLE sessions")
    db.close()
    with pytest.raises(InternalError):
        await store.load("a")


async def test_a_write_that_fails_is_rolled_back_and_the_next_one_works(store: SqliteSessions, path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(InternalError):
        await store.save("a", Session())
    db.execute("DROP TRIGGER full")
    db.close()
    assert (await store.save("a", Session())).version == 1


async def test_the_event_loop_goes_on_while_another_process_holds_the_write_lock(
    store: SqliteSessions, path: Path
) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    save = asyncio.create_task(store.save("a", Session()))
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 2)  # a round through another thread: the loop is free
    assert not save.done()
    db.execute("ROLLBACK")
    db.close()
    assert (await asyncio.wait_for(save, 10)).version == 1


async def test_closing_finishes_the_writes_that_were_asked_and_ends_the_thread(path: Path) -> None:
    store = SqliteSessions(path)
    saved, _ = await asyncio.gather(store.save("a", Session()), store.close())
    assert saved.version == 1
    assert [file.name for file in path.parent.iterdir()] == ["sessions.db"]  # a clean close leaves no -wal, no -shm
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sessions")]
