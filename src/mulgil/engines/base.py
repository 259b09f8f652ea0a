"""The seam between the gateway and any engine: four members; closing the stream is the abort."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message: `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What the engine is asked: messages, a JSON schema that the text must match, and the limit in tokens."""

    messages: Sequence[Message]
    schema: Mapping[str, Any] | None
    max_tokens: int


class Engine(Protocol):
    """An engine that writes text. Every member raises `UpstreamFailed` or `UpstreamTimeout`, nothing else."""

    context: int
    """Tokens that one request may hold, prompt and answer together."""

    slots: int
    """Requests that the engine runs at once."""

    def stream(self, generation: Generation) -> AsyncGenerator[str, None]:
        """Yield the text as the engine produces it, one string per chunk. `aclose()` closes the engine's request."""
        ...

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of the engine's own tokens in each text, chat template excluded."""
        ...

    async def check(self) -> None:
        """Return when the engine answers; raise otherwise."""
        ...
