"""The catalogue on disk, in Qdrant's engine inside this process.

    <data>/index/<domain>/current           the name of the build that serves
    <data>/index/<domain>/build-<hash>/     meta.json and the shard, never written again
    <data>/index/<domain>/tmp-<random>/     a build on its way

A shard without a write-ahead log has no lock, so any number of processes open one build, and a build that was removed
goes on serving those that have it open. Opening needs a writable folder: the engine rewrites its own settings there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import qdrant_edge as edge

from mulgil.errors import SetupError
from mulgil.retrieval.base import Entry
from mulgil.retrieval.embed import Embedder
from mulgil.retrieval.lexical import LEXICAL_VERSION, Sparse

DENSE = "dense"
LEXICAL = "lexical"
CATEGORY = "category"
POINTER = "current"
META = "meta.json"
SHARD = "shard"


class IndexBroken(Exception):
    """The engine refused or failed; its text is for logs."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a build was made of; `content` is a hash of the entries and their terms."""

    domain: str
    embedder: str
    dimension: int
    lexical: str
    entries: int
    content: str


@dataclass(frozen=True, slots=True)
class Where:
    """Which entries a search may find: the category's or (`elsewhere`) all but its, among `only`, not in `without`."""

    category: str | None = None
    elsewhere: bool = False
    only: Collection[str] | None = None
    without: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that one leg of a search found; the score is the leg's own: a cosine, or BM25."""

    entry: Entry
    score: float


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as the index holds it, with its dense vector."""

    entry: Entry
    vector: tuple[float, ...]


class Index:
    """An open build. Its methods block, any thread may call them; each raises `IndexBroken` if it can't answer."""

    def __init__(self, shard: edge.EdgeShard, meta: Meta) -> None:
        self._shard = shard
        self.meta = meta

    def search(self, dense: Sequence[float], lexical: Sparse, where: Where, limit: int) -> tuple[list[Hit], list[Hit]]:
        """Return at most `limit` hits of the dense leg and of the lexical leg, each best first."""
        legs = [_nearest(list(dense), DENSE, where, limit)]
        if lexical.indices:
            vector = edge.SparseVector(list(lexical.indices), list(lexical.values))
            legs.append(_nearest(vector, LEXICAL, where, limit))
        with engine_errors():
            found = self._shard.query_batch(edge.QueryBatchRequest(legs))
        hits = [[Hit(entry_of(point.payload or {}), point.score) for point in leg] for leg in found]
        return hits[0], hits[1] if lexical.indices else []

    def stored(self, ids: Collection[str]) -> dict[str, Stored]:
        """Return what the index holds of these entries, by id."""
        with engine_errors():
            records = self._shard.retrieve([point_id(each) for each in ids], with_payload=True, with_vector=[DENSE])
        found = (Stored(entry_of(record.payload or {}), _dense(record.vector)) for record in records)
        return {each.entry.id: each for each in found}

    def count(self) -> int:
        """Return the number of entries."""
        with engine_errors():
            return self._shard.count(edge.CountRequest())

    def close(self) -> None:
        """Release the build; every later call fails."""
        with engine_errors():
            self._shard.close()


def index_folder(data: Path, domain: str) -> Path:
    """Return the folder of a domain's index under the data folder."""
    return data / "index" / domain


def open_index(folder: Path, embedder: Embedder) -> Index:
    """Open the build that serves in `folder`.

    Raises `SetupError` if there is none, if it is damaged, or if another embedder or lexical version made it.
    """
    build = serving_build(folder)
    if build is None:
        raise SetupError(f"There is no index in {folder}; make one with `mulgil ingest`.")
    meta = _meta(build)
    if (meta.embedder, meta.dimension, meta.lexical) != (embedder.name, embedder.dimension, LEXICAL_VERSION):
        raise SetupError(
            f"The index in {folder} was made with {meta.embedder} ({meta.dimension} dimensions, {meta.lexical}), but "
            f"{embedder.name} ({embedder.dimension} dimensions, {LEXICAL_VERSION}) is chosen; choose the first, or "
            "make the index again with `mulgil ingest`."
        )
    return open_build(build, meta)


def serving_build(folder: Path) -> Path | None:
    """Return the folder of the build that serves, or None if there is none yet."""
    try:
        return folder / (folder / POINTER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def point_id(entry_id: str) -> str:
    """Return the engine's id of an entry."""
    return str(uuid5(NAMESPACE_URL, entry_id))


def payload_of(entry: Entry) -> dict[str, Any]:
    """Return the entry as the engine keeps it, whole."""
    return asdict(entry)


def entry_of(payload: Mapping[str, Any]) -> Entry:
    """Return the entry that the engine kept."""
    values = {field: tuple(options) for field, options in payload["values"].items()}
    return Entry(**{**payload, "values": values, "tags": tuple(payload["tags"])})


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn whatever the engine raises into `IndexBroken`; a panic of its Rust code is no `Exception`."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise IndexBroken(str(error)) from error
        raise


def open_build(build: Path, meta: Meta) -> Index:
    """Open a build; raises `SetupError` if it is damaged."""
    try:
        with engine_errors():
            index = Index(edge.EdgeShard.load(str(build / SHARD)), meta)
        if index.count() == meta.entries:
            return index
        index.close()
    except IndexBroken as error:
        raise _damaged(build, str(error)) from error
    raise _damaged(build, f"it should have {meta.entries} entries")


def _meta(build: Path) -> Meta:
    try:
        return Meta(**json.loads((build / META).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(build, str(error)) from error


def _damaged(build: Path, reason: str) -> SetupError:
    return SetupError(f"The index in {build} can't be opened ({reason}); make it again with `mulgil ingest`.")


def _nearest(vector: list[float] | edge.SparseVector, using: str, where: Where, limit: int) -> edge.QueryRequest:
    return edge.QueryRequest(
        limit=limit, query=edge.Query.Nearest(vector, using=using), filter=_filter(where), with_payload=True
    )


def _filter(where: Where) -> edge.Filter:
    must: list[Any] = []
    must_not: list[Any] = []
    if where.category is not None:
        condition = edge.FieldCondition(CATEGORY, match=edge.MatchValue(where.category))
        (must_not if where.elsewhere else must).append(condition)
    if where.only is not None:
        must.append(edge.HasIdCondition(set(map(point_id, where.only))))
    if where.without:
        must_not.append(edge.HasIdCondition(set(map(point_id, where.without))))
    return edge.Filter(must=must, must_not=must_not)


def _dense(vector: Any) -> tuple[float, ...]:
    return tuple(vector[DENSE])
