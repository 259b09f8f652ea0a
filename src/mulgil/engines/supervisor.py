"""Starts the embedded engine's process, watches it, and has it back when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import aiohttp

from mulgil.engines.llamacpp import HOST, LlamaConfig
from mulgil.engines.warm import Prefix, Warmer
from mulgil.errors import SetupError

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
"""Seconds before a restart: the first, doubled with every further one, up to the longest."""

HEALTHY = 60.0
"""Seconds of life after which the waits begin anew."""

START_LIMIT = 600.0
LINES_KEPT, LINE_LIMIT = 40, 1 << 20
ILLEGAL_INSTRUCTION, KILLED = -4, -9

log = logging.getLogger(__name__)

_REASONS = (
    ("No such file", "There is no model file {model}."),
    ("invalid magic", "{model} is no GGUF file."),
    ("corrupted or incomplete", "The model file {model} is cut short; delete it and fetch it again."),
    ("unknown model architecture", "This llama.cpp does not know the architecture of {model}; use another model."),
    ("couldn't bind", "The port of the engine is taken by another program."),
    ("alloc", "The machine has too little memory for the engine; use a smaller model, fewer slots or less context."),
    ("No module named", "The package xllamacpp is not installed; install mulgil again, with its dependencies."),
)


class _NotStarted(SetupError):
    """The process ended before it served."""


class Supervisor:
    """One engine process: `start()` returns when it is ready, `stop()` when it is gone.

    `state` is a word for the health page: starting, warming, ready, restarting, stopped, or `failed: why`. `ready` is
    set while requests can be sent to `base_url` with `key`. Both stay the same over restarts, unless another program
    took the port: `on_ready` is called at every start, when they are known.
    """

    def __init__(
        self, config: LlamaConfig, *, prefixes: Sequence[Prefix] = (), on_ready: Callable[[], None] | None = None
    ) -> None:
        self._config = replace(config, key=secrets.token_urlsafe(32), parent=os.getpid())
        self._prefixes = prefixes if config.prefix_cache else ()
        self._on_ready = on_ready or (lambda: None)
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        self.state = "stopped"

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`, without `/v1`."""
        return f"http://{HOST}:{self._config.port}"

    @property
    def key(self) -> str:
        """The key that every request must carry; new with every supervisor."""
        return self._config.key

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the engine and return when it is ready. Raises `SetupError` with the reason when it can't be."""
        try:
            await self._launch()
        except BaseException as error:
            await self._end()
            self.state = f"failed: {error}" if isinstance(error, SetupError) else "stopped"
            raise
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End the engine; when this returns there is no process."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        await self._end()
        self.state = "stopped"

    # one life of the process

    async def _launch(self) -> None:
        self.state = "starting"
        async with asyncio.timeout(START_LIMIT):
            await self._spawn()
            self._config = replace(self._config, port=await self._port())
            headers = {"Authorization": f"Bearer {self.key}"}
            async with aiohttp.ClientSession(self.base_url, headers=headers) as session:
                await self._greet(session)
        self.state = "ready"
        self._on_ready()
        self.ready.set()

    async def _spawn(self) -> None:
        self._prepare()
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "mulgil.engines.llamacpp")
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_LIMIT
        )
        self._reader = asyncio.create_task(self._read_errors(self._process))
        assert self._process.stdin  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(self._config.to_line())

    def _prepare(self) -> None:
        self._lines.clear()
        if self._config.slot_folder:
            Path(self._config.slot_folder).mkdir(parents=True, exist_ok=True)

    async def _read_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr  # noqa: S101 - a pipe was asked for
        async for line in process.stderr:
            self._lines.append(line.decode(errors="replace").strip())

    async def _port(self) -> int:
        assert self._process  # noqa: S101 - it was just started
        assert self._process.stdout  # noqa: S101 - a pipe was asked for
        async for line in self._process.stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return int(json.loads(line)["port"])
        await self._process.wait()
        raise _NotStarted(await self._why())

    async def _greet(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get("/health", raise_for_status=True):
                self.state = "warming"
            if self._prefixes and self._config.slot_folder:
                await self._warmer(session).warm(self._prefixes)
        except aiohttp.ClientError as error:
            raise _NotStarted(f"The engine started but does not answer: {error}.") from error

    def _warmer(self, session: aiohttp.ClientSession) -> Warmer:
        config, file = self._config, Path(self._config.model).resolve()
        stat = file.stat()
        library = metadata.version("xllamacpp")
        identity = f"{library} {file} {stat.st_size} {stat.st_mtime_ns} {config.context} {config.slots}"
        return Warmer(session, config.slots, Path(config.slot_folder), identity)

    async def _end(self) -> None:
        self.ready.clear()
        process, self._process = self._process, None
        if process and process.returncode is None:
            # It has nothing to put in order, and while it loads it would not hear a request to leave.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader:
            await self._reader

    # life after life

    async def _watch(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            born = loop.time()
            assert self._process  # noqa: S101 - only `stop` takes it away, and ends this task first
            await self._process.wait()
            self.ready.clear()
            self.state = "restarting"
            log.warning("the engine ended: %s", await self._why())
            failures = await self._restart(0 if loop.time() - born > HEALTHY else failures)

    async def _restart(self, failures: int) -> int:
        while True:
            await asyncio.sleep(min(FIRST_WAIT * 2**failures, LONGEST_WAIT))
            failures += 1
            try:
                await self._launch()
            except (SetupError, OSError, TimeoutError) as error:
                await self._end()
                self.state = "restarting"
                log.warning("the engine can't be started again yet: %s", error)
                self._config = replace(self._config, port=0)
            else:
                return failures

    async def _why(self) -> str:
        """Say in a sentence why the process ended, from its last lines and its exit status."""
        if self._reader:
            await self._reader
        text = "\n".join(self._lines)
        for sign, sentence in _REASONS:
            if sign in text:
                return sentence.format(model=self._config.model)
        status = self._process.returncode if self._process else None
        if status == ILLEGAL_INSTRUCTION:
            return "This machine's processor lacks instructions that the engine's package was built with."
        if status == KILLED:
            return "The engine was killed, most likely for want of memory; use fewer slots or less context."
        said = next((line for line in reversed(self._lines) if line), "it said nothing")
        return f"The engine ended with status {status}: {said}"
