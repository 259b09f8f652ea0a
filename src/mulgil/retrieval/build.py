"""A catalogue becomes an index: embedded, written to a new folder, and switched in by one rename.

A build that is killed at any moment leaves the index that served before it, and something for the next build to sweep.
The build that was replaced stays until the next one, so that nobody's opening fails for a switch under way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from mulgil.errors import SetupError
from mulgil.retrieval.base import Entry
from mulgil.retrieval.disk import UNFINISHED, alone, publish, sweep
from mulgil.retrieval.embed import Embedder
from mulgil.retrieval.index import (
    CATEGORY,
    DENSE,
    LEXICAL,
    META,
    SHARD,
    Index,
    IndexBroken,
    Meta,
    Stored,
    engine_errors,
    open_build,
    open_index,
    payload_of,
    point_id,
)
from mulgil.retrieval.ingest import Problem
from mulgil.retrieval.lexical import LEXICAL_VERSION, Analyser, passage_vector, terms

Progress = Callable[[int, int], None]
"""Told how many entries are done, and of how many."""

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Report:
    """What a build did with the catalogue: entries in all, new or changed, unchanged and removed; rows left out."""

    total: int
    new: int
    unchanged: int
    removed: int
    problems: tuple[Problem, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Passage:
    entry: Entry
    text: str
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Changes:
    unchanged: int
    removed: int


def build_index(
    folder: Path,
    domain: str,
    entries: Sequence[Entry],
    problems: Sequence[Problem],
    *,
    embedder: Embedder,
    analyser: Analyser,
    progress: Progress = lambda _done, _total: None,
) -> Report:
    """Make the index of `entries` the one that serves in `folder`; nothing is written if it already is.

    Blocks for about 20 ms an entry that is new or whose text changed. Raises `SetupError` if there are no entries,
    if another build is under way, or if the engine can't write; the index that served goes on serving.
    """
    started = time.monotonic()
    if not entries:
        raise SetupError(f"No row can be used ({len(problems)} have problems); the index stays as it is.")
    with _setup_errors(folder), alone(folder):
        sweep(folder)
        passages = [_passage(entry, analyser) for entry in entries]
        changes = _ensure(folder, _meta(domain, passages, embedder), passages, embedder, progress)
    new = len(entries) - changes.unchanged
    return Report(len(entries), new, changes.unchanged, changes.removed, tuple(problems), time.monotonic() - started)


def passage_text(entry: Entry) -> str:
    """Return the text whose vector an entry is found by; its terms are those of the tags too."""
    return f"{entry.title}\n{entry.description}"


def _passage(entry: Entry, analyser: Analyser) -> _Passage:
    text = passage_text(entry)
    return _Passage(entry, text, terms(analyser, "\n".join((text, ", ".join(entry.tags)))))


def _meta(domain: str, passages: Sequence[_Passage], embedder: Embedder) -> Meta:
    # The terms are hashed too: another dictionary makes another index of the same entries.
    rows = sorted(json.dumps([asdict(each.entry), each.terms], sort_keys=True) for each in passages)
    content = sha256("\n".join([embedder.name, LEXICAL_VERSION, *rows]).encode()).hexdigest()
    return Meta(domain, embedder.name, embedder.dimension, LEXICAL_VERSION, len(passages), content)


def _ensure(folder: Path, meta: Meta, passages: Sequence[_Passage], embedder: Embedder, progress: Progress) -> _Changes:
    old = _old(folder, embedder)
    if old is None:
        return _publish(folder, meta, _Writing(passages, None, embedder, progress))
    with closing(old):
        if old.meta == meta:
            progress(meta.entries, meta.entries)
            return _Changes(meta.entries, 0)
        return _publish(folder, meta, _Writing(passages, old, embedder, progress))


def _old(folder: Path, embedder: Embedder) -> Index | None:
    try:
        return open_index(folder, embedder)
    except SetupError:
        return None


def _publish(folder: Path, meta: Meta, writing: _Writing) -> _Changes:
    unfinished, build = folder / UNFINISHED, folder / f"build-{meta.content[:16]}"
    unfinished.mkdir()
    (unfinished / META).write_text(json.dumps(asdict(meta), ensure_ascii=False), encoding="utf-8")
    changes = writing.into(unfinished / SHARD)
    # The engine tidies a shard when it is opened first; done here, no reader ever changes it.
    open_build(unfinished, meta).close()
    publish(unfinished, build)
    return changes


@dataclass(frozen=True, slots=True)
class _Writing:
    passages: Sequence[_Passage]
    old: Index | None
    embedder: Embedder
    progress: Progress

    def into(self, path: Path) -> _Changes:
        """Write the shard, whole and closed; vectors of unchanged texts come from the old index."""
        shard = self._shard(path)
        average = sum(len(each.terms) for each in self.passages) / len(self.passages)
        known = unchanged = 0
        for start in range(0, len(self.passages), _BATCH):
            batch = self.passages[start : start + _BATCH]
            stored = self.old.stored([each.entry.id for each in batch]) if self.old else {}
            self._write(shard, batch, stored, average)
            known += len(stored)
            unchanged += sum(each.entry.id in stored and stored[each.entry.id].entry == each.entry for each in batch)
            self.progress(start + len(batch), len(self.passages))
        with engine_errors():
            shard.optimize()
            shard.flush()
            shard.close()
        return _Changes(unchanged, (self.old.count() if self.old else 0) - known)

    def _shard(self, path: Path) -> edge.EdgeShard:
        dense = edge.EdgeVectorParams(size=self.embedder.dimension, distance=edge.Distance.Cosine)
        lexical = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
        config = edge.EdgeConfig(vectors={DENSE: dense}, sparse_vectors={LEXICAL: lexical}, wal_enabled=False)
        path.mkdir()
        with engine_errors():
            shard = edge.EdgeShard.create(str(path), config)
            shard.update(edge.UpdateOperation.create_field_index(CATEGORY, edge.PayloadSchemaType.Keyword))
        return shard

    def _write(
        self, shard: edge.EdgeShard, batch: Sequence[_Passage], stored: dict[str, Stored], average: float
    ) -> None:
        vectors = self._vectors(batch, stored)
        points = [_point_of(each, vectors[each.entry.id], average) for each in batch]
        with engine_errors():
            shard.update(edge.UpdateOperation.upsert_points(points))

    def _vectors(self, batch: Sequence[_Passage], stored: dict[str, Stored]) -> dict[str, Sequence[float]]:
        known = {id_: old.vector for id_, old in stored.items()}
        fresh = [
            each
            for each in batch
            if each.entry.id not in stored or passage_text(stored[each.entry.id].entry) != each.text
        ]
        made = self.embedder.passages([each.text for each in fresh])
        return known | {each.entry.id: vector for each, vector in zip(fresh, made, strict=True)}


def _point_of(passage: _Passage, dense: Sequence[float], average: float) -> edge.Point:
    sparse = passage_vector(passage.terms, average)
    vector: dict[str, Any] = {DENSE: list(dense), LEXICAL: edge.SparseVector(list(sparse.indices), list(sparse.values))}
    return edge.Point(point_id(passage.entry.id), vector, payload_of(passage.entry))


@contextmanager
def _setup_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (IndexBroken, OSError) as error:
        raise SetupError(f"The index in {folder} can't be written ({error}); the old one goes on serving.") from error
