"""The engine's slots, first come, first served, with a bounded queue in front whose positions can be seen."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mulgil.errors import Busy

Notify = Callable[[int, float | None], None]
"""Called with the position (from 1) and the seconds to wait (None until a rate is known)."""

_PACE = 1.0
_MEMORY = 0.2


class Slots:
    """`count` permits; at most `queue_limit` waiters."""

    def __init__(self, count: int, queue_limit: int) -> None:
        self.count = count
        self.running = 0
        self._limit = queue_limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean: float | None = None

    @property
    def waiting(self) -> int:
        """Number of turns in the queue."""
        return len(self._waiting)

    def check(self, longest: float, unfinished: int = 0) -> None:
        """Raise `Busy` if the queue is full, or if the wait would take longer than `longest` seconds.

        `unfinished` counts all turns that were admitted: in a burst none of them has come to the queue yet.
        """
        ahead = max(self.running + len(self._waiting), unfinished) - self.count
        if ahead < 0:
            return
        eta = self._eta(ahead + 1)
        if ahead >= self._limit or (eta or 0.0) > longest:
            raise Busy(max(1, math.ceil(eta or 5.0)))

    @asynccontextmanager
    async def hold(self, notify: Notify) -> AsyncIterator[None]:
        """Hold a slot, after waiting for one; while waiting, `notify` is called at most once a second, on changes."""
        await self._take(notify)
        began = asyncio.get_running_loop().time()
        try:
            yield
            self._measure(asyncio.get_running_loop().time() - began)  # only whole answers tell how long one takes
        finally:
            self._pass_on()

    async def _take(self, notify: Notify) -> None:
        if self.running < self.count:  # nobody waits then: a slot goes straight to who is next
            self.running += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await self._wait(place, notify)
        except BaseException:
            if place.done() and not place.cancelled():
                self._pass_on()  # the slot came at the same moment as the cancellation
            else:
                self._waiting.remove(place)
            raise

    async def _wait(self, place: asyncio.Future[None], notify: Notify) -> None:
        told: tuple[int, float | None] | None = None
        while not place.done():
            position = self._waiting.index(place) + 1
            now = (position, self._eta(position))
            if now != told:
                notify(*now)
                told = now
            await asyncio.wait({place}, timeout=_PACE)

    def _pass_on(self) -> None:
        self.running -= 1
        while self._waiting and self.running < self.count:
            place = self._waiting.popleft()
            if not place.done():
                self.running += 1
                place.set_result(None)

    def _measure(self, seconds: float) -> None:
        self._mean = seconds if self._mean is None else self._mean + _MEMORY * (seconds - self._mean)

    def _eta(self, position: int) -> float | None:
        return None if self._mean is None else round(self._mean * position / self.count, 1)
