"""The least that a Python relay can do: raw ASGI in front, aiohttp behind, bytes copied as they come.

The baseline of relay.py: it reads no event, keeps no log and can't resume, stop or fold. `ENGINE` is the engine's URL.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class BareRelay:
    """Forwards every POST to `engine` + path, and the response's body as it comes."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
            )
        body = await _body(receive)
        headers = {"content-type": "application/json"}
        async with self._session.post(self._engine + scope["path"], data=body, headers=headers) as response:
            await send({"type": "http.response.start", "status": response.status, "headers": _HEADERS})
            async for data in response.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def main() -> None:
    """Serve with the gateway's own server settings until a signal."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("engine", help="http://HOST:PORT of the engine")
    options.add_argument("port", type=int)
    given = options.parse_args()
    loop = "asyncio" if sys.platform == "win32" else "uvloop"
    uvicorn.run(
        BareRelay(given.engine),
        port=given.port,
        loop=loop,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
