"""How long a person waits: the default model, catalogue mode, the model writes the descriptions.

Starts `mulgil serve` twice, with the engine's prefix cache and without, asks each the same questions one after the
other, and prints medians and ranges. Times run from sending the request.

    python benchmarks/answer.py [--model NAME] [--questions N] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tqdm import tqdm

QUESTIONS = (
    "텀블러 챌린지 추천해줘",
    "주말에 아이랑 산책하면서 할 수 있는 거 있을까요?",
    "출퇴근길에 탄소를 줄이고 싶어요",
    "자취하는데 전기요금이 너무 많이 나와요",
    "안 입는 옷으로 만들기 해 보고 싶어요",
    "회사 사람들이랑 같이 할 만한 환경 캠페인 알려줘",
    "클라우드에 사진이 너무 많이 쌓였어요",
    "고기를 조금 줄여 보고 싶은데 어렵지 않은 걸로요",
    "바닷가에 사는데 쓰레기가 많아서 속상해요",
    "재택근무하면서 에너지 절약하는 방법 추천해줘",
)
FOLLOW_UPS = ("텀블러 챌린지 추천해줘", "조금 더 자세히 알려줘", "일회용 컵 말고 포장재 줄이는 것도 추천해줘")
SESSIONS = 3


@dataclass(frozen=True)
class Wait:
    """Seconds until the cards, the first piece and the end; pieces per second in between."""

    cards: float
    first: float
    whole: float
    rate: float


@asynccontextmanager
async def served(data: str, model: str, *, cache: bool, describe: str = "model") -> AsyncIterator[str]:
    """Run `mulgil serve` and yield its URL once it is ready."""
    env = os.environ | {"MULGIL_PREFIX_CACHE": str(cache).lower(), "MULGIL_MODEL": model, "MULGIL_DATA": data}
    command = [sys.executable, "-m", "mulgil", "serve", "--port", "0", "--describe", describe, "--log-level", "warning"]
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout  # noqa: S101 (a pipe was asked for)
        async for line in process.stdout:
            if found := re.search(rb"http://\S+", line):
                break
        else:
            raise SystemExit("mulgil serve did not start")
        yield found.group().decode()
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


async def ask(http: aiohttp.ClientSession, url: str, message: str, session: str) -> Wait:
    """Ask once and time the stream. Raises when the answer is none."""
    began, times, pieces = time.perf_counter(), {}, 0
    name = ""
    async with http.get(
        f"{url}/ai/chatbot/recommendation/free-text", params={"message": message, "sessionId": session}
    ) as answer:
        async for line in answer.content:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
                times.setdefault(name, time.perf_counter() - began)
                pieces += name == "challenge"
            elif name == "close" and line.startswith(b"data: "):
                told = json.loads(line[6:])
                if told["status"] != 200:
                    raise SystemExit(f"no answer to {message!r}: {told}")
    spent = max(times["close"] - times["challenge"], 1e-9)
    return Wait(times["sources"], times["challenge"], times["close"], pieces / spent)


async def measure(data: str, model: str, questions: int, *, cache: bool) -> tuple[list[Wait], list[Wait]]:
    """Return the waits of single questions, and of the third turns of sessions."""
    name = "with the prefix cache" if cache else "without it"
    async with served(data, model, cache=cache) as url, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as http:
        bar = tqdm(total=questions + SESSIONS * len(FOLLOW_UPS), desc=name, unit=" turns")
        single, third = [], []
        for number, message in enumerate(QUESTIONS[:questions]):
            single.append(await ask(http, url, message, f"single-{number}"))
            bar.update()
        for number in range(SESSIONS):
            for message in FOLLOW_UPS:
                last = await ask(http, url, message, f"session-{number}")
                bar.update()
            third.append(last)
        bar.close()
    return single, third


def row(name: str, waits: list[Wait]) -> str:
    """Return one line of the table: median (least to most)."""
    columns = []
    for field in ("cards", "first", "whole", "rate"):
        values = [getattr(wait, field) for wait in waits]
        columns.append(f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    return f"| {name} | {len(waits)} | " + " | ".join(columns) + " |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a known name or a GGUF file")
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), help="how many questions to ask")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    print(f"model {given.model}, seconds, median (least to most)\n")
    print("| what | n | cards | first piece | whole answer | pieces/s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as data:
        for cache in (True, False):
            name = "cache on" if cache else "cache off"
            single, third = asyncio.run(measure(data, given.model, given.questions, cache=cache))
            results |= {name: list(map(asdict, single)), f"{name}, third turn": list(map(asdict, third))}
            print(row(f"one question, {name}", single))
            print(row(f"third turn, {name}", third), flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
