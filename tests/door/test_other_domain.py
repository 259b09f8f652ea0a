"""Another domain brings its own names, sentences and number of recommendations; all other keys stay (contract.md)."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document

from harness import ON_TOPIC, Running, Watched, answer, script
from mulgil.domain.load import load_domain
from mulgil.domain.model import Domain
from mulgil.engines.scripted import ScriptedEngine
from mulgil.morphemes import Morphemes
from mulgil.retrieval.base import Entry
from mulgil.settings import load_settings

RENAMED = (
    ("count = 3", "count = 2"),
    ("location", "region"),
    ('category_field = "category"', 'category_field = "topic"'),
    (".category", ".topic"),
    ("category는", "topic은"),
    ("모든 챌린지 추천 완료", "All done"),
)


@pytest.fixture
def other(domain: Domain, tmp_path: Path) -> Domain:
    """The bundled domain under other names."""
    folder = tmp_path / "other"
    shutil.copytree(domain.folder, folder)
    text = (folder / "domain.toml").read_text(encoding="utf-8")
    for old, new in RENAMED:
        assert old in text
        text = text.replace(old, new)
    (folder / "domain.toml").write_text(text, encoding="utf-8")
    return load_domain(folder)


@pytest.fixture
def running(
    other: Domain, morphemes: Morphemes, retriever: Watched, engine: ScriptedEngine, tmp_path: Path
) -> Iterator[Running]:
    given = {"engine": f"{engine.base_url}/v1", "model": "scripted", "port": 0, "sessions": "memory", "drain": 0}
    engine.play(script(answer(text=json.dumps({"recommend": "추천해요.", "d1": "하나예요.", "d2": "둘이에요."}))))
    entries = [Entry(f"e{n}", f"제목 {n}", "설명이에요.", "VEGAN") for n in (1, 2)]
    with Running(load_settings(given | {"data": tmp_path}), other, morphemes, retriever.reset(), engine) as gateway:
        retriever.can([Document(page_content="", id=e.id, metadata={"entry": e, "score": 0.5}) for e in entries])
        yield gateway


VALUES = {"region": "바닷가", "workType": "사무직", "topic": "비건"}


def test_its_number_of_recommendations_and_its_sentences_are_used(running: Running) -> None:
    events = running.get("base-info", **VALUES).events()
    assert [event.data["index"] for event in events if event.name == "item"] == [1, 2]
    assert (events[-1].status, events[-1].message) == (200, "All done")
    assert list(events[-1].data) == ["recommend", "challenges"]
    assert [list(each) for each in events[-1].data["challenges"]] == [["title", "description", "category"]] * 2
    assert len(running.post("free-text", message=ON_TOPIC).json()["data"]["challenges"]) == 2


def test_its_fields_are_asked_for_by_their_names(running: Running) -> None:
    first = running.post("base-info", location="산", workType="a", category="비건").json()
    assert (first["status"], first["message"]) == (400, "region은 필수입니다.")
    last = running.post("base-info", region="산", workType="a").json()
    assert (last["status"], last["message"]) == (400, "topic은 필수입니다.")
    assert running.post("base-info", **VALUES | {"topic": "수영"}).json()["data"] == {"invalidFields": ["topic"]}


def test_the_page_is_told_its_names(running: Running) -> None:
    told = running.request("GET", "/domain.json").json()
    assert (told["categoryField"], told["count"]) == ("topic", 2)
    assert [field["name"] for field in told["fields"]] == ["region", "workType"]
