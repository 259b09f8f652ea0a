"""Wishes about the category that name none: "back to the first one", "anything else"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from mulgil.domain.keywords import negated
from mulgil.domain.model import Rules
from mulgil.domain.talk import Span, Talk, either, spans
from mulgil.morphemes import Token

_SENTENCE = re.compile(r"[^.?!\n]*")
# A mark later in the sentence means nothing after "it is my first time": Kiwi's tag of the copula.
_COPULA = "VCP"
_LINKS_MOST = 3


def wish_to_return(rules: Rules, talk: Talk) -> Span | None:
    """Return the words that ask for the session's base category, if there are some."""
    masks = list(spans(talk.text, rules.return_exceptions))
    found = (span for span in _returns(rules, talk) if talk.begins(span.start) and not span.inside(masks))
    return next((span for span in found if not negated(rules, talk, span.end)), None)


def wish_for_anything(rules: Rules, talk: Talk) -> Span | None:
    """Return the words that ask for another category, whichever, if there are some."""
    masks = list(spans(talk.text, rules.keyword_exceptions))
    found = (span for span in talk.whole(_anything(rules)) if not span.inside(masks))
    return next((span for span in found if not negated(rules, talk, span.end)), None)


def _returns(rules: Rules, talk: Talk) -> Iterator[Span]:
    yield from talk.whole(rules.return_phrases)
    for match in _return_pattern(rules).finditer(talk.text):
        if talk.finishes(match.end()):
            yield Span(match.start(), match.end(), match[0])
    marks = [token for token in talk.tokens if token.form in rules.return_marks]
    for word in spans(talk.text, rules.return_words) if marks else ():
        yield from _marked(talk, word, marks)


def _marked(talk: Talk, word: Span, marks: Sequence[Token]) -> Iterator[Span]:
    following = next(talk.after(word.end), None)
    if following and following.start == word.end and following.tag == _COPULA:
        return
    sentence = _SENTENCE.match(talk.text, word.end)
    stop = sentence.end() if sentence else word.end
    for mark in marks:
        if word.end <= mark.start < stop:
            yield Span(word.start, mark.end, talk.text[word.start : mark.end])


@cache
def _return_pattern(rules: Rules) -> re.Pattern[str]:
    links = rf"(?:\s*(?:{either(rules.return_links)})){{0,{_LINKS_MOST}}}"
    return re.compile(rf"(?:{either(rules.return_words)}){links}\s*(?:{either(rules.return_tails)})")


@cache
def _anything(rules: Rules) -> tuple[str, ...]:
    return rules.any_phrases + tuple(f"{word} {target}" for word in rules.any_words for target in rules.any_targets)
