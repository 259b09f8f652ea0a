"""An engine's event stream, from bytes to texts. Framed here, with a cap: aiohttp's line reader costs a call a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jiter

from mulgil.errors import UpstreamFailed

_LINE_CAP = 1 << 18
_DONE = b"[DONE]"
_OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HIGH = ("\ud800", "\udbff")


@dataclass(slots=True)
class Frames:
    """One stream. `finished`: the engine said why it stopped; `done`: `[DONE]` came, and nothing after it counts."""

    finished: bool = False
    done: bool = False
    _rest: bytes = b""
    _halves: bool = False
    _half: str = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the content of every whole chunk in the bytes, "" where it has none. Raises `UpstreamFailed`."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LINE_CAP:
            raise UpstreamFailed("a line of the engine's stream is too long")
        for line in lines:
            if line.startswith(b"data:"):
                payload = line[5:].strip()
                if payload == _DONE:
                    self.done = self.finished = True
                    return
                if payload:
                    yield self._content(payload)
            elif line.strip() and not line.startswith(_OTHER_FIELDS):
                raise UpstreamFailed("the engine sent what is no event")

    def _content(self, payload: bytes) -> str:
        chunk = self._parsed(payload)
        if not isinstance(chunk, dict) or "error" in chunk:
            raise UpstreamFailed("the engine sent an error")
        try:
            choices = chunk["choices"]
            if not choices:
                return ""
            choice = choices[0]
            if choice.get("finish_reason"):
                self.finished = True
            content = (choice.get("delta") or {}).get("content")
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise UpstreamFailed("the engine sent a chunk of another shape") from error
        if not isinstance(content, str):
            return ""
        return self._joined(content) if self._halves else content

    def _parsed(self, payload: bytes) -> Any:
        try:
            return jiter.from_json(payload)
        except ValueError:
            pass
        try:
            chunk = json.loads(payload)  # it alone takes the escape of a lone surrogate
        except (ValueError, RecursionError) as error:
            raise UpstreamFailed("the engine sent broken JSON") from error
        self._halves = True
        return chunk

    def _joined(self, content: str) -> str:
        """Join the halves of a surrogate pair that the engine cut in two; a lone one is its reader's to drop."""
        content, self._half = self._half + content, ""
        if content and _HIGH[0] <= content[-1] <= _HIGH[1]:
            content, self._half = content[:-1], content[-1]
        return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), content)
