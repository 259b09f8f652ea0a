"""The one decider of a turn: its topic, its category, and what it tells of the person. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mulgil.domain.keywords import Keyword, keywords
from mulgil.domain.load import match_category, match_option
from mulgil.domain.model import Category, Domain, Profile, Value
from mulgil.domain.places import learn
from mulgil.domain.profanity import is_profane
from mulgil.domain.talk import Span, Talk
from mulgil.domain.topic import asks, speaks_of_topic
from mulgil.domain.wishes import wish_for_anything, wish_to_return
from mulgil.errors import ChoiceUnknown
from mulgil.morphemes import Token
from mulgil.text import clean

By = Literal["chosen", "keyword", "return", "anything", "session", "default"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a turn is about; retrieval, prompt, events and answer all use this one result.

    `by` is the rule that decided, `word` the words in the message that it decided by. `profile` is the session's new
    one; off topic it is the old one.
    """

    on_topic: bool
    profane: bool
    category: Category
    by: By
    word: str | None
    profile: Profile


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was found in a message, each once."""

    keywords: Sequence[Keyword]
    back: Span | None
    anything: Span | None


def choose(domain: Domain, values: Mapping[str, str], profile: Profile) -> Decision:
    """Return the decision of a base-info turn: category and base category, and all fields as chosen values.

    `values` has the category field's value and, by name, those of the other fields. Raises `ChoiceUnknown`.
    """
    text = values[domain.category_field]
    category = match_category(domain, text)
    if category is None:
        raise ChoiceUnknown(domain.category_field)
    given = [field for field in domain.fields if field.name in values]
    chosen = {field.name: Value(match_option(field, values[field.name]), chosen=True) for field in given}
    updated = replace(profile, category=category.code, base_category=category.code, values={**profile.values, **chosen})
    return Decision(True, False, category, "chosen", text, updated)


def decide(
    domain: Domain, message: str, tokens: Sequence[Token], profile: Profile, given: bool, rng: random.Random
) -> Decision:
    """Return the decision of a free-text turn.

    `message` is clean text and `tokens` its morphemes; `given` tells that this session has just been given an answer.
    """
    talk = Talk(clean(message), tokens)
    if is_profane(domain.rules, talk):
        return _refused(domain, profile, profane=True)
    heard = _Heard(keywords(domain, talk), wish_to_return(domain.rules, talk), wish_for_anything(domain.rules, talk))
    if not _on_topic(domain, talk, heard, given):
        return _refused(domain, profile, profane=False)
    code, by, word = _category(domain, heard, profile, rng)
    learned = replace(learn(domain, talk, profile), category=code)
    return Decision(True, False, domain.categories[code], by, word, learned)


def _refused(domain: Domain, profile: Profile, *, profane: bool) -> Decision:
    code, by, word = _kept(domain, profile)
    return Decision(False, profane, domain.categories[code], by, word, profile)


def _on_topic(domain: Domain, talk: Talk, heard: _Heard, given: bool) -> bool:
    named = bool(heard.keywords or heard.back or heard.anything)
    return named or speaks_of_topic(domain.rules, talk) or asks(domain, talk, given)


def _category(domain: Domain, heard: _Heard, profile: Profile, rng: random.Random) -> tuple[str, By, str | None]:
    wanted = next((each for each in heard.keywords if each.wanted), None)
    if wanted:
        return wanted.code, "keyword", wanted.span.word
    base = profile.base_category
    if heard.back and base is not None and base in domain.categories:
        return base, "return", heard.back.word
    if heard.anything and not heard.back:
        return _another(domain, heard.keywords, profile, rng), "anything", heard.anything.word
    return _kept(domain, profile)


def _another(domain: Domain, unwanted: Sequence[Keyword], profile: Profile, rng: random.Random) -> str:
    """Pick another category than the session's, and none that the message does not want while others are left."""
    current = _kept(domain, profile)[0]
    others = [code for code in domain.categories if code != current]
    refused = {each.code for each in unwanted}
    return rng.choice([code for code in others if code not in refused] or [current])


def _kept(domain: Domain, profile: Profile) -> tuple[str, By, None]:
    if profile.category is not None and profile.category in domain.categories:
        return profile.category, "session", None
    return domain.default_category, "default", None
