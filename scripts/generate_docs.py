"""Write the parts of the documents that say what the code says: `python scripts/generate_docs.py`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; tests/test_docs.py fails where one is out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel

from mulgil.cli import cli
from mulgil.domain.load import load_domain
from mulgil.door.wire import Wire
from mulgil.engines import models
from mulgil.engines.scripted import Answer as ScriptedAnswer
from mulgil.engines.scripted import Fault, Script
from mulgil.errors import Stopped
from mulgil.events import Answer, Challenge, Closed, Event, Failed, Item, Piece, Queued, Source, Sources, TurnStarted
from mulgil.settings import Settings

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_CHALLENGE = Challenge("텀블러 쓰기", "커피를 텀블러에 받아요.", "ZERO_WASTE", "제로웨이스트", "zero-waste-001")
_EXAMPLES: tuple[Event, ...] = (
    TurnStarted("7f0c...", "my-session"),
    Queued(2, 8.5),
    Sources((Source("zero-waste-001", _CHALLENGE.title, _CHALLENGE.category, 0.8),)),
    Piece("세 가지를"),
    Item(1, _CHALLENGE),
    Failed(Stopped()),
    Closed(Answer("세 가지를 추천해요.", (_CHALLENGE,))),
)


def documents() -> list[Path]:
    """Return every document of the repository."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def generated(text: str) -> str:
    """Return the document with its generated parts as they should be."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{PARTS[block[2]]()}\n\n{block[3]}", text)


def settings() -> str:
    """Return the table of settings."""
    rows = ((f"`{name}`", _shown(each.default), _meaning(each)) for name, each in Settings.model_fields.items())
    return _table(("setting", "default", "meaning"), rows)


def commands() -> str:
    """Return the table of commands."""
    rows = ((f"`{usage}`", (command.help or "").split("\n\n")[0], _options(command)) for usage, command in _leaves(cli))
    return _table(("command", "what it does", "options"), rows)


def known_models() -> str:
    """Return the table of models that are known by name."""
    rows = (
        (f"`{each.name}`", f"{each.size / 1e6:,.0f} MB", each.licence, each.note + _default(each.name))
        for each in models.KNOWN.values()
    )
    return _table(("name", "size", "licence", "what for"), rows)


def events() -> str:
    """Return the table of events as they are on the wire, each with an example that the server's encoder made."""
    wire = Wire(load_domain(ROOT / "domains" / "eco_ko"))
    return _table(("event", "what it means", "example of `data`"), (_event(wire, each) for each in _EXAMPLES))


def script() -> str:
    """Return what a script of the scripted engine may hold."""
    parts: tuple[type[BaseModel], ...] = (Script, ScriptedAnswer, Fault)
    return "\n\n".join(f"### {each.__name__}\n\n{_described(each)}" for each in parts)


PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "models": known_models,
    "events": events,
    "script": script,
}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shown(value: Any) -> str:
    if value == "":
        return "(empty)"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _meaning(field: Any) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    unsaid = not all(f"`{choice}`" in field.description for choice in choices)
    return str(field.description) + (f" One of {', '.join(map(_shown, choices))}." if unsaid else "")


def _leaves(group: click.Group, before: str = "mulgil") -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        usage = f"{before} {name}"
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join([usage, *_arguments(command)]), command
        if isinstance(command, click.Group):
            yield from _leaves(command, usage)


def _arguments(command: click.Command) -> list[str]:
    return [each.make_metavar(click.Context(command)) for each in command.params if isinstance(each, click.Argument)]


def _options(command: click.Command) -> str:
    return ", ".join(f"`{each.opts[0]}`" for each in command.params if isinstance(each, click.Option))


def _default(name: str) -> str:
    return " (the default)" if name == models.DEFAULT else ""


def _event(wire: Wire, event: Event) -> tuple[str, str, str]:
    name, data = _on_the_wire(wire, event)
    meaning = inspect.getdoc(type(event)) or ""
    for each in _EXAMPLES:
        meaning = meaning.replace(f"`{type(each).__name__}`", f"`{_on_the_wire(wire, each)[0]}`")
    return f"`{name}`", meaning.replace("eta_seconds", "etaSeconds"), f"`{data}`"


def _on_the_wire(wire: Wire, event: Event) -> tuple[str, str]:
    frame = wire.frames("", [(1, event)]).decode()
    _, name, data = (line.partition(": ")[2] for line in frame.strip().split("\n"))
    return name, data


def _described(model: type[BaseModel]) -> str:
    keys = (f"`{name}` ({_initial(each)})" for name, each in model.model_fields.items())
    return f"```text\n{inspect.getdoc(model)}\n```\n\nKeys, with their defaults: {', '.join(keys)}."


def _initial(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        return "nothing set"
    return "none" if value in (None, (), {}) else str(value).lower()


def main() -> None:
    """Bring every document up to date."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"updated {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
