"""The gateway's event loop is never held up: no callback uses it for long, while turns run with every real part."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import PLACE, Open, Running, answer, script

MOST = 0.050
"""Seconds of the loop thread's own CPU time; a wall clock would count what other processes take."""

MESSAGES = [
    "텀블러를 쓰고 싶어요",
    "바닷가에서 플로깅을 하려고 해요",
    "사무실에서 전기를 아끼는 방법을 알려줘",
    "환경을 지키는 작은 습관 " + "그리고 또 다른 이야기 " * 180,
    "ㅋ" * 900 + " 환경을 지키고 싶어요 " + "뷁" * 900,
    "비건 식단 " * 300,
    "100% 재활용 되는 포장재가 궁금해요",
]


class Slowest:
    """The most that one callback of an event loop used, by loop thread."""

    def __init__(self) -> None:
        self.used: dict[int, list[tuple[float, str]]] = {}

    def note(self, seconds: float, handle: asyncio.Handle) -> None:
        noted = self.used.setdefault(threading.get_ident(), [])
        noted.append((seconds, repr(handle) if seconds > MOST else ""))


@pytest.fixture
def slowest(monkeypatch: pytest.MonkeyPatch) -> Slowest:
    watch = Slowest()
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        watch.note(time.thread_time() - began, handle)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    return watch


@pytest.fixture
def plain_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """uvloop's callbacks can't be watched."""
    monkeypatch.setattr(Running, "fast", False)
    return


def test_no_callback_uses_the_loop_for_more_than_50_ms_while_eight_turns_run(
    plain_loop: None, slowest: Slowest, opened: Open
) -> None:
    running = opened(script(answer(chunk=1, deltas_per_write=8)), slots=8, describe="model")
    running.post("base-info", **PLACE).body()  # what is loaded once a process
    asyncio.run_coroutine_threadsafe(forget(slowest), running.loop).result(10)
    calls = [running.get("free-text", message=message[:2000], sessionId=f"s{n}") for n, message in enumerate(MESSAGES)]
    calls.append(running.get("base-info", **PLACE, sessionId="s"))
    with ThreadPoolExecutor(len(calls)) as pool:
        streams = list(pool.map(lambda call: call.events(), calls))
    assert [events[-1].name for events in streams] == ["close"] * 8
    assert running.retriever.calls >= 6
    assert len(running.asked) >= 6
    noted = slowest.used[running.thread_id]
    assert len(noted) > 100
    assert max(noted)[0] <= MOST, max(noted)


async def forget(slowest: Slowest) -> None:
    slowest.used.clear()
