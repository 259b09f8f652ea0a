"""A domain as data: what a folder such as `domains/eco_ko` says, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Category:
    """A category: `code` and `label` on the wire, `aliases` also accepted, `keywords` found in messages."""

    code: str
    label: str
    help: str
    aliases: tuple[str, ...]
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A base-info field other than the category, in the order in which input is checked.

    `name` is its name on the wire, `entry_key` the key of a catalogue row that lists the options which an entry fits,
    `aliases` maps other spellings to an option, `words` lists the morphemes that tell an option from the talk.
    """

    name: str
    label: str
    entry_key: str
    max_length: int
    options: tuple[str, ...]
    aliases: Mapping[str, str]
    words: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rules:
    """The word lists of the deciders: `profanity`, `keywords`, `wishes`, `topic` and `places` say what each does."""

    profanity: tuple[str, ...]
    profanity_allowed: tuple[str, ...]
    keyword_exceptions: tuple[str, ...]
    negations: tuple[str, ...]
    negation_bridges: tuple[str, ...]
    return_words: tuple[str, ...]
    return_links: tuple[str, ...]
    return_tails: tuple[str, ...]
    return_marks: tuple[str, ...]
    return_phrases: tuple[str, ...]
    return_exceptions: tuple[str, ...]
    any_phrases: tuple[str, ...]
    any_words: tuple[str, ...]
    any_targets: tuple[str, ...]
    topic_words: tuple[str, ...]
    topic_exceptions: tuple[str, ...]
    request_words: tuple[str, ...]
    follow_up_words: tuple[str, ...]
    neutral_nouns: tuple[str, ...]
    situation_nouns: tuple[str, ...]
    situation_tails: tuple[str, ...]
    user_words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frames:
    """Sentences of which every combination is right: what a model too small to write well chooses `recommend` from.

    A sentence is a lead, `subject` (with `$category`) and one of `closings`. The lead says the person's situation
    (`phrases` by field and option, joined by `joiner`, ended by `end`), quotes the word that decided (`word`, with
    `$word`; not those in `unquoted`), or, where neither is known, is one of `openers`.
    """

    subject: str
    openers: tuple[str, ...]
    closings: tuple[str, ...]
    word: str
    unquoted: tuple[str, ...]
    phrases: Mapping[str, Mapping[str, str]]
    joiner: str
    end: str


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """What the model's text may be made of, as pieces of regular expressions for the schema's patterns.

    `letters` and `punctuation` are the inside of a character class, `endings` an alternation that ends each sentence;
    the lengths are characters, smallest and largest.
    """

    letters: str
    punctuation: str
    endings: str
    recommend: tuple[int, int]
    title: tuple[int, int]
    description: tuple[int, int]
    frames: Frames


@dataclass(frozen=True, slots=True)
class Value:
    """A field's value in a session: `chosen` in base-info, or guessed from the talk."""

    text: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """What a session knows of its person: the categories by code, and the fields' values by field name."""

    category: str | None = None
    base_category: str | None = None
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain, read and checked; `count` is the number of recommendations in an answer."""

    name: str
    language: str
    folder: Path
    count: int
    category_field: str
    default_category: str
    categories: Mapping[str, Category]
    fields: tuple[Field, ...]
    rules: Rules
    answer: AnswerRules
    messages: Mapping[str, str]
    prompts: Mapping[str, str]
    page: Mapping[str, str]

    @property
    def catalogue(self) -> Path:
        """The catalogue's file."""
        return self.folder / "catalogue.jsonl"
