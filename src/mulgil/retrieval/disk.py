"""How a finished build becomes the one that serves, and what earlier ones left is removed: renames and syncs only."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulgil.errors import SetupError
from mulgil.retrieval.index import POINTER, serving_build

UNFINISHED = "tmp"
_LOCK = "lock"


def publish(unfinished: Path, build: Path) -> None:
    """Make a finished folder the build that serves; whoever is killed in between leaves the old one serving."""
    _to_disk(unfinished)
    _point(build.parent, unfinished.rename(_free(build)).name)


def _free(build: Path) -> Path:
    # The name is taken where the build that serves is damaged.
    return _free(build.with_name(f"{build.name}-again")) if build.exists() else build


def _point(folder: Path, name: str) -> None:
    following = folder / f"{POINTER}.{UNFINISHED}"
    following.write_text(name, encoding="utf-8")
    _sync(following)
    following.replace(folder / POINTER)
    _sync(folder)


def _to_disk(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove every build but the one that serves; those who have one open keep it."""
    serving = serving_build(folder)
    for path in (folder / UNFINISHED, *folder.glob("build-*")):
        if path != serving and path.exists():
            shutil.rmtree(path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder, made if need be, against other builds; raise `SetupError` if one is under way."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(f"Another build of the index in {folder} is under way; wait until it has ended.") from None
        yield
