"""All turns of this process: admit, join, resume, stop, forget.

Everything that decides is synchronous, so create-or-join by a turn's id is one atomic step of the event loop.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from mulgil.errors import Gone, ShuttingDown, Stopped, Superseded, TurnIdReused
from mulgil.flow.question import Question
from mulgil.turns.turn import Request, Turn, Workshop


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds: grace without a reader (and for a client-chosen id), a log after its end, an id after its log."""

    grace: float = 5.0
    named_grace: float = 30.0
    log: float = 600.0
    session: float = 86_400.0
    alone: float = 3_600.0


class TurnBook:
    """The turns. `admit` raises `Busy` when no more may start; `ended` hears of every turn's end."""

    def __init__(
        self, shop: Workshop, lifetimes: Lifetimes, admit: Callable[[], None], ended: Callable[[Turn], None]
    ) -> None:
        self._shop = shop
        self._lifetimes = lifetimes
        self._admit = admit
        self._ended = ended
        self._turns: dict[str, Turn] = {}
        self._latest: dict[str, Turn] = {}
        self._forgotten: dict[str, asyncio.TimerHandle] = {}
        self._closing = False
        self.running = 0
        """Number of turns that have not ended."""

    def join(self, turn_id: str, request: Request) -> Turn | None:
        """Return the turn that a client's id names, or None if it was never used.

        Raises `Gone` for a turn that is forgotten or somebody else's, `TurnIdReused` for other parameters.
        """
        turn = self._known(turn_id, request)
        if turn is not None and turn.request.asked != request.asked:
            raise TurnIdReused
        return turn

    def resume(self, turn_id: str, request: Request) -> Turn:
        """Return the turn of an event id. Raises `Gone` if there is none for this client."""
        turn = self._known(turn_id, request)
        if turn is None:
            raise Gone
        return turn

    def start(
        self, request: Request, question: Question, turn_id: str | None = None, grace: float | None = None
    ) -> Turn:
        """Admit and start a turn; a running one of the same session ends. Raises `Busy` or `ShuttingDown`."""
        if self._closing:
            raise ShuttingDown
        self._admit()
        usual = self._lifetimes.grace if turn_id is None else self._lifetimes.named_grace
        turn = Turn(turn_id or str(uuid.uuid4()), request, question, usual if grace is None else grace)
        before = self._supersede(turn)
        self._turns[turn.id] = turn
        self.running += 1
        turn.start(self._shop, before, self._settle)
        return turn

    def stop(self, turn_id: str) -> None:
        """Stop a running turn; an unknown or ended one is left alone."""
        turn = self._turns.get(turn_id)
        if turn is not None:
            turn.stop(Stopped())

    async def close(self, drain: float) -> None:
        """Start no more turns, let the running ones go on for `drain` seconds, then end them."""
        self._closing = True
        turns = [turn for turn in self._turns.values() if turn.ended_at is None]
        if turns:
            await asyncio.wait([asyncio.create_task(turn.over()) for turn in turns], timeout=drain)
        for turn in turns:
            turn.stop(ShuttingDown())
        for turn in turns:
            await turn.over()
        for timer in self._forgotten.values():
            timer.cancel()

    def hurry(self) -> None:
        """End the running turns now."""
        for turn in list(self._turns.values()):
            turn.stop(ShuttingDown())

    def _known(self, turn_id: str, request: Request) -> Turn | None:
        turn = self._turns.get(turn_id)
        if turn is None:
            if turn_id in self._forgotten:
                raise Gone
            return None
        if (turn.request.session_id, turn.request.owner) != (request.session_id, request.owner):
            raise Gone
        return turn

    def _supersede(self, turn: Turn) -> Turn | None:
        session = turn.request.session_id
        if session is None:
            return None
        before = self._latest.get(session)
        self._latest[session] = turn
        if before is not None:
            before.stop(Superseded())
        return before

    def _settle(self, turn: Turn) -> None:
        self.running -= 1
        session = turn.request.session_id
        if session is not None and self._latest.get(session) is turn:
            del self._latest[session]
        self._later(self._lifetimes.log, turn.id, self._forget)
        self._ended(turn)

    def _forget(self, turn_id: str) -> None:
        """Drop the log; the id alone is remembered, so that it never starts a turn again."""
        turn = self._turns.pop(turn_id)
        lives = self._lifetimes.alone if turn.request.session_id is None else self._lifetimes.session
        self._later(lives, turn_id, lambda known: self._forgotten.pop(known, None))

    def _later(self, seconds: float, turn_id: str, act: Callable[[str], object]) -> None:
        self._forgotten[turn_id] = asyncio.get_running_loop().call_later(seconds, act, turn_id)
