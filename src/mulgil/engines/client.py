"""The relay: one aiohttp client for any engine that speaks the OpenAI streaming API.

Raw bytes are framed here, with a cap, since aiohttp's line reader costs a call a line. Time limits are one lazy timer
a stream: a chunk only moves a deadline. Closing the generator closes the connection, which is the abort.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jiter

from mulgil.engines.base import Generation
from mulgil.errors import UpstreamFailed, UpstreamTimeout

_LINE_CAP = 1 << 20
_COUNTS_KEPT = 1024
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds: to connect, to the first chunk, between chunks."""

    connect: float = 5.0
    first_token: float = 120.0
    silence: float = 30.0


@dataclass(slots=True)
class Client:
    """An engine at `base_url` (`http://host:port/v1`). `extra` is added to every request's body."""

    base_url: str
    model: str
    key: str = ""
    context: int = 4096
    slots: int = 4
    limits: Limits = Limits()
    extra: Mapping[str, Any] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None
    _counts_exactly: bool = True
    _counts: dict[str, int] = field(default_factory=dict)

    async def stream(self, generation: Generation) -> AsyncGenerator[str, None]:
        """Yield the content of each chunk. Raises `UpstreamFailed` or `UpstreamTimeout`."""
        if not self.model:  # the engine was not up yet at the start
            await self.discover()
        async with self._post(generation) as response, _watched(response, self.limits) as watch:
            frames = Frames()
            async for data in response.content.iter_any():
                watch.moved()
                for text in frames.feed(data):
                    if text:
                        yield text
                if frames.done:
                    return
        if not frames.finished:
            raise UpstreamFailed("the engine's stream ended without a finish")

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Return the engine's own token counts where it tells (llama.cpp, vLLM), else a cautious estimate."""
        if self._counts_exactly:
            try:
                return [await self._counted(text) for text in texts]
            except UpstreamFailed:
                self._counts_exactly = False
        return [math.ceil(len(text.encode()) / 2) for text in texts]

    async def check(self) -> None:
        """Return when the engine serves the model; raise otherwise."""
        await self.discover()

    async def discover(self) -> None:
        """Fill in what the engine tells of itself: model, context, slots. Raises when it does not answer."""
        served = (await self._get("/models")).get("data") or [{}]
        chosen = next((item for item in served if item.get("id") == self.model), None)
        if chosen is None and self.model:
            raise UpstreamFailed(f"the engine serves no model named {self.model!r}")
        chosen = chosen or served[0]
        self.model = str(chosen.get("id", ""))
        if isinstance(chosen.get("max_model_len"), int):
            self.context = chosen["max_model_len"]

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.limits.connect),
                headers=headers,
                auto_decompress=False,
            )
        return self._session

    @asynccontextmanager
    async def _post(self, generation: Generation) -> AsyncIterator[aiohttp.ClientResponse]:
        with _mapped():
            async with asyncio.timeout(self.limits.first_token + self.limits.connect):
                response = await self._open().post(f"{self.base_url}/chat/completions", json=self._body(generation))
            try:
                if response.status != 200:  # noqa: PLR2004 (HTTP's own number)
                    raise UpstreamFailed(f"the engine answered {response.status}: {await _excerpt(response)}")
                yield response
            except BaseException:
                response.close()
                raise
            response.release()

    def _body(self, generation: Generation) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in generation.messages],
            "max_tokens": generation.max_tokens,
            "stream": True,
            **self.extra,
        }
        if generation.schema is not None:
            shape = {"name": "answer", "strict": True, "schema": generation.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        return body

    async def _counted(self, text: str) -> int:
        if text not in self._counts:
            if len(self._counts) >= _COUNTS_KEPT:
                self._counts.clear()
            self._counts[text] = await self._count(text)
        return self._counts[text]

    async def _count(self, text: str) -> int:
        # llama.cpp reads `content`, vLLM reads `prompt`; each ignores the other.
        root = self.base_url.removesuffix("/v1")
        body = {"content": text, "prompt": text, "model": self.model, "add_special_tokens": False}
        with _mapped():
            async with asyncio.timeout(self.limits.connect), self._open().post(f"{root}/tokenize", json=body) as answer:
                told = await answer.json(content_type=None)
        if not isinstance(told, dict) or not isinstance(told.get("tokens"), list):
            raise UpstreamFailed("the engine counts no tokens")
        return len(told["tokens"])

    async def _get(self, path: str) -> dict[str, Any]:
        with _mapped():
            async with asyncio.timeout(self.limits.connect), self._open().get(self.base_url + path) as answer:
                if answer.status != 200:  # noqa: PLR2004 (HTTP's own number)
                    raise UpstreamFailed(f"GET {path} answered {answer.status}")
                told = await answer.json(content_type=None)
        if not isinstance(told, dict):
            raise UpstreamFailed(f"GET {path} answered no object")
        return told


@dataclass(slots=True)
class Frames:
    """Upstream SSE bytes to texts. `finished`: the engine said why it stopped; `done`: `[DONE]` came."""

    finished: bool = False
    done: bool = False
    _rest: bytes = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the content of every whole chunk in the bytes. Raises `UpstreamFailed` on anything else."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LINE_CAP:
            raise UpstreamFailed("a line of the engine's stream is too long")
        for line in lines:
            if line.startswith(b"data:"):
                payload = line[5:].strip()
                if payload == _DONE:
                    self.done = self.finished = True
                    return
                if payload:
                    yield self._content(payload)

    def _content(self, payload: bytes) -> str:
        try:
            chunk = jiter.from_json(payload)
        except ValueError as error:
            raise UpstreamFailed("the engine sent broken JSON") from error
        if not isinstance(chunk, dict) or "error" in chunk:
            raise UpstreamFailed("the engine sent an error")
        try:
            choices = chunk["choices"]
            if not choices:
                return ""
            choice = choices[0]
            if choice.get("finish_reason"):
                self.finished = True
            content = (choice.get("delta") or {}).get("content")
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            raise UpstreamFailed("the engine sent a chunk of another shape") from error
        return content if isinstance(content, str) else ""


class _Watch:
    """The time limits of one stream. When one runs out the connection is closed, and the read that waits fails."""

    def __init__(self, response: aiohttp.ClientResponse, limits: Limits) -> None:
        self._response = response
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + limits.first_token
        self._timer = self._loop.call_at(self._deadline, self._look)
        self._first = True
        self.expired = False

    def moved(self) -> None:
        """Something came: the next deadline is `silence` from now."""
        self._deadline = self._loop.time() + self._limits.silence
        if self._first:
            self._first = False
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
            return
        self.expired = True
        self._response.close()


@asynccontextmanager
async def _watched(response: aiohttp.ClientResponse, limits: Limits) -> AsyncIterator[_Watch]:
    watch = _Watch(response, limits)
    try:
        yield watch
    except (aiohttp.ClientError, OSError) as error:
        if watch.expired:
            raise UpstreamTimeout("the engine fell silent") from error
        raise
    finally:
        watch.stop()
    if watch.expired:
        raise UpstreamTimeout("the engine fell silent")


@contextmanager
def _mapped() -> Iterator[None]:
    """Map what aiohttp and its parsers raise to the errors of the contract."""
    try:
        yield
    except TimeoutError as error:  # aiohttp's own time-outs are TimeoutErrors too
        raise UpstreamTimeout("the engine did not answer in time") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UpstreamFailed(f"the engine can't be read: {type(error).__name__}") from error


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    return (await response.content.read(500)).decode(errors="replace")
