"""Chromium before a gateway that runs as a process of its own, with the scripted engine behind it."""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mulgil.engines.scripted import ScriptedEngine

pytest.importorskip("playwright", reason="pip install -e '.[browser]'")

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

EXECUTABLES = Path(sys.executable).parent
ECO_KO = Path(__file__).parents[2] / "domains" / "eco_ko"
EACH = 8
"""Entries a category: enough for several turns, and indexed in a second."""


def need(program: str, how: str) -> str:
    """Return the program's path; a desk without it skips the test, CI fails."""
    path = shutil.which(program)
    if path is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"{program} is missing: {how}")
    return path


class Proxy:
    """A TCP proxy before the gateway, in a thread of its own, that can cut and refuse connections."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.removeprefix("http://").partition(":")
        self._port = int(port)
        self._refusals = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._in_loop(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._server.sockets[0].getsockname())

    def cut(self, refusals: int = 0) -> None:
        """Close every connection; the next ones are answered with 502, so many of them."""
        self._in_loop(self._cut(refusals))

    def close(self) -> None:
        self._server.close()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _in_loop(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _cut(self, refusals: int) -> None:
        self._refusals = refusals
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for writer in self._writers:
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            if self._refusals:
                self._refusals -= 1
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
            else:
                await self._joined(reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers.add(back)
        try:
            await asyncio.gather(_copied(reader, back), _copied(there, writer))
        finally:
            self._writers.discard(back)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="session")
def small_domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domain") / "eco_ko"
    shutil.copytree(ECO_KO, folder)
    catalogue = folder / "catalogue.jsonl"
    rows = sorted(catalogue.read_text(encoding="utf-8").splitlines(), key=_category)
    kept = [row for _, group in itertools.groupby(rows, _category) for row in itertools.islice(group, EACH)]
    catalogue.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return folder


def _category(row: str) -> str:
    return row.partition('"category":"')[2].partition('"')[0]


@pytest.fixture(scope="session")
def running_engine() -> Iterator[ScriptedEngine]:
    with ScriptedEngine() as engine:
        yield engine


@pytest.fixture
def engine(running_engine: ScriptedEngine) -> ScriptedEngine:
    running_engine.recorder.requests.clear()
    return running_engine


@pytest.fixture(scope="session")
def gateway(running_engine: ScriptedEngine, small_domain: Path, tmp_path_factory: pytest.TempPathFactory):
    """The gateway's URL. It has one engine slot, so that a turn that keeps its slot after its end is noticed."""
    options = {
        "--engine": f"{running_engine.base_url}/v1",
        "--domain": str(small_domain),
        "--data": str(tmp_path_factory.mktemp("data")),
        "--describe": "model",
        "--slots": "1",
        "--port": "0",
    }
    command = [EXECUTABLES / "mulgil", "serve", *itertools.chain(*options.items())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            told = process.stdout.readline()
            assert "http://" in told, "the gateway did not start"
            yield told.partition("ready: ")[2].split()[0]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def proxy(gateway: str) -> Iterator[Proxy]:
    with closing(Proxy(gateway)) as proxy:
        yield proxy


# By module: playwright keeps an event loop in this thread, and other modules' tests need their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = need("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with closing(browser.new_context(locale="ko-KR", viewport={"width": 1000, "height": 900})) as context:
        context.set_default_timeout(15_000)
        yield context


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console complained of; a test that expects complaints clears it."""
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
