"""What the double plays: a script is a list of answers, each with its pieces, pauses and fault."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulgil.errors import SetupError

Milliseconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fault(_Part):
    """One thing that goes wrong, `at` pieces after the answer's start.

    status       `status` and `body` instead of an answer, with Retry-After where `retry_after` is given
    hangup       the connection is closed before a byte of an answer
    close        the connection is closed in the middle; reset: the same with a TCP reset
    stall        no byte more, for ever
    garbage      bytes that are no event; broken_json: an event whose JSON is cut; the answer goes on after both
    error        an error object as event, then the end
    no_done      the end without [DONE]
    """

    kind: Literal["status", "hangup", "close", "reset", "stall", "garbage", "broken_json", "error", "no_done"]
    at: Annotated[int, Field(ge=0)] = 0
    status: Annotated[int, Field(ge=300, le=599)] = 500
    body: str | None = None
    retry_after: int | None = None


class Answer(_Part):
    r"""One answer; its text is `pieces`, `text`, `fields`, or made from the request's schema, in this order.

    match                the answer is for requests whose last user message contains this; without: any other
    fields               text by property of the schema, "*" for all others; sent as a JSON object
    chunk                characters a piece, where `pieces` does not say
    headers_ms, first_ms, gap_ms, pauses
                         waits before the headers, the first piece, every further one, and pieces by their index
    rate                 pieces a second, instead of `gap_ms`
    gates                a name by the index of the piece that waits until that gate is released
    usage                a usage chunk at the end; without: as `stream_options.include_usage` asks
    deltas_per_write     so many events in one write; split_bytes: every event cut into writes of so many bytes
    crlf, comments       lines end in CR LF; a comment line before every event
    ascii                JSON with \u escapes only, which also lets lone surrogates through
    """

    match: str | None = None
    pieces: tuple[str, ...] | None = None
    text: str | None = None
    fields: dict[str, str] | None = None
    chunk: Count = 2
    headers_ms: Milliseconds = 0
    first_ms: Milliseconds = 0
    gap_ms: Milliseconds = 0
    rate: Annotated[float, Field(gt=0)] | None = None
    pauses: dict[int, Milliseconds] = {}
    gates: dict[int, str] = {}
    fault: Fault | None = None
    finish: Literal["stop", "length"] | None = "stop"
    usage: bool | None = None
    deltas_per_write: Count = 1
    split_bytes: Count | None = None
    crlf: bool = False
    comments: bool = False
    ascii: bool = False

    def wait(self, index: int) -> float:
        """Seconds before the piece at `index`."""
        gap = 1000 / self.rate if self.rate else self.gap_ms
        return self.pauses.get(index, gap if index else self.first_ms) / 1000


class Script(_Part):
    """Answers, played in turn; `default` is played where no answer fits, its text made from the request's schema."""

    answers: tuple[Answer, ...] = ()
    default: Answer = Answer()
    model: str = "scripted"
    slots: Count = 4
    context: Count = 4096
    key: str | None = None
    health: int = 200
    props: bool = True
    """False: no `/props`, as with vLLM."""


class Cast:
    """Chooses the answer of every request: those that match its last user message, then those for any, each in turn."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._given: dict[str | None, int] = {}

    def choose(self, message: str) -> Answer:
        """Return the next answer for this last user message."""
        matches = [a.match for a in self._script.answers if a.match is not None and a.match in message]
        key = matches[0] if matches else None
        candidates = [answer for answer in self._script.answers if answer.match == key]
        if not candidates:
            return self._script.default
        turn = self._given.get(key, 0)
        self._given[key] = turn + 1
        return candidates[turn % len(candidates)]


def load_script(path: Path) -> Script:
    """Read a script from a JSON or TOML file; SetupError says what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
        data: Any = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        return Script.model_validate(data)
    except OSError as error:
        raise SetupError(f"The script {path} can't be read ({error.strerror}). Give an existing file.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SetupError(f"The script {path} is wrong at {where or 'its top'}: {first['msg']}.") from error
    except ValueError as error:
        raise SetupError(f"The script {path} is no valid {path.suffix.lstrip('.') or 'JSON'}: {error}.") from error
