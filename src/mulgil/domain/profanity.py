"""Profanity, however it is spelled, and not what merely contains its letters.

A listed word is found with separators between its letters, letters repeated, vowels drawn out, Hangul taken apart,
Latin look-alikes. Then it must stand as a word: what is written in one piece may border on any morpheme, what was taken
apart only on white space and signs, for there the morphemes say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mulgil.domain.letters import ALONE, HANGUL, SILENT, VOWELS, alone, is_alone, is_vowel, letters_of, spell, tensed
from mulgil.domain.model import Rules
from mulgil.domain.talk import Span, Talk, spans

_MOST = 8
_GAP = rf"(?:[^\w{HANGUL}]|[\d_]){{0,3}}"
_SIGN = rf"[^\w\s{HANGUL}]"
_ASCII_LETTERS = "a-z"
_LOOKALIKES = {
    "a": "a@4", "b": "b8", "c": "ck(", "e": "e3", "g": "g9", "i": "i1!|l", "l": "l1|", "o": "o0", "s": "s5$z", "t": "t7+", "u": "uv*@"
}  # fmt: skip
_LATIN_VOWELS = "aeiou"
# Separators that a sentence has no use for inside a word: behind them the word needs no clean end.
_ODD = re.compile(r"[^\w\s.,:;/()\[\]'\"·\-–—]|[\d_]")


@dataclass(frozen=True, slots=True)
class _Find:
    """A place where the letters of a listed word stand."""

    start: int
    end: int
    first_alone: bool
    last_alone: bool


def is_profane(rules: Rules, talk: Talk) -> bool:
    """Tell whether a listed word stands in the message as a word, outside what is allowed."""
    allowed = list(spans(talk.text, rules.profanity_allowed))
    found = (find for find in _finds(rules, talk) if _stands_free(talk, find))
    return any(not Span(find.start, find.end, "").inside(allowed) for find in found)


def _finds(rules: Rules, talk: Talk) -> Iterator[_Find]:
    spelled = spell(talk.text)
    for pattern in _patterns(rules.profanity):
        for match in pattern.finditer(spelled.letters):
            start, end = match.span(1)
            yield _Find(
                spelled.origin[start],
                spelled.origin[end - 1] + 1,
                is_alone(spelled.letters[start]),
                is_alone(spelled.letters[end - 1]),
            )
