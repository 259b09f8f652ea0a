"""Imports go one way, and heavy libraries stay where they belong (docs/architecture.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mulgil"
LEAVES = {"errors", "events", "text", "morphemes"}
MAY = {
    # Each layer, and what it may import besides itself and the leaves.
    "domain": set(),
    "engines": set(),
    "retrieval": {"domain.model", "domain.load"},  # a catalogue's rows name the domain's categories and options
    "sessions": {"domain.model"},
    "flow": {"domain", "retrieval", "engines", "sessions.base"},  # a session is what a flow works on, not its store
    "turns": {"flow", "sessions"},
    "door": {"turns", "flow", "sessions", "domain"},
    "text": set(),
    "errors": set(),
    "events": set(),
    "morphemes": set(),
    "settings": set(),
}
"""The rest (app, parts, server, cli, ...) composes: nothing below imports it."""

TOP = {path.stem for path in SOURCE.glob("*.py")} - MAY.keys() - {"__init__"}
FILES = sorted(SOURCE.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports anywhere; names are resolved to modules where they are ours."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            base = str(node.module)
            for alias in node.names:
                inner = SOURCE.parent / Path(*base.split("."), alias.name)
                yield f"{base}.{alias.name}" if inner.with_suffix(".py").exists() or inner.is_dir() else base


def ours(file: Path) -> set[str]:
    return {name.removeprefix("mulgil.") for name in imported(file) if name.startswith("mulgil.")}


def layer(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def within(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_go_one_way(file: Path) -> None:
    of = layer(file)
    if of in MAY:
        allowed = MAY[of] | LEAVES | {of}
        assert not {name for name in ours(file) if not within(name, allowed)}


def test_the_rule_knows_every_layer() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= MAY.keys()
    assert {"app", "server", "cli"} <= TOP


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("langgraph", {"flow/graph.py"}),
        ("langchain", {"retrieval/retriever.py"}),
        ("langchain_core", {"retrieval/retriever.py", "flow/steps.py"}),
        ("aiohttp", {"engines"}),
        ("starlette", {"door", "app.py", "server.py"}),
        ("uvicorn", {"server.py"}),
        ("qdrant_edge", {"retrieval"}),
        ("kiwipiepy", {"morphemes.py"}),
        ("torch", set()),
        ("transformers", set()),
        ("httpx", set()),
        ("requests", set()),
    ],
)
def test_a_library_is_imported_only_at_home(library: str, homes: set[str]) -> None:
    for file in FILES:
        if library in {name.split(".")[0] for name in imported(file)}:
            path = file.relative_to(SOURCE).as_posix()
            assert any(path == home or path.startswith(f"{home}/") for home in homes), path


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        file.relative_to(SOURCE).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("os", "environ"), ("os", "getenv")}
    }
    assert readers - {"engines/sources.py"} == {"settings.py"}  # which hands it on to pip, unread


def test_the_gateway_loads_no_model_library() -> None:
    heavy = ["torch", "transformers", "xllamacpp", "peft", "bitsandbytes"]
    code = f"import sys, mulgil.app; print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("korean", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_nothing_in_the_code_speaks_korean(korean: Path) -> None:
    allowed = {"가", "힣"}
    letters = {char for char in korean.read_text(encoding="utf-8") if "가" <= char <= "힣"}
    assert letters <= allowed
