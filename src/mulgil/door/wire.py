"""Events as bytes, for the two kinds of client: SSE frames, and one JSON object (contract.md).

The two encoders of answers and of errors stand side by side, so that they can't drift apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from json.encoder import encode_basestring
from typing import Any

from mulgil.domain.model import Domain
from mulgil.errors import InternalError, MulgilError, OffTopic
from mulgil.events import (
    Answer,
    Challenge,
    Closed,
    Event,
    Failed,
    Item,
    Piece,
    Queued,
    Sources,
    TurnStarted,
)
from mulgil.flow.question import Kind

RETRY = b"retry: 1000\n\n"
PING = b": ping\n\n"
REFUSED = "refused"

_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_LINE_END = re.compile("[\\x85\\u2028\\u2029]")
_OK = 200


@dataclass(frozen=True, slots=True)
class Wire:
    """Encodes for one domain, whose sentences it sends."""

    domain: Domain

    def frames(self, turn_id: str, batch: Iterable[tuple[int, Event]]) -> bytes:
        """Return the SSE frames of numbered events."""
        return b"".join([self._one(f"{turn_id}:{number}", event) for number, event in batch])

    def refusal_frames(self, error: MulgilError) -> bytes:
        """Return the whole SSE stream of a request that started no turn."""
        retry = getattr(error, "retry_after", None)
        head = RETRY if retry is None else f"retry: {retry * 1000}\n\n".encode()
        told = [self._told(Failed(error)), self._told(Closed(None, error))]
        return head + b"".join(_frame(f"{REFUSED}:{n}", *each) for n, each in enumerate(told, start=1))

    def refusal(self, error: MulgilError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Return status, JSON body and extra headers of a request that started no turn."""
        retry = getattr(error, "retry_after", None)
        headers = [] if retry is None else [(b"retry-after", str(retry).encode())]
        return error.status, self._flat(error.status, self.sentence(error), error.data), headers

    def answer(self, kind: Kind, events: Sequence[Event]) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Return status, JSON body and extra headers: a fold of the turn's events."""
        last = events[-1]
        if not isinstance(last, Closed):
            raise InternalError("a turn without an end can't be folded")
        message = self.domain.messages[f"answer.{kind}"]
        if last.answer is not None:
            challenges = [{**_challenge(each), "label": each.label} for each in last.answer.challenges]
            return _OK, self._flat(_OK, message, {"recommend": last.answer.recommend, "challenges": challenges}), []
        error = last.error or MulgilError()
        if isinstance(error, OffTopic):
            return _OK, self._flat(_OK, message, {"recommend": self.sentence(error), "challenges": None}), []
        return self.refusal(error)

    def sentence(self, error: MulgilError) -> str:
        """Return the error's public sentence."""
        return self.domain.messages[error.message_key]

    def _one(self, event_id: str, event: Event) -> bytes:
        if isinstance(event, Piece):
            return _piece(event_id, event.text, self.domain.messages["piece"])
        return _frame(event_id, *self._told(event))

    def _told(self, event: Event) -> tuple[str, int, str, Any]:
        """Return name, status, message and data of an event."""
        match event:
            case Closed(answer=None) | Failed():
                error = event.error or MulgilError()
                name = "error" if isinstance(event, Failed) else "close"
                return name, error.status, self.sentence(error), None
            case Closed():
                return "close", _OK, self.domain.messages["closed"], _whole(event.answer)
            case Piece():
                return "challenge", _OK, self.domain.messages["piece"], event.text
            case _:
                return _NAMES[type(event)], _OK, "", _DATA[type(event)](event)

    @staticmethod
    def _flat(status: int, message: str, data: Any) -> bytes:
        return encoded({"status": status, "message": message, "data": data})


def encoded(value: object) -> bytes:
    """Return compact JSON in UTF-8; a lone surrogate, which no input check lets through, is dropped."""
    return str(_dumps(value)).encode(errors="ignore")


def _frame(event_id: str, name: str, status: int, message: str, data: Any) -> bytes:
    text = _dumps({"status": status, "message": message, "data": data}).translate(_LINE_ENDS)
    return f"id: {event_id}\nevent: {name}\ndata: {text}\n\n".encode(errors="ignore")


def _piece(event_id: str, text: str, message: str) -> bytes:
    # Most events are pieces: this is `_frame` without building a dict, and without `translate`, slow for Korean.
    data = encode_basestring(text)
    if _LINE_END.search(data):
        data = data.translate(_LINE_ENDS)
    head = f'id: {event_id}\nevent: challenge\ndata: {{"status":200,"message":"{message}","data":'
    return f"{head}{data}}}\n\n".encode(errors="ignore")


def _challenge(each: Challenge) -> dict[str, Any]:
    return {"title": each.title, "description": each.description, "category": each.category}


def _whole(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {"recommend": answer.recommend, "challenges": [_challenge(each) for each in answer.challenges]}


def _item(event: Item) -> dict[str, Any]:
    told = event.challenge
    return {"index": event.index, **_challenge(told), "label": told.label, "sourceId": told.source_id}


def _sources(event: Sources) -> list[dict[str, Any]]:
    return [
        {"id": each.id, "title": each.title, "category": each.category, "score": round(each.score, 4)}
        for each in event.sources
    ]


_NAMES: dict[type, str] = {TurnStarted: "turn", Queued: "queue", Sources: "sources", Item: "item"}
_DATA: dict[type, Callable[[Any], Any]] = {
    TurnStarted: lambda event: {"turnId": event.turn_id, "sessionId": event.session_id},
    Queued: lambda event: {"position": event.position, "etaSeconds": event.eta_seconds},
    Sources: _sources,
    Item: _item,
}
