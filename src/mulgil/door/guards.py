"""The checks of the contract's table: from raw fields to a question, or the error that the table names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mulgil.domain.load import match_category, match_option
from mulgil.domain.model import Domain
from mulgil.errors import BadTurnId, ChoiceUnknown, FieldMissing, MessageTooShort, NotText, TooLong
from mulgil.flow.question import Kind, Question
from mulgil.text import clean
from mulgil.turns.turn import Request

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EVENT_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([1-9][0-9]{0,8})")
_MESSAGE_LEAST = 5
_MESSAGE_MOST = 2000
_SESSION_MOST = 128


@dataclass(frozen=True, slots=True)
class Guards:
    """Checks input for one domain."""

    domain: Domain

    def names(self, kind: Kind) -> list[str]:
        """Return the names of the fields that a question of this kind has, in the order in which they are checked."""
        if kind == "free-text":
            return ["message"]
        return [*(field.name for field in self.domain.fields), self.domain.category_field]

    def request(self, kind: Kind, raw: Mapping[str, object], owner: str = "") -> Request:
        """Return who asks what, unchecked: enough to find a turn that exists."""
        session = raw.get("sessionId")
        asked = tuple(repr(_text(raw.get(name))) for name in self.names(kind))
        return Request(clean(session) or None if isinstance(session, str) else None, owner, (kind, *asked))

    def question(self, kind: Kind, raw: Mapping[str, object]) -> Question:
        """Return the checked question. Raises the first `InvalidInput` in the table's order."""
        question = self._free_text(raw) if kind == "free-text" else self._base_info(raw)
        self._session(raw.get("sessionId"))
        return question

    def _free_text(self, raw: Mapping[str, object]) -> Question:
        message = _text(raw.get("message"))
        if message is None or (isinstance(message, str) and not message.strip()):
            raise FieldMissing("message")
        if not isinstance(message, str) or len(message.strip()) < _MESSAGE_LEAST:
            raise MessageTooShort
        if len(message) > _MESSAGE_MOST:
            raise TooLong("message")
        return Question("free-text", message=message.strip())

    def _base_info(self, raw: Mapping[str, object]) -> Question:
        values = {name: self._required(name, raw.get(name)) for name in self.names("base-info")}
        name = self.domain.category_field
        category = match_category(self.domain, values.pop(name))
        if category is None:
            raise ChoiceUnknown(name)
        for field in self.domain.fields:
            if len(values[field.name]) > field.max_length:
                raise TooLong(field.name)
            values[field.name] = match_option(field, values[field.name])
        return Question("base-info", values={**values, name: category.code})

    def _required(self, name: str, value: object) -> str:
        text = _text(value)
        if text is None or (isinstance(text, str) and not text.strip()):
            raise FieldMissing(name)
        if not isinstance(text, str):
            raise NotText(name)
        return text.strip()

    def _session(self, value: object) -> None:
        if value is None:
            return
        text = _text(value)
        if not isinstance(text, str):
            raise NotText("sessionId")
        if len(text) > _SESSION_MOST:
            raise TooLong("sessionId")


def turn_id(text: str) -> str:
    """Return a client's turn id in its one form. Raises `BadTurnId` if it is no UUID."""
    lowered = text.strip().lower()
    if not _UUID.fullmatch(lowered):
        raise BadTurnId
    return lowered


def event_id(text: str) -> tuple[str, int] | None:
    """Return turn id and number of an event's id, or None if it is none of ours."""
    match = _EVENT_ID.fullmatch(text.strip().lower())
    return (match[1], int(match[2])) if match else None


def _text(value: object) -> object:
    return clean(value) if isinstance(value, str) else value
