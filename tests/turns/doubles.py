"""What the tests of turns share: a flow whose steps a test opens one by one, and a store that can be held back."""

import asyncio
from dataclasses import dataclass, field, replace

from mulgil.domain.model import Profile
from mulgil.events import Answer, Closed, Event, Failed, Piece
from mulgil.flow.graph import Outcome
from mulgil.flow.question import Question
from mulgil.flow.steps import Emit
from mulgil.sessions.base import Exchange, Session
from mulgil.sessions.memory import MemorySessions
from mulgil.turns.turn import Request, Turn

LIMIT = 5.0
ANSWER = Answer("해 봐요.", ())
FREE_TEXT = Question("free-text", message="비건을 해 볼래요")
BASE_INFO = Question("base-info", values={"category": "비건"})


@dataclass
class Flow:
    """Emits one piece, waits for its gate, emits another, and answers; `failure` is raised instead."""

    failure: BaseException | None = None
    open: bool = True
    seen: list[Session] = field(default_factory=list)
    cancelled: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, question: Question, session: Session, emit: Emit) -> Outcome:
        self.seen.append(session)
        emit(Piece("해 "))
        self.began.set()
        try:
            if not self.open:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        emit(Piece("봐요."))
        return Outcome(ANSWER, replace(session, exchanges=(*session.exchanges, Exchange(question.message, "네"))))

    async def begins(self) -> None:
        async with asyncio.timeout(LIMIT):
            await self.began.wait()
        self.began.clear()


class Store(MemorySessions):
    """Sessions in memory; while `saves` is shut a save waits, and `conflicts` says how many saves come too late."""

    def __init__(self) -> None:
        super().__init__()
        self.saves = asyncio.Event()
        self.saves.set()
        self.saving = asyncio.Event()
        self.conflicts = 0
        self.failure: Exception | None = None

    async def save(self, session_id: str, session: Session) -> Session:
        self.saving.set()
        await self.saves.wait()
        if self.failure is not None:
            raise self.failure
        if self.conflicts:
            self.conflicts -= 1
            other = await self.load(session_id)
            await super().save(session_id, replace(other, given=(*other.given, "elsewhere")))
        return await super().save(session_id, session)


def remember(question: Question, session: Session) -> Session:
    """What base-info tells."""
    if question.kind != "base-info":
        return session
    return replace(session, profile=Profile(category=(question.values or {})["category"]))


def request(session_id: str | None = "s", owner: str = "", *asked: str) -> Request:
    return Request(session_id, owner, asked or ("free-text",))


def text(turn: Turn) -> str:
    return "".join(event.text for event in turn.log.events if isinstance(event, Piece))


def ends(turn: Turn) -> list[Event]:
    """The last two events, after checking that the turn ended exactly once and in order."""
    events = turn.log.events
    assert isinstance(events[-1], Closed)
    assert sum(isinstance(event, Closed) for event in events) == 1
    assert sum(isinstance(event, Failed) for event in events) == (events[-1].error is not None)
    if events[-1].error is not None:
        assert events[-2] == Failed(events[-1].error)
        assert events[-1].answer is None
        assert turn.failure is events[-1].error
    assert turn.ended_at is not None
    return events[-2:]


async def over(turn: Turn) -> list[Event]:
    """Return the turn's end; the wait is bounded."""
    async with asyncio.timeout(LIMIT):
        await turn.over()
    return ends(turn)


def error_of(turn: Turn) -> type[Exception] | None:
    closed = ends(turn)[-1]
    assert isinstance(closed, Closed)
    return None if closed.error is None else type(closed.error)


async def settled() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)
