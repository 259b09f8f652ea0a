"""How hits become a ranking: two legs fused, moved by the person's values, and no two of the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mulgil.retrieval.base import Entry
from mulgil.retrieval.index import Hit
from mulgil.text import key

_DENSE_WEIGHT = 0.5
# A smaller spread of cosines, as among a handful of entries, is not stretched to the whole scale.
_LEAST_SPREAD = 0.06
# BM25 at which half of the lexical weight is given: one rare term of the question stands in the entry.
_HALF = 5.0
_FIT = 0.12
_MISFIT = -0.4
# What is meant for some places or jobs only may be wrong for somebody of whom they are not known.
_UNKNOWN = -0.06


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


def varied(
    ranked: Sequence[Ranked],
    vectors: Mapping[str, Sequence[float]],
    chosen: Sequence[Ranked],
    count: int,
    nearness: float,
) -> list[Ranked]:
    """Return `count` of the ranked, best first, none whose text is nearly that of a better or a chosen one.

    `vectors` have length 1; two are nearly the same over the cosine `nearness`. Such ones come last, where others
    are too few.
    """
    kept: list[Ranked] = []
    near: list[Ranked] = []
    for each in ranked:
        rivals = (vectors[other.entry.id] for other in (*chosen, *kept))
        same = any(_cosine(vectors[each.entry.id], rival) > nearness for rival in rivals)
        (near if same else kept).append(each)
        if len(kept) == count:
            break
    return (kept + near)[:count]


def _dense_shares(hits: Sequence[Hit]) -> dict[str, float]:
    # An embedder's cosines lie close together, each embedder's elsewhere: only their spread tells them apart.
    scores = [hit.score for hit in hits] or [0.0]
    best, spread = max(scores), max(max(scores) - min(scores), _LEAST_SPREAD)
    return {hit.entry.id: 1 - (best - hit.score) / spread for hit in hits}


def _score(entry: Entry, legs: tuple[Mapping[str, float], Mapping[str, float]], values: Mapping[str, str]) -> float:
    dense, lexical = (leg.get(entry.id, 0.0) for leg in legs)
    relevance = _DENSE_WEIGHT * dense + (1 - _DENSE_WEIGHT) * lexical
    return min(max(relevance + _fit(entry, values), 0.0), 1.0)


def _fit(entry: Entry, values: Mapping[str, str]) -> float:
    return sum(_field_fit(options, values.get(name, "")) for name, options in entry.values.items() if options)


def _field_fit(options: Sequence[str], value: str) -> float:
    if not value:
        return _UNKNOWN
    return _FIT if key(value) in map(key, options) else _MISFIT


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))
