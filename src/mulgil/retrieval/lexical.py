"""Text becomes sparse vectors: BM25 over the morphemes that carry meaning.

A passage's vector holds BM25's share of each term's frequency; the index multiplies by the inverse document frequency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Protocol

# To be raised whenever an entry is written to the index in another way, its dense vector's text included.
LEXICAL_VERSION = "content-morphemes-bm25-1"

_K1 = 1.2
_B = 0.75
# Nouns, verbs and adjectives, then determiners, adverbs, roots, foreign words, numbers and Chinese characters.
_CONTENT = ("N", "V", "MM", "MAG", "XR", "SL", "SN", "SH")


class Morpheme(Protocol):
    """A morpheme as an analyser tells it."""

    @property
    def form(self) -> str:
        """Its dictionary form."""
        ...

    @property
    def tag(self) -> str:
        """Its part of speech in the Sejong tag set."""
        ...


class Analyser(Protocol):
    """What splits a text into morphemes; it blocks, and any thread may call it."""

    def analyse(self, text: str) -> Sequence[Morpheme]:
        """Return the text's morphemes in order."""
        ...


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: `values[i]` at dimension `indices[i]`, each dimension once, 0 to 2**32 - 1."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


def terms(analyser: Analyser, text: str) -> tuple[str, ...]:
    """Return the text's content morphemes in lower case, in order, repeated as they are."""
    return tuple(each.form.lower() for each in analyser.analyse(text) if each.tag.startswith(_CONTENT))


def passage_vector(found: Sequence[str], average: float) -> Sparse:
    """Return a passage's vector; `average` is the number of terms of the catalogue's average passage."""
    norm = _K1 * (1 - _B + _B * len(found) / max(average, 1.0))
    return _sparse({term: count * (_K1 + 1) / (count + norm) for term, count in Counter(found).items()})


def query_vector(found: Sequence[str]) -> Sparse:
    """Return a question's vector: every term counts once."""
    return _sparse(dict.fromkeys(found, 1.0))


def _sparse(weights: dict[str, float]) -> Sparse:
    by_dimension: dict[int, float] = {}
    for term, weight in weights.items():
        place = _dimension(term)
        by_dimension[place] = by_dimension.get(place, 0.0) + weight
    return Sparse(tuple(by_dimension), tuple(by_dimension.values()))


def _dimension(term: str) -> int:
    return int.from_bytes(blake2s(term.encode(), digest_size=4).digest(), "big")
