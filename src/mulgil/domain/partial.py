"""Read a flat JSON object of strings while it is still being written.

The engine's text arrives in chunks that may end anywhere: inside an escape, a surrogate pair, a key. Each `feed` scans
only what is new (design.md, fact 5, measures re-parsing instead). Text before the object (a code fence, say) and after
it is ignored. White space runs become one space, since line breaks come from the answer's structure only.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

# Most chunks are words: nothing in them can be dropped, joined or held back.
_WORDS = re.compile(r"(?: ?[\uac00-\ud7a3A-Za-z0-9,.!?~]++)++ ?")
_SPACE = re.compile(r"\s+")
_DROPPED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffd]+")
_LONG_FENCE = re.compile("`{4,}")
# Jamo that stand apart are composed. Nothing else is: it would take holding back every letter for an accent to come.
_JAMO = re.compile("[\u1100-\u11ff]{2,}")
_NAMES = "s|unk|pad|bos|eos|mask|think|start_of_turn|end_of_turn"
_SPECIAL = re.compile(rf"<[|｜](?:[^<>|｜]{{0,64}}[|｜]>)?|</?(?:{_NAMES})>|`{{3,}}(?:json)?")
_UNDECIDED = re.compile(
    r"(?:<(?:[|｜][^<>|｜]{0,64}[|｜]?|/?[a-z_]{0,13})|``?|```(?:j|js|jso)?|[\u1100-\u115f][\u1160-\u11a7]?)\Z"
)
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
_LONGEST_UNDECIDED = 68
_LONGEST_TEXT = 4096
_LONGEST_KEY = 64
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_PARTIAL_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "", "f": " ", "n": " ", "r": " ", "t": " "}


class InvalidAnswer(ValueError):
    """The text is not the flat object of strings that was asked for."""


@dataclass(slots=True)
class Text:
    """A value as display text: `shown` only ever grows, `done` says that its closing quote came.

    Held back are a space, which may be the last, and what may become a special token, a code fence or a syllable.
    """

    shown: str = ""
    done: bool = False
    _held: str = ""
    _space: bool = False

    def add(self, decoded: str) -> None:
        """Append decoded characters, and let through what can't change any more. Raises `InvalidAnswer` at 4,096."""
        if self._held or not _WORDS.fullmatch(decoded):
            self._release(self._held + decoded, final=False)
        else:
            self._show(decoded)
        if len(self.shown) > _LONGEST_TEXT:
            raise InvalidAnswer("a text that never ends")

    def finish(self) -> None:
        """The value is whole: what was held back is let through, a space at its end is dropped."""
        if self._held:
            self._release(self._held, final=True)
        self.done = True

    def _release(self, raw: str, *, final: bool) -> None:
        raw = _LONG_FENCE.sub("```", _SPACE.sub(" ", _DROPPED.sub("", raw)))
        undecided = None if final else _UNDECIDED.search(raw, max(0, len(raw) - _LONGEST_UNDECIDED))
        cut = undecided.start() if undecided else len(raw)
        ready, self._held = raw[:cut], raw[cut:]
        ready = _SPECIAL.sub("", _JAMO.sub(lambda run: unicodedata.normalize("NFC", run[0]), ready))
        self._show(_SPACE.sub(" ", ready))

    def _show(self, text: str) -> None:
        words = text.strip(" ")
        if not words:
            self._space = self._space or bool(text)
            return
        if self.shown and (self._space or text[0] == " "):
            words = " " + words
        self.shown += words
        self._space = text[-1] == " "


@dataclass(slots=True)
class FlatObject:
    """The object so far: `values` by key, in the order in which they came; `closed` after its brace."""

    values: dict[str, Text] = field(default_factory=dict)
    closed: bool = False
    _state: str = "before"
    _rest: str = ""
    _key: str = ""
    _high: int = 0
    _decoded: list[str] = field(default_factory=list)

    def feed(self, chunk: str) -> None:
        """Scan the next chunk. Raises `InvalidAnswer` when the text can't become a flat object of strings.

        What stood before the fault is in `values` then.
        """
        if self._state == "value" and not self._rest and '"' not in chunk and "\\" not in chunk:
            self._high = 0
            self.values[self._key].add(chunk)
            return
        try:
            self._scan(self._rest + chunk)
        finally:
            self._flush()

    def _scan(self, text: str) -> None:
        at, end = 0, len(text)
        self._rest = ""
        while at < end and not self.closed:
            if self._state not in {"key", "value"}:
                at = self._between(text, at)
            elif _PARTIAL_ESCAPE.match(text, at):
                self._rest = text[at:]
                return
            else:
                at = self._in_string(text, at)

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
        self._structure(char)
        return at + 1

    def _structure(self, char: str) -> None:
        match self._state, char:
            case ("want key" | "after value", "}"):
                self.closed = True
            case ("want key", '"'):
                self._key, self._state = "", "key"
            case ("after key", ":"):
                self._state = "want value"
            case ("want value", '"'):
                self._open_value()
            case ("after value", ","):
                self._state = "want key"
            case _:
                raise InvalidAnswer(f"{char!r} where {self._state!r}")

    def _open_value(self) -> None:
        if self._key in self.values:
            raise InvalidAnswer("a key twice")
        self.values[self._key] = Text()
        self._state = "value"

    def _in_string(self, text: str, at: int) -> int:
        plain = _PLAIN.match(text, at)
        if plain:
            self._high = 0
            self._decoded.append(plain[0])
            return plain.end()
        if text[at] == '"':
            self._close_string()
            return at + 1
        escape = _ESCAPE.match(text, at)
        if not escape:
            raise InvalidAnswer(f"the escape {text[at : at + 6]!r}")
        self._unescape(escape)
        return escape.end()

    def _close_string(self) -> None:
        self._high = 0
        self._flush()
        if self._state == "key":
            self._state = "after key"
            return
        self.values[self._key].finish()
        self._state = "after value"

    def _unescape(self, escape: re.Match[str]) -> None:
        if escape[2]:
            self._high = 0
            self._decoded.append(_ESCAPES[escape[2]])
            return
        unit, high, self._high = int(escape[1], 16), self._high, 0
        if unit in _HIGH:
            self._high = unit
        elif high and unit in _LOW:
            self._decoded.append(chr(0x10000 + ((high - _HIGH.start) << 10) + unit - _LOW.start))
        else:
            self._decoded.append(chr(unit))

    def _flush(self) -> None:
        if not self._decoded:
            return
        decoded = "".join(self._decoded)
        self._decoded.clear()
        if self._state == "value":
            self.values[self._key].add(decoded)
            return
        self._key += decoded
        if len(self._key) > _LONGEST_KEY:
            raise InvalidAnswer("a key that never ends")
