"""A turn's log: numbered events, appended once, read by any number of readers from any number on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mulgil.events import Closed, Event, Queued


class TurnLog:
    """Events of one turn; the first has number 1, the last is `Closed`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._followers: set[Follower] = set()

    @property
    def closed(self) -> bool:
        """Whether the last event is there."""
        return bool(self.events) and isinstance(self.events[-1], Closed)

    def append(self, event: Event) -> None:
        """Append the event and wake the readers. Nothing may follow `Closed`."""
        if self.closed:
            raise RuntimeError("a turn's log was closed already")
        self.events.append(event)
        for follower in self._followers:
            follower.told()

    def since(self, number: int) -> list[tuple[int, Event]]:
        """Return the events after `number`, each with its own; of `Queued` events only the latest."""
        fresh: Sequence[Event] = self.events[number:]
        numbered = list(enumerate(fresh, start=number + 1))
        if len(numbered) < 2:  # noqa: PLR2004 (one event has none before it)
            return numbered
        latest = max((n for n, event in numbered if isinstance(event, Queued)), default=0)
        return [(n, event) for n, event in numbered if n >= latest or not isinstance(event, Queued)]


class Follower:
    """One reader's place in a log. `wake` also serves the reader's own timers and the end of its connection."""

    def __init__(self, log: TurnLog, number: int = 0) -> None:
        self.number = number
        self._log = log
        self._waiting: asyncio.Future[None] | None = None
        self._wake = False
        log._followers.add(self)

    def take(self) -> list[tuple[int, Event]]:
        """Return the events that this reader has not had."""
        batch = self._log.since(self.number)
        self.number = len(self._log.events)
        return batch

    async def wait(self) -> None:
        """Return when there is something to take, or when woken; a wake that came meanwhile counts."""
        if self._wake or self.number < len(self._log.events):
            self._wake = False
            return
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def told(self) -> None:
        """The log has grown."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def wake(self) -> None:
        """End a `wait`, the next one if there is none now."""
        if self._waiting is None or self._waiting.done():
            self._wake = True
        else:
            self._waiting.set_result(None)

    def leave(self) -> None:
        """Stop following."""
        self._log._followers.discard(self)
