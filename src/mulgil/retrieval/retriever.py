"""The LangChain retriever of a catalogue: category first, then what fits the message and the person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from mulgil.errors import UpstreamFailed
from mulgil.retrieval.embed import Embedder
from mulgil.retrieval.index import Index, IndexBroken, Where
from mulgil.retrieval.lexical import Analyser, Sparse, query_vector, terms
from mulgil.retrieval.rank import Ranked, ranking, varied

# Wide enough for the fit to a person to reorder: all of a category of the bundled catalogue's size.
_POOL = 64
# How many of the best are looked at for one place in the result, so that near copies can be passed over.
_SPARE = 4
# Over this, two entries of the bundled embedder say the same in other words.
_NEARNESS = 0.95

_T = TypeVar("_T")


class CatalogueRetriever(BaseRetriever):
    """Finds entries of an index; `ainvoke(query, category=, values=, seen=, k=)` gives Documents, best first.

    Each Document's metadata holds `entry` (an `Entry`) and `score` (0 to 1, never rising along the result).
    `category` (a code) comes first, and only where it has fewer than `k` entries do others follow; `values` are the
    person's, by field name; entries in `seen` come after all others of their category, the longest unseen first.
    The lexical leg leaves out the words of `ignored`: those that everybody writes, and the categories' names.
    Raises `UpstreamFailed`, whatever it is that fails.
    """

    _index: Index = PrivateAttr()
    _embedder: Embedder = PrivateAttr()
    _analyser: Analyser = PrivateAttr()
    _ignored: frozenset[str] = PrivateAttr()
    _worker: ThreadPoolExecutor = PrivateAttr()

    def __init__(self, index: Index, embedder: Embedder, analyser: Analyser, *, ignored: Collection[str] = ()) -> None:
        super().__init__()
        self._index = index
        self._embedder = embedder
        self._analyser = analyser
        self._ignored = frozenset(term for word in ignored for term in terms(analyser, word))
        # One thread, so that a burst of questions takes one core from the engine and not all.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="retrieval")

    async def check(self) -> None:
        """Return when the index answers; raise `UpstreamFailed` otherwise."""
        await self._apart(partial(self._find, "check", None, {}, (), 1))

    async def close(self) -> None:
        """Release the index, after the query that is under way."""
        await self._apart(self._index.close)
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain passes it
        category: str | None = None,
        values: Mapping[str, str] | None = None,
        seen: Collection[str] = (),
        k: int = 3,
    ) -> list[Document]:
        with _upstream():
            return self._find(query, category, values or {}, seen, k)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain passes it
        category: str | None = None,
        values: Mapping[str, str] | None = None,
        seen: Collection[str] = (),
        k: int = 3,
    ) -> list[Document]:
        return await self._apart(partial(self._find, query, category, values or {}, seen, k))

    async def _apart(self, work: Callable[[], _T]) -> _T:
        with _upstream():
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _find(
        self, query: str, category: str | None, values: Mapping[str, str], seen: Collection[str], k: int
    ) -> list[Document]:
        dense, lexical = self._embedder.query(query), self._lexical(query)
        chosen: list[Ranked] = []
        for where in _tiers(category, seen):
            if len(chosen) < k:
                hits = self._index.search(dense, lexical, where, max(_POOL, _SPARE * k))
                ranked = _oldest_first(ranking(*hits, values), where.only)
                chosen += self._varied(ranked, chosen, k - len(chosen))
        if not chosen:
            raise IndexBroken("a search of everything found nothing")
        return _documents(chosen)

    def _lexical(self, query: str) -> Sparse:
        return query_vector([term for term in terms(self._analyser, query) if term not in self._ignored])

    def _varied(self, ranked: Sequence[Ranked], chosen: Sequence[Ranked], count: int) -> list[Ranked]:
        best = ranked[: _SPARE * count]
        stored = self._index.stored([each.entry.id for each in (*best, *chosen)])
        vectors = {id_: each.vector for id_, each in stored.items()}
        return varied(best, vectors, chosen, count, _NEARNESS)


def _tiers(category: str | None, seen: Collection[str]) -> Iterator[Where]:
    for elsewhere in (False, True) if category is not None else (False,):
        yield Where(category, elsewhere, without=seen)
        if seen:
            yield Where(category, elsewhere, only=seen)


def _oldest_first(ranked: list[Ranked], seen: Collection[str] | None) -> list[Ranked]:
    """Order a tier of seen entries by when they were last given, or they would come in the same order for ever."""
    if seen is None:
        return ranked
    places = {id_: place for place, id_ in enumerate(seen)}
    return sorted(ranked, key=lambda each: places[each.entry.id])


def _documents(chosen: Sequence[Ranked]) -> list[Document]:
    documents, ceiling = [], 1.0
    for each in chosen:
        ceiling = min(ceiling, each.score)
        metadata = {"entry": each.entry, "score": ceiling}
        documents.append(Document(page_content=each.entry.description, id=each.entry.id, metadata=metadata))
    return documents


@contextmanager
def _upstream() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise UpstreamFailed(f"retrieval failed: {type(error).__name__}: {error}") from error
