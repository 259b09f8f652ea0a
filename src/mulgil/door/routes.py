"""The endpoints: each takes a request to the book of turns, and a turn's events back to the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from mulgil.door import guards, query
from mulgil.door.stream import HEADERS, Stream, departure
from mulgil.door.wire import REFUSED, Wire
from mulgil.errors import (
    BadBody,
    BodyTooLarge,
    Gone,
    MulgilError,
    Stopped,
    UnsupportedMediaType,
)
from mulgil.flow.question import Kind
from mulgil.turns.book import TurnBook
from mulgil.turns.log import Follower
from mulgil.turns.turn import Turn

JSON_HEADERS = [
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept"),
]
_BODY_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Desk:
    """What the endpoints share."""

    wire: Wire
    guards: guards.Guards
    book: TurnBook
    heartbeat: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """GET (SSE), POST (JSON) and HEAD of one path; all run the same turn."""

    desk: Desk
    kind: Kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; an error becomes a stream where the client accepts one, else JSON."""
        headers = Headers(scope=scope)
        try:
            if scope["method"] == "HEAD":
                await respond(send, 200, b"", HEADERS)
            elif "prefetch" in headers.get("sec-purpose", "").lower():
                await respond(send, 204, b"", HEADERS[1:])
            elif scope["method"] == "POST":
                await self._post(headers, receive, send)
            else:
                await self._get(scope, headers, receive, send)
        except MulgilError as error:
            if scope["method"] == "GET" and accepts_stream(headers):
                await respond(send, 200, self.desk.wire.refusal_frames(error), HEADERS)
            else:
                status, body, extra = self.desk.wire.refusal(error)
                await respond_json(send, status, body, extra)

    async def _get(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        last = headers.get("last-event-id", "").strip()
        if last.startswith(f"{REFUSED}:"):
            await respond(send, 204, b"", HEADERS[1:])
            return
        raw = query.parse(scope["query_string"])
        turn, number = self._resumed(last, raw) if last else (self._started(raw, raw.get("turnId", "")), 0)
        if turn.log.closed and number >= len(turn.log.events):
            await respond(send, 204, b"", HEADERS[1:])
            return
        await Stream(self.desk.wire, turn, number, self.desk.heartbeat)(receive, send)

    def _resumed(self, last: str, raw: Mapping[str, object]) -> tuple[Turn, int]:
        found = guards.event_id(last)
        if found is None:
            raise Gone
        turn = self.desk.book.resume(found[0], self.desk.guards.request(self.kind, raw))
        if found[1] > len(turn.log.events):
            raise Gone
        return turn, found[1]

    def _started(self, raw: Mapping[str, object], named: str, grace: float | None = None) -> Turn:
        """Create or join; nothing here waits, so it is one step of the event loop."""
        request = self.desk.guards.request(self.kind, raw)
        wanted = guards.turn_id(named) if named else None
        turn = self.desk.book.join(wanted, request) if wanted else None
        if turn is not None:
            return turn
        question = self.desk.guards.question(self.kind, raw)
        return self.desk.book.start(request, question, wanted, grace)

    async def _post(self, headers: Headers, receive: Receive, send: Send) -> None:
        raw = await _json_object(headers, receive)
        key = headers.get("idempotency-key", "")
        turn = self._started(raw, key, None if key else 0.0)
        follower = turn.follow()
        watcher = asyncio.create_task(departure(receive, follower))
        try:
            await _end_or_departure(follower, turn, watcher)
        finally:
            watcher.cancel()
            turn.unfollow(follower, Stopped())
        if turn.log.closed:
            status, body, extra = self.desk.wire.answer(self.kind, turn.log.events)
            await respond_json(send, status, body, extra)


@dataclass(frozen=True, slots=True)
class Turns:
    """DELETE of a turn."""

    desk: Desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stop the turn at once; 204 whatever became of it."""
        del receive
        self.desk.book.stop(scope["path_params"]["turn_id"].lower())
        await respond(send, 204, b"", [])


def accepts_stream(headers: Headers) -> bool:
    """Whether the client names the event stream's type among what it accepts."""
    return "text/event-stream" in headers.get("accept", "").lower()


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, status: int, body: bytes, extra: list[tuple[bytes, bytes]]) -> None:
    """Send a JSON response of known length."""
    await respond(send, status, body, [*JSON_HEADERS, (b"content-length", str(len(body)).encode()), *extra])


async def _end_or_departure(follower: Follower, turn: Turn, watcher: asyncio.Task[None]) -> None:
    while not turn.log.closed and not watcher.done():
        follower.take()
        await follower.wait()


async def _json_object(headers: Headers, receive: Receive) -> dict[str, object]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaType
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Stopped
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _BODY_LIMIT:
            raise BodyTooLarge
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadBody from error
    if not isinstance(value, dict):
        raise BadBody
    return value
