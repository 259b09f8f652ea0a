"""What the talk tells of the base-info fields: where somebody lives, how somebody works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mulgil.domain.keywords import negated
from mulgil.domain.model import Domain, Field, Profile, Rules, Value
from mulgil.domain.talk import Span, Talk, spans

# Kiwi's tags of what a noun begins with: nouns, roots, prefixes.
_NOUNS = ("N", "XR", "XPN")


def learn(domain: Domain, talk: Talk, profile: Profile) -> Profile:
    """Return the profile with what the talk tells: it fills blanks and replaces guesses, never a chosen value."""
    guesses = {field.name: option for field in domain.fields if (option := _told(domain.rules, talk, field))}
    return replace(profile, values=_merged(profile.values, guesses))


def _merged(values: Mapping[str, Value], guesses: Mapping[str, str]) -> dict[str, Value]:
    free = {name: text for name, text in guesses.items() if name not in values or not values[name].chosen}
    return {**values, **{name: Value(text, chosen=False) for name, text in free.items()}}


def _told(rules: Rules, talk: Talk, field: Field) -> str | None:
    options = {word: option for option, words in field.words.items() for word in words}
    masks = list(spans(talk.text, rules.keyword_exceptions))
    told = (span for span in talk.whole(tuple(options)) if _noun(talk, span) and not span.inside(masks))
    return next((options[span.word] for span in told if not negated(rules, talk, span.end)), None)


def _noun(talk: Talk, span: Span) -> bool:
    """Tell whether these letters are a noun here: the same letters may be a form of a verb."""
    first = next(talk.after(span.start), None)
    return first is not None and first.start == span.start and first.tag.startswith(_NOUNS)
