"""Which categories a message names, and which of them it does not want."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import takewhile

from mulgil.domain.model import Category, Domain, Rules
from mulgil.domain.talk import Span, Talk, either, spans
from mulgil.text import key

# Kiwi's tags: particles, endings, the copula; behind these begins no noun, so a keyword found here is an accident.
_GRAMMAR = ("J", "E", "VCP", "VCN")
# What may stand between a word and its negation, besides the domain's bridges.
_BRIDGES = ("J", "E", "XS", "VCP", "NNB")
# What may stand between the members of a list ("no A and B, please").
_LINKS = ("JC", "JX", "SP", "MAJ", "XSN")
# How far around a negation its exceptions are looked for, in characters.
_NEAR = 8


@dataclass(frozen=True, slots=True)
class Keyword:
    """A category's keyword in a message; `wanted` is false for "no vegan, please"."""

    span: Span
    code: str
    wanted: bool


def keywords(domain: Domain, talk: Talk) -> list[Keyword]:
    """Return the keywords of the message in reading order; at one start the longest, and none inside another."""
    found = _found(domain, talk)
    result: list[Keyword] = []
    for span in reversed(found):
        following = result[-1] if result else None
        unwanted = negated(domain.rules, talk, span.end) or _shares(domain.rules, talk, span, following)
        result.append(Keyword(span, _owners(domain)[key(span.word)], wanted=not unwanted))
    return result[::-1]


def negated(rules: Rules, talk: Talk, end: int) -> bool:
    """Tell whether what ends here is followed by a negation, over particles and the domain's bridges."""
    if _negation_at(rules, talk, end):
        return True
    for token in talk.after(end):
        if _negation_at(rules, talk, token.start):
            return True
        if not (token.tag.startswith(_BRIDGES) or token.form in rules.negation_bridges):
            return False
    return False


def _found(domain: Domain, talk: Talk) -> list[Span]:
    masks = list(spans(talk.text, domain.rules.keyword_exceptions))
    found: list[Span] = []
    for span in spans(talk.text, _words(tuple(domain.categories.values()))):
        overlaps = found and span.start < found[-1].end
        if not overlaps and not span.inside(masks) and not _accident(talk, span):
            found.append(span)
    return found


def _accident(talk: Talk, span: Span) -> bool:
    """Tell whether the letters only meet at a seam, like "ink" in "in kind"."""
    first = next(talk.after(span.start), None)
    grammar = first is not None and first.start == span.start and first.tag.startswith(_GRAMMAR)
    return grammar or talk.inside.get(span.start, span.end) < span.end


def _shares(rules: Rules, talk: Talk, span: Span, following: Keyword | None) -> bool:
    """Tell whether the next keyword is unwanted and this one is listed with it."""
    if following is None or following.wanted:
        return False
    between = takewhile(lambda token: token.start < following.span.start, talk.after(span.end))
    return all(token.tag.startswith(_LINKS) or token.form in rules.negation_bridges for token in between)


def _negation_at(rules: Rules, talk: Talk, at: int) -> bool:
    match = _negation(rules.negations).match(talk.text, at)
    if match is None:
        return False
    # An exception that begins a word earlier ("not unwelcome") may cover it too.
    near = talk.text[max(0, match.start(1) - _NEAR) : match.end(1) + _NEAR]
    offset = max(0, match.start(1) - _NEAR)
    return not Span(match.start(1) - offset, match.end(1) - offset, match[1]).inside(
        spans(near, rules.keyword_exceptions)
    )


@cache
def _negation(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\s*({either(words)})", re.IGNORECASE)


@cache
def _words(categories: tuple[Category, ...]) -> tuple[str, ...]:
    return tuple(word for each in categories for word in (each.label, *each.keywords))


def _owners(domain: Domain) -> dict[str, str]:
    return _owners_of(tuple(domain.categories.values()))


@cache
def _owners_of(categories: tuple[Category, ...]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for each in categories:
        for word in (each.label, *each.keywords):
            owners.setdefault(key(word), each.code)
    return owners
