"""Query values as clients send them: encoded once or twice, with `+` for a space, and not always in UTF-8."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from mulgil.text import clean

_ESCAPED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


def parse(raw: bytes) -> dict[str, str]:
    """Return the values by name, decoded and cleaned; of a name that comes twice the last one counts."""
    values = {}
    for pair in raw.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name:
            values[_once(name)] = clean(decode(value))
    return values


def decode(raw: bytes) -> str:
    """Decode a value, a second time only where it was certainly encoded twice.

    That is: what the first decoding gave is ASCII without a space, each of its `%` starts a hex pair, and the result is
    valid UTF-8. So a `%` that a person typed survives (`100% recycled`).
    """
    once = _once(raw)
    if "%" not in once or not once.isascii() or " " in once or not _ESCAPED.fullmatch(once):
        return once
    try:
        return unquote_to_bytes(once.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return once


def _once(raw: bytes) -> str:
    # Bytes that are no UTF-8 are dropped: what is left is checked like any other input.
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode(errors="ignore")
