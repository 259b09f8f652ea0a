"""One reader of a turn's log, as an SSE response in plain ASGI: the one writer of its events, heartbeats and end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Receive, Send

from mulgil.door.wire import PING, RETRY, Wire
from mulgil.errors import Stopped
from mulgil.events import Closed
from mulgil.turns.log import Follower
from mulgil.turns.turn import Turn

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store, no-transform"),
    (b"vary", b"Accept"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(slots=True)
class Stream:
    """Sends a turn's events after `number` as they come, a comment after `heartbeat` seconds of silence."""

    wire: Wire
    turn: Turn
    number: int
    heartbeat: float

    async def __call__(self, receive: Receive, send: Send) -> None:
        """Send until `Closed` or until the client leaves."""
        follower = self.turn.follow(self.number)
        pulse = Pulse(follower, self.heartbeat)
        watcher = asyncio.create_task(departure(receive, follower))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._pump(follower, pulse, watcher, send)
        finally:
            pulse.stop()
            watcher.cancel()
            self.turn.unfollow(follower, Stopped())

    async def _pump(self, follower: Follower, pulse: Pulse, watcher: asyncio.Task[None], send: Send) -> None:
        head = RETRY
        while not watcher.done():
            batch = follower.take()
            closed = bool(batch) and isinstance(batch[-1][1], Closed)
            body = head + self.wire.frames(self.turn.id, batch) if batch else head
            head = b""
            if not body and pulse.due:
                body = PING
            if body:
                pulse.beat()
                await send({"type": "http.response.body", "body": body, "more_body": not closed})
            if closed or watcher.done():
                return
            await follower.wait()


class Pulse:
    """Wakes a follower after a silence. One timer a stream: an event only moves the time."""

    def __init__(self, follower: Follower, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._follower = follower
        self._seconds = seconds
        self._next = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._next, self._look)

    @property
    def due(self) -> bool:
        """Whether the silence has lasted long enough."""
        return self._loop.time() >= self._next

    def beat(self) -> None:
        """Something is sent now."""
        self._next = self._loop.time() + self._seconds

    def stop(self) -> None:
        """Beat no more."""
        self._timer.cancel()

    def _look(self) -> None:
        if self.due:
            self._follower.wake()
            self._timer = self._loop.call_later(self._seconds, self._look)
        else:
            self._timer = self._loop.call_at(self._next, self._look)


async def departure(receive: Receive, follower: Follower) -> None:
    """Return when the client has left, and wake its follower."""
    while (await receive())["type"] != "http.disconnect":
        pass
    asyncio.get_running_loop().call_soon(follower.wake)  # after this task counts as done
