"""The relay: one aiohttp client for any engine that speaks the OpenAI streaming API.

Time limits are one lazy timer a stream: a chunk only moves a deadline. Closing the generator closes the connection,
which is the abort.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from mulgil.engines.base import Generation
from mulgil.engines.frames import Frames
from mulgil.errors import UpstreamFailed, UpstreamTimeout

_COUNTS_KEPT = 1024
_IDLE = 4.0
"""Seconds that a connection is kept unused: uvicorn closes it after 5, and a request on its way then would fail."""
_NO_COUNTER = {400, 401, 403, 404, 405, 422, 501}


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds: to connect, then to the first text, then between chunks."""

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
        began = asyncio.get_running_loop().time()
        async with self._post(generation) as response, _watched(response, self.limits, began) as watch:
            frames = Frames()
            async for data in response.content.iter_any():
                for text in frames.feed(data):
                    watch.moved(text)
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
            except _NoCounterError:
                self._counts_exactly = False
            except UpstreamFailed:
                pass  # it may count the next time
        return [_estimated(text) for text in texts]

    async def check(self) -> None:
        """Return when the engine serves the model; raise otherwise."""
        await self.discover()

    async def discover(self) -> None:
        """Fill in what the engine tells of itself: model, context, slots. Raises when it does not answer."""
        served = (await self._get("/models")).get("data")
        models = [item for item in served if isinstance(item, dict)] if isinstance(served, list) else []
        chosen = next((item for item in models if item.get("id") == self.model or not self.model), None)
        if chosen is None:
            raise UpstreamFailed(f"the engine serves no model named {self.model!r}")
        self.model = str(chosen.get("id", ""))
        self.context = _whole(chosen.get("max_model_len"), self.context)
        await self._read_props()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Accept-Encoding": "identity"}  # compression holds tokens back, and none is undone here
            if self.key:
                headers["Authorization"] = f"Bearer {self.key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.limits.connect),
                headers=headers,
                auto_decompress=False,
            )
        return self._session

    @asynccontextmanager
    async def _post(self, generation: Generation) -> AsyncIterator[aiohttp.ClientResponse]:
        with _mapped():
            async with asyncio.timeout(self.limits.connect + self.limits.first_token):
                response = await self._open().post(
                    f"{self.base_url}/chat/completions", json=self._body(generation), allow_redirects=False
                )
            try:
                await self._accepted(response)
                yield response
            except BaseException:
                response.close()
                raise
            response.release()

    async def _accepted(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 200:  # noqa: PLR2004 (HTTP's own number)
            return
        async with asyncio.timeout(self.limits.connect):
            excerpt = (await response.content.read(500)).decode(errors="replace")
        raise UpstreamFailed(f"the engine answered {response.status}: {excerpt}")

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
                if answer.status in _NO_COUNTER:
                    raise _NoCounterError("the engine has no tokenizer to ask")
                told = await answer.json(content_type=None)
        if not isinstance(told, dict) or not isinstance(told.get("tokens"), list):
            raise UpstreamFailed("the engine counts no tokens")
        return len(told["tokens"])

    async def _read_props(self) -> None:
        """Take the number of slots and the context of each from llama.cpp, which alone tells them."""
        try:
            props = await self._get("/props", self.base_url.removesuffix("/v1"))
        except UpstreamFailed:
            return
        settings = props.get("default_generation_settings")
        self.slots = _whole(props.get("total_slots"), self.slots)
        self.context = _whole(settings.get("n_ctx") if isinstance(settings, dict) else None, self.context)

    async def _get(self, path: str, root: str = "") -> dict[str, Any]:
        url = (root or self.base_url) + path
        with _mapped():
            async with asyncio.timeout(self.limits.connect), self._open().get(url) as answer:
                if answer.status != 200:  # noqa: PLR2004 (HTTP's own number)
                    raise UpstreamFailed(f"GET {path} answered {answer.status}")
                told = await answer.json(content_type=None)
        if not isinstance(told, dict):
            raise UpstreamFailed(f"GET {path} answered no object")
        return told


class _NoCounterError(UpstreamFailed):
    """The engine has no endpoint that counts tokens."""


class _Watch:
    """The time limits of one stream. When one runs out the connection is closed, and the read that waits fails."""

    def __init__(self, response: aiohttp.ClientResponse, limits: Limits, began: float) -> None:
        self._response = response
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._deadline = began + limits.connect + limits.first_token
        self._timer = self._loop.call_at(self._deadline, self._look)
        self._first = True
        self.expired = False

    def moved(self, text: str) -> None:
        """A chunk came: from the first text on, the next deadline is `silence` from now."""
        if self._first:
            if not text:
                return  # a role or a header of the stream, long before the first token with some engines
            self._first = False
            self._timer.cancel()
            self._timer = self._loop.call_later(self._limits.silence, self._look)
        self._deadline = self._loop.time() + self._limits.silence

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
            return
        self.expired = True
        self._response.close()


@asynccontextmanager
async def _watched(response: aiohttp.ClientResponse, limits: Limits, began: float) -> AsyncIterator[_Watch]:
    watch = _Watch(response, limits, began)
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


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _estimated(text: str) -> int:
    """Return more tokens than a tokenizer with a fair vocabulary makes: digits and emoji are its worst cases."""
    beyond = sum(char > "\uffff" for char in text)
    ascii_ = sum(char < "\x80" for char in text)
    return ascii_ + math.ceil(1.5 * (len(text) - ascii_ - beyond)) + 4 * beyond
