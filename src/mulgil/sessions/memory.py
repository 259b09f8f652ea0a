"""Sessions in this process's memory: gone with it, and shared with no other."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from mulgil.sessions.base import Session, VersionConflict
from mulgil.sessions.codec import decode, fit


class MemorySessions:
    """A `SessionStore` that keeps at most `limit` sessions for `ttl` seconds after their last write."""

    def __init__(self, ttl: float = 86400.0, limit: int = 100_000, clock: Callable[[], float] = time.time) -> None:
        self._ttl = ttl
        self._limit = limit
        self._clock = clock
        # Text, not objects: nobody who holds a session can change what is stored. Least recently written first.
        self._rows: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def load(self, session_id: str) -> Session:
        """Return the session, or an empty one (version 0) if it is unknown or expired."""
        written, text = self._rows.get(session_id, (0.0, ""))
        return decode(text) if text and written > self._clock() - self._ttl else Session()

    async def save(self, session_id: str, session: Session) -> Session:
        """Write the session if its version is current; return what is stored, with the next version.

        Raises `VersionConflict` otherwise: also for a version over 0 of a session that has expired.
        """
        if (await self.load(session_id)).version != session.version:
            raise VersionConflict(session_id)
        stored, text = fit(replace(session, version=session.version + 1))
        self._rows[session_id] = (self._clock(), text)
        self._rows.move_to_end(session_id)
        self._drop_expired()
        if len(self._rows) > self._limit:
            self._rows.popitem(last=False)
        return stored

    async def delete(self, session_id: str) -> None:
        """Forget the session; an unknown id is no error."""
        self._rows.pop(session_id, None)

    async def close(self) -> None:
        """Forget everything."""
        self._rows.clear()

    def _drop_expired(self) -> None:
        """Take expired sessions off the front, where the oldest writes are."""
        oldest = self._clock() - self._ttl
        while self._rows and next(iter(self._rows.values()))[0] <= oldest:
            self._rows.popitem(last=False)
