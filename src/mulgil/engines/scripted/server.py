"""The double as a server: its endpoints, and the ways to run it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Self

from pydantic import ValidationError

from mulgil.engines.scripted.connection import Connection, Request
from mulgil.engines.scripted.record import Record, Recorder
from mulgil.engines.scripted.script import Cast, Script
from mulgil.engines.scripted.text import pieces_of
from mulgil.engines.scripted.wire import Plan, plain, refused, streamed, whole

CHARACTERS_PER_TOKEN = 2
OPEN = ("/health", "/recorded", "/script", "/release")
"""Paths that need no key."""


class ScriptedServer:
    """The script, the record and the gates, shared by all connections."""

    def __init__(self, script: Script) -> None:
        self.recorder = Recorder()
        self.base_url = ""
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self.play(script)

    def play(self, script: Script) -> None:
        """Play another script from now on; all its gates are shut. Answers that run go on as they began."""
        self.script = script
        self._cast = Cast(script)
        self._plans: dict[tuple[int, str, str], Plan] = {}
        self.released: set[str] = set()

    def release(self, gate: str) -> None:
        """Let all pieces behind this gate go, those that wait and those to come."""
        self.released.add(gate)
        for connection in list(self.connections):
            connection.released(gate)

    def close(self) -> None:
        """Close the listening socket and every connection."""
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()

    async def listen(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. `base_url` is known afterwards."""
        loop = asyncio.get_running_loop()
        # asyncio's own backlog of 100 makes a burst of clients wait a second for a new SYN.
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        self.base_url = "http://{}:{}".format(*self._server.sockets[0].getsockname()[:2])

    def answer(self, request: Request) -> tuple[Plan, Record | None]:
        """Return the plan of the response to one request, and its record where it asks for an answer."""
        path = request.url.split(b"?")[0].decode("ascii", "replace")
        if path not in OPEN and not self._may(request):
            return plain(401, {"error": {"message": "Invalid API Key", "type": "authentication_error"}}), None
        try:
            return self._route(request, f"{request.method} {path}")
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            return plain(400, {"error": {"message": str(error), "type": "invalid_request_error"}}), None

    def _may(self, request: Request) -> bool:
        return self.script.key is None or request.headers.get("authorization") == f"Bearer {self.script.key}"

    def _route(self, request: Request, route: str) -> tuple[Plan, Record | None]:
        body: dict[str, Any] = json.loads(request.body) if request.method == "POST" else {}
        if route == "POST /v1/chat/completions":
            record = Record(time.time(), request.headers, body)
            return self._completion(body), record
        return self._other(route, body), None

    def _other(self, route: str, body: dict[str, Any]) -> Plan:
        routes: dict[str, Callable[[dict[str, Any]], Plan]] = {
            "GET /v1/models": self._models,
            "GET /health": self._health,
            "POST /tokenize": self._tokenize,
            "GET /recorded": lambda _: plain(200, self.recorder.as_json()),
            "POST /script": self._replace,
            "POST /release": self._release,
        }
        if self.script.props:
            routes["GET /props"] = self._props
        unknown = {"error": {"message": f"no such path: {route}", "type": "not_found_error"}}
        return routes[route](body) if route in routes else plain(404, unknown)

    def _models(self, _: dict[str, Any]) -> Plan:
        script = self.script
        model = {"id": script.model, "object": "model", "owned_by": "mulgil", "max_model_len": script.context}
        return plain(200, {"object": "list", "data": [model]})

    def _health(self, _: dict[str, Any]) -> Plan:
        return plain(self.script.health, {"status": "ok" if self.script.health == HTTPStatus.OK else "error"})

    def _props(self, _: dict[str, Any]) -> Plan:
        slot = {"n_ctx": self.script.context}
        return plain(200, {"total_slots": self.script.slots, "default_generation_settings": slot})

    def _tokenize(self, body: dict[str, Any]) -> Plan:
        # llama.cpp's name of the text, or vLLM's.
        tokens = list(range(_tokens(body["content"] if "content" in body else body["prompt"])))
        return plain(200, {"tokens": tokens, "count": len(tokens), "max_model_len": self.script.context})

    def _release(self, body: dict[str, Any]) -> Plan:
        self.release(body["gate"])
        return plain(200, {"released": body["gate"]})

    def _replace(self, body: dict[str, Any]) -> Plan:
        try:
            self.play(Script.model_validate(body))
        except ValidationError as error:
            return plain(422, {"error": {"message": str(error), "type": "invalid_request_error"}})
        return plain(200, {"answers": len(self.script.answers)})

    def _completion(self, body: dict[str, Any]) -> Plan:
        answer = self._cast.choose(next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), ""))
        if answer.fault and answer.fault.kind == "status":
            return refused(answer.fault)
        schema, options = body.get("response_format"), body.get("stream_options") or {}
        wanted = options.get("include_usage", False) if answer.usage is None else answer.usage
        read = sum(_tokens(message["content"]) for message in body["messages"])
        # Plans are kept: a benchmark's CPU must go into sending, not into building the same bytes again.
        key = (id(answer), json.dumps(schema), f"{body.get('stream', False)} {wanted} {read}")
        if key not in self._plans:
            pieces = pieces_of(answer, _schema(schema))
            usage = {"prompt_tokens": read, "completion_tokens": len(pieces), "total_tokens": read + len(pieces)}
            stream = streamed(answer, pieces, self.script.model, usage if wanted else None)
            self._plans[key] = stream if body.get("stream") else whole(answer, pieces, self.script.model, usage)
        return self._plans[key]


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    """Both spellings that servers take: `json_schema.schema`, and llama.cpp's plain `schema`."""
    if not response_format:
        return None
    found = response_format.get("json_schema", response_format).get("schema")
    return found if isinstance(found, dict) else None


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


# -- ways to run it -----------------------------------------------------------------------------------------------


async def start_scripted(script: Script, host: str = "127.0.0.1", port: int = 0) -> ScriptedServer:
    """Start the double in the running loop; its `base_url` and `recorder` tell the rest, `close()` ends it."""
    server = ScriptedServer(script)
    await server.listen(host, port)
    return server


async def serve_scripted(script: Script, host: str, port: int) -> None:
    """Serve until cancelled."""
    server = await start_scripted(script, host, port)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()


class ScriptedEngine:
    """The double in a thread of its own, as a context manager: for tests whose own loop is busy."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or Script()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self.server.base_url

    @property
    def recorder(self) -> Recorder:
        """What was asked so far."""
        return self.server.recorder

    def play(self, script: Script) -> None:
        """Play another script from the next request on."""
        self._in_loop(self.server.play, script)

    def release(self, gate: str) -> None:
        """Open a gate of the script."""
        self._in_loop(self.server.release, gate)

    def _in_loop(self, call: Callable[[Any], None], argument: object) -> None:
        done = threading.Event()

        def run() -> None:
            call(argument)
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(5)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.server = await start_scripted(self._script)
        self._ready.set()
        await self._stop.wait()
        self.server.close()
        await asyncio.sleep(0)
