"""A real gateway in a thread of its own, and clients on raw sockets; every wait is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import uvloop
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun
from langchain_core.documents import Document
from pydantic import PrivateAttr

from mulgil.app import Gateway, Parts, assemble, mode_of
from mulgil.domain.model import Domain
from mulgil.engines.scripted import Answer, Record, Script, ScriptedEngine
from mulgil.morphemes import Morphemes
from mulgil.parts import meet
from mulgil.retrieval.retriever import CatalogueRetriever
from mulgil.server import Server, configuration, listen
from mulgil.settings import Settings

TIMEOUT = 10.0
BASE = "/ai/chatbot/recommendation"
ON_TOPIC = "플라스틱을 줄이고 싶어요"
OFF_TOPIC = "맛집 추천해줘요"
PLACE = {"location": "바닷가", "workType": "사무직", "category": "제로웨이스트"}
STREAM = {"accept": "text/event-stream"}
FIELDS = {
    "recommend": "바닷가에서 지내는 분께 어울리는 챌린지 세 가지를 추천해요.",
    "d1": "커피를 받을 때 텀블러를 내밀어 보세요.",
    "d2": "2.5kg 봉투 대신 빈 통을 들고 가요.",
    "d3": "장을 볼 때 천 가방을 챙겨요.",
}
TEXT = json.dumps(FIELDS, ensure_ascii=False)


def answer(**changes: Any) -> Answer:
    """A usable answer of three described entries."""
    return Answer(**({"text": TEXT, "chunk": 4} | changes))


def script(*answers: Answer, **changes: Any) -> Script:
    """These answers in turn; without any a usable one for every request."""
    return Script(answers=answers, default=answer(), **changes)


def gated(*pieces: int, **changes: Any) -> Answer:
    """A usable answer whose pieces at these indexes wait for the gates `g<index>`."""
    return answer(gates={index: f"g{index}" for index in pieces}, **changes)


def before(seconds: float = TIMEOUT) -> Iterator[None]:
    """Try again and again until the time is over; the next try comes when the other side has answered this one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
    raise AssertionError(f"not within {seconds} s")


class Watched(CatalogueRetriever):
    """The real retriever, counted; a test may hold it back, or let it find these documents."""

    _calls: int = PrivateAttr(0)
    _open: threading.Event = PrivateAttr(default_factory=threading.Event)
    _canned: list[Document] | None = PrivateAttr(None)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **asked: Any
    ) -> list[Document]:
        self._calls += 1
        await asyncio.to_thread(self._open.wait, TIMEOUT)
        if self._canned is not None:
            return self._canned
        return await super()._aget_relevant_documents(query, run_manager=run_manager, **asked)

    def reset(self) -> Self:
        self._calls, self._canned = 0, None
        self._open.set()
        return self

    @property
    def calls(self) -> int:
        return self._calls

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def can(self, documents: list[Document]) -> None:
        self._canned = documents


@dataclass(frozen=True)
class Event:
    """One SSE event as it came; a comment has the name `:`."""

    raw: bytes
    id: str = ""
    name: str = ""
    status: int = 0
    message: str = ""
    data: Any = None

    @property
    def number(self) -> int:
        return int(self.id.rpartition(":")[2])


FRAME = re.compile(rb"id: ([^\n\r]+)\nevent: ([a-z]+)\ndata: ([^\n\r]+)\n\n")


def parsed(block: bytes) -> Event:
    """Read one block strictly, as the contract frames it."""
    if block == b": ping\n\n":
        return Event(block, name=":")
    if match := re.fullmatch(rb"retry: (\d+)\n\n", block):
        return Event(block, name="retry", data=int(match[1]))
    match = FRAME.fullmatch(block)
    assert match, block
    told = json.loads(match[3])
    assert list(told) == ["status", "message", "data"], told
    return Event(block, match[1].decode(), match[2].decode(), told["status"], told["message"], told["data"])


def pieces(events: list[Event]) -> str:
    return "".join(event.data for event in events if event.name == "challenge")


def rendered(close: Event) -> str:
    """The display text that the answer in `close` adds up to (contract.md, SSE)."""
    items = [f"{n}. {each['title']}\n{each['description']}" for n, each in enumerate(close.data["challenges"], 1)]
    return "\n\n".join([close.data["recommend"], *items])


class Call:
    """One request on a connection of its own."""

    def __init__(
        self, port: int, method: str, target: str, headers: Mapping[str, str], body: bytes | None, window: int | None
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT)
        if window is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.connect(("127.0.0.1", port))
        lines = [f"{method} {target} HTTP/1.1", "host: gateway", *(f"{name}: {text}" for name, text in headers.items())]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        self._file = self.socket.makefile("rb")
        self._method = method
        self._rest = b""
        self._head: tuple[int, dict[str, str]] | None = None
        self._over = False
        self.lines: list[str] = []
        self._whole: bytes | None = None

    @property
    def status(self) -> int:
        return self._heads()[0]

    @property
    def headers(self) -> dict[str, str]:
        return self._heads()[1]

    def _heads(self) -> tuple[int, dict[str, str]]:
        if self._head is None:
            self.lines = [line.decode().rstrip("\r\n") for line in iter(self._file.readline, b"\r\n")]
            status = int(self.lines[0].split(" ")[1])
            self._head = status, dict(line.split(": ", 1) for line in self.lines[1:])
            self._over = self._method == "HEAD" or status in {204, 304}
        return self._head

    def _more(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            data = self._file.read(int(self._file.readline(), 16))
            assert self._file.readline() == b"\r\n"
            self._over = not data
            return data
        self._over = True
        return self._file.read(int(self.headers["content-length"]))

    def chunk(self) -> bytes:
        """The next chunk of the body: what the server sent in one write."""
        assert not self._rest
        self._heads()
        return b"" if self._over else self._more()

    def body(self) -> bytes:
        self._heads()
        while not self._over:
            self._rest += self._more()
        rest, self._rest = self._rest, b""
        return rest

    def json(self) -> Any:
        """The whole answer; it can be asked for again."""
        if self._whole is None:
            self._whole = self.body()
        return json.loads(self._whole)

    def transcript(self) -> bytes:
        """The whole response, less its date and its transfer coding."""
        body = self.body()
        head = [line for line in self.lines if not line.startswith("date: ")]
        return "\n".join([*head, "", ""]).encode() + body

    def event(self) -> Event:
        """The next block of the stream, whatever it is."""
        self._heads()
        while b"\n\n" not in self._rest:
            assert not self._over, f"the stream is over; {self._rest!r} is left"
            self._rest += self._more()
        end = self._rest.index(b"\n\n") + 2
        block, self._rest = self._rest[:end], self._rest[end:]
        return parsed(block)

    def until(self, name: str, number: int = 1) -> list[Event]:
        """The blocks up to and including the `number`th of this name."""
        seen: list[Event] = []
        while sum(event.name == name for event in seen) < number:
            seen.append(self.event())
        return seen

    def events(self) -> list[Event]:
        """All blocks to the end of the response, `retry` and comments left out."""
        blocks = re.findall(rb".*?\n\n", body := self.body(), re.DOTALL)
        assert b"".join(blocks) == body
        return [event for event in map(parsed, blocks) if event.name not in {"retry", ":"}]

    def close(self) -> float:
        """Leave; return when."""
        self._file.close()
        self.socket.close()
        return time.time()


def target(path: str, query: Mapping[str, object]) -> str:
    pairs = [f"{name}={quote(str(value), safe='')}" for name, value in query.items()]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


class _Threaded(Server):
    """Signals belong to the main thread; the harness asks this one to exit."""

    ready: Callable[[], None]

    async def main_loop(self) -> None:
        """Wait to be told, where uvicorn looks every 100 ms: hundreds of gateways are stopped in a run."""
        await self.on_tick(0)
        self.told = asyncio.Event()
        self.ready()
        await self.told.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Running:
    """A gateway that runs, its engine, and every call that a test makes to it."""

    def __init__(
        self, settings: Settings, domain: Domain, morphemes: Morphemes, retriever: Watched, engine: ScriptedEngine
    ) -> None:
        self.settings = settings
        self.domain = domain
        self.engine = engine
        self.retriever = retriever
        self.gateway: Gateway
        self.server: _Threaded
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self._morphemes = morphemes
        self._ready = threading.Event()
        self._calls: list[Call] = []
        self._listening = listen(settings)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(TIMEOUT), "the gateway did not start"
        if self.failure is not None:
            raise self.failure
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._calls:
            call.close()
        self.stop()
        assert self.ended.wait(TIMEOUT), "the gateway did not end"
        self._thread.join(TIMEOUT)
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Ask it to shut down, as SIGTERM does."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has stopped
            self.loop.call_soon_threadsafe(self.server.told.set)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop if self.fast else None) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 (the test's thread raises it)
            self.failure = error
        finally:
            self._ready.set()
            self.ended.set()

    fast = True
    """Whether it runs on uvloop, as in production."""

    async def _serve(self) -> None:
        self.loop, self.thread_id = asyncio.get_running_loop(), threading.get_ident()
        client = meet(self.settings)
        parts = Parts(self.domain, mode_of(self.settings), self._morphemes, self.retriever, client)
        try:
            async with assemble(self.settings, parts) as self.gateway:
                self.server = _Threaded(configuration(self.gateway), self.gateway, self.settings.drain)
                self.server.ready = self._ready.set
                await self.server.serve(sockets=[self._listening])
        finally:
            await client.close()

    def narrow(self) -> None:
        """Let connections that come have small send buffers, so that a slow reader is felt."""
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)

    def held_back(self) -> int:
        """How many connections have full buffers."""
        return sum(each.flow.write_paused for each in list(self.server.server_state.connections))

    # requests

    def request(
        self,
        method: str,
        to: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        window: int | None = None,
    ) -> Call:
        call = Call(self.port, method, to, headers or {}, body, window)
        self._calls.append(call)
        return call

    def get(
        self, kind: str, headers: Mapping[str, str] | None = None, /, window: int | None = None, **query: object
    ) -> Call:
        """Ask as `EventSource` does; with `window` the reader's receive buffer is so small."""
        return self.request("GET", target(f"{BASE}/{kind}", query), STREAM | dict(headers or {}), window=window)

    def plain(self, kind: str, /, **query: object) -> Call:
        """Ask without naming the stream's type."""
        return self.request("GET", target(f"{BASE}/{kind}", query), {"accept": "*/*"})

    def post(self, kind: str, headers: Mapping[str, str] | None = None, /, **fields: object) -> Call:
        body = json.dumps(fields).encode()
        return self.request("POST", f"{BASE}/{kind}", {"content-type": "application/json"} | dict(headers or {}), body)

    def delete(self, turn_id: str) -> Call:
        return self.request("DELETE", f"/ai/chatbot/turns/{turn_id}")

    def resume(self, kind: str, event_id: str, /, **query: object) -> Call:
        """Come back as `EventSource` does."""
        return self.get(kind, {"last-event-id": event_id}, **query)

    # what became of them

    @property
    def asked(self) -> list[Record]:
        """What the engine was asked so far."""
        return list(self.engine.recorder.requests)

    def arrived(self, count: int = 1) -> None:
        """Return when the engine has so many requests."""
        assert self.engine.recorder.wait(lambda requests: len(requests) >= count, TIMEOUT)

    def abandoned(self, index: int = 0) -> Record:
        """Return the engine's request when the gateway has closed it before its end."""
        recorder = self.engine.recorder
        assert recorder.wait(lambda requests: len(requests) > index and requests[index].left, TIMEOUT)
        return recorder.requests[index]

    def metric(self, line: str) -> float:
        text = self.request("GET", "/metrics").body().decode()
        return float(next(each for each in text.splitlines() if each.startswith(line)).rpartition(" ")[2])

    def until(self, holds: Callable[[], object]) -> None:
        """Return when this holds; between two looks the gateway has answered a request."""
        for _ in before():
            if holds():
                return
            self.request("GET", "/health/live").body()

    def becomes(self, line: str, value: float) -> None:
        """Return when a metric has this value."""
        self.until(lambda: self.metric(line) == value)


Open = Callable[..., Running]
