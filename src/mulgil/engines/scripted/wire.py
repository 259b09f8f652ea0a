"""The bytes of an answer and when they go out: OpenAI chunks as server-sent events in a chunked HTTP body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import islice
from typing import Any, Literal

from mulgil.engines.scripted.script import Answer, Fault

SPLIT_WAIT = 0.002
"""Seconds between the writes of one split event: enough for a reader to see each on its own."""

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
GARBAGE = b"\x00\xff\xfe{{{\xed\xa0\x80 not an event"
BROKEN = b'data: {"choices": [{"index": 0, "delta": {"content": "bro'
ENDS: dict[str, Literal["close", "reset", "stall"]] = {
    "hangup": "close",
    "close": "close",
    "reset": "reset",
    "stall": "stall",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One write: `wait` seconds after the one before, carrying so many pieces of text."""

    wait: float
    data: bytes
    pieces: int = 0
    gate: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All writes of one response, and what becomes of the connection after them."""

    steps: tuple[Step, ...]
    end: Literal["keep", "close", "reset", "stall"] = "keep"


def plain(status: int, data: object, headers: str = "") -> Plan:
    """Return the plan of one JSON response."""
    return Plan((Step(0, _response(status, json.dumps(data, ensure_ascii=False).encode(), headers)),))


def _response(status: int, body: bytes, headers: str = "", length: int | None = None) -> bytes:
    reason = HTTPStatus(status).phrase
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n{headers}content-length: {size}\r\n\r\n"
    return head.encode() + body


def refused(fault: Fault) -> Plan:
    """Return the plan of an HTTP status instead of an answer."""
    after = "" if fault.retry_after is None else f"retry-after: {fault.retry_after}\r\n"
    if fault.body is not None:
        return Plan((Step(0, _response(fault.status, fault.body.encode(), after)),))
    return plain(fault.status, _error(fault.status), after)


def _error(status: int) -> dict[str, Any]:
    return {"error": {"message": "scripted fault", "type": "server_error", "code": status}}


# -- a stream -----------------------------------------------------------------------------------------------------


def streamed(answer: Answer, pieces: tuple[str, ...], model: str, usage: dict[str, int] | None) -> Plan:
    """Return the plan of a stream of chunks, with the answer's pauses and its fault."""
    fault = answer.fault
    if fault and fault.kind == "hangup":
        return Plan((Step(answer.headers_ms / 1000, b""),), "close")
    body = list(_deltas(answer, pieces, model))
    if fault:
        body = _with_fault(answer, fault, body)
    steps = [piece for step in _merged(body, answer.deltas_per_write) for piece in _split(step, answer.split_bytes)]
    framed = (Step(answer.headers_ms / 1000, HEAD), *(replace(step, data=_chunked(step.data)) for step in steps))
    if fault and fault.kind in ENDS:
        return Plan(framed, ENDS[fault.kind])
    return Plan((*framed, Step(0, _tail(answer, model, usage))))


def _deltas(answer: Answer, pieces: tuple[str, ...], model: str) -> Iterator[Step]:
    role = _event(answer, _chunk(model, {"role": "assistant", "content": ""}))
    for index, piece in enumerate(pieces):
        data = _event(answer, _chunk(model, {"content": piece}))
        # The role goes out with the first token, as real servers send it.
        yield Step(answer.wait(index), data if index else role + data, 1, answer.gates.get(index))


def _with_fault(answer: Answer, fault: Fault, body: list[Step]) -> list[Step]:
    before, after = body[: fault.at], body[fault.at :]
    end = b"\r\n\r\n" if answer.crlf else b"\n\n"
    match fault.kind:
        case "garbage":
            return [*before, Step(0, GARBAGE + end), *after]
        case "broken_json":
            return [*before, Step(0, BROKEN + end), *after]
        case "error":
            return [*before, Step(0, _event(answer, _error(fault.status)))]
        case "close" | "reset" | "stall":
            return before
    return body


def _merged(steps: list[Step], size: int) -> Iterator[Step]:
    rest = iter(steps)
    while group := list(islice(rest, size)):
        waits, gates = sum(step.wait for step in group), (step.gate for step in group if step.gate)
        data = b"".join(step.data for step in group)
        yield Step(waits, data, sum(step.pieces for step in group), next(gates, None))


def _split(step: Step, size: int | None) -> Iterator[Step]:
    size = size or len(step.data)
    for start in range(0, len(step.data), size):
        part = step.data[start : start + size]
        first, last = start == 0, start + size >= len(step.data)
        wait = step.wait if first else SPLIT_WAIT
        yield Step(wait, part, step.pieces if last else 0, step.gate if first else None)


def _tail(answer: Answer, model: str, usage: dict[str, int] | None) -> bytes:
    fault = answer.fault.kind if answer.fault else None
    events = []
    if fault != "error":
        events.append(_event(answer, _chunk(model, {}, answer.finish)))
    if usage:
        events.append(_event(answer, {**_chunk(model, {}), "choices": [], "usage": usage}))
    if fault != "no_done":
        events.append(_event(answer, "[DONE]"))
    return (_chunked(b"".join(events)) if events else b"") + LAST_CHUNK


def _chunk(model: str, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": [choice],
    }


def _event(answer: Answer, data: object) -> bytes:
    end = "\r\n" if answer.crlf else "\n"
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=answer.ascii, separators=(",", ":"))
    comment = f": scripted{end}{end}" if answer.comments else ""
    return f"{comment}data: {text}{end}{end}".encode()


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# -- a whole answer -----------------------------------------------------------------------------------------------


def whole(answer: Answer, pieces: tuple[str, ...], model: str, usage: dict[str, int]) -> Plan:
    """Return the plan of one JSON answer, sent when the last piece of a stream would be."""
    wait = answer.headers_ms / 1000 + sum(answer.wait(index) for index in range(len(pieces)))
    gate = next(iter(answer.gates.values()), None)
    data, end = _whole_data(answer.fault.kind if answer.fault else None, _completion(answer, pieces, model, usage))
    return Plan((Step(wait, data, len(pieces), gate),) if data else (), end)


def _whole_data(fault: str | None, body: bytes) -> tuple[bytes, Literal["keep", "close", "reset", "stall"]]:
    match fault:
        case "garbage":
            return _response(200, GARBAGE), "keep"
        case "broken_json":
            return _response(200, body[:-9]), "keep"
        case "error":
            return _response(200, json.dumps(_error(500)).encode()), "keep"
        case "close" | "reset":
            return _response(200, body[:-9], length=len(body)), ENDS[fault]
        case "hangup" | "stall":
            return b"", ENDS[fault]
    return _response(200, body), "keep"


def _completion(answer: Answer, pieces: tuple[str, ...], model: str, usage: dict[str, int]) -> bytes:
    message = {"role": "assistant", "content": "".join(pieces)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    whole = {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 0, "model": model}
    return json.dumps({**whole, "choices": [choice], "usage": usage}, ensure_ascii=answer.ascii).encode()
