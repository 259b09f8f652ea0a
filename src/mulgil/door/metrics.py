"""Numbers for Prometheus: turns that run, wait and ended, by outcome."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mulgil.turns.turn import Turn

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class Metrics:
    """One registry an app, so that two apps in one process don't mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._turns = Counter("mulgil_turns", "Turns that ended, by outcome.", ["outcome"], registry=self._registry)
        self._seconds = Histogram(
            "mulgil_turn_seconds", "Time from admission to the end.", buckets=_SECONDS, registry=self._registry
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show what `read` returns whenever the numbers are asked for."""
        Gauge(name, text, registry=self._registry).set_function(read)

    def ended(self, turn: Turn) -> None:
        """Count a turn's end."""
        outcome = "answered" if turn.failure is None else type(turn.failure).code
        self._turns.labels(outcome=outcome).inc()
        if turn.ended_at is not None:
            self._seconds.observe(turn.ended_at - turn.began)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
