"""The engine's process on its own: what it tells, and that it never outlives whoever started it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from mulgil.engines.llamacpp import LlamaConfig


@asynccontextmanager
async def process(config: LlamaConfig) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mulgil.engines.llamacpp", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        child.stdin.write(config.to_line())
        async with asyncio.timeout(30):
            yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def command_line(child: Process) -> bytes:
    return Path(f"/proc/{child.pid}/cmdline").read_bytes()


async def port_of(child: Process) -> int:
    line = await child.stdout.readline()
    return int(line.decode().split(":")[1].strip(" }\n"))


@pytest.fixture
def config(small_model: Path) -> LlamaConfig:
    return LlamaConfig(str(small_model), slots=2, context=512, key="secret", parent=os.getpid())


async def test_it_serves_only_who_has_the_key(config):
    async with process(config) as child, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{await port_of(child)}"
        async with session.post(f"{base}/tokenize", json={"content": "a"}) as refused:
            assert refused.status == 401
        session.headers["Authorization"] = "Bearer secret"
        async with session.post(f"{base}/tokenize", json={"content": "hello world"}) as response:
            assert len((await response.json())["tokens"]) == 2
        async with session.get(f"{base}/v1/models") as response:
            assert (await response.json())["data"][0]["id"] == Path(config.model).stem


async def test_the_key_stands_in_no_command_line(config):
    async with process(config) as child:
        await port_of(child)
        assert b"secret" not in command_line(child)


async def test_every_slot_has_its_whole_context(config):
    async with process(config) as child, aiohttp.ClientSession() as session:
        session.headers["Authorization"] = "Bearer secret"
        async with session.get(f"http://127.0.0.1:{await port_of(child)}/props") as response:
            props = await response.json()
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (2, 512)


async def test_it_ends_when_its_input_ends(config):
    async with process(config) as child:
        await port_of(child)
        child.stdin.close()
        assert await child.wait() == 0


async def test_ctrl_c_of_the_terminal_does_not_end_it(config):
    async with process(config) as child, aiohttp.ClientSession() as session:
        port = await port_of(child)
        child.send_signal(signal.SIGINT)
        async with session.get(f"http://127.0.0.1:{port}/health") as response:
            assert response.status == 200
        child.stdin.close()
        assert await child.wait() == 0


async def test_it_does_not_start_for_a_parent_that_is_gone(config):
    async with process(replace(config, parent=1)) as child:
        assert await child.stdout.read() == b""
        assert await child.wait() == 0


async def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason(config):
    async with process(replace(config, model="/nowhere.gguf")) as child:
        assert b"No such file" in await child.stderr.read()
        assert await child.wait() == 1
