"""One question and its answer, as a task that appends events to a log.

A turn is running, then committing, then ended. A stop before the commit ends it with `Failed` and `Closed`, and the
session keeps nothing of it but base-info's values; a stop during or after the commit changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from mulgil.errors import InternalError, MulgilError, Superseded, UpstreamTimeout
from mulgil.events import Closed, Failed, TurnStarted
from mulgil.flow.graph import Flow
from mulgil.flow.question import Question
from mulgil.sessions.base import Session, SessionStore, VersionConflict
from mulgil.turns.log import Follower, TurnLog

_LOG = logging.getLogger(__name__)

Remember = Callable[[Question, Session], Session]
"""What a question tells of its person, whatever becomes of its answer (base-info's values)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Whose turn it is and what was asked, as it came: a repeat of the turn's id must bring the same.

    `owner` is the key that asked (empty where keys are off).
    """

    session_id: str | None
    owner: str
    asked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every turn needs: the flow, the sessions, what to remember at admission, the limit in seconds."""

    flow: Flow
    sessions: SessionStore
    remember: Remember
    limit: float = 280.0


class Turn:
    """A running or ended turn; `grace` is how many seconds it goes on without a reader."""

    def __init__(self, turn_id: str, request: Request, question: Question, grace: float) -> None:
        self.id = turn_id
        self.request = request
        self.question = question
        self.grace = grace
        self.log = TurnLog()
        self.began = asyncio.get_running_loop().time()
        self.ended_at: float | None = None
        self.failure: MulgilError | None = None
        self._cause: MulgilError | None = None
        self._committing = False
        self._readers = 0
        self._left: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[Session] | None = None
        self._task: asyncio.Task[None] | None = None
        self.log.append(TurnStarted(turn_id, request.session_id))

    def start(self, shop: Workshop, after: Turn | None, ended: Callable[[Turn], None]) -> None:
        """Run in a task of its own; `after` is the session's turn before, whose end is awaited."""
        # A task of its own: what base-info tells is stored even if the turn is stopped before its first step.
        self._opening = asyncio.create_task(self._open(shop, after))
        self._task = asyncio.create_task(self._run(shop, self._opening))
        self._task.add_done_callback(lambda _: self._settle(ended))

    def stop(self, cause: MulgilError) -> None:
        """End the turn with this error, unless its commit has begun."""
        if self._cause is not None or self._committing or self.log.closed or self._task is None:
            return
        self._cause = cause
        self._task.cancel()

    async def over(self) -> None:
        """Return when the turn's work has ended."""
        tasks = {task for task in (self._opening, self._task) if task is not None}
        if tasks:
            await asyncio.wait(tasks)

    def follow(self, number: int = 0) -> Follower:
        """Return a reader of the log that starts after event `number`; it must be given back by `unfollow`."""
        self._readers += 1
        if self._left is not None:
            self._left.cancel()
            self._left = None
        return Follower(self.log, number)

    def unfollow(self, follower: Follower, cause: MulgilError) -> None:
        """A reader has gone; without any for `grace` seconds the turn ends with `cause`."""
        follower.leave()
        self._readers -= 1
        if self._readers == 0 and not self.log.closed:
            self._left = asyncio.get_running_loop().call_later(self.grace, self.stop, cause)

    async def _run(self, shop: Workshop, opening: asyncio.Task[Session]) -> None:
        try:
            await self._answer(shop, opening)
        except asyncio.CancelledError:
            self._fail(self._cause or InternalError("cancelled"))
        except MulgilError as error:
            _LOG.info("turn ended: %s: %s", type(error).__name__, error)
            self._fail(error)
        except Exception as error:  # noqa: BLE001 (the last line of defence: a turn's log always ends)
            _LOG.error("turn failed", exc_info=error)
            self._fail(InternalError(type(error).__name__))

    async def _answer(self, shop: Workshop, opening: asyncio.Task[Session]) -> None:
        try:
            async with asyncio.timeout_at(self.began + shop.limit):
                session = await asyncio.shield(opening)
                outcome = await shop.flow(self.question, session, self.log.append)
        except TimeoutError as error:
            raise UpstreamTimeout("the turn's time is over") from error
        if self._cause is not None:
            raise self._cause  # stopped, but the flow let its cancellation go
        self._committing = True
        await self._save(shop, outcome.session)
        self.log.append(Closed(outcome.answer))

    async def _open(self, shop: Workshop, after: Turn | None) -> Session:
        if after is not None:
            await after.over()
        if self.request.session_id is None:
            return shop.remember(self.question, Session())
        while True:
            session = await shop.sessions.load(self.request.session_id)
            told = shop.remember(self.question, session)
            if told == session:
                return session
            try:
                return await shop.sessions.save(self.request.session_id, told)
            except VersionConflict:
                continue  # another process wrote first: what was told is added to what it wrote

    async def _save(self, shop: Workshop, session: Session) -> None:
        if self.request.session_id is None:
            return
        saving = asyncio.create_task(shop.sessions.save(self.request.session_id, session))
        try:
            await asyncio.shield(saving)
        except VersionConflict as error:
            raise Superseded("another process wrote the session") from error

    def _fail(self, error: MulgilError) -> None:
        self.failure = error
        self.log.append(Failed(error))
        self.log.append(Closed(None, error))

    def _settle(self, ended: Callable[[Turn], None]) -> None:
        if not self.log.closed:  # cancelled before its first step
            self._fail(self._cause or InternalError("cancelled"))
        if self._left is not None:
            self._left.cancel()
        self.ended_at = asyncio.get_running_loop().time()
        ended(self)
