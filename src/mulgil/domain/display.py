"""Turn the growing answer into display text, finished items and, at the end, the whole answer.

A plan says what the text is made of: fixed text and the model's fields, in the order in which a reader sees them. The
model may write its fields in any order and any chunks; text goes out as soon as everything before it is out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mulgil.domain.partial import FlatObject, InvalidAnswer, Text
from mulgil.events import Answer, Challenge, Item, Piece

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
    _parts: list[Part] = field(default_factory=list)
    _next: int = 0
    _retried: bool = False

    def __post_init__(self) -> None:
        self._parts = plan(self.slots)

    def feed(self, chunk: str) -> list[Piece | Item]:
        """Return the piece and the items that the chunk brought, at most one piece. Raises `InvalidAnswer`."""
        self._object.feed(chunk)
        text, items = "", []
        while self._next < len(self._parts):
            part = self._parts[self._next]
            new, done = self._advance(part)
            text += new
            if not done:
                break
            self._next += 1
            if part.ends_item:
                items.append(self._item(part.ends_item))
        pieces: list[Piece | Item] = [Piece(text)] if text else []
        return pieces + items

    @property
    def whole(self) -> bool:
        """Whether everything was shown."""
        return self._next == len(self._parts)

    def restart(self) -> None:
        """Another attempt writes the rest: its object holds the fields from the current one on."""
        self._object = FlatObject()
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
        if len({challenge.title for challenge in challenges}) < len(challenges):
            raise InvalidAnswer("a title twice")
        return Answer(self.written[RECOMMEND], challenges)

    def _advance(self, part: Part) -> tuple[str, bool]:
        if not part.key:
            return part.fixed, True
        text = self._object.values.get(part.key)
        if text is None:
            return "", False
        return self._take(part, text)

    def _take(self, part: Part, text: Text) -> tuple[str, bool]:
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
            return "", text.done
        self.written[part.key] = whole
        return whole[len(sent) :], text.done

    def _item(self, index: int) -> Item:
        return Item(index, self._challenge(index))

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
