"""The order of the steps: the only place that knows LangGraph (and its tracing, which it turns off).

`ainvoke` runs inside the turn's own task, so that one `task.cancel()` stops the step that runs; events go straight to
the turn's log (docs/adr/0001). Streaming the graph instead lets the model run on after a client has left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import langsmith
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from mulgil.events import Answer
from mulgil.flow.question import Question
from mulgil.flow.steps import Emit, State, Steps
from mulgil.sessions.base import Session


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole answer, and the session as it is after it."""

    answer: Answer
    session: Session


class Flow(Protocol):
    """Answers one question; events go to `emit` as they happen."""

    async def __call__(self, question: Question, session: Session, emit: Emit) -> Outcome:
        """Return the outcome. Raises a `MulgilError` that ends the turn."""
        ...


@dataclass(frozen=True, slots=True)
class _Context:
    emit: Emit


def build_flow(steps: Steps) -> Flow:
    """Return the flow: validate_query, then retrieve_context, then generate_response."""
    # What people write is nobody else's: LANGSMITH_TRACING in the environment would send it away.
    langsmith.configure(enabled=False)
    graph: StateGraph[State, _Context, State, State] = StateGraph(State, context_schema=_Context)
    order = [steps.validate_query, steps.retrieve_context, steps.generate_response]
    before = START
    for step in order:
        graph.add_node(step.__name__, _node(step))
        graph.add_edge(before, step.__name__)
        before = step.__name__
    graph.add_edge(before, END)
    compiled = graph.compile()

    async def flow(question: Question, session: Session, emit: Emit) -> Outcome:
        state: dict[str, Any] = await compiled.ainvoke(
            {"question": question, "session": session}, context=_Context(emit)
        )
        return Outcome(state["answer"], state["session"])

    return flow


class _Node(Protocol):
    async def __call__(self, state: State, *, runtime: Runtime[_Context]) -> State: ...


def _node(step: Callable[[State, Emit], Awaitable[State]]) -> _Node:
    async def node(state: State, *, runtime: Runtime[_Context]) -> State:
        return await step(state, runtime.context.emit)

    return node
