"""What relay.py measures of one run, and its table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

BASELINE = "bare aiohttp"
DIRECT = "engine itself"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run; `tokens` are an answer's.

    `us`: CPU a token in the window; `whole_us`: of the whole run; `turn_ms`: a turn's beside its tokens.
    `asked_ms`: until the engine was asked; `first_*`: to the first token, `delay_*`: of a token, both as measured.
    `busy`: cores that relay, engine and client used in the window.
    """

    relay: str
    streams: int
    tokens: int
    round: int
    us: float
    whole_us: float
    turn_ms: float
    asked_ms: float
    first_p50: float
    first_p99: float
    delay_p50: float
    delay_p99: float
    busy: tuple[float, ...]


def table(samples: Sequence[Sample]) -> str:
    """Return the medians as Markdown, with the ranges over the rounds."""
    head = (
        "| streams | relay | CPU µs/token | x bare | CPU ms/turn beside tokens | CPU µs/token, all in |"
        " until engine asked, ms | first token, added ms p50 | p99 | token delay, added ms p50 | p99 |"
    )
    lines = [head, "|---:|---|" + "---:|" * 9]
    for streams in dict.fromkeys(each.streams for each in samples):
        here = [each for each in samples if each.streams == streams]
        lines.extend(
            _line(relay, streams, here) for relay in dict.fromkeys(each.relay for each in here) if relay != DIRECT
        )
    busy = [max(each.busy[-2:]) for each in samples]
    note = f"Medians, with the ranges over {1 + max(each.round for each in samples)} rounds. {machine()}. "
    note += f"An answer has {samples[0].tokens} tokens. "
    return "\n".join([*lines, "", f"{note}Engine and client were each busy {max(busy):.0%} of a core at most."])


def _line(relay: str, streams: int, samples: Sequence[Sample]) -> str:
    own = [each for each in samples if each.relay == relay]
    bare = {each.round: each for each in samples if each.relay == BASELINE}
    direct = {each.round: each for each in samples if each.relay == DIRECT}
    cells = [
        _range([each.us for each in own], 0),
        _range([each.us / bare[each.round].us for each in own], 2),
        _range([each.turn_ms for each in own], 1),
        _range([each.whole_us for each in own], 0),
        _range([each.asked_ms for each in own], 1),
        *(
            _range([getattr(each, name) - getattr(direct[each.round], name) for each in own], 1)
            for name in ("first_p50", "first_p99", "delay_p50", "delay_p99")
        ),
    ]
    return f"| {streams} | {relay} | {' | '.join(cells)} |"


def _range(values: Sequence[float], digits: int) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" if len(values) > 1 else f"{middle:.{digits}f}"


def machine() -> str:
    """Return where and when this was measured, in words."""
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
