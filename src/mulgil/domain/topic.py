"""Whether a message is the domain's business."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from mulgil.domain.model import Domain, Field, Rules
from mulgil.domain.talk import Span, Talk, either, spans
from mulgil.morphemes import Token

# Kiwi's tags: nouns and names point somewhere; a verb or an adjective that is spelled like a topic word is none.
_NAMING = ("NNG", "NNP")
_VERBS = ("VV", "VA", "VX")


def speaks_of_topic(rules: Rules, talk: Talk) -> bool:
    """Tell whether one of the topic words stands in the message."""
    masks = list(spans(talk.text, rules.topic_exceptions))
    verbs = {token.start for token in talk.tokens if token.tag.startswith(_VERBS)}
    return any(span.start not in verbs and not span.inside(masks) for span in spans(talk.text, rules.topic_words))


def asks(domain: Domain, talk: Talk, given: bool) -> bool:
    """Tell whether the message is a request with nothing that points elsewhere.

    `given`: the session has just been given an answer, so that "why is that?" has something to follow.
    """
    rules = domain.rules
    requests = _stands(talk, rules.request_words)
    if given:
        requests += _stands(talk, rules.follow_up_words)
    return bool(requests) and not _points_elsewhere(domain, talk, requests)


def _stands(talk: Talk, words: tuple[str, ...]) -> list[Span]:
    by_form = (Span(token.start, token.end, token.form) for token in talk.tokens if token.form in words)
    return [*talk.whole(words), *by_form]


def _points_elsewhere(domain: Domain, talk: Talk, requests: list[Span]) -> bool:
    neutral = _neutral(domain)
    aside = [*requests, *talk.whole(neutral), *_situations(domain.rules, talk)]
    forms = _forms(neutral)
    nouns = (token for token in talk.tokens if token.tag in _NAMING)
    return any(token.form not in forms and not _place(token).inside(aside) for token in nouns)


def _situations(rules: Rules, talk: Talk) -> Iterator[Span]:
    pattern = _situation(rules.situation_nouns, rules.situation_tails)
    matches = (match for match in pattern.finditer(talk.text) if talk.begins(match.start()))
    return (Span(match.start(), match.end(), match[0]) for match in matches)


@cache
def _situation(nouns: tuple[str, ...], tails: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:{either(nouns)})\s*(?:{either(tails)})")


def _place(token: Token) -> Span:
    return Span(token.start, token.end, token.form)


def _neutral(domain: Domain) -> tuple[str, ...]:
    rules = domain.rules
    return (
        *rules.neutral_nouns,
        *rules.follow_up_words,
        *rules.return_words,
        *rules.topic_words,
        *(word for field in domain.fields for word in _field_words(field)),
    )


def _field_words(field: Field) -> Iterator[str]:
    yield from field.options
    yield from field.aliases
    for words in field.words.values():
        yield from words


@cache
def _forms(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(words)
