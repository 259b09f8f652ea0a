"""Read a flat JSON object of strings while it is still being written.

The engine's text arrives in chunks that may end anywhere: inside an escape, a surrogate pair, a key. Each `feed` scans
only what is new (design.md, fact 5, measures re-parsing instead). Text before the object (a code fence, say) and after
it is ignored. White space runs become one space, since line breaks come from the answer's structure only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mulgil.text import clean_engine

_PLAIN = re.compile(r'[^"\\]+')
_SPECIAL = re.compile(r"<\|[^<>|]*\|>|</?s>|<(?:unk|pad|bos|eos|mask)>|<\|[^<>|]*$|```(?:json)?|`+$")
_HELD = re.compile(r"(?:\s+|<[|/a-z_]{0,32}\|?|`{1,2})$")
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_SPACE = re.compile(r"\s+")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "", "f": " ", "n": "\n", "r": "\n", "t": " "}


class InvalidAnswer(ValueError):
    """The text is not the flat object of strings that was asked for."""


@dataclass(slots=True)
class Text:
    """A value as display text: `shown` only ever grows, `done` says that its closing quote came."""

    shown: str = ""
    done: bool = False
    _raw: str = ""

    def add(self, decoded: str) -> None:
        """Append decoded characters, and let through what can't change any more."""
        self._raw += decoded
        self._release(final=False)

    def finish(self) -> None:
        """The value is whole: what was held back is let through or dropped."""
        self._release(final=True)
        self.done = True

    def _release(self, *, final: bool) -> None:
        raw = self._raw
        held = None if final else _HELD.search(raw)
        ready, self._raw = (raw[: held.start()], raw[held.start() :]) if held else (raw, "")
        if "<" in ready or "`" in ready:
            ready = _SPECIAL.sub("", ready)
        if not ready:
            return
        ready = _SPACE.sub(" ", clean_engine(ready))
        if not self.shown or self.shown.endswith(" "):
            ready = ready.lstrip(" ")
        if final:
            ready = ready.rstrip(" ")
        self.shown += ready


@dataclass(slots=True)
class FlatObject:
    """The object so far: `values` by key, in the order in which they came; `closed` after its brace."""

    values: dict[str, Text] = field(default_factory=dict)
    closed: bool = False
    _rest: str = ""
    _state: str = "before"
    _key: str = ""
    _high: int = 0

    def feed(self, chunk: str) -> None:
        """Scan the next chunk. Raises `InvalidAnswer` when the text can't become a flat object of strings."""
        text = self._rest + chunk if self._rest else chunk
        at, end = 0, len(text)
        while at < end and not self.closed:
            step = self._in_string(text, at) if self._state in {"key", "value"} else self._between(text, at)
            if step == at:
                break
            at = step
        self._rest = text[at:] if not self.closed else ""
        if len(self._rest) > 16:
            raise InvalidAnswer("an escape that never ends")

    def _between(self, text: str, at: int) -> int:
        if self._state == "before":
            brace = text.find("{", at)
            if brace < 0:
                return len(text)
            self._state = "want key"
            return brace + 1
        char = text[at]
        if char.isspace():
            return at + 1
        if char == "}" and self._state in {"want key", "after value"}:
            self.closed = True
        elif char == '"' and self._state == "want key":
            self._key, self._state = "", "key"
        elif char == ":" and self._state == "after key":
            self._state = "want value"
        elif char == '"' and self._state == "want value":
            self._open_value()
        elif char == "," and self._state == "after value":
            self._state = "want key"
        else:
            raise InvalidAnswer(f"{char!r} where {self._state!r}")
        return at + 1

    def _open_value(self) -> None:
        if self._key in self.values:
            raise InvalidAnswer("a key twice")
        self.values[self._key] = Text()
        self._state = "value"

    def _in_string(self, text: str, at: int) -> int:
        plain = _PLAIN.match(text, at)
        if plain:
            self._high = 0
            self._add(plain.group())
            return plain.end()
        if text[at] == '"':
            self._close_string()
            return at + 1
        return self._escape(text, at)

    def _close_string(self) -> None:
        self._high = 0
        if self._state == "key":
            self._state = "after key"
            return
        self.values[self._key].finish()
        self._state = "after value"

    def _escape(self, text: str, at: int) -> int:
        kind = text[at + 1 : at + 2]
        if kind == "u":
            digits = text[at + 2 : at + 6]
            if len(digits) < 4:
                return at
            self._unit(digits)
            return at + 6
        if not kind:
            return at
        if kind not in _ESCAPES:
            raise InvalidAnswer(f"the escape \\{kind}")
        self._high = 0
        self._add(_ESCAPES[kind])
        return at + 2

    def _unit(self, digits: str) -> None:
        if not _HEX.fullmatch(digits):
            raise InvalidAnswer(f"the escape \\u{digits}")
        unit = int(digits, 16)
        if 0xD800 <= unit < 0xDC00:
            self._high = unit
            return
        if 0xDC00 <= unit < 0xE000:
            if self._high:
                self._add(chr(0x10000 + ((self._high - 0xD800) << 10) + unit - 0xDC00))
        else:
            self._add(chr(unit))
        self._high = 0

    def _add(self, decoded: str) -> None:
        if self._state == "key":
            self._key += decoded
        else:
            self.values[self._key].add(decoded)
