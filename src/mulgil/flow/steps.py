"""The three steps of a turn, as plain async functions on a state; their order is the graph's."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol, TypedDict

from langchain_core.retrievers import BaseRetriever

from mulgil.domain import answer as shape
from mulgil.domain import prompt
from mulgil.domain.decide import Decision, choose, decide
from mulgil.domain.display import Display, Slot
from mulgil.domain.model import Domain
from mulgil.domain.partial import InvalidAnswer
from mulgil.engines.base import Engine, Generation, Message
from mulgil.engines.slots import Slots
from mulgil.errors import OffTopic, UpstreamFailed
from mulgil.events import Answer, Event, Queued, Source, Sources
from mulgil.flow.budget import fitted
from mulgil.flow.question import Question
from mulgil.morphemes import Token
from mulgil.retrieval.base import Entry
from mulgil.sessions.base import Exchange, Session

Emit = Callable[[Event], None]

_HISTORY = 3
_GIVEN_LIMIT = 120
_ATTEMPTS = 2
_PATIENCE = 1.0
"""Seconds that the engine has to end, once everything is shown; it then is aborted."""


class Analyser(Protocol):
    """Splits a text into morphemes, off the event loop."""

    async def analysed(self, text: str) -> list[Token]:
        """Return the text's morphemes."""
        ...


class State(TypedDict, total=False):
    """What the steps hand on: `question` and `session` come in, `answer` and the next `session` go out."""

    question: Question
    session: Session
    decision: Decision
    entries: tuple[Entry, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps and what they work with."""

    domain: Domain
    analyser: Analyser
    retriever: BaseRetriever
    engine: Engine
    slots: Slots
    mode: prompt.Mode
    max_tokens: int
    rng: random.Random = field(default_factory=random.Random)

    async def validate_query(self, state: State, emit: Emit) -> State:
        """Decide the turn's category once; a message that is not the domain's business ends here."""
        del emit
        question, session = state["question"], state["session"]
        if question.kind == "base-info":
            decision = choose(self.domain, question.values or {}, session.profile)
        else:
            tokens = await self.analyser.analysed(question.message)
            given = bool(session.given)
            # In a thread: 2,000 hostile characters take the word lists 50 ms.
            decision = await asyncio.to_thread(
                decide, self.domain, question.message, tokens, session.profile, given, self.rng
            )
        if decision.profane or not decision.on_topic:
            raise OffTopic
        return {"decision": decision}

    async def retrieve_context(self, state: State, emit: Emit) -> State:
        """Find the entries for the decided category and this person, and tell which."""
        decision, question = state["decision"], state["question"]
        values = {name: value.text for name, value in decision.profile.values.items()}
        query = question.message or " ".join([decision.category.label, *values.values()])
        documents = await self.retriever.ainvoke(
            query, category=decision.category.code, values=values, seen=state["session"].given, k=self.domain.count
        )
        found = [(document.metadata["entry"], float(document.metadata["score"])) for document in documents]
        if self.mode != "generate" and len(found) < self.domain.count:
            raise UpstreamFailed(f"the index has {len(found)} entries, {self.domain.count} are needed")
        emit(Sources(tuple(Source(entry.id, entry.title, entry.category, score) for entry, score in found)))
        return {"entries": tuple(entry for entry, _ in found)}

    async def generate_response(self, state: State, emit: Emit) -> State:
        """Let the engine write, and show what it writes as it comes."""
        messages = await fitted(
            self.engine,
            self.max_tokens,
            prompt.stable(self.domain, self.mode),
            state["session"].exchanges[-_HISTORY:],
            self._asked(state),
            state["question"].message,
        )
        display = Display(self._slots(state))
        async with self.slots.hold(lambda position, eta: emit(Queued(position, eta))):
            answer, written = await self._write(messages, display, self._grounds(state, display), state, emit)
        return {"answer": answer, "session": self._next(state, Exchange(messages[-1].content, written))}

    def _asked(self, state: State) -> Callable[[str], str]:
        decision = state["decision"]
        entries = [(entry.title, entry.description) for entry in state["entries"]]
        return lambda message: prompt.asked(
            self.domain, self.mode, message, decision.profile, decision.category, entries
        )

    def _slots(self, state: State) -> list[Slot]:
        if self.mode == "generate":
            category = state["decision"].category
            return [Slot(category.code, category.label)] * self.domain.count
        described = self.mode == "entry"
        return [
            Slot(
                entry.category,
                self.domain.categories[entry.category].label,
                entry.title,
                entry.description if described else "",
                entry.id,
            )
            for entry in state["entries"]
        ]

    def _grounds(self, state: State, display: Display) -> dict[str, str]:
        """Return the text from which each field may take digits and Latin words: the message, and its entry."""
        message = state["question"].message
        entries = [f"{entry.title} {entry.description}" for entry in state["entries"]]
        alone = self.mode == "model"
        texts = dict.fromkeys(display.missing(), message if alone else " ".join([message, *entries]))
        if alone:
            texts |= {f"d{number}": f"{message} {text}" for number, text in enumerate(entries, start=1)}
        return texts

    def _patterns(self, state: State, display: Display, grounds: Mapping[str, str]) -> dict[str, str]:
        """Return the patterns of the fields that are missing; of a field that was begun, the rest is free."""
        rules, begun = self.domain.answer, display.begun()
        patterns = shape.patterns(rules, display.slots, grounds)
        patterns = {key: patterns[key] for key in display.missing()}
        first = next(iter(patterns))
        if self.mode == "entry":
            patterns[first] = self._framed(state["decision"], begun)
        elif begun:
            patterns[first] = shape.continued(rules, first, begun, grounds[first])
        return patterns

    def _framed(self, decision: Decision, begun: str) -> str:
        values = {name: value.text for name, value in decision.profile.values.items()}
        word = decision.word if decision.by == "keyword" and decision.word else ""
        return shape.framed(self.domain.answer.frames, decision.category.label, values, word, begun)

    async def _write(
        self, messages: Sequence[Message], display: Display, grounds: Mapping[str, str], state: State, emit: Emit
    ) -> tuple[Answer, str]:
        """Return the answer and the engine's text; one retry asks only for what was not yet shown."""
        failure = UpstreamFailed()
        for attempt in range(1, _ATTEMPTS + 1):
            generation = Generation(messages, shape.schema(self._patterns(state, display, grounds)), self.max_tokens)
            try:
                text = await self._relay(generation, display, emit)
                return display.finish(), text if attempt == 1 and display.closed else _canonical(display)
            except InvalidAnswer as error:
                failure = UpstreamFailed(f"no usable answer: {error}")
            except UpstreamFailed as error:
                failure = error
            if display.whole or not failure.retryable:
                break
            display.restart()
        raise failure

    async def _relay(self, generation: Generation, display: Display, emit: Emit) -> str:
        """Return the engine's text; once everything is shown, nothing that it does can spoil the answer."""
        chunks: list[str] = []
        try:
            async with aclosing(self.engine.stream(generation)) as stream, asyncio.timeout(None) as patience:
                async for chunk in stream:
                    if display.closed:
                        break  # the engine talks on after its answer
                    chunks.append(chunk)
                    for event in display.feed(chunk):
                        emit(event)
                    if display.whole and patience.when() is None:
                        patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE)
        except (TimeoutError, UpstreamFailed):
            if not display.whole:
                raise
        return "".join(chunks)

    def _next(self, state: State, exchange: Exchange) -> Session:
        session = state["session"]
        given = [entry.id for entry in state["entries"]]
        kept = [known for known in session.given if known not in given]
        return replace(
            session,
            profile=state["decision"].profile,
            exchanges=(*session.exchanges, exchange)[-_HISTORY:],
            given=tuple([*kept, *given][-_GIVEN_LIMIT:]),
        )


def _canonical(display: Display) -> str:
    return json.dumps(display.written, ensure_ascii=False, separators=(",", ":"))
