"""The supervisor on the real small model: ready means warm, a dead engine comes back, nothing is left behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from mulgil.engines.base import Message
from mulgil.engines.llamacpp import LlamaConfig
from mulgil.engines.supervisor import Supervisor
from mulgil.errors import SetupError

PREFIX = [Message("system", "You are a helper who recommends small things that people can do. " * 5)]
SLOTS = 4


@pytest.fixture
def config(small_model: Path, tmp_path: Path) -> LlamaConfig:
    # One thread: two that wait for each other are slow on cores that other tests use.
    return LlamaConfig(str(small_model), slots=SLOTS, context=512, threads=1, slot_folder=str(tmp_path / "slots"))


def kept(config: LlamaConfig) -> list[Path]:
    return sorted(Path(config.slot_folder).iterdir())


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def gone(pid: int) -> None:
    """Return when the process has ended."""
    watch, ended = os.pidfd_open(pid), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(watch, ended.set)
    await ended.wait()
    loop.remove_reader(watch)
    os.close(watch)


@asynccontextmanager
async def running(config: LlamaConfig, **more: object) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(config, **more)
    async with asyncio.timeout(60):
        await supervisor.start()
        try:
            yield supervisor
        finally:
            await supervisor.stop()


async def asked(supervisor: Supervisor, session: aiohttp.ClientSession, question: str) -> dict[str, int]:
    messages = [{"role": "system", "content": PREFIX[0].content}, {"role": "user", "content": question}]
    body = {"messages": messages, "max_tokens": 8}
    headers = {"Authorization": f"Bearer {supervisor.key}"}
    async with session.post(f"{supervisor.base_url}/v1/chat/completions", json=body, headers=headers) as response:
        return (await response.json())["usage"]


async def cached_at_once(supervisor: Supervisor) -> list[bool]:
    """Ask in all slots at once; for each whether all but the question came from the cache."""
    questions = [f"Question {number}?" for number in range(SLOTS)]
    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(asked(supervisor, session, question) for question in questions))
    return [usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] < 20 for usage in found]


async def test_when_it_is_ready_every_slot_knows_the_prefix(config):
    async with running(config, prefixes=[PREFIX]) as supervisor:
        assert (supervisor.state, supervisor.ready.is_set()) == ("ready", True)
        assert await cached_at_once(supervisor) == [True] * SLOTS


async def test_without_the_prefix_cache_nothing_is_warmed(config):
    async with running(replace(config, prefix_cache=False), prefixes=[PREFIX]) as supervisor:
        assert await cached_at_once(supervisor) == [False] * SLOTS


async def test_a_second_start_takes_the_prefix_from_its_file(config):
    async with running(config, prefixes=[PREFIX]):
        pass
    (file,) = kept(config)
    written = file.stat().st_ino
    async with running(config, prefixes=[PREFIX]) as supervisor:
        assert await cached_at_once(supervisor) == [True] * SLOTS
    (file,) = kept(config)
    assert file.stat().st_ino == written, "it was read and saved again"


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
async def test_a_damaged_prefix_file_is_replaced(config, damage):
    async with running(config, prefixes=[PREFIX]):
        pass
    (file,) = kept(config)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "garbage": b"x" * 1000, "empty": b""}[damage])
    async with running(config, prefixes=[PREFIX]) as supervisor:
        assert await cached_at_once(supervisor) == [True] * SLOTS
    assert file.stat().st_size == len(whole)


async def test_prefixes_share_the_slots(config):
    other = [Message("system", "Describe the weather of a town to those who travel there. " * 5)]
    async with running(config, prefixes=[PREFIX, other]) as supervisor, aiohttp.ClientSession() as session:
        usage = await asked(supervisor, session, "One question?")
        assert usage["prompt_tokens_details"]["cached_tokens"] > 50
    assert len(kept(config)) == 2


async def test_a_killed_engine_comes_back_warm_at_the_same_address(config):
    starts: list[int] = []
    async with running(config, prefixes=[PREFIX], on_ready=lambda: starts.append(1)) as supervisor:
        before = supervisor.base_url, supervisor.key, supervisor.pid
        supervisor.ready.clear()
        os.kill(supervisor.pid, signal.SIGKILL)
        await supervisor.ready.wait()
        assert (supervisor.base_url, supervisor.key) == before[:2]
        assert supervisor.pid != before[2]
        assert (supervisor.state, len(starts)) == ("ready", 2)
        assert await cached_at_once(supervisor) == [True] * SLOTS


async def test_when_its_port_was_taken_it_comes_back_at_another(config, monkeypatch):
    monkeypatch.setattr("mulgil.engines.supervisor.FIRST_WAIT", 1.5)
    async with running(config) as supervisor:
        old, pid = supervisor.base_url, supervisor.pid
        supervisor.ready.clear()
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", int(old.split(":")[2]))
        async with taken:
            await supervisor.ready.wait()
        assert supervisor.base_url != old
        async with aiohttp.ClientSession() as session:
            assert (await asked(supervisor, session, "Hello?"))["completion_tokens"] > 0


async def test_after_stop_there_is_no_process(config):
    async with running(config) as supervisor:
        pid = supervisor.pid
    assert not alive(pid)
    assert (supervisor.state, supervisor.pid, supervisor.ready.is_set()) == ("stopped", None, False)


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path):
    model = tmp_path / "model.gguf"
    os.mkfifo(model)
    supervisor = Supervisor(LlamaConfig(str(model)))
    start = asyncio.create_task(supervisor.start())
    async with asyncio.timeout(30):
        # Returns when the engine has opened the file and waits for its bytes.
        file = await asyncio.to_thread(model.open, "wb")
        pid = supervisor.pid
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
    assert not alive(pid)
    file.close()


PARENT = """
import asyncio, sys
from mulgil.engines.llamacpp import LlamaConfig
from mulgil.engines.supervisor import Supervisor

async def main():
    supervisor = Supervisor(LlamaConfig(sys.argv[1], slots=1, context=512))
    await supervisor.start()
    print(supervisor.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_parent_that_is_killed_leaves_no_engine(small_model):
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(small_model), stdout=PIPE)
    async with asyncio.timeout(30):
        engine = int(await parent.stdout.readline())
        parent.kill()
        await parent.wait()
        await gone(engine)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"There is no model file .*model\.gguf\."),
        (b"junk" * 100, "is no GGUF file"),
    ],
)
async def test_a_model_that_cannot_be_loaded_stops_the_start_with_a_sentence(tmp_path, content, sentence):
    file = tmp_path / "model.gguf"
    if content:
        file.write_bytes(content)
    supervisor = Supervisor(LlamaConfig(str(file)))
    with pytest.raises(SetupError, match=sentence):
        await supervisor.start()
    assert supervisor.state.startswith("failed: ")
    assert supervisor.pid is None


async def test_a_model_that_is_cut_short_is_told(tmp_path, small_model):
    file = tmp_path / "model.gguf"
    with small_model.open("rb") as whole:
        file.write_bytes(whole.read(50_000_000))
    with pytest.raises(SetupError, match="is cut short"):
        await Supervisor(LlamaConfig(str(file))).start()


async def test_too_little_memory_is_told(small_model):
    with pytest.raises(SetupError, match="too little memory"):
        await Supervisor(LlamaConfig(str(small_model), context=10_000_000)).start()
