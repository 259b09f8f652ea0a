"""The chat page as people meet it: a real Chromium, the real gateway, a scripted engine."""

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from mulgil.engines.scripted import Answer, Fault, Script, ScriptedEngine

pytestmark = pytest.mark.browser

API = "/ai/chatbot/recommendation"
QUESTION = "집에서 할 수 있는 제로웨이스트 챌린지를 알려줘"
CHOSEN = {"location": "도시", "workType": "사무직", "category": "ZERO_WASTE"}
OFF_TOPIC = "저는 친환경 챌린지를 추천해 드리는 챗봇이에요! 환경과 관련된 질문을 해 주시면 더 잘 도와드릴 수 있어요."
FIELDS = {
    "recommend": "사무실에서 보내는 하루에 잘 어울리는, 쓰레기를 줄이는 챌린지 세 가지를 골라 봤어요.",
    "d1": "작은 준비 하나로 오늘 버릴 것이 줄어들어요.",
    "d2": "한 번 해 보면 다음부터는 손이 먼저 기억해요.",
    "d3": "2.5kg쯤 되는 쓰레기가 한 달이면 사라져요.",
}
HELD = Answer(fields=FIELDS, gates={40: "rest"})
"""Stops in the first description, until "rest" is released."""
WIRE_EVENTS = ["turn", "queue", "sources", "challenge", "item", "error", "close"]

expect.set_options(timeout=15_000)


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    expect(page.locator("#composer")).to_be_visible()
    return page


def ask(page: Page, message: str = QUESTION) -> Locator:
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
    expect(turn.locator(".answer")).to_contain_text("1. ")
    return turn


def ended(turn: Locator) -> Locator:
    expect(turn).to_have_attribute("aria-busy", "false")
    return turn


def text_of(turn: Locator) -> str:
    return turn.locator(".answer").text_content() or ""


def fold(page: Page, url: str, kind: str, **fields: str) -> dict:
    """Return what a POST of the same question answers."""
    return page.request.post(f"{url}{API}/{kind}", data=fields).json()["data"]


def rendered(answer: dict) -> str:
    items = [f"\n\n{n}. {each['title']}\n{each['description']}" for n, each in enumerate(answer["challenges"], 1)]
    return answer["recommend"] + "".join(items)


def left_by_the_gateway(engine: ScriptedEngine) -> bool:
    return engine.recorder.wait(lambda requests: requests[0].left)


# -- asking ---------------------------------------------------------------------------------------------------------


def test_a_choice_of_three_shows_the_streamed_text_and_three_cards(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=Answer(fields=FIELDS, rate=200)))
    turn = ended(choose(opened(page, gateway), "도시", "사무직", "제로웨이스트"))
    answer = fold(page, gateway, "base-info", **CHOSEN)
    assert text_of(turn) == rendered(answer)
    assert turn.locator(".item h2").all_text_contents() == [each["title"] for each in answer["challenges"]]
    assert turn.locator(".item p").all_text_contents() == [FIELDS["d1"], FIELDS["d2"], FIELDS["d3"]]
    assert turn.locator(".item .label").all_text_contents() == ["제로웨이스트"] * 3
    assert page.locator(".asked").text_content() == "도시 · 사무직 · 제로웨이스트"


def test_a_message_of_ones_own_is_answered(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=Answer(fields=FIELDS)))
    turn = ended(ask(opened(page, gateway)))
    assert text_of(turn) == rendered(fold(page, gateway, "free-text", message=QUESTION))
    expect(turn.locator(".item")).to_have_count(3)
    expect(turn.locator(".sources summary")).to_have_text("참고한 챌린지")


def test_a_message_off_the_topic_gets_the_sentence_and_no_engine(page: Page, gateway: str, engine: ScriptedEngine):
    turn = ended(ask(opened(page, gateway), "강남역 맛집 추천해줘"))
    assert text_of(turn) == OFF_TOPIC
    expect(turn.locator(".failed")).to_have_count(0)
    assert not engine.recorder.requests


def test_a_refused_message_shows_why(page: Page, gateway: str):
    turn = ended(ask(opened(page, gateway), "짧다"))
    expect(turn.locator(".status.failed")).to_contain_text("최소 5자 이상")


def test_who_waits_for_the_engine_sees_the_place_in_the_queue(
    page: Page, context: BrowserContext, gateway: str, engine: ScriptedEngine
):
    engine.play(Script(default=HELD))
    first = begun(ask(opened(context.new_page(), gateway)))
    second = ask(opened(page, gateway))
    expect(second.locator(".status")).to_contain_text("순서: 1번째")
    engine.release("rest")
    ended(first)
    expect(ended(second).locator(".item")).to_have_count(3)


def test_html_in_an_answer_stays_text(page: Page, gateway: str, engine: ScriptedEngine):
    nasty = "<b>굵게</b> <img src=x onerror=alert(1)> & &lt;써요&gt;."
    engine.play(Script(default=Answer(fields={**FIELDS, "d1": nasty})))
    turn = ended(ask(opened(page, gateway)))
    assert nasty in text_of(turn)
    assert turn.locator(".item p").first.text_content() == nasty
    expect(turn.locator("b, img")).to_have_count(0)


def test_an_engine_that_fails_shows_the_sentence(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=Answer(fault=Fault(kind="status", status=500))))
    turn = ended(ask(opened(page, gateway)))
    expect(turn.locator(".status.failed")).to_have_text("AI 서버로부터 추천 결과를 받아오는 데 실패했습니다.")


# -- ending ---------------------------------------------------------------------------------------------------------


def test_stop_ends_the_answer_and_the_engine_s_work(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=HELD))
    turn = begun(ask(opened(page, gateway)))
    page.click("#stop")
    expect(turn.locator(".status")).to_have_text("답변 생성을 중지했습니다.")
    expect(page.locator("#stop")).to_be_hidden()
    assert left_by_the_gateway(engine)


def test_a_new_question_ends_the_answer_that_runs(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(answers=(HELD, Answer(fields=FIELDS))))
    old = begun(ask(opened(page, gateway)))
    new = ask(page, "대중교통으로 탄소를 줄이는 방법을 알려줘")
    expect(old.locator(".status")).to_have_text("새 요청이 시작되어 이 답변은 중단되었습니다.")
    expect(ended(new).locator(".item")).to_have_count(3)
    expect(page.locator("#stop")).to_be_hidden()
    assert left_by_the_gateway(engine)


def test_a_page_that_is_left_ends_the_engine_s_work(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=HELD))
    begun(ask(opened(page, gateway)))
    page.goto("about:blank")
    assert left_by_the_gateway(engine)


# -- broken connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusals", [0, 1], ids=["resumes", "is_refused_once_and_rejoins"])
def test_an_answer_whose_connection_breaks_goes_on_without_loss_or_doubling(
    page: Page, gateway: str, proxy, engine: ScriptedEngine, complaints: list[str], refusals: int
):
    engine.play(Script(default=HELD))
    turns: list[str] = []
    page.on("request", lambda request: turns.append(request.url) if "turnId=" in request.url else None)
    turn = begun(ask(opened(page, proxy.url)))
    proxy.cut(refusals)
    expect(turn.locator(".status")).to_have_text("연결이 끊겨 다시 잇고 있어요…")
    engine.release("rest")
    ended(turn)
    assert len(engine.recorder.requests) == 1
    assert len(set(turns)) == 1
    assert text_of(turn) == rendered(fold(page, gateway, "free-text", message=QUESTION))
    expect(turn.locator(".item")).to_have_count(3)
    assert all("net::ERR_" in complaint or "502" in complaint for complaint in complaints)
    complaints.clear()


# -- writing --------------------------------------------------------------------------------------------------------


def test_the_enter_that_ends_a_composition_does_not_send(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=Answer(fields=FIELDS)))
    opened(page, gateway).focus("#message")
    keyboard = page.context.new_cdp_session(page)
    composed = {"text": QUESTION, "selectionStart": len(QUESTION), "selectionEnd": len(QUESTION)}
    keyboard.send("Input.imeSetComposition", composed)
    page.keyboard.press("Enter")
    page.evaluate(
        "byKey => document.getElementById('message').dispatchEvent(new KeyboardEvent('keydown', byKey))",
        {"key": "Enter", "keyCode": 229, "bubbles": True, "cancelable": True},
    )
    expect(page.locator(".turn")).to_have_count(0)
    keyboard.send("Input.insertText", {"text": QUESTION})
    expect(page.locator("#message")).to_have_value(QUESTION)
    page.keyboard.press("Enter")
    expect(ended(page.locator(".turn")).locator(".item")).to_have_count(3)


def test_shift_enter_writes_a_line_and_white_space_is_not_sent(page: Page, gateway: str):
    opened(page, gateway).fill("#message", "   ")
    page.press("#message", "Shift+Enter")
    expect(page.locator("#message")).to_have_value("   \n")
    page.press("#message", "Enter")
    expect(page.locator(".turn")).to_have_count(0)


# -- the page -------------------------------------------------------------------------------------------------------


def test_the_session_survives_a_reload(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=Answer(fields=FIELDS)))
    opened(page, gateway)
    asked = []
    for _ in range(2):
        with page.expect_request(lambda request: "sessionId=" in request.url) as request:
            ended(ask(page))
        asked.append(request.value.url.partition("sessionId=")[2].partition("&")[0])
        page.reload()
    assert asked[0] == asked[1] != ""


def test_a_script_that_got_into_the_page_would_not_run(page: Page, gateway: str, complaints: list[str]):
    opened(page, gateway)
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))")
    assert page.evaluate("window.ran") is None
    assert "Content Security Policy" in complaints.pop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_small_phone(page: Page, gateway: str, engine: ScriptedEngine, scheme: str):
    engine.play(Script(default=Answer(fields={**FIELDS, "d1": "가" * 90, "d2": "https://" + "x" * 90})))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert opened(page, gateway).evaluate(fits)
    turn = ended(ask(page, QUESTION + " " + "w" * 100))
    turn.locator(".sources summary").click()
    assert page.evaluate(fits)


# -- a client of ten lines ------------------------------------------------------------------------------------------

PLAIN_CLIENT = """([url, names]) => {
  window.heard = [];
  window.source = new EventSource(url);
  for (const name of names)
    source.addEventListener(name, (event) => event.data && heard.push([name, JSON.parse(event.data)]));
}"""


def heard_to_the_end(page: Page, gateway: str, message: str) -> tuple[list, list[int]]:
    """Run a client that only ever calls `new EventSource(url)`; return its events and the statuses of its requests."""
    page.route("**/plain", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"{gateway}/plain")
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status) if API in response.url else None)
    page.evaluate(PLAIN_CLIENT, [f"{API}/free-text?message={message}", WIRE_EVENTS])
    page.wait_for_function("source.readyState === EventSource.CLOSED")  # it never asks again after this
    return page.evaluate("heard"), statuses


def test_a_plain_event_source_hears_everything_once_and_is_sent_away(page: Page, gateway: str, engine: ScriptedEngine):
    engine.play(Script(default=Answer(fields=FIELDS)))
    heard, statuses = heard_to_the_end(page, gateway, QUESTION)
    names = [name for name, _ in heard]
    assert (names[0], names[-1], names.count("item"), names.count("close")) == ("turn", "close", 3, 1)
    pieces = "".join(told["data"] for name, told in heard if name == "challenge")
    assert pieces == rendered(heard[-1][1]["data"])
    assert statuses == [200, 204]
    assert len(engine.recorder.requests) == 1


def test_a_plain_event_source_sees_a_refusal_end(page: Page, gateway: str):
    heard, statuses = heard_to_the_end(page, gateway, "짧다")
    assert [(name, told["status"], told["data"]) for name, told in heard] == [("error", 422, None), ("close", 422, None)]
    assert statuses == [200, 204]
