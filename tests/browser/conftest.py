"""Chromium before a running gateway, and what can happen to the connections between them."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from harness import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

PATIENCE_MS = 15_000


def need(program: str, how: str) -> str:
    """Return the program's path; without it a desk skips the test, and CI fails."""
    path = shutil.which(program)
    if path is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"{program} is missing: {how}")
    return path


class Proxy:
    """A TCP proxy before the gateway, in a thread of its own, that can cut and refuse connections."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._refusals = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._in_loop(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._server.sockets[0].getsockname())

    def cut(self, refusals: int = 0) -> None:
        """Cut every connection; so many of the next ones are answered with 502."""
        self._in_loop(self._cut(refusals))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _cut(self, refusals: int) -> None:
        self._refusals = refusals
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusals:
            self._refusals -= 1
            await self._refuse(reader, writer)
        else:
            task = asyncio.create_task(self._joined(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(_copied(reader, back), _copied(there, writer))
        finally:
            writer.transport.abort()
            back.transport.abort()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
def gateway(opened) -> Running:
    """A gateway with one engine slot, so that a turn that keeps its slot after its end is noticed."""
    return opened(slots=1)


@pytest.fixture
def url(gateway: Running) -> str:
    return f"http://127.0.0.1:{gateway.port}"


@pytest.fixture
def proxy(gateway: Running) -> Iterator[Proxy]:
    with closing(Proxy(gateway.port)) as proxy:
        yield proxy


# By module: playwright keeps an event loop in this thread, and other modules' tests need their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 (other tests run without it)

    path = need("chromium", "apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def context(browser: Browser, gateway: Running) -> Iterator[BrowserContext]:
    with closing(browser.new_context(locale="ko-KR", viewport={"width": 1000, "height": 900})) as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console complained of. A test that expects complaints takes them out."""
    return []


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    page = context.new_page()
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []
