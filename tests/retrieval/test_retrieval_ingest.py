"""Rows become entries, bad ones are told by line."""

import json
from pathlib import Path

import pytest

from mulgil.domain.model import Domain
from mulgil.errors import SetupError
from mulgil.retrieval.ingest import read_entries


def row(number: int, **changed: object) -> dict[str, object]:
    plain = {
        "id": f"e{number}",
        "title": f"제목 {number}",
        "description": f"설명 {number}이에요.",
        "category": "VEGAN",
        "locations": ["도시"],
        "work_types": [],
        "tags": ["채식"],
    }
    return {key: value for key, value in (plain | changed).items() if value is not None}


def write(path: Path, *lines: object) -> Path:
    raw = (line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines)
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


def reasons(path: Path, domain: Domain) -> dict[int, str]:
    return {problem.line: problem.reason for problem in read_entries(path, domain)[1]}


def test_a_row_becomes_an_entry_with_its_values_by_field(tmp_path, domain):
    file = write(tmp_path / "c.jsonl", row(1, category="비건", locations=["해안가", "도시", "바다"], tags=["두부 "]))

    (entry,), problems = read_entries(file, domain)

    assert problems == []
    assert (entry.id, entry.category, entry.tags) == ("e1", "VEGAN", ("두부",))
    assert entry.values == {"location": ("바닷가", "도시"), "workType": ()}


def test_lists_may_be_left_out(tmp_path, domain):
    file = write(tmp_path / "c.jsonl", row(1, locations=None, work_types=None, tags=None))

    (entry,), problems = read_entries(file, domain)

    assert (problems, entry.tags, entry.values["location"]) == ([], (), ())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"id": "\xff"}', "is not UTF-8"),
        ([], "is no JSON object"),
        (row(2, color="red"), "unknown key color"),
        (row(2, id=None), "id is missing"),
        (row(2, title=""), "title is empty"),
        (row(2, title=7), "title is no string"),
        (row(2, title="한\n줄"), "title has a line break"),
        (row(2, title="가" * 101), "title has 101 characters; at most 100"),
        (row(2, description="가" * 256), "description has 256 characters; at most 255"),
        (row(2, category="우주"), "category 우주 is unknown"),
        (row(2, locations=["화성"]), "locations has 화성"),
        (row(2, locations="도시"), "locations is no list"),
        (row(2, tags=[1]), "tags is no string"),
        (row(2, id="e1"), "its id is that of line 1"),
        (row(2, title="제 목1"), "its title is that of line 1"),
        (row(2, description="설명 1이에요."), "its description is that of line 1"),
    ],
)
def test_a_bad_row_is_told_by_its_line_and_the_rest_is_kept(tmp_path, domain, bad, said):
    file = write(tmp_path / "c.jsonl", row(1), b"", bad, row(4))

    entries, problems = read_entries(file, domain)

    assert [entry.id for entry in entries] == ["e1", "e4"]
    (problem,) = problems
    assert problem.line == 3
    assert problem.reason.startswith(said)
    assert str(problem) == f"{file}:3: {problem.reason}"


def test_a_row_that_was_left_out_makes_no_later_row_a_duplicate(tmp_path, domain):
    file = write(tmp_path / "c.jsonl", row(1, category="우주"), row(1))

    assert list(reasons(file, domain)) == [1]


def test_limits_count_code_points_after_composition(tmp_path, domain):
    decomposed = "\u1100\u1161" * 100
    file = write(tmp_path / "c.jsonl", row(1, title=decomposed))

    assert [entry.title for entry in read_entries(file, domain)[0]] == ["가" * 100]


def test_line_separators_inside_a_text_do_not_shift_the_numbers(tmp_path, domain):
    file = write(tmp_path / "c.jsonl", row(1, description="앞\u2028뒤"), {"id": 1})

    assert list(reasons(file, domain)) == [2]


def test_a_byte_order_mark_is_no_problem(tmp_path, domain):
    file = tmp_path / "c.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(1)).encode() + b"\r\n")

    assert len(read_entries(file, domain)[0]) == 1


def test_a_missing_catalogue_stops_with_a_sentence(tmp_path, domain):
    with pytest.raises(SetupError, match=r"none\.jsonl can't be read"):
        read_entries(tmp_path / "none.jsonl", domain)
