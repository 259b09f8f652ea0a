"""A domain's folder becomes a `Domain`, read strictly; and the choices that people name in it."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from mulgil.domain.model import AnswerRules, Category, Domain, Field, Frames, Rules
from mulgil.domain.table import Table
from mulgil.errors import SetupError
from mulgil.text import key

# Every sentence that a client can be told; a test holds this against the tree of errors.
_SENTENCES = (
    "piece",
    "closed",
    "answer.base-info",
    "answer.free-text",
    "required.message",
    "too_long.message",
    "too_long.sessionId",
    "not_text.sessionId",
    "choice_unknown",
    "message_too_short",
    "bad_turn_id",
    "turn_id_reused",
    "bad_body",
    "body_too_large",
    "off_topic",
    "superseded",
    "stopped",
    "gone",
    "busy",
    "shutting_down",
    "rate_limited",
    "unauthorized",
    "upstream",
    "not_found",
    "method_not_allowed",
    "unsupported_media_type",
    "internal",
    "bad_request",
)
_SENTENCES_PER_FIELD = ("required", "too_long", "not_text")


def load_domain(folder: Path) -> Domain:
    """Return the domain that `folder` describes in `domain.toml` and `prompts/*.txt`.

    Raises `SetupError` with a sentence that names the file, the key and what is allowed.
    """
    file = folder / "domain.toml"
    top = Table(file, "", _toml(file))
    categories = _categories(top)
    domain = Domain(
        name=top.text("name"),
        language=top.text("language"),
        folder=folder,
        count=top.number("count"),
        category_field=top.text("category_field"),
        default_category=_default(top, categories),
        categories=MappingProxyType(categories),
        fields=_fields(top),
        rules=_rules(top),
        answer=_answer(top),
        messages=_messages(top),
        prompts=_prompts(folder),
        page=_page(top),
    )
    top.done()
    return domain


def required_messages(fields: Iterable[str]) -> frozenset[str]:
    """Return the keys that `[messages]` must have, for base-info fields of these names (the category's included)."""
    return frozenset(_SENTENCES) | {f"{code}.{name}" for code in _SENTENCES_PER_FIELD for name in fields}


def match_category(domain: Domain, text: str) -> Category | None:
    """Return the category whose label, code or alias `text` is; case, white space and Unicode form are ignored."""
    wanted = key(text)
    return next((each for each in domain.categories.values() if wanted in _names(each)), None)


def match_option(field: Field, text: str) -> str:
    """Return the field's option that `text` names by itself or by an alias, else `text`: the field is free text."""
    named = {key(alias): option for alias, option in field.aliases.items()}
    named |= {key(option): option for option in field.options}
    return named.get(key(text), text)


def _toml(file: Path) -> dict[str, object]:
    try:
        # An editor that saves NFD must not make a word list useless.
        return tomllib.loads(unicodedata.normalize("NFC", file.read_text(encoding="utf-8")))
    except OSError as error:
        raise SetupError(
            f"{file}: can't be read ({error.strerror}); a domain is a folder with a domain.toml."
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"{file}: is no TOML in UTF-8 ({error}).") from error


def _categories(top: Table) -> dict[str, Category]:
    categories: dict[str, Category] = {}
    owners: dict[str, str] = {}
    for table in top.tables("categories"):
        category = _category(table)
        for name in _names(category):
            if owners.setdefault(name, category.code) != category.code:
                table.refuse("aliases", f"({name}) also name {owners[name]}; labels, codes and aliases must be unique")
        if category.code in categories:
            table.refuse("code", f"{category.code} stands twice; each code must be unique")
        categories[category.code] = category
    return categories


def _category(table: Table) -> Category:
    category = Category(
        code=table.text("code"),
        label=table.text("label"),
        help=table.text("help"),
        aliases=table.texts("aliases"),
        keywords=table.texts("keywords"),
    )
    table.done()
    return category


def _names(category: Category) -> frozenset[str]:
    return frozenset(map(key, (category.label, category.code, *category.aliases)))


def _default(top: Table, categories: Mapping[str, Category]) -> str:
    code = top.text("default_category")
    if code not in categories:
        top.refuse("default_category", f"is {code}; allowed: {', '.join(categories)}")
    return code


def _fields(top: Table) -> tuple[Field, ...]:
    fields = tuple(map(_field, top.tables("fields")))
    names = [top.text("category_field"), *(field.name for field in fields)]
    for name in names:
        if names.count(name) > 1:
            top.refuse("fields", f"name {name} twice; each name, the category_field's too, must be unique")
    return fields


def _field(table: Table) -> Field:
    options = table.texts("options")
    field = Field(
        name=table.text("name"),
        label=table.text("label"),
        entry_key=table.text("entry_key"),
        max_length=table.number("max_length"),
        options=options,
        aliases=_aliases(table.table("aliases"), options),
        words=_words(table.table("words"), options),
    )
    table.done()
    _unique_choices(table, field)
    return field


def _aliases(table: Table, options: tuple[str, ...]) -> Mapping[str, str]:
    aliases = {alias: table.text(alias) for alias in table.names()}
    for alias, option in aliases.items():
        if option not in options:
            table.refuse(alias, f"is {option}; allowed: {', '.join(options)}")
    return MappingProxyType(aliases)


def _words(table: Table, options: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    words = {option: table.texts(option) for option in options}
    table.done()
    return MappingProxyType(words)


def _unique_choices(table: Table, field: Field) -> None:
    names = list(map(key, (*field.options, *field.aliases)))
    for name in names:
        if names.count(name) > 1:
            table.refuse("aliases", f"and options name {name} twice; each must be unique")


def _rules(top: Table) -> Rules:
    table = top.table("rules")
    rules = Rules(**{each.name: table.texts(each.name) for each in dataclasses.fields(Rules)})
    table.done()
    return rules


def _answer(top: Table) -> AnswerRules:
    table = top.table("answer")
    answer = AnswerRules(
        letters=table.text("letters"),
        punctuation=table.text("punctuation"),
        endings=table.text("endings"),
        recommend=table.span("recommend"),
        title=table.span("title"),
        description=table.span("description"),
        frames=_frames(table.table("frames")),
    )
    table.done()
    _patterns(table, answer)
    return answer


def _frames(table: Table) -> Frames:
    phrases = table.table("phrases")
    frames = Frames(
        subject=table.text("subject"),
        openers=table.texts("openers"),
        closings=table.texts("closings"),
        word=table.text("word"),
        unquoted=table.texts("unquoted"),
        phrases=MappingProxyType({field: _phrases(phrases.table(field)) for field in phrases.names()}),
        joiner=table.text("joiner"),
        end=table.text("end"),
    )
    table.done()
    return frames


def _phrases(table: Table) -> Mapping[str, str]:
    return MappingProxyType({option: table.text(option) for option in table.names()})


def _patterns(table: Table, answer: AnswerRules) -> None:
    pieces = {
        "letters": f"[{answer.letters}]",
        "punctuation": f"[{answer.punctuation}]",
        "endings": f"(?:{answer.endings})",
    }
    for name, pattern in pieces.items():
        try:
            re.compile(pattern)
        except re.error as error:
            table.refuse(name, f"must be a piece of a regular expression ({error})")


def _page(top: Table) -> Mapping[str, str]:
    table = top.table("page")
    return MappingProxyType({name: table.text(name) for name in table.names()})


def _messages(top: Table) -> Mapping[str, str]:
    table = top.table("messages")
    names = [top.text("category_field"), *(each.text("name") for each in top.tables("fields"))]
    messages = {name: table.text(name) for name in sorted(required_messages(names))}
    table.done()
    return MappingProxyType(messages)


def _prompts(folder: Path) -> Mapping[str, str]:
    files = sorted((folder / "prompts").glob("*.txt"))
    try:
        return MappingProxyType({file.stem: file.read_text(encoding="utf-8").strip() for file in files})
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{folder / 'prompts'}: a prompt can't be read as UTF-8 ({error}).") from error
