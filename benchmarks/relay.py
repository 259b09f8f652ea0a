"""What a token costs on its way: one gateway worker beside a bare aiohttp relay, nginx and the engine itself.

    python benchmarks/relay.py [--rounds 5] [--streams 1 16 64] [--json FILE] [--quick]

The engine is scripted: it sends 50 tokens a second on every stream, a token being two characters of a flat JSON answer.
Mulgil is asked by GET with a session of its own for every stream, and goes its whole way: Kiwi, retrieval, graph,
partial JSON, log, SSE, SQLite. The others only pass the engine's bytes on. Client and engine share one core, the relays
the other. All take their turns, in another order every round; a ratio compares two runs of the same round.

CPU is read in the window in which every stream flows, so that it is a token's alone. What a turn costs beside its
tokens is the run's remaining CPU. Times to the first token and delays are what is added to the engine's own: the
median (or p99) through the relay minus that without one. A delay is arrival minus the engine's schedule.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from tqdm import tqdm

from mulgil.domain.display import Display, Slot
from mulgil.events import Piece
from relay_load import Reader, Run, drive
from relay_servers import CHUNK, RATE, Servers, Target, answer_text, cpu_seconds, pin
from relay_table import Sample, machine, table


def main() -> None:
    """Measure, and print a table."""
    given = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    streams, rounds = ([1, 4], 1) if given.quick else (given.streams, given.rounds)
    text = answer_text(50 if given.quick else 150)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = Servers(folder, stack)
        targets = _start(servers, text, max(2, *streams))
        if given.pin:
            _pin(servers, targets)
        warming = [(target, 2, -1) for target in targets]
        plan = [*warming, *_turn_about(targets, streams, rounds)]
        bar = stack.enter_context(tqdm(plan, unit="run"))
        samples = [_measure(servers, text, number, *each) for number, each in enumerate(bar)][len(targets) :]
    print(table(samples))
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "samples": [asdict(each) for each in samples]}))


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    options.add_argument("--quick", action="store_true", help="one round of few, short streams: does it work?")
    options.add_argument("--no-pin", dest="pin", action="store_false", help="let the system choose the cores")
    options.add_argument("--json", type=Path, help="write every run to this file")
    return options.parse_args()


def _start(servers: Servers, text: str, slots: int) -> list[Target]:
    starts: list[Callable[[], Target | None]] = [servers.nginx, servers.bare, lambda: servers.mulgil(slots)]
    targets = [servers.engine(text, slots)]
    with tqdm(starts, desc="starting", unit="relay", leave=False) as bar:
        for start in bar:
            target = start()
            if target is None:
                tqdm.write("nginx is not installed, so it is left out")
            else:
                targets.append(target)
    return targets


def _pin(servers: Servers, targets: Sequence[Target]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for pid in (os.getpid(), servers.engine_pid):
            pin(pid, cores[0])
        for target in targets:
            if target.pid is not None:
                pin(target.pid, cores[1])


def _turn_about(targets: list[Target], streams: list[int], rounds: int) -> Iterator[tuple[Target, int, int]]:
    for number in range(rounds):
        first = number % len(targets)
        for count in streams:
            for target in targets[first:] + targets[:first]:
                yield target, count, number


def _measure(servers: Servers, text: str, number: int, target: Target, streams: int, turn: int) -> Sample:
    pids = [pid for pid in (target.pid, servers.engine_pid, os.getpid()) if pid is not None]
    markers = [f"{number:04d}.{index:03d}" for index in range(streams)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        run = runner.run(drive(target, markers, lambda: tuple(map(cpu_seconds, pids))))
    if len(run.cpu) != 4:
        raise SystemExit(f"{target.name}: the streams did not flow at the same time")
    opened = _opened(servers, markers)
    shown = _shown(text) if target.name == "Mulgil" else range(_tokens(text))
    lines = [_checked(target, reader, shown) for reader in run.readers]
    return _sample(target, turn, run, opened, list(shown), lines, _tokens(text))


def _sample(
    target: Target,
    turn: int,
    run: Run,
    opened: Sequence[float],
    shown: Sequence[int],
    lines: Sequence[Sequence[float]],
    tokens: int,
) -> Sample:
    begin, end = run.window
    sent = [[begun + index / RATE for index in range(tokens)] for begun in opened]
    inside = sum(begin <= when < end for times in sent for when in times)
    window, whole = [_spent(run, *ends) if target.pid else 0.0 for ends in ((1, 2), (0, 3))]
    delays = [
        (there - times[index]) * 1000
        for line, times in zip(lines, sent, strict=True)
        for there, index in zip(line, shown, strict=True)
        if begin <= there < end
    ]
    first = [(line[0] - reader.asked - shown[0] / RATE) * 1000 for line, reader in zip(lines, run.readers, strict=True)]
    asked = [(begun - reader.asked) * 1000 for begun, reader in zip(opened, run.readers, strict=True)]
    us = window / inside * 1e6
    busy = tuple((after - before) / (end - begin) for before, after in zip(run.cpu[1], run.cpu[2], strict=True))
    return Sample(
        relay=target.name,
        streams=len(lines),
        tokens=tokens,
        round=turn,
        us=us,
        whole_us=whole / (tokens * len(lines)) * 1e6,
        turn_ms=whole / len(lines) * 1e3 - us * tokens / 1e3,
        asked_ms=statistics.median(asked),
        first_p50=statistics.median(first),
        first_p99=_p99(first),
        delay_p50=statistics.median(delays),
        delay_p99=_p99(delays),
        busy=busy,
    )


def _spent(run: Run, before: int, after: int) -> float:
    return run.cpu[after][0] - run.cpu[before][0]


def _opened(servers: Servers, markers: Sequence[str]) -> list[float]:
    """Return when the engine was asked for each stream, by the marker in its last message."""
    found = {}
    for record in servers.recorded():
        body: Any = record["body"]
        found[body["messages"][-1]["content"].rpartition("(")[2].partition(")")[0]] = float(str(record["opened"]))
    return [found[marker] for marker in markers]


def _tokens(text: str) -> int:
    return -(-len(text) // CHUNK)


def _shown(text: str) -> list[int]:
    """Return the tokens that show something: keys and quotes don't, and a space waits for what follows."""
    display = Display([Slot("", "", title=str(number)) for number in range(3)])
    tokens = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    return [
        index
        for index, token in enumerate(tokens)
        if any(isinstance(each, Piece) for each in list(display.feed(token)))
    ]


def _checked(target: Target, reader: Reader, shown: Sequence[int]) -> list[float]:
    """Return the times of a stream's tokens; the run is void if one is missing."""
    times, body = reader.arrivals()
    end = b'event: close\ndata: {"status":200,' if target.name == "Mulgil" else b"data: [DONE]"
    if len(times) != len(shown) or end not in body:
        raise SystemExit(f"{target.name}: {len(times)} of {len(shown)} tokens came, then {body[-300:]!r}")
    return times


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


if __name__ == "__main__":
    main()
