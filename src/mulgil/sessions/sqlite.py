"""Sessions in one SQLite file, which any number of processes on one machine may share.

SQLite runs on a thread of its own, never on the event loop. Writes take SQLite's one write lock at their beginning
(`BEGIN IMMEDIATE`), so that nobody can write between the comparison of a version and its setting.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from mulgil.errors import InternalError, SetupError
from mulgil.sessions.base import Session, VersionConflict
from mulgil.sessions.codec import decode, fit

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BUSY_TIMEOUT = 5.0  # seconds; a write takes well under a millisecond of the lock

# REPLACE gives a row the next `seq`, so `seq` is the order of writes, whatever the clocks of the processes say.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  written REAL NOT NULL,
  data TEXT NOT NULL
)
"""
_AGE_INDEX = "CREATE INDEX IF NOT EXISTS sessions_by_age ON sessions (written)"

_log = logging.getLogger(__name__)


class SqliteSessions:
    """A `SessionStore` that keeps at most `limit` sessions for `ttl` seconds after their last write.

    Opens `path`, and creates it with its folders if need be, at once: raises `SetupError` if it can't be used.
    Cancelling a call does not take back a write that has begun.
    """

    def __init__(
        self, path: Path, ttl: float = 86400.0, limit: int = 100_000, clock: Callable[[], float] = time.time
    ) -> None:
        self._ttl = ttl
        self._limit = limit
        self._clock = clock
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions")
        try:
            self._db = self._thread.submit(_open, path).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def load(self, session_id: str) -> Session:
        """Return the session, or an empty one (version 0) if it is unknown, expired or damaged."""
        return await self._call(self._load, session_id)

    async def save(self, session_id: str, session: Session) -> Session:
        """Write the session if its version is current; return what is stored, with the next version.

        Raises `VersionConflict` otherwise: also for a version over 0 of a session that has expired.
        """
        return await self._call(self._save, session_id, session)

    async def delete(self, session_id: str) -> None:
        """Forget the session; an unknown id is no error."""
        await self._call(self._delete, session_id)

    async def close(self) -> None:
        """Finish what was asked, then close the file; closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._call(self._db.close)
        self._thread.shutdown()

    async def _call(self, do: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `do` on the store's thread."""
        future = self._thread.submit(do, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except sqlite3.Error as error:
            raise InternalError(f"the session store failed: {error}") from error

    def _load(self, session_id: str) -> Session:
        alive = self._clock() - self._ttl
        row = self._db.execute("SELECT data FROM sessions WHERE id = ? AND written > ?", (session_id, alive)).fetchone()
        return _decoded(row[0]) if row else Session()

    def _save(self, session_id: str, session: Session) -> Session:
        stored, text = fit(replace(session, version=session.version + 1))
        with self._db:  # commits, or rolls back what raised
            self._db.execute("BEGIN IMMEDIATE")
            if self._load(session_id).version != session.version:
                raise VersionConflict(session_id)
            row = (session_id, self._clock(), text)
            self._db.execute("REPLACE INTO sessions (id, written, data) VALUES (?, ?, ?)", row)
            self._make_room(created=session.version == 0)
        return stored

    def _make_room(self, *, created: bool) -> None:
        """Delete what has expired, and the least recently written sessions over the limit."""
        self._db.execute("DELETE FROM sessions WHERE written <= ?", (self._clock() - self._ttl,))
        if not created:  # only a new session can be one too many, and counting reads a whole index
            return
        (count,) = self._db.execute("SELECT count(*) FROM sessions").fetchone()
        oldest = "DELETE FROM sessions WHERE seq IN (SELECT seq FROM sessions ORDER BY seq LIMIT ?)"
        self._db.execute(oldest, (max(0, count - self._limit),))

    def _delete(self, session_id: str) -> None:
        self._db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))


def _decoded(data: bytes) -> Session:
    try:
        return decode(data.decode())
    except ValueError:
        # The damage is worth a line, the person's words are not: neither the text nor the parser's error is logged.
        _log.warning("a stored session of %d bytes is damaged and counts as absent", len(data))
        return Session()


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # people's words: for the server's own user only
        db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        _prepare(db)
    except sqlite3.Error as error:
        db.close()
        raise _unusable(path, error) from error
    return db


def _prepare(db: sqlite3.Connection) -> None:
    """Create what is missing; fail now if the file can't be written or holds something else."""
    db.text_factory = bytes  # damaged text must come out of SQLite to be told from whole text
    _use_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing, a power cut the last few turns
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(_SCHEMA)
        db.execute(_AGE_INDEX)
        db.execute("SELECT seq, id, written, data FROM sessions LIMIT 0")
        db.execute("PRAGMA user_version = 1")  # a write: BEGIN IMMEDIATE alone passes on a read-only file


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; where several processes create the file at once, SQLite itself doesn't wait."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _unusable(path: Path, error: Exception) -> SetupError:
    return SetupError(
        f"The session file {path} can't be used ({error}): choose a path in a folder that the server may write to, "
        "where there is no other file."
    )
