"""Fit a prompt into the engine's context, counted in the engine's own tokens.

The oldest exchange goes first, never the entries; a message too long for the context alone is cut at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mulgil.engines.base import Engine, Message
from mulgil.errors import UpstreamFailed
from mulgil.sessions.base import Exchange

_PER_MESSAGE = 16
"""Tokens that a chat template adds around one message, with room to spare."""


async def fitted(
    engine: Engine,
    max_tokens: int,
    stable: Sequence[tuple[str, str]],
    exchanges: Sequence[Exchange],
    asked: Callable[[str], str],
    message: str,
) -> list[Message]:
    """Return the prompt: the stable messages, the newest exchanges that fit, and the turn's own, last.

    `asked` makes the turn's message from the person's. Raises `UpstreamFailed` when the context can't hold even the
    stable part, or when the engine can't count.
    """
    head = [Message(role, content) for role, content in stable]
    pairs = [[Message("user", each.user), Message("assistant", each.assistant)] for each in exchanges]
    history = [message for pair in pairs for message in pair]
    room = engine.context - max_tokens
    whole = [*head, *history, Message("user", asked(message))]
    if _most(whole) <= room:
        return whole
    room -= await _size(engine, head)
    if room <= _PER_MESSAGE:
        raise UpstreamFailed(f"a context of {engine.context} tokens can't hold the prompt and {max_tokens} tokens")
    last = Message("user", asked(message))
    while message and await _size(engine, [last]) > room:
        message = message[: len(message) * 3 // 4]
        last = Message("user", asked(message))
    room -= await _size(engine, [last])
    if room < 0:
        raise UpstreamFailed(f"a context of {engine.context} tokens can't hold the prompt and {max_tokens} tokens")
    kept: list[Message] = []
    for pair in reversed(pairs):
        room -= await _size(engine, pair)
        if room < 0:
            break
        kept = [*pair, *kept]
    return [*head, *kept, last]


def _most(messages: Sequence[Message]) -> int:
    # A token has at least one byte of UTF-8: what fits by its bytes needs no counting.
    return sum(len(message.content.encode()) + _PER_MESSAGE for message in messages)


async def _size(engine: Engine, messages: Sequence[Message]) -> int:
    return sum(await engine.count([message.content for message in messages])) + _PER_MESSAGE * len(messages)
