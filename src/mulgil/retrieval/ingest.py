"""Rows of a JSONL catalogue become entries; a bad row is told by its line, and the rest is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mulgil.domain.load import match_category, match_option
from mulgil.domain.model import Domain, Field
from mulgil.errors import SetupError
from mulgil.retrieval.base import Entry
from mulgil.text import clean, key

MOST_TITLE = 100
MOST_DESCRIPTION = 255
_MOST_ID = 128
_PLAIN_KEYS = ("id", "title", "description", "category", "tags")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row was left out; `line` counts from 1."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class _BadRow(Exception):
    """Its text is the problem's reason."""


def read_entries(path: Path, domain: Domain) -> tuple[list[Entry], list[Problem]]:
    """Return the catalogue's entries in order, and the rows that are none.

    A row is a JSON object with `id`, `title` (100 characters), `description` (255), `category` (label, code or alias),
    and, where wanted, `tags` and a list of options for each field of the domain, under the field's `entry_key`.
    An id, title or description that an earlier row has is a problem. Raises `SetupError` if the file can't be read.
    """
    entries, problems, seen = [], [], _Seen()
    for line, raw in _lines(path):
        try:
            entry = _entry(_row(raw), domain)
            seen.add(entry, line)
            entries.append(entry)
        except _BadRow as bad:
            problems.append(Problem(path, line, str(bad)))
    return entries, problems


@dataclass(slots=True)
class _Seen:
    lines: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, entry: Entry, line: int) -> None:
        names = {"id": entry.id, "title": key(entry.title), "description": key(entry.description)}
        for name in names.items():
            if name in self.lines:
                raise _BadRow(f"its {name[0]} is that of line {self.lines[name]}")
        self.lines |= dict.fromkeys(names.items(), line)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from ((number, raw) for number, raw in enumerate(file, 1) if raw.strip())
    except OSError as error:
        raise SetupError(f"The catalogue {path} can't be read ({error.strerror}).") from error


def _row(raw: bytes) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _BadRow("is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _BadRow(f"is no JSON ({error})") from error
    if not isinstance(row, dict):
        raise _BadRow("is no JSON object")
    return row


def _entry(row: Mapping[str, Any], domain: Domain) -> Entry:
    allowed = {*_PLAIN_KEYS, *(each.entry_key for each in domain.fields)}
    if unknown := sorted(row.keys() - allowed):
        raise _BadRow(f"unknown key {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}")
    return Entry(
        id=_text(row, "id", _MOST_ID),
        title=_text(row, "title", MOST_TITLE),
        description=_text(row, "description", MOST_DESCRIPTION),
        category=_category(row, domain),
        values={each.name: _options(row, each) for each in domain.fields},
        tags=_texts(row, "tags"),
    )


def _text(row: Mapping[str, Any], name: str, most: int) -> str:
    if name not in row:
        raise _BadRow(f"{name} is missing")
    text = _clean(row[name], name)
    if len(text) > most:
        raise _BadRow(f"{name} has {len(text)} characters; at most {most} are allowed")
    return text


def _clean(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _BadRow(f"{name} is no string")
    text = clean(value).strip()
    if not text:
        raise _BadRow(f"{name} is empty")
    if "\n" in text:
        raise _BadRow(f"{name} has a line break")
    return text


def _category(row: Mapping[str, Any], domain: Domain) -> str:
    text = _text(row, "category", _MOST_ID)
    category = match_category(domain, text)
    if category is None:
        raise _BadRow(f"category {text} is unknown; allowed: {', '.join(domain.categories)}")
    return category.code


def _options(row: Mapping[str, Any], field: Field) -> tuple[str, ...]:
    options = tuple(match_option(field, text) for text in _texts(row, field.entry_key))
    if unknown := [option for option in options if option not in field.options]:
        raise _BadRow(f"{field.entry_key} has {', '.join(unknown)}; allowed: {', '.join(field.options)}")
    return tuple(dict.fromkeys(options))


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = row.get(name, [])
    if not isinstance(values, list):
        raise _BadRow(f"{name} is no list")
    return tuple(_clean(value, name) for value in values)
