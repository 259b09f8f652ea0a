"""One client connection of the double: parses requests and plays their plans, at little CPU a token."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol, cast

import httptools

from mulgil.engines.scripted.record import Record, Recorder
from mulgil.engines.scripted.wire import Plan

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, with no time: closing sends a TCP reset."""


@dataclass(slots=True)
class Request:
    """One parsed HTTP request."""

    method: str = ""
    url: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Stage(Protocol):
    """What a connection needs to know of its server."""

    recorder: Recorder
    connections: set[Connection]
    released: set[str]

    def answer(self, request: Request) -> tuple[Plan, Record | None]:
        """Return the plan of the response, and the record where the request asks for an answer."""
        ...


class Connection(asyncio.Protocol):
    """One client connection: parses requests, plays their plans, one after the other."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._plan: Plan | None = None
        self._record: Record | None = None
        self._next = 0
        self._due = 0.0
        self._timer: asyncio.Handle | None = None
        self._gate: str | None = None
        self._full = False
        self._keep = True

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the new connection."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._stage.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # Our own bug, not the client's: let asyncio log it.
            raise error.__context__ or error from None
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note that the client left, where an answer is not yet at its end."""
        self._stage.connections.discard(self)
        if self._plan:
            self._finish(left=True)

    def pause_writing(self) -> None:
        """Stop playing: the client reads slowly."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on playing."""
        self._full = False
        if self._plan and not self._timer and not self._gate:
            self._schedule()

    # httptools calls these

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        """Take a part of its URL."""
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Take a part of its body."""
        self._request.body += body

    def on_message_complete(self) -> None:
        """Begin to play the answer."""
        if self._plan:
            # No client of this double sends a second request before the first is answered.
            self.abort()
            return
        self._request.method = self._parser.get_method().decode()
        self._keep = self._parser.should_keep_alive()
        self._plan, self._record = self._stage.answer(self._request)
        if self._record:
            self._stage.recorder.opened(self._record)
        self._next, self._due = 0, self._loop.time()
        self._schedule()

    # the play

    def _schedule(self) -> None:
        assert self._plan  # noqa: S101 - a schedule exists only while a plan is played
        if self._next == len(self._plan.steps):
            self._end(self._plan.end)
            return
        step = self._plan.steps[self._next]
        if step.gate and step.gate not in self._stage.released:
            self._gate = step.gate
        elif step.wait:
            # Due times add up, so that a late write does not slow the rate.
            self._due += step.wait
            self._timer = self._loop.call_at(self._due, self._tick)
        else:
            self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        assert self._plan  # noqa: S101 - as above
        self._timer = None
        step = self._plan.steps[self._next]
        self._next += 1
        self._transport.write(step.data)
        if self._record:
            self._record.pieces += step.pieces
        if not self._full:
            self._schedule()

    def released(self, gate: str) -> None:
        """Go on, where the next piece waits behind this gate."""
        if self._gate == gate:
            self._gate = None
            self._due = self._loop.time()
            self._schedule()

    def _end(self, end: str) -> None:
        if end == "stall":
            return
        self._finish(left=False)
        if end == "reset":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        elif end == "close" or not self._keep:
            self._transport.close()

    def _finish(self, *, left: bool) -> None:
        if self._timer:
            self._timer.cancel()
        if self._record:
            self._stage.recorder.closed(self._record, left=left)
        self._plan = self._record = self._timer = self._gate = None

    def abort(self) -> None:
        """Drop the connection now."""
        self._transport.abort()
