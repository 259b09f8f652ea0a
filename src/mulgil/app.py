"""The composition root: settings in, a gateway out. Only here are parts chosen and put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

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
from mulgil.engines import models
from mulgil.engines.client import Client
from mulgil.engines.slots import Slots
from mulgil.flow.graph import build_flow
from mulgil.flow.question import Question
from mulgil.flow.steps import Steps
from mulgil.morphemes import Morphemes
from mulgil.parts import Reporter, domain_folder, open_engine, open_retrieval, open_sessions
from mulgil.retrieval.retriever import CatalogueRetriever
from mulgil.sessions.base import Session
from mulgil.settings import Settings
from mulgil.turns.book import Lifetimes, TurnBook
from mulgil.turns.turn import Remember, Workshop


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


def mode_of(settings: Settings) -> prompt.Mode:
    """Return who writes what under these settings."""
    if settings.grounding == "generate":
        return "generate"
    if settings.describe != "auto":
        return settings.describe
    bundled = settings.engine == "llamacpp" and settings.model in {"", *models.KNOWN}
    return "entry" if bundled else "model"


@asynccontextmanager
async def open_gateway(settings: Settings, report: Reporter) -> AsyncIterator[Gateway]:
    """Put a gateway together, engine included, and take it apart at the end. Raises `SetupError`."""
    domain = load_domain(domain_folder(settings.domain))
    mode = mode_of(settings)
    async with AsyncExitStack() as stack:
        engine = asyncio.create_task(open_engine(settings, domain, mode, stack, report))
        try:
            morphemes, retriever = await open_retrieval(settings, domain, stack, report)
        except BaseException:
            engine.cancel()
            await asyncio.wait({engine})
            raise
        parts = Parts(domain, mode, morphemes, retriever, await engine)
        yield await stack.enter_async_context(assemble(settings, parts))


@asynccontextmanager
async def assemble(settings: Settings, parts: Parts) -> AsyncIterator[Gateway]:
    """Put a gateway together over parts that are there already; it leaves them open at the end."""
    sessions = open_sessions(settings)
    slots = Slots(parts.client.slots, settings.queue_limit)
    steps = Steps(parts.domain, parts.morphemes, parts.retriever, parts.client, slots, parts.mode, settings.max_tokens)
    metrics = Metrics()
    shop = Workshop(build_flow(steps), sessions, _remember(parts.domain), settings.turn_timeout)
    book = TurnBook(shop, _lifetimes(settings), lambda: slots.check(settings.turn_timeout, book.running), metrics.ended)
    metrics.gauge("mulgil_turns_running", "Turns that have not ended.", lambda: book.running)
    metrics.gauge("mulgil_turns_waiting", "Turns that wait for the engine.", lambda: slots.waiting)
    desk = Desk(Wire(parts.domain), Guards(parts.domain), book, settings.heartbeat)
    checks = {"engine": parts.client.check, "index": parts.retriever.check}
    try:
        yield Gateway(build_application(desk, metrics, checks), book, desk)
    finally:
        await book.close(0.0)
        await sessions.close()


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
