"""A session as JSON text: `{"version", "profile", "exchanges", "given"}`, written and read by hand."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from mulgil.domain.model import Profile, Value
from mulgil.sessions.base import Exchange, Session

MAX_BYTES = 256 * 1024
"""A stored session's limit, in bytes of UTF-8."""

# A lone surrogate has no UTF-8; escaped it is plain ASCII, and JSON gives it back.
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(session: Session) -> str:
    """Return the session as JSON that UTF-8 can carry; `decode` gives an equal session back."""
    profile = session.profile
    text = json.dumps(
        {
            "version": session.version,
            "profile": {
                "category": profile.category,
                "base_category": profile.base_category,
                "values": {name: [value.text, value.chosen] for name, value in profile.values.items()},
            },
            "exchanges": [[exchange.user, exchange.assistant] for exchange in session.exchanges],
            "given": list(session.given),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def decode(text: str) -> Session:
    """Return the session that `encode` wrote; raises `ValueError` for any other text."""
    try:
        stored = json.loads(text)
        return Session(
            profile=_profile(stored["profile"]),
            exchanges=tuple(Exchange(_text(user), _text(assistant)) for user, assistant in stored["exchanges"]),
            given=tuple(_text(entry) for entry in stored["given"]),
            version=_version(stored["version"]),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a stored session: {error!r}") from error


def fit(session: Session, max_bytes: int = MAX_BYTES) -> tuple[Session, str]:
    """Return the session and its JSON in at most `max_bytes`: the oldest exchanges go first, then the oldest given."""
    session = _shortest_cut(
        session, len(session.exchanges), lambda cut: replace(session, exchanges=session.exchanges[cut:]), max_bytes
    )
    bare = session
    session = _shortest_cut(bare, len(bare.given), lambda cut: replace(bare, given=bare.given[cut:]), max_bytes)
    return session, encode(session)


def _shortest_cut(whole: Session, most: int, cut: Callable[[int], Session], max_bytes: int) -> Session:
    """Cut as little as fits; the size falls with every cut, so a few encodings find it."""

    def fits(size: int) -> bool:
        return len(encode(cut(size)).encode()) <= max_bytes

    return whole if fits(0) else cut(bisect_left(range(most), True, key=fits))


def _profile(stored: dict[str, object]) -> Profile:
    values = stored["values"]
    if not isinstance(values, dict):
        raise TypeError(values)
    return Profile(
        category=_optional(stored["category"]),
        base_category=_optional(stored["base_category"]),
        values={name: Value(_text(text), _flag(chosen)) for name, (text, chosen) in values.items()},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _version(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(value)
    return value
