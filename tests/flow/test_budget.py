"""A prompt that fits the engine's context: what goes first, what never goes."""

from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.engines.base import Generation, Message
from mulgil.errors import UpstreamFailed
from mulgil.flow.budget import fitted
from mulgil.sessions.base import Exchange

STABLE = [("system", "s" * 40), ("user", "예"), ("assistant", "네")]
PER_MESSAGE = 16


class Counts:
    """An engine that counts a token a character, and remembers that it was asked."""

    slots = 1

    def __init__(self, context: int) -> None:
        self.context = context
        self.counted = 0

    async def count(self, texts: Sequence[str]) -> list[int]:
        self.counted += 1
        return [len(text) for text in texts]

    def stream(self, generation: Generation) -> AsyncGenerator[str, None]:
        raise NotImplementedError

    async def check(self) -> None:
        raise NotImplementedError


def exchanges(*sizes: int) -> list[Exchange]:
    return [Exchange(f"{n}" + "q" * size, f"{n}" + "a" * size) for n, size in enumerate(sizes)]


def asked(message: str) -> str:
    return f"요청: {message}\n1. 텀블러"


def size(messages: Sequence[Message]) -> int:
    return sum(len(message.content) + PER_MESSAGE for message in messages)


async def test_what_fits_by_its_bytes_is_not_even_counted():
    engine = Counts(4096)
    messages = await fitted(engine, 600, STABLE, exchanges(10, 10), asked, "비건")
    assert [message.content[:1] for message in messages] == ["s", "예", "네", "0", "0", "1", "1", "요"]
    assert engine.counted == 0


@given(st.lists(st.integers(0, 300), max_size=3), st.integers(0, 600), st.integers(200, 1500))
def test_the_newest_exchanges_that_fit_are_kept_whole(sizes, length, context):
    import asyncio  # noqa: PLC0415

    engine, past, message = Counts(context), exchanges(*sizes), "가" * length
    messages = asyncio.run(fitted(engine, 50, STABLE, past, asked, message))
    assert size(messages) <= context - 50
    assert [(each.role, each.content) for each in messages[:3]] == STABLE
    kept = messages[3:-1]
    newest = [text for each in past for text in (each.user, each.assistant)]
    assert [each.content for each in kept] == newest[len(newest) - len(kept) :]
    assert len(kept) % 2 == 0
    assert messages[-1].content.endswith("\n1. 텀블러")
    if len(kept) < len(newest):
        left_out = past[len(past) - len(kept) // 2 - 1]
        more = len(left_out.user) + len(left_out.assistant) + 2 * PER_MESSAGE
        assert size(messages) + more > context - 50


async def test_a_message_that_is_too_long_alone_is_cut_at_its_end_and_the_entries_stay():
    messages = await fitted(Counts(400), 50, STABLE, exchanges(5), asked, "처음" + "가" * 2000)
    last = messages[-1].content
    assert last.startswith("요청: 처음가가")
    assert last.endswith("\n1. 텀블러")
    assert size(messages) <= 350


@pytest.mark.parametrize("context", [60, 150, 166])
async def test_a_context_that_can_not_hold_the_prompt_is_a_failure(context):
    with pytest.raises(UpstreamFailed):
        await fitted(Counts(context), 50, STABLE, [], asked, "비건을 해 볼래요")
