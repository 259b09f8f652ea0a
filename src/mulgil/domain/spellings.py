"""The ways in which people spell a word so that a list does not find it, as patterns over `letters`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from mulgil.domain.letters import HANGUL, SILENT, VOWELS, alone, is_alone, is_hangul, is_vowel, letters_of, tensed

# How often a vowel may be drawn out or a bare word repeated, and how many signs may stand in a gap: matches stay short.
_MOST = 8
_WIDEST = 3

_LOOKALIKES = {
    "a": "a@4", "b": "b8", "c": "ck", "e": "e3", "g": "g9", "i": "i1!|", "l": "l1|", "o": "o0", "s": "s5$", "t": "t7+",
    "u": "uv@",
}  # fmt: skip
_LATIN_VOWELS = "aeiou"
_SIGN = rf"(?:[^\w\s{HANGUL}]|_)"
_HANGUL_GAP = rf"(?:[^\w{HANGUL}]|[\d_]){{0,{_WIDEST}}}"
_LATIN_GAP = rf"{_SIGN}{{0,2}}"
_SPACED_GAP = rf"(?:[^\w{HANGUL}]|_){{1,{_WIDEST}}}"


class Script(Enum):
    """What a listed word is made of, which decides how it may be spelled."""

    BARE = auto()
    """Hangul letters that stand alone."""
    HANGUL = auto()
    """Hangul with syllables."""
    LATIN = auto()
    """Latin letters."""
    EXACT = auto()
    """A mixture: found only as it is listed, but for repeated letters."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """A listed word and all its spellings; a `lone` one is a single letter that counts only by itself."""

    word: str
    script: Script
    pattern: re.Pattern[str]
    lone: bool


@cache
def spellings(words: tuple[str, ...]) -> dict[str, tuple[Spelling, ...]]:
    """Return the words' spellings by the letter that they may begin with."""
    grouped: dict[str, list[Spelling]] = {}
    for word in words:
        spelling = _spelling(word)
        for letter in _first_letters(word):
            grouped.setdefault(letter, []).append(spelling)
    return {letter: tuple(group) for letter, group in grouped.items()}


def _spelling(word: str) -> Spelling:
    script = _script(word)
    lone = script is Script.BARE and len(_letters(word)) == 1
    return Spelling(word, script, re.compile(_letters(word) if lone else _PATTERNS[script](word)), lone)


def _script(word: str) -> Script:
    letters = _letters(word)
    if all(is_alone(letters_of(char)[0]) or is_vowel(letters_of(char)[0]) for char in word):
        return Script.BARE
    if all(map(is_hangul, letters)):
        return Script.HANGUL
    return Script.LATIN if letters.isascii() and letters.isalpha() else Script.EXACT


def _first_letters(word: str) -> str:
    first = _letters(word)[0]
    if is_hangul(first) and not is_alone(first) and not is_vowel(first):
        return _consonants(first)
    return _LOOKALIKES.get(first, first) if _script(word) is Script.LATIN else first


def _letters(word: str) -> str:
    return "".join(map(letters_of, word))


def _bare(word: str) -> str:
    once = _HANGUL_GAP.join(f"{letter}++" for letter in _letters(word))
    return rf"{once}(?:{_HANGUL_GAP}{once}){{0,{_MOST}}}(?![{VOWELS}])"


def _hangul(word: str) -> str:
    if len(word) == 1:
        return _syllable(letters_of(word), "")
    return _HANGUL_GAP.join(map(_loose, word))


def _loose(char: str) -> str:
    letters = letters_of(char)
    if is_alone(letters[0]):
        return f"{letters}++(?![{VOWELS}])"
    initial = f"[{''.join(map(alone, tensed(letters[0])))}]++(?![{VOWELS}])"
    return f"(?:{_syllable(letters, _HANGUL_GAP)}|{initial})"


def _syllable(letters: str, gap: str) -> str:
    """Return a syllable's pattern: its vowel may be drawn out over syllables of its own, its end may stand apart."""
    consonant, vowel, coda = letters[0], letters[1], letters[2:]
    drawn = f"(?:{gap}{_consonant(SILENT)}?{vowel}){{0,{_MOST}}}"
    ending = "".join(f"{gap}{_consonant(each)}+" for each in coda)
    return f"{_consonant(consonant)}++{gap}{_consonant(SILENT)}?{vowel}{drawn}{ending}(?![{VOWELS}])"


def _consonant(letter: str) -> str:
    return f"[{_consonants(letter)}]"


def _consonants(letter: str) -> str:
    return tensed(letter) + "".join(map(alone, tensed(letter)))


def _latin(word: str) -> str:
    letters = [_latin_letter(letter) for letter in word.casefold()]
    return f"(?:{_LATIN_GAP.join(letters)}|{_SPACED_GAP.join(letters)})"


def _latin_letter(letter: str) -> str:
    alike = f"[{re.escape(_LOOKALIKES.get(letter, letter))}]+"
    return f"(?:{alike}|{_SIGN})" if letter in _LATIN_VOWELS else alike


def _exact(word: str) -> str:
    return "".join(f"{re.escape(letter)}+" if letter.isalpha() else re.escape(letter) for letter in _letters(word))


_PATTERNS = {Script.BARE: _bare, Script.HANGUL: _hangul, Script.LATIN: _latin, Script.EXACT: _exact}
