"""The text of an answer: as the script says it, or the smallest that the request's JSON schema allows."""

from __future__ import annotations

import json
import re

# The standard library's own regex parser: private, but the only one that agrees with `re` by construction.
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from mulgil.engines.scripted.script import Answer

PLAIN = "A scripted answer."
REPEAT = 8
"""How often an unbounded part of a pattern is repeated: long enough for a sentence, short for a test."""


def pieces_of(answer: Answer, schema: dict[str, Any] | None) -> tuple[str, ...]:
    """Cut the answer's text into the pieces that it is sent in."""
    if answer.pieces is not None:
        return answer.pieces
    text = answer.text if answer.text is not None else _from_schema(schema, answer.fields or {})
    return tuple(text[start : start + answer.chunk] for start in range(0, len(text), answer.chunk))


def _from_schema(schema: dict[str, Any] | None, fields: dict[str, str]) -> str:
    if schema is None:
        return json.dumps(fields, ensure_ascii=False) if fields else PLAIN
    return json.dumps(_value(schema, fields, 0), ensure_ascii=False)


def _value(schema: dict[str, Any], fields: dict[str, str], nth: int) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return _object(schema.get("properties", {}), fields)
    if kind == "array":
        return [_value(schema.get("items", {}), fields, n) for n in range(schema.get("minItems", 1))]
    if kind == "string":
        return _string(schema, nth)
    return {"integer": 1, "number": 1, "boolean": True}.get(kind)


def _object(properties: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    def filled(name: str, schema: dict[str, Any], nth: int) -> Any:
        given = fields.get(name, fields.get("*"))
        free = not {"const", "enum", "properties"} & schema.keys()
        return given if given is not None and free else _value(schema, fields, nth)

    return {name: filled(name, schema, nth) for nth, (name, schema) in enumerate(properties.items())}


def _string(schema: dict[str, Any], nth: int) -> str:
    text = sample(schema["pattern"], nth) if "pattern" in schema else f"{PLAIN[:-1]} {nth + 1}."
    short = text.ljust(schema.get("minLength", 0), text[:1] or "a")
    return short[: schema.get("maxLength", len(short))]


def sample(pattern: str, nth: int = 0) -> str:
    """Return a text that `pattern` matches whole; `nth` varies its letters. A pattern beyond us gives plain text."""
    text = _sample(parser.parse(pattern), nth)
    return text if re.fullmatch(pattern, text) else PLAIN


def _sample(parts: Any, nth: int) -> str:
    return "".join(_sample_part(code, value, nth) for code, value in parts)


def _sample_part(code: Any, value: Any, nth: int) -> str:
    if code is op.LITERAL:
        return chr(value)
    if code is op.IN:
        return _letter(value, nth)
    if code in (op.MAX_REPEAT, op.MIN_REPEAT):
        least, most, part = value
        return "".join(_sample(part, nth + turn) for turn in range(max(least, min(REPEAT, most))))
    if code is op.SUBPATTERN:
        return _sample(value[-1], nth)
    if code is op.BRANCH:
        return _sample(value[1][0], nth)
    # What is left matches no character (^ and $), or any.
    return "" if code is op.AT else "a"


def _letter(members: Any, nth: int) -> str:
    if members[0][0] is op.NEGATE:
        # Every letter of the alphabet that the class does not name.
        named = {value for code, value in members if code is op.LITERAL}
        free = [chr(code) for code in range(ord("a"), ord("z")) if code not in named]
        return free[nth % len(free)]
    ranges = [value for code, value in members if code is op.RANGE]
    if ranges:
        low, high = ranges[0]
        return chr(low + nth % (high - low + 1))
    return next(chr(value) for code, value in members if code is op.LITERAL)
