"""Signals end the real server, in the main thread's loop: the first lets turns finish, the second does not wait."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from harness import BASE, ON_TOPIC, TIMEOUT, Watched, gated, script
from mulgil.app import Parts, assemble
from mulgil.domain.model import Domain
from mulgil.engines.scripted import ScriptedEngine
from mulgil.morphemes import Morphemes
from mulgil.parts import meet
from mulgil.server import listen, serve
from mulgil.settings import load_settings


class Served:
    """A server that runs, and one stream that it has begun to send."""

    def __init__(self, server: asyncio.Task[None], port: int) -> None:
        self.server = server
        self._port = port

    async def begin(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        ask = f"GET {BASE}/free-text?message={quote(ON_TOPIC)} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"
        self._writer.write(ask.encode())
        async with asyncio.timeout(TIMEOUT):
            await self._reader.readuntil(b"event: challenge")

    async def refuses(self) -> None:
        """Return when new turns are refused: the first signal has arrived."""
        async with asyncio.timeout(TIMEOUT):
            while b"HTTP/1.1 503" not in await self._ask_another():
                pass

    async def _ask_another(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        ask = f"GET {BASE}/free-text?message={quote('비건 식단을 알려줘')} HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write(ask.encode())
        told = await reader.readuntil(b"\r\n")
        writer.close()
        return told

    async def rest(self) -> str:
        async with asyncio.timeout(TIMEOUT):
            told = await self._reader.read()
        self._writer.close()
        return told.decode()

    async def over(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self.server


@pytest.fixture
async def served(
    domain: Domain, morphemes: Morphemes, retriever: Watched, engine: ScriptedEngine, tmp_path: Path
) -> AsyncIterator[Served]:
    engine.play(script(gated(9, match=ON_TOPIC)))
    given = {"engine": f"{engine.base_url}/v1", "model": "scripted", "port": 0, "sessions": "memory", "drain": 60}
    settings = load_settings(given | {"data": tmp_path})
    client, listening = meet(settings), listen(settings)
    listening.listen()  # so that a client may come before uvicorn does
    async with assemble(settings, Parts(domain, "model", morphemes, retriever.reset(), client)) as gateway:
        running = Served(asyncio.create_task(serve(settings, gateway, listening)), listening.getsockname()[1])
        await running.begin()
        yield running
        running.server.cancel()
    await client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_signal_lets_the_running_turns_finish(
    served: Served, engine: ScriptedEngine, number: signal.Signals
) -> None:
    os.kill(os.getpid(), number)
    await served.refuses()
    engine.release("g9")
    told = await served.rest()
    assert told.count("event: close") == 1
    assert '"status":200,"message":"모든 챌린지 추천 완료"' in told
    await served.over()


async def test_a_second_signal_ends_them_at_once_each_with_its_close(served: Served) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await served.refuses()
    os.kill(os.getpid(), signal.SIGTERM)
    told = await served.rest()
    assert told.count("event: error") == told.count("event: close") == 1
    assert told.count("서버를 다시 시작하는 중입니다") == 2
    await served.over()
