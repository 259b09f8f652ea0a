"""The processes that relay.py compares: the scripted engine, and each relay in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import string
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).parent
RATE = 50
"""Tokens a second of every stream."""
CHUNK = 2
"""Characters of a token."""
_START_LIMIT = 180.0
_SENTENCE = "가까운 곳에서 오늘 바로 해 볼 수 있는 작은 실천을 하나씩 골라 보았어요. "
_FIELDS = ("recommend", "d1", "d2", "d3")


@dataclass(frozen=True, slots=True)
class Target:
    """One way to the engine: its process, and how it is asked. `pid` is None for the engine itself."""

    name: str
    port: int
    pid: int | None
    request: Callable[[str], bytes]
    token: bytes
    """What every event that carries text contains."""


def answer_text(characters: int) -> str:
    """Return the engine's answer: a flat JSON object whose four texts have so many characters each."""
    text = (_SENTENCE * (characters // len(_SENTENCE) + 1))[:characters].strip()
    return json.dumps(dict.fromkeys(_FIELDS, text), ensure_ascii=False)


def message(marker: str) -> str:
    """Return a question of the bundled domain, told apart by its marker."""
    return f"텀블러로 할 수 있는 챌린지를 추천해 주세요 ({marker})"


def ask_engine(marker: str) -> bytes:
    """Return the request that the engine and the plain relays get."""
    messages = [{"role": "user", "content": message(marker)}]
    body = json.dumps({"model": "scripted", "messages": messages, "stream": True}, ensure_ascii=False).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def ask_mulgil(marker: str) -> bytes:
    """Return the request that the gateway gets: a GET, with a session of its own."""
    path = f"/ai/chatbot/recommendation/free-text?sessionId={marker}&message={quote(message(marker))}"
    return f"GET {path} HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n".encode()


class Servers:
    """Starts processes on free ports, in a folder for what they write, and ends them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.engine_pid = 0
        self.engine_port = 0

    def engine(self, text: str, slots: int) -> Target:
        """Start the engine; every answer is `text`, at `RATE`, and `slots` of them go at once."""
        script = self._folder / "script.json"
        answer = {"text": text, "chunk": CHUNK, "rate": RATE}
        script.write_text(json.dumps({"default": answer, "slots": slots}), encoding="utf-8")
        self.engine_port = _free_port()
        self.engine_pid = self._run(
            [_mulgil(), "engine", "scripted", "--script", str(script), "--port", str(self.engine_port)],
            self.engine_port,
            "/health",
        )
        return Target("engine itself", self.engine_port, None, ask_engine, b'"delta":{"content":"')

    def nginx(self) -> Target | None:
        """Start nginx, or return None where there is none."""
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            return None
        port = _free_port()
        template = string.Template((HERE / "nginx.conf.in").read_text(encoding="utf-8"))
        config = self._folder / "nginx.conf"
        engine = f"127.0.0.1:{self.engine_port}"
        config.write_text(template.substitute(folder=self._folder, port=port, engine=engine), encoding="utf-8")
        pid = self._run([program, "-c", str(config), "-e", "stderr"], port, "/health")
        return Target("nginx", port, pid, ask_engine, b'"delta":{"content":"')

    def bare(self) -> Target:
        """Start the bare aiohttp relay."""
        port = _free_port()
        script = str(HERE / "bare_relay.py")
        pid = self._run([sys.executable, script, f"http://127.0.0.1:{self.engine_port}", str(port)], port, None)
        return Target("bare aiohttp", port, pid, ask_engine, b'"delta":{"content":"')

    def mulgil(self, slots: int) -> Target:
        """Start one gateway worker; its index and its sessions are in the folder."""
        port = _free_port()
        engine = f"http://127.0.0.1:{self.engine_port}/v1"
        options = {"engine": engine, "port": port, "data": self._folder, "describe": "model", "slots": slots}
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        pid = self._run([_mulgil(), "serve", "--log-level", "warning", *given], port, "/health/ready")
        return Target("Mulgil", port, pid, ask_mulgil, b"event: challenge\n")

    def recorded(self) -> list[dict[str, object]]:
        """Return what the engine was asked."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.engine_port}/recorded", timeout=30) as answer:
            requests: list[dict[str, object]] = json.load(answer)["requests"]
        return requests

    def _run(self, command: Sequence[str], port: int, path: str | None) -> int:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MULGIL_")}
        log = self._folder / f"{port}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(command, cwd=self._folder, env=environment, stdout=said, stderr=said)
        self._stack.callback(_end, process)
        for _ in _until(time.monotonic() + _START_LIMIT):
            if process.poll() is not None:
                break
            if _answers(port, path):
                return process.pid
        raise SystemExit(f"{command[0]} did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, all threads, ended ones included, to the nanosecond.

    /proc/PID/stat counts in hundredths, too coarse for a single stream. The id is clock_getcpuclockid(3)'s.
    """
    return time.clock_gettime(~pid << 3 | 2)


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(task.name), {core})


def _mulgil() -> str:
    return str(Path(sys.executable).with_name("mulgil"))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)


def _answers(port: int, path: str | None) -> bool:
    try:
        if path is None:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        else:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
