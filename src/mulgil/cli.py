"""The command line. Every command reads the same settings; heavy parts are imported by the command that needs them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from mulgil.errors import SetupError
from mulgil.settings import Settings, load_settings

_F = TypeVar("_F", bound=Callable[..., Any])


def main() -> None:
    """Run the command line; what is wrong with the setup is one sentence, not a traceback."""
    try:
        cli.main(standalone_mode=False)
    except SetupError as error:
        click.secho(f"mulgil: {error}", err=True, fg="red")
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def settings_options(*names: str) -> Callable[[_F], _F]:
    """Give a command the options of these settings, with their descriptions."""

    def decorate(command: _F) -> _F:
        for name in reversed(names):
            text = f"{Settings.model_fields[name].description} [MULGIL_{name.upper()}]"
            command = click.option("--" + name.replace("_", "-"), name, default=None, help=text)(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mulgil")
def cli() -> None:
    """The server between a browser and a language model.

    Every setting can also come from a MULGIL_... variable or from mulgil.toml in the current folder.
    """


@cli.command()
@settings_options(
    "host", "port", "engine", "model", "domain", "data", "workers", "describe", "grounding", "slots", "log_level"
)
def serve(**given: Any) -> None:
    """Start the engine and the gateway, and serve until Ctrl-C."""
    settings = load_settings(given)
    _logging(settings)
    from mulgil.commands import serve_gateway  # noqa: PLC0415 (only here)

    _run(serve_gateway(settings))


@cli.command()
@click.argument("message")
@settings_options("engine", "model", "domain", "data", "describe", "grounding")
def ask(message: str, **given: Any) -> None:
    """Stream the answer to MESSAGE in the terminal, through the same flow as the server's."""
    settings = load_settings({**given, "sessions": "memory"})
    logging.disable(logging.INFO)
    from mulgil.commands import ask_once  # noqa: PLC0415 (only here)

    _run(ask_once(settings, message))


@cli.command()
@click.argument("catalogue", type=click.Path(path_type=Path), required=False)
@settings_options("domain", "data")
def ingest(catalogue: Path | None, **given: Any) -> None:
    """Index CATALOGUE, a JSONL file (the domain's own if none is named).

    A row that can't be used is reported with its line, and the rest is kept. Nothing is done twice.
    """
    from mulgil.commands import ingest_catalogue  # noqa: PLC0415 (only here)

    ingest_catalogue(load_settings(given), catalogue)


@cli.group(invoke_without_command=True)
@settings_options("models")
@click.pass_context
def models(context: click.Context, /, **given: Any) -> None:
    """List the known models, or fetch one."""
    context.obj = load_settings(given)
    if context.invoked_subcommand is None:
        from mulgil.commands import list_models  # noqa: PLC0415 (only here)

        list_models(context.obj)


@models.command()
@click.argument("name", required=False)
@click.pass_obj
def fetch(settings: Settings, name: str | None) -> None:
    """Fetch the model NAME (the default one if none is named). An interrupted fetch goes on where it stopped."""
    from mulgil.commands import fetch_model  # noqa: PLC0415 (only here)

    fetch_model(settings, name)


@cli.command()
@settings_options("host", "port", "engine", "model", "domain", "data")
def doctor(**given: Any) -> None:
    """Say what is missing or wrong, a sentence each."""
    from mulgil.commands import examine  # noqa: PLC0415 (only here)

    sys.exit(0 if _run(examine(load_settings(given))) else 1)


@cli.group()
def engine() -> None:
    """Run an engine by itself."""


@engine.command()
@click.option(
    "--script", type=click.Path(path_type=Path), help="The script, JSON or TOML; see docs/scripted-engine.md."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8001, show_default=True, help="Port to listen on.")
def scripted(script: Path | None, host: str, port: int) -> None:
    """Play SCRIPT (pieces, pauses, faults) as an OpenAI-compatible server: for tests, demos and front-end work."""
    from mulgil.engines.scripted import Script, load_script, serve_scripted  # noqa: PLC0415 (only here)

    click.echo(f"the scripted engine plays on http://{host}:{port}/v1")
    _run(serve_scripted(load_script(script) if script else Script(), host, port))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    import uvloop  # noqa: PLC0415 (not on every platform)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _logging(settings: Settings) -> None:
    level = settings.log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("uvicorn.error", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
