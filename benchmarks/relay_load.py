"""The client of relay.py: raw sockets that only note what came when; everything is read out after the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools

from relay_servers import RATE, Target

_LAST_CHUNK = b"0\r\n\r\n"
_SPREAD = 0.050
"""Seconds between the starts of two streams: a turn's fixed work must not make a queue of its own."""
_GOLDEN = 0.6180339887
"""Spreads the streams' phases evenly between two tokens, however many there are."""
_LIMIT = 120.0


class Reader(asyncio.Protocol):
    """One stream: when it was asked, and each read with its time (seconds since the epoch)."""

    def __init__(self, request: bytes, token: bytes, began: Callable[[], None], ended: Callable[[], None]) -> None:
        self.reads: list[tuple[float, bytes]] = []
        self.asked = 0.0
        self._request = request
        self._token = token
        self._began = began
        self._ended = ended
        self._waits = True
        self._open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        self.asked = time.time()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the read; only the first and the last are looked at."""
        self.reads.append((time.time(), data))
        if self._waits and self._token in data:
            self._waits = False
            self._began()
        if data.endswith(_LAST_CHUNK):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """The stream is over."""
        if self._open:
            self._open = False
            self._ended()

    def arrivals(self) -> tuple[list[float], bytes]:
        """Return the time of every event that carries text, and the whole body."""
        times, body, token = [], bytearray(), self._token
        for when, part in _bodies(self.reads):
            # An event may end in a later read: it counts when its marker is whole.
            since = max(0, len(body) - len(token) + 1)
            body += part
            times += [when] * body.count(token, since)
        return times, bytes(body)


@dataclass(slots=True)
class Run:
    """What one run gave. CPU readings are (relay, engine, client) in seconds at start, window's two ends, end."""

    readers: list[Reader] = field(default_factory=list)
    cpu: list[tuple[float, ...]] = field(default_factory=list)
    window: list[float] = field(default_factory=list)


async def drive(target: Target, markers: Sequence[str], cpu: Callable[[], tuple[float, ...]]) -> Run:
    """Run one stream for every marker. The window is the time in which all of them flow."""
    loop, run = asyncio.get_running_loop(), Run()
    over = asyncio.Event()
    waiting, running = len(markers), len(markers)

    def note() -> None:
        run.cpu.append(cpu())
        run.window.append(time.time())

    def began() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            note()

    def ended() -> None:
        nonlocal running
        if running == len(markers):
            note()
        running -= 1
        if not running:
            over.set()

    run.cpu.append(cpu())
    start = loop.time()
    for index, marker in enumerate(markers):
        phase = index * _GOLDEN % 1 / RATE
        await asyncio.sleep(max(0.0, start + index * _SPREAD + phase - loop.time()))
        reader = Reader(target.request(marker), target.token, began, ended)
        run.readers.append(reader)
        await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", target.port)  # type: ignore[misc]
    try:
        await asyncio.wait_for(over.wait(), _LIMIT)
    except TimeoutError:
        raise SystemExit(f"{target.name}: after {_LIMIT:.0f} s {running} streams had not ended") from None
    run.cpu.append(cpu())
    return run


class _Body:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)


def _bodies(reads: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    body = _Body()
    parser = httptools.HttpResponseParser(body)
    for when, data in reads:
        body.parts.clear()
        parser.feed_data(data)
        yield when, b"".join(body.parts)
