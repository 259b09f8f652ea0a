"""A TOML table read strictly: each key is taken once, with its type, and a key that nobody took is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from mulgil.errors import SetupError


class Table:
    """One table of a file; every complaint is a `SetupError` that names the file, the key and what is allowed."""

    def __init__(self, file: Path, where: str, content: Mapping[str, object]) -> None:
        self._file = file
        self._where = where
        self._content = content
        self._taken: list[str] = []

    def names(self) -> Iterable[str]:
        """Return the keys that the file has in this table."""
        return self._content.keys()

    def text(self, key: str) -> str:
        """Take a string that is not blank."""
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "must be a text that is not blank")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings that are not blank; the list may be empty."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(each, str) and each.strip() for each in value):
            self.refuse(key, "must be a list of texts, none of them blank")
        return tuple(value)

    def number(self, key: str) -> int:
        """Take a whole number from 1."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.refuse(key, "must be a whole number from 1")
        return value

    def span(self, key: str) -> tuple[int, int]:
        """Take a list of two whole numbers, least and most."""
        value = self._take(key)
        if not isinstance(value, list) or [type(each) for each in value] != [int, int] or not 0 <= value[0] <= value[1]:
            self.refuse(key, "must be two whole numbers from 0, the smaller first")
        return value[0], value[1]

    def table(self, key: str) -> Table:
        """Take a table."""
        value = self._take(key)
        if not isinstance(value, dict):
            self.refuse(key, "must be a table")
        return Table(self._file, self.path(key), value)

    def tables(self, key: str) -> list[Table]:
        """Take a list of tables, with at least one."""
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
            self.refuse(key, f"must be one or more tables, each written as [[{self.path(key)}]]")
        return [Table(self._file, f"{self.path(key)}[{at}]", each) for at, each in enumerate(value)]

    def done(self) -> None:
        """Refuse what was never taken."""
        for key in self._content:
            if key not in self._taken:
                self.refuse(key, f"is not known; allowed here: {', '.join(self._taken) or 'nothing'}")

    def path(self, key: str) -> str:
        """Return the key with the tables that it stands in."""
        return f"{self._where}.{key}" if self._where else key

    def refuse(self, key: str, what: str) -> NoReturn:
        """Raise the `SetupError` that says what is wrong with `key`."""
        raise SetupError(f"{self._file}: {self.path(key)} {what}.")

    def _take(self, key: str) -> object:
        self._taken.append(key)
        if key not in self._content:
            self.refuse(key, "is missing")
        return self._content[key]
