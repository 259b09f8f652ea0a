"""Hangul and Latin letter by letter, so that a word is found however its letters were put together.

A text becomes a string in which every Hangul letter is one private character: consonants of syllables, consonants
that stand alone, and vowels, each from its own range. Latin letters are small; the rest stays.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_IN_SYLLABLE = 0xE000
_ALONE = 0xE100
_VOWEL = 0xE200
_END = 0xE300
_TENSE = "SSANG"
# fmt: off
_CONSONANTS = (
    "KIYEOK", "NIEUN", "TIKEUT", "RIEUL", "MIEUM", "PIEUP", "SIOS", "IEUNG", "CIEUC", "CHIEUCH", "KHIEUKH", "THIEUTH",
    "PHIEUPH", "HIEUH", "SSANGKIYEOK", "SSANGTIKEUT", "SSANGPIEUP", "SSANGSIOS", "SSANGCIEUC",
)
_VOWELS = (
    "A", "AE", "YA", "YAE", "EO", "E", "YEO", "YE", "O", "WA", "WAE", "OE", "YO", "U", "WEO", "WE", "WI", "YU", "EU",
    "YI", "I",
)
# fmt: on

VOWELS = f"{chr(_VOWEL)}-{chr(_END - 1)}"
"""The inside of a character class: vowels."""
HANGUL = f"{chr(_IN_SYLLABLE)}-{chr(_END - 1)}"
"""The same for all of Hangul."""
SILENT = chr(_IN_SYLLABLE + _CONSONANTS.index("IEUNG"))
"""The consonant that is written where a syllable begins with its vowel."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text letter by letter; `origin[n]` is the place in the text that letter `n` comes from."""

    letters: str
    origin: tuple[int, ...]


def spell(text: str) -> Spelled:
    """Return the text letter by letter."""
    pieces = [(at, letter) for at, char in enumerate(text) for letter in letters_of(char)]
    return Spelled("".join(letter for _, letter in pieces), tuple(at for at, _ in pieces))


@lru_cache(maxsize=20_000)
def letters_of(char: str) -> str:
    """Return the letters of one character."""
    if _is_letter(char):
        return _named(char, _ALONE)
    plain = unicodedata.normalize("NFKC", char).casefold()
    parts = unicodedata.normalize("NFD", plain)
    if any(_is_part(part) for part in parts):
        return "".join(_named(part, _IN_SYLLABLE if len(parts) > 1 else _ALONE) for part in parts)
    return "".join(part for part in parts if not unicodedata.combining(part)) or char


def tensed(consonant: str) -> str:
    """Return a consonant of a syllable and, if there is one, its tense or plain sister."""
    name = _CONSONANTS[ord(consonant) - _IN_SYLLABLE]
    sister = name.removeprefix(_TENSE) if name.startswith(_TENSE) else _TENSE + name
    return consonant + (chr(_IN_SYLLABLE + _CONSONANTS.index(sister)) if sister in _CONSONANTS else "")


def alone(consonant: str) -> str:
    """Return the stand-alone form of a consonant of a syllable."""
    return chr(ord(consonant) - _IN_SYLLABLE + _ALONE)


def is_alone(letter: str) -> bool:
    """Tell whether a letter is a consonant that stands alone."""
    return _ALONE <= ord(letter) < _VOWEL


def is_hangul(letter: str) -> bool:
    """Tell whether a letter is one of Hangul."""
    return _IN_SYLLABLE <= ord(letter) < _END


def is_vowel(letter: str) -> bool:
    """Tell whether a letter is a Hangul vowel."""
    return _VOWEL <= ord(letter) < _END


def _is_letter(char: str) -> bool:
    return "\u3131" <= char <= "\u3163"


def _is_part(char: str) -> bool:
    return "\u1100" <= char <= "\u11ff"


def _named(char: str, consonants: int) -> str:
    # Unicode names a letter by what it is made of: HANGUL LETTER PIEUP-SIOS, HANGUL JONGSEONG SSANGKIYEOK.
    parts = unicodedata.name(char, "").rpartition(" ")[2].split("-")
    return "".join(_coded(part, consonants) for part in parts) or char


def _coded(name: str, consonants: int) -> str:
    if name in _VOWELS:
        return chr(_VOWEL + _VOWELS.index(name))
    return chr(consonants + _CONSONANTS.index(name)) if name in _CONSONANTS else ""
