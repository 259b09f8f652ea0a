"""The documents say what the code says."""

import inspect
import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from mulgil.door.wire import Wire
from mulgil.engines.scripted import load_script
from mulgil.events import Event
from mulgil.flow.steps import Steps
from mulgil.settings import load_settings

ROOT = Path(__file__).parents[1]
GENERATOR = runpy.run_path(str(ROOT / "scripts" / "generate_docs.py"))
LICENCES = runpy.run_path(str(ROOT / "scripts" / "licences.py"))
DOCUMENTS = GENERATOR["documents"]()
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
STEPS = ["validate_query", "retrieve_context", "generate_response"]

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def read(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# -- what is generated --------------------------------------------------------------------------------------------


@each_document
def test_generated_parts_are_up_to_date(path):
    text = read(path)

    assert GENERATOR["generated"](text) == text, "run: python scripts/generate_docs.py"


def test_every_generated_part_stands_somewhere():
    used = [name for path in DOCUMENTS for _, name, _ in GENERATOR["BLOCK"].findall(read(path))]

    assert sorted(used) == sorted(GENERATOR["PARTS"])


def test_the_event_list_has_every_event():
    assert [type(each) for each in GENERATOR["_EXAMPLES"]] == list(get_args(Event))


# -- what is written by hand --------------------------------------------------------------------------------------


@each_document
def test_links_lead_to_files(path):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", read(path))

    assert [target for target in targets if not (path.parent / target).exists()] == []


@each_document
def test_paths_in_the_source_that_are_named_exist(path):
    named = set(re.findall(r"`((?:[\w-]+/)*[\w-]+\.py)`", read(path)))

    assert [name for name in sorted(named) if not any((ROOT / at / name).exists() for at in ("", "src/mulgil"))] == []


def test_the_readme_s_tree_is_the_repository_s():
    (tree,) = (block for block in blocks(read("README.md"), "text") if block.startswith("src/mulgil/"))
    folder, named = "", set()
    for line in tree.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith("  ") else name
        named.add(folder + name if line.startswith("  ") else name)

    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    parts = {f"src/mulgil/{each.name}{'/' * each.is_dir()}" for each in (ROOT / "src" / "mulgil").iterdir()}
    assert {part for part in parts if "/_" not in part and not part.endswith("py.typed")} <= named


def test_the_life_of_a_request_names_the_three_steps_in_their_order():
    life = section(read("docs/architecture.md"), "The life of a request")

    assert re.findall(r"\*\*(\w+)\*\*", life) == STEPS
    assert all(inspect.iscoroutinefunction(getattr(Steps, step)) for step in STEPS)


def test_every_line_of_the_life_of_a_request_names_its_file():
    life = section(read("docs/architecture.md"), "The life of a request")
    lines = re.split(r"^\d+\. ", life, flags=re.MULTILINE)[1:]

    assert len(lines) >= 8
    assert [line for line in lines if ".py`" not in line] == []


def test_decisions_have_three_parts_and_one_line_to_quote():
    for path in DECISIONS:
        text = read(path)
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path.name
        assert len(re.findall(r"^> .+\.$", section(text, "Decision"), re.MULTILINE)) == 1, path.name


def test_decisions_are_numbered_without_a_gap_and_listed():
    listed = re.findall(r"\(adr/(.*?)\)", section(read("docs/architecture.md"), "Decisions"))

    assert listed == [path.name for path in DECISIONS]
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_the_browser_client_listens_to_events_that_there_are_and_is_short(domain):
    (code,) = blocks(read("docs/clients.md"), "js")
    frames = Wire(domain).frames("", enumerate(GENERATOR["_EXAMPLES"], start=1)).decode()
    known = re.findall(r"^event: (\w+)$", frames, re.MULTILINE)

    assert set(re.findall(r'addEventListener\("(\w+)"', code)) <= set(known)
    assert len(code.splitlines()) <= 15


def test_the_example_of_a_post_answer_has_the_keys_of_a_real_one(gateway):
    (example,) = map(json.loads, blocks(read("docs/clients.md"), "json"))
    answer = gateway.post("free-text", message="플라스틱을 줄이고 싶어요")

    assert answer.status == example["status"] == 200
    assert shape(example) == shape(answer.json())


def shape(value):
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return list(map(shape, value)) if isinstance(value, list) else type(value)


def test_the_example_scripts_can_be_loaded(tmp_path):
    scripts = blocks(read("docs/scripted-engine.md"), "toml")
    (tmp_path / "demo.toml").write_text(scripts[0], encoding="utf-8")

    assert len(load_script(tmp_path / "demo.toml").answers) == 4
    assert len(scripts) == 1


def test_the_example_of_a_test_passes():
    (code,) = blocks(read("docs/scripted-engine.md"), "python")

    exec(code, {})  # noqa: S102 (the document is ours)


def test_the_example_of_a_configuration_file_is_accepted(tmp_path, monkeypatch):
    (text,) = blocks(read("README.md"), "toml")
    (tmp_path / "mulgil.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert load_settings({}).model_dump().items() >= tomllib.loads(text).items()


# -- licences -----------------------------------------------------------------------------------------------------


def named_in_third_party() -> set[str]:
    return set(re.findall(r"[a-z][a-z0-9-]+", LICENCES["normal"](read("THIRD_PARTY.md"))))


def test_every_direct_dependency_stands_in_third_party():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    lines = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    tables = re.findall(r"^\| ([a-z][\w-]+) \|", read("THIRD_PARTY.md"), re.MULTILINE)

    assert {re.match(r"[\w-]+", line)[0] for line in lines} == set(tables) - {"package", "model"}


def test_every_copyleft_package_that_is_needed_is_named():
    needed = LICENCES["needed"]()

    assert len(needed) > 20
    assert {name for name, each in needed.items() if LICENCES["copyleft"](each)} <= named_in_third_party()


def test_no_package_that_is_needed_hides_its_licence():
    assert [name for name, each in LICENCES["needed"]().items() if LICENCES["licence"](each) == "not told"] == []
