"""Turn the growing answer into display text, finished items and, at the end, the whole answer.

A plan says what the text is made of: fixed text and the model's fields, in the order in which a reader sees them. The
model may write its fields in any order and any chunks; text goes out as soon as everything before it is out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mulgil.domain.partial import FlatObject, InvalidAnswer, Text
from mulgil.events import Answer, Challenge, Item, Piece
from mulgil.text import key

TITLE_LIMIT = 100
DESCRIPTION_LIMIT = 255
RECOMMEND = "recommend"


@dataclass(frozen=True, slots=True)
class Slot:
    """One challenge to come: what is fixed already; an empty `title` or `description` is the model's to write."""

    category: str
    label: str
    title: str = ""
    description: str = ""
    source_id: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of display text: `fixed`, or the model's field `key`, at most `limit` characters long."""

    key: str = ""
    fixed: str = ""
    limit: int = DESCRIPTION_LIMIT
    ends_item: int = 0


def keys(slots: Sequence[Slot]) -> list[str]:
    """Return the fields that the model writes, in reading order: recommend, then t1, d1, t2, ..."""
    return [part.key for part in plan(slots) if part.key]


def plan(slots: Sequence[Slot]) -> list[Part]:
    """Return the answer's parts in reading order."""
    parts = [Part(key=RECOMMEND)]
    for index, slot in enumerate(slots, start=1):
        parts.append(Part(fixed=f"\n\n{index}. "))
        parts.append(Part(fixed=slot.title) if slot.title else Part(key=f"t{index}", limit=TITLE_LIMIT))
        parts.append(Part(fixed="\n"))
        described = bool(slot.description)
        parts.append(Part(key="" if described else f"d{index}", fixed=slot.description, ends_item=index))
    return parts


@dataclass(slots=True)
class Display:
    """The display side of one answer. `feed` takes the engine's text, `finish` checks the whole."""

    slots: Sequence[Slot]
    written: dict[str, str] = field(default_factory=dict)
    _object: FlatObject = field(default_factory=FlatObject)
    _fault: InvalidAnswer | None = None
    _parts: list[Part] = field(default_factory=list)
    _next: int = 0
    _retried: bool = False

    def __post_init__(self) -> None:
        self._parts = plan(self.slots)

    def feed(self, chunk: str) -> Iterator[Piece | Item]:
        """Yield the piece and the items that the chunk brought, at most one piece.

        Raises `InvalidAnswer` after what was right up to the fault: that is shown, and a retry goes on from there.
        What comes after the last part never matters.
        """
        before = self._next
        text = self._grown(chunk)
        if text:
            yield Piece(text)
        if self._next != before:
            yield from (
                Item(part.ends_item, self._challenge(part.ends_item))
                for part in self._parts[before : self._next]
                if part.ends_item
            )
        if self._fault and not self.whole:
            raise self._fault

    @property
    def whole(self) -> bool:
        """Whether everything was shown."""
        return self._next == len(self._parts)

    @property
    def closed(self) -> bool:
        """Whether the engine's object is at its end, and right."""
        return self._object.closed and not self._fault

    def restart(self) -> None:
        """Another attempt writes the rest: its object holds the fields from the current one on."""
        self._object = FlatObject()
        self._fault = None
        self._retried = True

    def missing(self) -> list[str]:
        """Return the fields that are not finished, in reading order."""
        return [part.key for part in self._parts[self._next :] if part.key]

    def begun(self) -> str:
        """Return what was already shown of the first missing field."""
        missing = self.missing()
        return self.written.get(missing[0], "") if missing else ""

    def finish(self) -> Answer:
        """Return the whole answer. Raises `InvalidAnswer` if anything is missing, empty or twice."""
        if not self.whole:
            raise InvalidAnswer(f"unfinished: {self.missing()}")
        challenges = tuple(self._challenge(index) for index in range(1, len(self.slots) + 1))
        if len({key(challenge.title) for challenge in challenges}) < len(challenges):
            raise InvalidAnswer("a title twice")
        return Answer(self.written[RECOMMEND], challenges)

    def _grown(self, chunk: str) -> str:
        """Return the text that the chunk brought; a fault is kept."""
        texts: list[str] = []
        try:
            if not self._fault:
                self._object.feed(chunk)
        except InvalidAnswer as error:
            self._fault = error
        try:
            while self._next < len(self._parts) and self._advance(self._parts[self._next], texts):
                self._next += 1
        except InvalidAnswer as error:
            self._fault = error
        return "".join(texts)

    def _advance(self, part: Part, texts: list[str]) -> bool:
        """Add what is new of this part; return whether it is at its end."""
        if not part.key:
            texts.append(part.fixed)
            return True
        text = self._object.values.get(part.key)
        if text is None:
            return False
        texts.append(self._taken(part, text))
        return text.done

    def _taken(self, part: Part, text: Text) -> str:
        sent, whole = self.written.get(part.key, ""), text.shown
        if self._retried and not (whole.startswith(sent) or sent.startswith(whole)):
            raise InvalidAnswer(f"{part.key} no longer begins with what was sent")
        if text.done and len(whole) < len(sent):
            raise InvalidAnswer(f"{part.key} is shorter than what was sent")
        if len(whole) > part.limit:
            raise InvalidAnswer(f"{part.key} is longer than {part.limit}")
        if text.done and not whole:
            raise InvalidAnswer(f"{part.key} is empty")
        if len(whole) <= len(sent):
            return ""
        self.written[part.key] = whole
        return whole[len(sent) :]

    def _challenge(self, index: int) -> Challenge:
        slot = self.slots[index - 1]
        title = slot.title or self.written[f"t{index}"]
        description = slot.description or self.written[f"d{index}"]
        return Challenge(title, description, slot.category, slot.label, slot.source_id)


def rendered(answer: Answer) -> str:
    """Return the answer as display text: what the pieces of its stream add up to."""
    return answer.recommend + "".join(_numbered(answer.challenges))


def _numbered(challenges: Sequence[Challenge]) -> Iterator[str]:
    for index, challenge in enumerate(challenges, start=1):
        yield f"\n\n{index}. {challenge.title}\n{challenge.description}"
