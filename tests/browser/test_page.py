"""The chat page as people meet it: a real Chromium before a real gateway, with the scripted engine behind it."""

import os
from typing import Any

import pytest

if os.environ.get("CI") != "true":  # there a missing package must fail
    pytest.importorskip("playwright", reason="playwright is missing: pip install -e '.[browser]'")

from playwright.sync_api import BrowserContext, Locator, Page, expect

from harness import BASE, FIELDS, OFF_TOPIC, ON_TOPIC, TEXT, Running, answer, script
from mulgil.engines.scripted import Answer, Fault

pytestmark = pytest.mark.browser

GATE = "rest"
HELD = answer(gates={24: GATE})
"""An answer that stops in its second challenge until its gate is released."""
LAST_HELD = answer(pieces=(TEXT[:-2], TEXT[-2:]), gates={1: GATE})
"""An answer that stops when all its letters are written, but its end is not told."""
CHOSEN = {"location": "도시", "workType": "사무직", "category": "제로웨이스트"}
FITS = "document.documentElement.scrollWidth <= innerWidth"
PARTS = """(answer) => Array.from(answer.children, (part) => {
  const [title, description] = ["h2", "p"].map((tag) => part.querySelector(tag)?.textContent);
  return title ? `${title}\\n${description}` : part.textContent;
})"""


def at(page: Page, url: str) -> Page:
    page.goto(url)
    expect(page.locator("#composer")).to_be_visible()
    return page


def ask(page: Page, message: str = ON_TOPIC) -> Locator:
    """Send a message with Enter; return the turn that shows its answer."""
    number = page.locator(".turn").count()
    page.fill("#message", message)
    page.press("#message", "Enter")
    return page.locator(".turn").nth(number)


def choose(page: Page, *labels: str) -> Locator:
    for label in labels:
        page.get_by_text(label, exact=True).click()
    page.get_by_role("button", name="추천 받기").click()
    return page.locator(".turn").last


def begun(turn: Locator) -> Locator:
    expect(turn.locator(".item").first).to_be_visible()
    return turn


def ended(turn: Locator) -> Locator:
    expect(turn).to_have_attribute("aria-busy", "false")
    return turn


def shown(turn: Locator) -> str:
    """The answer as one reads it: text, and cards in the place of their text."""
    return "\n\n".join(filter(None, turn.locator(".answer").evaluate(PARTS)))


def rendered(whole: dict[str, Any]) -> str:
    """The display text of an answer (contract.md, SSE)."""
    items = [f"{n}. {each['title']}\n{each['description']}" for n, each in enumerate(whole["challenges"], 1)]
    return "\n\n".join([whole["recommend"], *items])


# -- asking ---------------------------------------------------------------------------------------------------------


def test_a_choice_of_three_shows_the_streamed_text_and_three_cards(page: Page, url: str, gateway: Running):
    gateway.engine.play(script(answer(rate=200)))
    turn = ended(choose(at(page, url), *CHOSEN.values()))
    assert shown(turn) == rendered(gateway.post("base-info", **CHOSEN).json()["data"])
    assert turn.locator(".item p").all_text_contents() == [FIELDS["d1"], FIELDS["d2"], FIELDS["d3"]]
    assert turn.locator(".item .label").all_text_contents() == ["제로웨이스트"] * 3
    expect(page.locator(".asked")).to_have_text(" · ".join(CHOSEN.values()))


def test_a_message_of_ones_own_is_answered_and_tells_its_sources(page: Page, url: str, gateway: Running):
    turn = ended(ask(at(page, url)))
    whole = gateway.post("free-text", message=ON_TOPIC).json()["data"]
    assert shown(turn) == rendered(whole)
    turn.locator(".sources summary").click()
    assert turn.locator(".sources li").all_inner_texts() == [each["title"] for each in whole["challenges"]]


def test_a_message_off_the_topic_gets_the_domain_s_sentence_and_no_engine(page: Page, url: str, gateway: Running):
    turn = ended(ask(at(page, url), OFF_TOPIC))
    assert shown(turn) == gateway.domain.messages["off_topic"]
    expect(turn.locator(".status")).to_have_text("")
    assert not gateway.asked


def test_a_refused_message_shows_why(page: Page, url: str, gateway: Running):
    turn = ended(ask(at(page, url), "짧다"))
    expect(turn.locator(".failed")).to_have_text(gateway.domain.messages["message_too_short"])


def test_an_engine_that_fails_shows_the_sentence(page: Page, url: str, gateway: Running):
    gateway.engine.play(script(answer(fault=Fault(kind="status", status=500))))
    turn = ended(ask(at(page, url)))
    expect(turn.locator(".failed")).to_have_text(gateway.domain.messages["upstream"])


def test_who_waits_for_the_engine_sees_the_place_in_the_queue(
    page: Page, context: BrowserContext, url: str, gateway: Running
):
    gateway.engine.play(script(HELD))
    first = begun(ask(at(context.new_page(), url)))
    second = ask(at(page, url))
    expect(second.locator(".status")).to_contain_text("순서: 1번째")
    gateway.engine.release(GATE)
    ended(first)
    expect(ended(second).locator(".item")).to_have_count(3)


def test_html_in_an_answer_stays_text(page: Page, url: str, gateway: Running):
    html = "<b>굵게</b> <img src=x onerror=alert(1)> &amp; 써요."
    gateway.engine.play(script(answer(text=None, fields={**FIELDS, "d1": html})))
    turn = ended(ask(at(page, url)))
    assert turn.locator(".item p").first.text_content() == html
    expect(turn.locator("b, img")).to_have_count(0)


# -- ending ---------------------------------------------------------------------------------------------------------


def test_stop_ends_the_answer_and_the_engine_s_work(page: Page, url: str, gateway: Running):
    gateway.engine.play(script(HELD))
    turn = begun(ask(at(page, url)))
    page.click("#stop")
    expect(turn.locator(".status")).to_have_text(gateway.domain.messages["stopped"])
    expect(page.locator("#stop")).to_be_hidden()
    gateway.abandoned()


def test_a_new_question_ends_the_answer_that_runs(page: Page, url: str, gateway: Running):
    gateway.engine.play(script(HELD, answer()))
    old = begun(ask(at(page, url)))
    new = ask(page, "대중교통으로 탄소를 줄이고 싶어요")
    expect(old.locator(".status")).to_have_text(gateway.domain.messages["superseded"])
    expect(ended(new).locator(".item")).to_have_count(3)
    expect(page.locator("#stop")).to_be_hidden()
    gateway.abandoned()


def test_leaving_the_page_ends_the_engine_s_work(page: Page, url: str, gateway: Running):
    gateway.engine.play(script(HELD))
    begun(ask(at(page, url)))
    page.goto("about:blank")
    gateway.abandoned()


# -- broken connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusals", [0, 1], ids=["and_comes_back", "and_is_refused_once"])
@pytest.mark.parametrize("play", [HELD, LAST_HELD], ids=["amid_the_text", "after_its_last_letter"])
def test_an_answer_whose_connection_breaks_goes_on_without_loss_or_doubling(
    page: Page, gateway: Running, proxy, complaints: list[str], play: Answer, refusals: int
):
    gateway.engine.play(script(play))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if BASE in request.url else None)
    turn = begun(ask(at(page, proxy.url)))
    before = shown(turn)
    proxy.cut(refusals)
    expect(turn.locator(".status")).to_have_text(gateway.domain.page["reconnecting"])
    gateway.engine.release(GATE)
    whole = shown(ended(turn))
    expect(turn.locator(".status")).to_have_text("")
    assert whole.startswith(before)
    assert len(gateway.asked) == 1
    assert (len(asked), len(set(asked))) == (2 + refusals, 1)
    assert whole == rendered(gateway.post("free-text", message=ON_TOPIC).json()["data"])
    assert all("net::ERR_" in complaint or "502" in complaint for complaint in complaints)
    complaints.clear()


# -- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [{"isComposing": True}, {"keyCode": 229}], ids=["as_elsewhere", "as_in_safari"])
def test_the_enter_that_ends_a_composition_does_not_send(page: Page, url: str, key: dict[str, Any]):
    at(page, url).fill("#message", ON_TOPIC)
    page.dispatch_event("#message", "keydown", {"key": "Enter", "cancelable": True, **key})
    expect(page.locator("#message")).to_have_value(ON_TOPIC)
    expect(page.locator(".turn")).to_have_count(0)
    page.press("#message", "Enter")
    expect(page.locator(".turn")).to_have_count(1)


def test_shift_enter_writes_a_line_and_white_space_is_not_sent(page: Page, url: str):
    at(page, url).fill("#message", "   ")
    page.press("#message", "Shift+Enter")
    expect(page.locator("#message")).to_have_value("   \n")
    page.press("#message", "Enter")
    expect(page.locator(".turn")).to_have_count(0)


# -- the page -------------------------------------------------------------------------------------------------------


def test_the_session_survives_a_reload(page: Page, url: str, gateway: Running):
    at(page, url)
    sessions = []
    for _ in range(2):
        with page.expect_request(f"**{BASE}/**") as request:
            ended(ask(page))
        sessions.append(request.value.url.partition("sessionId=")[2].partition("&")[0])
        page.reload()
    assert sessions[0] == sessions[1] != ""


def test_a_script_that_got_into_the_page_would_not_run(page: Page, url: str, complaints: list[str]):
    inject = "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))"
    at(page, url).evaluate(inject)
    assert page.evaluate("window.ran") is None
    assert "Content Security Policy" in complaints.pop()


def test_nothing_is_wider_than_a_small_phone(page: Page, url: str, gateway: Running):
    gateway.engine.play(script(answer(text=None, fields={**FIELDS, "d1": "가" * 90, "d2": "https://" + "x" * 90})))
    page.set_viewport_size({"width": 360, "height": 740})
    assert at(page, url).evaluate(FITS)
    turn = ended(ask(page, f"{ON_TOPIC} {'w' * 100}"))
    turn.locator(".sources summary").click()
    assert page.evaluate(FITS)


# -- a client of a few lines ----------------------------------------------------------------------------------------

LISTEN = """(url) => {
  window.heard = [];
  window.source = new EventSource(url);
  for (const name of ["turn", "queue", "sources", "challenge", "item", "error", "close"])
    source.addEventListener(name, (event) => event.data && heard.push([name, JSON.parse(event.data)]));
}"""


def listened(page: Page, url: str, message: str) -> tuple[list[tuple[str, dict[str, Any]]], list[int]]:
    """Run a client that only ever calls `new EventSource(url)`; return its events and its requests' statuses."""
    html = "text/html; charset=utf-8"
    page.route("**/plain", lambda route: route.fulfill(body="<!doctype html>", content_type=html))
    page.goto(f"{url}/plain")
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status) if BASE in response.url else None)
    page.evaluate(LISTEN, f"{BASE}/free-text?message={message}")
    page.wait_for_function("source.readyState === EventSource.CLOSED")  # after this it never asks again
    return page.evaluate("heard"), statuses


def test_a_plain_event_source_hears_everything_once_and_is_sent_away(page: Page, url: str, gateway: Running):
    heard, statuses = listened(page, url, ON_TOPIC)
    names = [name for name, _ in heard]
    assert (names[0], names.count("item"), names.count("close"), names[-1]) == ("turn", 3, 1, "close")
    pieces = "".join(told["data"] for name, told in heard if name == "challenge")
    assert pieces == rendered(heard[-1][1]["data"])
    assert statuses == [200, 204]
    assert len(gateway.asked) == 1


def test_a_plain_event_source_sees_a_refusal_end(page: Page, url: str):
    heard, statuses = listened(page, url, "짧다")
    assert [(name, told["status"], told["data"]) for name, told in heard] == [
        ("error", 422, None),
        ("close", 422, None),
    ]
    assert statuses == [200, 204]
