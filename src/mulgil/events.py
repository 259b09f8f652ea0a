"""What happens in a turn, as frozen events; everything that a client sees is one of them.

Their order:

    TurnStarted  Sources?  Queued*  (Piece | Item)*  Closed            a whole answer
    TurnStarted  (any of the above)*  Failed  Closed                   a turn that ended early

Exactly one `Closed`, last. `concat(piece.text)` is the answer rendered as text.
"""

from __future__ import annotations

from dataclasses import dataclass

from mulgil.errors import MulgilError


@dataclass(frozen=True, slots=True)
class Challenge:
    """One recommendation of an answer: title and description as plain text, category by code and label."""

    title: str
    description: str
    category: str
    label: str
    source_id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer: one sentence and the domain's number of challenges."""

    recommend: str
    challenges: tuple[Challenge, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """An entry that retrieval chose; `score` is 0 to 1."""

    id: str
    title: str
    category: str
    score: float


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """First event of every turn."""

    turn_id: str
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Queued:
    """The turn waits for the engine; `position` counts from 1, `eta_seconds` where a rate is known."""

    position: int
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class Sources:
    """What retrieval found, best first."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of display text."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A finished challenge; `index` counts from 1."""

    index: int
    challenge: Challenge


@dataclass(frozen=True, slots=True)
class Failed:
    """Why the turn ended early; always right before `Closed`."""

    error: MulgilError


@dataclass(frozen=True, slots=True)
class Closed:
    """The end: the answer, or the error that `Failed` told."""

    answer: Answer | None
    error: MulgilError | None = None


Event = TurnStarted | Queued | Sources | Piece | Item | Failed | Closed
