"""A message as the deciders see it: its text, its morphemes, and where words stand in it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from mulgil.morphemes import Token


@dataclass(frozen=True, slots=True)
class Span:
    """Where a listed word stands in a text: from `start` up to `end`, in code points; `word` as the text has it."""

    start: int
    end: int
    word: str

    def inside(self, others: Iterable[Span]) -> bool:
        """Tell whether one of the others covers this span."""
        return any(other.start <= self.start and self.end <= other.end for other in others)


@dataclass(frozen=True, slots=True)
class Talk:
    """A message in NFC with its morphemes; their offsets are those of this text."""

    text: str
    tokens: Sequence[Token]
    starts: frozenset[int] = field(init=False)
    ends: frozenset[int] = field(init=False)
    inside: Mapping[int, int] = field(init=False)
    """For each place inside a morpheme, where that one ends."""

    def __post_init__(self) -> None:
        # A frozen object's own way to set what it derives.
        inside = {at: token.end for token in self.tokens for at in range(token.start + 1, token.end)}
        object.__setattr__(self, "starts", frozenset(token.start for token in self.tokens))
        object.__setattr__(self, "ends", frozenset(token.end for token in self.tokens))
        object.__setattr__(self, "inside", inside)

    def after(self, at: int) -> Iterator[Token]:
        """Yield the morphemes that begin here or later."""
        first = bisect_left(self.tokens, at, key=_start)
        return (self.tokens[place] for place in range(first, len(self.tokens)))

    def begins(self, at: int) -> bool:
        """Tell whether a word or a morpheme begins here."""
        return at == 0 or not self.text[at - 1].isalnum() or at in self.starts

    def finishes(self, at: int) -> bool:
        """Tell whether a word or a morpheme has just ended here."""
        return at >= len(self.text) or not self.text[at].isalnum() or at in self.ends

    def whole(self, words: tuple[str, ...]) -> Iterator[Span]:
        """Yield where one of the words stands as whole morphemes."""
        return (span for span in spans(self.text, words) if self.begins(span.start) and self.finishes(span.end))


def spans(text: str, words: tuple[str, ...]) -> Iterator[Span]:
    """Yield, for each place where listed words begin, the longest of them. Case is ignored; spans may overlap."""
    patterns = _patterns(words)
    for at, char in enumerate(text):
        pattern = patterns.get(char.casefold())
        match = pattern.match(text, at) if pattern else None
        if match:
            yield Span(at, match.end(), match[0])


def _start(token: Token) -> int:
    return token.start


def either(words: Iterable[str]) -> str:
    """Return the words as an alternation, longest first; a space in a word stands for any white space or none."""
    ordered = sorted(words, key=len, reverse=True)
    return "|".join(r"\s*".join(map(re.escape, word.split())) for word in ordered)


@cache
def _patterns(words: tuple[str, ...]) -> dict[str, re.Pattern[str]]:
    # By first letter: one pattern of a thousand words would be tried as a thousand words at every place.
    grouped: dict[str, list[str]] = {}
    for word in words:
        grouped.setdefault(word[0].casefold(), []).append(word)
    return {first: re.compile(either(group), re.IGNORECASE) for first, group in grouped.items()}
