"""How hits become a ranking: two legs fused, moved by the person's values, and no two of the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mulgil.retrieval.base import Entry
from mulgil.retrieval.index import Hit
from mulgil.text import key

_DENSE_WEIGHT = 0.6
# BM25 at which half of the lexical weight is given: one rare term of the question stands in the entry.
_HALF = 5.0
_FIT = 0.12
_MISFIT = 0.3


@dataclass(frozen=True, slots=True)
class Ranked:
    """An entry and how well it fits, 0 to 1."""

    entry: Entry
    score: float


def ranking(dense: Sequence[Hit], lexical: Sequence[Hit], values: Mapping[str, str]) -> list[Ranked]:
    """Return all entries of both legs, best first; `values` are the person's, by field name."""
    legs = (_dense_shares(dense), {hit.entry.id: hit.score / (hit.score + _HALF) for hit in lexical})
    entries = {hit.entry.id: hit.entry for hit in (*dense, *lexical)}
    ranked = [Ranked(entry, _score(entry, legs, values)) for entry in entries.values()]
    return sorted(ranked, key=lambda each: (-each.score, each.entry.id))
