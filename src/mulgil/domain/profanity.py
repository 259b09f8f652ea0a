"""Profanity, however it is spelled, and not what merely contains its letters.

A listed word is found with separators between its letters, letters repeated, vowels drawn out, Hangul taken apart
(see `spellings`). Then it must stand as a word: what is written in one piece may border on any morpheme, what was taken
apart only on white space and signs, for there the morphemes say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mulgil.domain.letters import Spelled, is_alone, is_hangul, is_vowel, letters_of, spell
from mulgil.domain.model import Rules
from mulgil.domain.spellings import Script, Spelling, spellings
from mulgil.domain.talk import Span, Talk, spans

# Separators that a sentence has no use for inside a word: behind them the word needs no clean end.
_ODD = re.compile(r"[^\w\s.,:;/()\[\]'\"·\-–—]|[\d_]")
# Kiwi's tags of what clings to a word that calls somebody names: the copula, the vocative.
_CALLING = ("VCP", "JKV")
# How far back an alphabet's last letter may be: a comma and a space.
_LISTED = 3


@dataclass(frozen=True, slots=True)
class _Find:
    """A place where the letters of a listed word stand; `letters` are those of the text."""

    start: int
    end: int
    letters: str
    spelling: Spelling


def is_profane(rules: Rules, talk: Talk) -> bool:
    """Tell whether a listed word stands in the message as a word, outside what is allowed."""
    allowed = list(spans(talk.text, rules.profanity_allowed))
    found = (find for find in _finds(rules, talk) if _begins(talk, find) and _ends(talk, find))
    return any(not Span(find.start, find.end, "").inside(allowed) for find in found)


def _finds(rules: Rules, talk: Talk) -> Iterator[_Find]:
    spelled = spell(talk.text)
    by_letter = spellings(rules.profanity)
    for at, letter in enumerate(spelled.letters):
        candidates = by_letter.get(letter, ())
        if candidates and _is_edge(spelled, at) and not _goes_on(spelled, at) and _may_begin(talk, spelled, at):
            yield from filter(None, (_find(spelled, at, each) for each in candidates))


def _find(spelled: Spelled, at: int, spelling: Spelling) -> _Find | None:
    match = spelling.pattern.match(spelled.letters, at)
    if match is None or not _is_edge(spelled, match.end()):
        return None
    # A word's first consonants alone are another word's too, so those that count are listed themselves.
    if spelling.script is Script.HANGUL and not any(map(is_vowel, match[0])):
        return None
    return _Find(spelled.origin[at], spelled.origin[match.end() - 1] + 1, match[0], spelling)


def _is_edge(spelled: Spelled, at: int) -> bool:
    """Tell whether a character, not only a letter of one, begins at this letter."""
    return at in {0, len(spelled.origin)} or spelled.origin[at] != spelled.origin[at - 1]


def _goes_on(spelled: Spelled, at: int) -> bool:
    """Tell whether this letter only repeats the one before it: the run was looked at from its first letter."""
    letter = spelled.letters[at]
    return at > 0 and letter == spelled.letters[at - 1] and (is_alone(letter) or letter.isalpha())


def _may_begin(talk: Talk, spelled: Spelled, at: int) -> bool:
    """Tell whether a word may begin with this letter; most letters stand inside syllables' words, where none can."""
    in_syllable = is_hangul(spelled.letters[at]) and not is_alone(spelled.letters[at])
    return not in_syllable or talk.begins(spelled.origin[at])


def _begins(talk: Talk, find: _Find) -> bool:
    before = talk.text[: find.start][::-1]
    if _listed(talk, find, before):
        return False
    return _borders(talk, find, before, find.letters[0], at_seam=find.start in talk.starts)


def _ends(talk: Talk, find: _Find) -> bool:
    piece = talk.text[find.start : find.end]
    if find.spelling.script is Script.HANGUL and (_ODD.search(piece) or _drawn_out(piece, find)):
        return True
    following = next(talk.after(find.end), None)
    if following and following.start == find.end and following.tag in _CALLING:
        return True
    after = talk.text[find.end :]
    if after[:1].isdigit():
        return not find.spelling.word[-1].isdigit()
    return _borders(talk, find, after, find.letters[-1], at_seam=find.end in talk.ends)


def _borders(talk: Talk, find: _Find, beyond: str, letter: str, *, at_seam: bool) -> bool:
    """Tell whether the word may border on what is beyond it (read away from the word) at its outer `letter`."""
    if not beyond[:1].isalnum():
        return True
    if find.spelling.lone:
        return False
    if is_alone(letter):
        return not _is_consonant(beyond[0]) or beyond[:1] == beyond[1:2]
    if is_hangul(letter):  # a digit belongs to what it counts, hours for instance
        return at_seam and beyond[0].isalpha() and talk.text[find.start : find.end].isalnum()
    return is_hangul(letters_of(beyond[0])[0])


def _listed(talk: Talk, find: _Find, before: str) -> bool:
    """Tell whether bare consonants with separators go on from others: an alphabet, not a word."""
    if find.spelling.script is not Script.BARE or talk.text[find.start : find.end].isalnum():
        return False
    letters = [char for char in before[:_LISTED] if char.isalnum()]
    return bool(letters) and _is_consonant(letters[0])


def _drawn_out(piece: str, find: _Find) -> bool:
    return piece.isalnum() and len(piece) > len(find.spelling.word) and not is_alone(find.letters[-1])


def _is_consonant(char: str) -> bool:
    return is_alone(letters_of(char)[:1] or " ")
