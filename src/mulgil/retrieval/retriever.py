"""The LangChain retriever of a catalogue: category first, then what fits the message and the person."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from mulgil.errors import UpstreamFailed
from mulgil.retrieval.base import Entry
from mulgil.retrieval.embed import Embedder
from mulgil.retrieval.index import Index, Where
from mulgil.retrieval.lexical import Analyser, Sparse, query_vector, terms
from mulgil.retrieval.rank import Ranked, fused, varied
from mulgil.text import key

# Wide enough for the fit to a person to reorder: all of a category of the bundled catalogue's size.
_POOL = 64
