"""Run a gateway's application on a socket until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import signal
import socket
from collections.abc import Iterator
from typing import ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mulgil.app import Gateway
from mulgil.errors import BadRequest, SetupError
from mulgil.settings import Settings

BACKLOG = 2048
"""Connections that may wait to be accepted."""

_USER_TIMEOUT_MS = 20_000
_UPGRADE = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 only: an offer to upgrade, which Java's client makes on every new connection, is not looked at."""

    refusal: ClassVar[bytes] = b""
    """The body for bytes that are no HTTP request."""

    def send_400_response(self, msg: str) -> None:
        """Answer in the contract's form."""
        del msg
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(self.refusal)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + self.refusal)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Hide the offer: httptools would skip the request's body, and read nothing more on the connection."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and _UPGRADE.search(head):
            data = _UPGRADE.sub(b"\r\nx-offer", head) + end + rest
        super().data_received(data)


class Server(uvicorn.Server):
    """uvicorn, but turns are ended before connections are: each stream gets its `close`."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, drain: float) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close. A second signal ends the waiting."""
        await self._gateway.book.close(0.0 if self.force_exit else self._drain)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals by the loop; uvicorn's own way raises them again at the end, before the engine is stopped."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sig, self._signalled)
        try:
            yield
        finally:
            for sig in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(sig)

    def _signalled(self) -> None:
        if self.should_exit:
            self.force_exit = True
            self._gateway.book.hurry()
        self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """Return the bound socket. Raises `SetupError` when the address can't be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(AttributeError):  # Linux only; accepted sockets inherit it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise SetupError(
            f"can't listen on {settings.host}:{settings.port} ({error.strerror}); choose another with --host or --port."
        ) from error
    return listening


def configuration(gateway: Gateway) -> uvicorn.Config:
    """Return how uvicorn serves a gateway."""
    body = gateway.desk.wire.refusal(BadRequest())[1]
    return uvicorn.Config(
        gateway.application,
        log_config=None,
        access_log=False,  # query strings hold what people write
        lifespan="off",
        loop="none",
        http=type("GatewayProtocol", (Protocol,), {"refusal": body}),
        ws="none",
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
    )


async def serve(settings: Settings, gateway: Gateway, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    _settle()
    await Server(configuration(gateway), gateway, settings.drain).serve(sockets=[listening])


def _settle() -> None:
    # What the start made stays for ever: 130,000 objects, which every full collection would walk through, for 40 ms in
    # which no stream moves.
    gc.collect()
    gc.freeze()
