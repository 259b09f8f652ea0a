"""What the double was asked, for tests that prove what a client did."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 10_000
"""Requests that the record holds; the oldest goes first."""


@dataclass(slots=True)
class Record:
    """One request for an answer; times are seconds since the epoch."""

    opened: float
    headers: dict[str, str]
    body: dict[str, Any]
    pieces: int = 0
    ended: float | None = None
    """When the answer was sent whole, or ended by its script's fault."""
    left: float | None = None
    """When the client closed the connection, with the answer not yet at its end."""


class Recorder:
    """Every request, newest last; `wait` lets another thread wait for what it expects."""

    def __init__(self) -> None:
        self.requests: deque[Record] = deque(maxlen=KEPT)
        self.open = 0
        self.peak = 0
        self._changed = threading.Condition()

    def opened(self, record: Record) -> None:
        """Note a new request."""
        with self._changed:
            self.requests.append(record)
            self.open += 1
            self.peak = max(self.peak, self.open)
            self._changed.notify_all()

    def closed(self, record: Record, *, left: bool) -> None:
        """Note the end of a request: sent whole, or left by its client."""
        with self._changed:
            now = time.time()
            record.left, record.ended = (now, None) if left else (None, now)
            self.open -= 1
            self._changed.notify_all()

    def wait(self, until: Callable[[deque[Record]], object], timeout: float = 5) -> bool:
        """Block until `until(requests)` holds, looked at whenever a request opens or ends; False: it never did."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: until(self.requests), timeout))

    def as_json(self) -> dict[str, Any]:
        """Return all requests, how many are open, and how many were at most."""
        return {"requests": [asdict(record) for record in self.requests], "open": self.open, "peak": self.peak}
