"""What may stand in a text, and how two texts are compared: pure functions on strings."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\ufffd"


def clean(text: str) -> str:
    """Return `text` in NFC, without lone surrogates and without control characters other than a newline."""
    return unicodedata.normalize("NFC", "".join(filter(_allowed, text)))


def clean_engine(text: str) -> str:
    """Return `clean(text)` without U+FFFD, which is what a decoder leaves of half a character."""
    return clean(text.replace(_REPLACEMENT, ""))


def key(text: str) -> str:
    """Return the form in which two names are the same: case, Unicode form and all white space are ignored."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    joined = "".join(unicodedata.normalize("NFKC", folded).split())
    return unicodedata.normalize("NFKC", joined)


def _allowed(char: str) -> bool:
    return char == "\n" or unicodedata.category(char) not in {"Cc", "Cs"}
