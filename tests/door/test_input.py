"""The contract's table of errors, row by row, for each of the three kinds of client, and how input is decoded."""

import json
import socket
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import BASE, OFF_TOPIC, ON_TOPIC, PLACE, STREAM, TIMEOUT, Running, Watched, script
from mulgil.domain.model import Domain
from mulgil.engines.scripted import ScriptedEngine
from mulgil.morphemes import Morphemes
from mulgil.settings import load_settings

FREE, INFO = "free-text", "base-info"
SHORT = "message는 문자열이어야 하며, 최소 5자 이상의 문자열이어야 합니다."
CHOICE = "유효하지 않은 선택 항목이 포함되어 있습니다."
BODY = "요청 본문이 올바른 JSON이 아닙니다."
SORRY = (
    "저는 친환경 챌린지를 추천해 드리는 챗봇이에요! "
    "환경과 관련된 질문을 해 주시면 더 잘 도와드릴 수 있어요."
)  # fmt: skip
UNKNOWN = {"invalidFields": ["category"]}


@pytest.fixture(scope="module")
def one(
    domain: Domain, morphemes: Morphemes, retriever: Watched, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One gateway for all: a refused input leaves nothing behind."""
    with ScriptedEngine(script()) as engine:
        given_ = {"engine": f"{engine.base_url}/v1", "model": "scripted", "port": 0, "sessions": "memory", "drain": 0}
        chosen = load_settings(given_ | {"data": tmp_path_factory.mktemp("input"), "slots": 64})
        with Running(chosen, domain, morphemes, retriever.reset(), engine) as running:
            yield running


@pytest.fixture
def idle(one: Running) -> Iterator[Running]:
    """The gateway, which must not have asked its engine nor retrieved anything at the end."""
    before = len(one.asked), one.retriever.calls
    yield one
    assert (len(one.asked), one.retriever.calls) == before


# -- the table ----------------------------------------------------------------------------------------------------

INPUTS: list[tuple[str, dict[str, str], int, str, Any]] = [
    (INFO, {}, 400, "location은 필수입니다.", None),
    (INFO, {"location": "", "workType": "", "category": ""}, 400, "location은 필수입니다.", None),
    (INFO, PLACE | {"location": " \n "}, 400, "location은 필수입니다.", None),
    (INFO, {"location": "산"}, 400, "workType은 필수입니다.", None),
    (INFO, {"location": "산", "workType": "\u3000", "category": "비건"}, 400, "workType은 필수입니다.", None),
    (INFO, {"location": "산", "workType": "현장직"}, 400, "category는 필수입니다.", None),
    (INFO, PLACE | {"category": "  "}, 400, "category는 필수입니다.", None),
    (INFO, PLACE | {"category": "수영"}, 400, CHOICE, UNKNOWN),
    (INFO, PLACE | {"category": "제로"}, 400, CHOICE, UNKNOWN),
    (INFO, PLACE | {"category": "비건" * 100}, 400, CHOICE, UNKNOWN),
    (INFO, PLACE | {"location": "가" * 51}, 422, "location은 50자 이하여야 합니다.", None),
    (INFO, PLACE | {"workType": "나" * 51}, 422, "workType은 50자 이하여야 합니다.", None),
    (INFO, PLACE | {"location": "가" * 51, "category": "수영"}, 400, CHOICE, UNKNOWN),
    (INFO, PLACE | {"sessionId": "s" * 129}, 422, "sessionId는 128자 이하여야 합니다.", None),
    (FREE, {}, 400, "message는 필수입니다.", None),
    (FREE, {"message": ""}, 400, "message는 필수입니다.", None),
    (FREE, {"message": " \n\t "}, 400, "message는 필수입니다.", None),
    (FREE, {"message": "비건요리"}, 422, SHORT, None),
    (FREE, {"message": "  비건요리  "}, 422, SHORT, None),
    (FREE, {"message": unicodedata.normalize("NFD", "비건요리")}, 422, SHORT, None),
    (FREE, {"message": "환" * 2001}, 422, "message는 2,000자 이하여야 합니다.", None),
    (FREE, {"message": ON_TOPIC, "sessionId": "s" * 129}, 422, "sessionId는 128자 이하여야 합니다.", None),
    (FREE, {"message": "\u0007\u0000\u001b\u200b비건"}, 422, SHORT, None),
]
JSON_ONLY: list[tuple[str, dict[str, object], int, str, Any]] = [
    (FREE, {"message": None}, 400, "message는 필수입니다.", None),
    (FREE, {"message": 12345}, 422, SHORT, None),
    (FREE, {"message": True}, 422, SHORT, None),
    (FREE, {"message": ["환경을 지키자"]}, 422, SHORT, None),
    (FREE, {"message": {"text": "환경을 지키자"}}, 422, SHORT, None),
    (FREE, {"message": "\ud800비건요리\udfff"}, 422, SHORT, None),
    (FREE, {"message": ON_TOPIC, "sessionId": 5}, 422, "sessionId는 문자열이어야 합니다.", None),
    (INFO, PLACE | {"location": None}, 400, "location은 필수입니다.", None),
    (INFO, PLACE | {"location": 5}, 422, "location은 문자열이어야 합니다.", None),
    (INFO, PLACE | {"workType": ["사무직"]}, 422, "workType은 문자열이어야 합니다.", None),
    (INFO, PLACE | {"category": {}}, 422, "category는 문자열이어야 합니다.", None),
]


@pytest.mark.parametrize(("kind", "query", "status", "message", "data"), INPUTS)
def test_an_event_source_gets_the_error_as_a_stream(
    idle: Running, kind: str, query: dict[str, str], status: int, message: str, data: object
) -> None:
    call = idle.get(kind, **query)
    assert call.status == 200
    told = [(event.id, event.name, event.status, event.message, event.data) for event in call.events()]
    assert told == [("refused:1", "error", status, message, None), ("refused:2", "close", status, message, None)]


@pytest.mark.parametrize(("kind", "query", "status", "message", "data"), INPUTS)
def test_a_get_without_accept_gets_the_error_as_its_status(
    idle: Running, kind: str, query: dict[str, str], status: int, message: str, data: object
) -> None:
    call = idle.plain(kind, **query)
    assert call.status == status
    assert call.headers["content-type"] == "application/json; charset=utf-8"
    assert call.json() == {"status": status, "message": message, "data": data}


@pytest.mark.parametrize(("kind", "fields", "status", "message", "data"), [*INPUTS, *JSON_ONLY])
def test_a_post_gets_the_error_as_its_status(
    idle: Running, kind: str, fields: dict[str, Any], status: int, message: str, data: object
) -> None:
    call = idle.post(kind, **fields)
    assert call.status == status
    assert call.json() == {"status": status, "message": message, "data": data}


@pytest.mark.parametrize("turn", ["1", "no-uuid", "g" * 32, "11111111222243338444555555555555", "{}"])
@pytest.mark.parametrize("kind", [FREE, INFO])
def test_a_turn_id_that_is_no_uuid_is_refused_first(idle: Running, kind: str, turn: str) -> None:
    events = idle.get(kind, turnId=turn).events()
    assert {(event.status, event.message) for event in events} == {(422, "turnId는 UUID여야 합니다.")}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"message"', b"5", b"message=5", b"\xff\xfe", b'{"message": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 40_000, b"1" * 10_000, b'{"message": NaN',
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(idle: Running, body: bytes) -> None:
    call = idle.request("POST", f"{BASE}/{FREE}", {"content-type": "application/json"}, body)
    assert (call.status, call.json()) == (422, {"status": 422, "message": BODY, "data": None})


def test_a_value_nested_to_any_depth_is_refused_like_any_that_is_no_text(idle: Running) -> None:
    for depth in (50, 200, *range(900, 1000)):  # about where Python's recursion ends
        body = b'{"message":' + b"[" * depth + b"]" * depth + b"}"
        call = idle.request("POST", f"{BASE}/{FREE}", {"content-type": "application/json"}, body)
        assert (call.status, call.json()["message"]) in {(422, SHORT), (422, BODY)}, depth
        call.close()


def test_a_huge_body_is_refused_in_a_sentence(idle: Running) -> None:
    call = idle.post(FREE, message="환" * 300_000)
    assert call.status == 413
    assert call.json()["status"] == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_a_body_of_another_type_is_refused(idle: Running, kind: str) -> None:
    call = idle.request("POST", f"{BASE}/{FREE}", {"content-type": kind}, json.dumps({"message": ON_TOPIC}).encode())
    assert (call.status, call.json()["status"], call.json()["data"]) == (415, 415, None)
    assert any("가" <= char <= "힣" for char in call.json()["message"])


@pytest.mark.parametrize("path", ["/nothing", BASE, f"{BASE}/free-text/", f"{BASE}/Free-Text", "/ai/chatbot/turns/"])
def test_an_unknown_path_is_told_in_a_korean_sentence(idle: Running, path: str) -> None:
    call = idle.request("GET", path)
    assert (call.status, call.json()) == (
        404,
        {"status": 404, "message": "요청한 경로를 찾을 수 없습니다.", "data": None},
    )
    events = idle.request("GET", path, STREAM).events()
    assert [(event.id, event.name, event.status) for event in events] == [
        ("refused:1", "error", 404),
        ("refused:2", "close", 404),
    ]
    assert "content-length" not in idle.request("GET", path, STREAM).headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"{BASE}/free-text"),
        ("DELETE", f"{BASE}/base-info"),
        ("GET", "/ai/chatbot/turns/x"),
        ("POST", "/metrics"),
    ],
)
def test_a_wrong_method_is_told_in_a_korean_sentence(idle: Running, method: str, path: str) -> None:
    call = idle.request(method, path)
    assert call.status == 405
    assert call.json() == {"status": 405, "message": "이 경로에서 허용되지 않는 요청 방식입니다.", "data": None}
    assert call.headers["allow"] == ", ".join(sorted(call.headers["allow"].split(", ")))


@pytest.mark.parametrize("kind", [FREE, INFO])
def test_head_and_prefetch_never_start_a_turn(idle: Running, kind: str) -> None:
    query = f"{BASE}/{kind}?message={quote(ON_TOPIC)}&location=a&workType=b&category=zero"
    assert idle.request("HEAD", query, STREAM).status == 200
    for purpose in ("prefetch", "prefetch;prerender", "Prefetch"):
        call = idle.request("GET", query, STREAM | {"sec-purpose": purpose})
        assert (call.status, call.body()) == (204, b"")


@pytest.mark.parametrize("message", [OFF_TOPIC, "시발 환경 챌린지 추천해", "오늘 저녁 주식 시세를 알려줘"])
def test_off_topic_and_profane_messages_get_the_domains_sentence(idle: Running, message: str) -> None:
    events = idle.get(FREE, message=message).events()
    assert [(event.name, event.status, event.data) for event in events[1:]] == [
        ("error", 200, None),
        ("close", 200, None),
    ]
    assert {event.message for event in events[1:]} == {SORRY}
    told = idle.post(FREE, message=message)
    assert (told.status, told.json()["data"]) == (200, {"recommend": SORRY, "challenges": None})


# -- what is let in -----------------------------------------------------------------------------------------------


def answered(running: Running, kind: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """The POST's answer, which the strict parser must be able to read."""
    call = running.post(kind, **fields)
    told = call.json()
    assert (call.status, list(told), told["status"]) == (200, ["status", "message", "data"], 200)
    assert list(told["data"]) == ["recommend", "challenges"]
    assert [list(each) for each in told["data"]["challenges"]] == [["title", "description", "category", "label"]] * 3
    return dict(told)


def test_a_post_is_answered_with_the_contracts_keys_and_sentences(one: Running) -> None:
    info, free = answered(one, INFO, PLACE), answered(one, FREE, {"message": ON_TOPIC})
    assert info["message"] == "사용자 기본 정보 키워드 선택을 기반으로 챌린지를 추천합니다."
    assert free["message"] == "사용자 자유 메시지를 기반으로 챌린지를 추천합니다."


def test_a_post_is_a_fold_of_the_stream_that_get_sends(one: Running) -> None:
    streamed = one.get(INFO, **PLACE).events()
    items = [{key: event.data[key] for key in ("title", "description", "category", "label")}
             for event in streamed if event.name == "item"]  # fmt: skip
    assert answered(one, INFO, PLACE)["data"] == {"recommend": streamed[-1].data["recommend"], "challenges": items}


def test_turns_without_a_session_share_nothing(one: Running) -> None:
    answered(one, FREE, {"message": "비건 간식이 궁금해요"})
    answered(one, FREE, {"message": ON_TOPIC})
    assert "비건 간식" not in json.dumps(one.asked[-1].body["messages"], ensure_ascii=False)
    assert "제로웨이스트" in one.asked[-1].body["messages"][-1]["content"]


NAMES = {
    "ZERO_WASTE": ["제로웨이스트", "제로 웨이스트", "ZERO_WASTE", "zero_waste", "zero", "ZERO"],
    "PLOGGING": ["플로깅", "플 로깅", "PLOGGING", "plogging"],
    "CARBON_FOOTPRINT": ["탄소발자국", "탄소 발자국", "CARBON_FOOTPRINT", "carbon"],
    "ENERGY_SAVING": ["에너지 절약", "에너지절약", "ENERGY_SAVING", "energy"],
    "UPCYCLING": ["업사이클", "업사이클링", "UPCYCLING", "UPCYCLE", "secondhand"],
    "MEDIA": ["문화 공유", "문화공유", "MEDIA", "media"],
    "DIGITAL_CARBON": ["디지털 탄소", "디지털탄소", "DIGITAL_CARBON", "digital"],
    "VEGAN": ["비건", "VEGAN", "vegan", " 비건 "],
}
SPELLINGS = [(code, name) for code, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("code", "name"), SPELLINGS)
def test_a_category_is_known_by_label_code_and_alias_in_any_unicode_form(one: Running, code: str, name: str) -> None:
    for form in ("NFC", "NFD"):
        told = answered(one, INFO, PLACE | {"category": unicodedata.normalize(form, name)})
        assert {each["category"] for each in told["data"]["challenges"]} == {code}


@pytest.mark.parametrize(
    "fields",
    [
        PLACE | {"location": "가" * 50, "workType": "나" * 50},
        PLACE | {"location": "달의 뒷면", "workType": "우주비행사"},
        PLACE | {"location": unicodedata.normalize("NFD", "각" * 50)},
        PLACE | {"sessionId": "s" * 128},
        PLACE | {"more": "is ignored"},
    ],
    ids=lambda fields: str(len(fields)),
)
def test_base_info_at_its_limits_is_answered(one: Running, fields: dict[str, str]) -> None:
    answered(one, INFO, fields)


@pytest.mark.parametrize("message", ["환경보호요", "환경 " * 666 + "환경", unicodedata.normalize("NFD", "환경" * 1000)])
def test_free_text_at_its_limits_is_answered(one: Running, message: str) -> None:
    answered(one, FREE, {"message": message})


# -- how query values are decoded -------------------------------------------------------------------------------


def once(text: str) -> str:
    return quote(text, safe="")


def twice(text: str) -> str:
    return quote(once(text), safe="")


def asked(running: Running, raw: str) -> str:
    """What the message became on its way to the engine: its line of the prompt."""
    before = len(running.asked)
    events = running.request("GET", f"{BASE}/{FREE}?message={raw}", STREAM).events()
    assert events[-1].status == 200, events[-1]
    assert len(running.asked) == before + 1
    return str(running.asked[-1].body["messages"][-1]["content"])


MESSAGES = [
    "에너지 절약", "100% 재활용", "환경을 지키자", "플라스틱 50%만 줄이기", "쓰레기를 줄이고 싶어요", "비건 & 채식",
    "탄소=환경", "에너지+절약", "텀블러? 재활용!", "재활용 #1", "환경/지구", "친환경 100 %", "지구를 위해 뭐 할까",
    "디지털 탄소 챌린지", "다른 사람들과 플로깅", "비건 50%25 할인", "🌳 환경을 지키자", "CO₂ 탄소 줄이기",
    "「제로웨이스트」", "재활용: 종이·캔", "분리수거 'A'", '분리수거 "B"', "전기 (대기전력)", "소셜 캠페인;홍보",
    "컴퓨터\\데이터", "조깅 ~ 30분", "café 텀블러 쓰기", "ﬀ 환경보호", "환경 %E2 보호", "환경 %zz 보호",
    "환경은 100%에너지", "zero waste life", "vegan food now",
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_read_alike_encoded_once_or_twice(one: Running, message: str) -> None:
    told = asked(one, once(message))
    assert asked(one, twice(message)) == told
    assert asked(one, quote_plus(message)) == told
    if not message.isascii():
        # Of plain ASCII nobody can tell a plus that was typed from one that was encoded twice.
        assert asked(one, quote_plus(quote_plus(message))) == told
    assert " ".join(unicodedata.normalize("NFC", message).split()) in told


RAW = [
    ("%EC%97%90%EB%84%88%EC%A7%80%20%EC%A0%88%EC%95%BD", "에너지 절약"),
    ("%25EC%2597%2590%25EB%2584%2588%25EC%25A7%2580%2520%25EC%25A0%2588%25EC%2595%25BD", "에너지 절약"),
    ("%25EC%2597%2590%25EB%2584%2588%25EC%25A7%2580%2B%25EC%25A0%2588%25EC%2595%25BD", "에너지 절약"),
    ("%EC%97%90%EB%84%88%EC%A7%80+%EC%A0%88%EC%95%BD", "에너지 절약"),
    ("100%25%20%EC%9E%AC%ED%99%9C%EC%9A%A9", "100% 재활용"),
    ("100%25+%EC%9E%AC%ED%99%9C%EC%9A%A9", "100% 재활용"),
    ("vegan%2520%25zz", "vegan%20%zz"),
    ("vegan+50%2525", "vegan 50%25"),
    ("vegan%2525ff", "vegan%ff"),
    ("%EB%B9%84%EA%B1%B4%2520%EC%8B%9D%EB%8B%A8", "비건%20식단"),
    ("vegan%2Bfood", "vegan+food"),
    ("vegan%25FFfood", "vegan%FFfood"),
    ("vegan%25ED%25A0%2580food", "vegan%ED%A0%80food"),
    ("%FF%EC%97%90%EB%84%88%EC%A7%80%EC%A0%88%EC%95%BD", "에너지절약"),
    ("%EC%97%90%EB%84%88%EC%A7%80%EC%A0%88%EC%95%BD%EC%97", "에너지절약"),
    ("%ED%A0%80%EC%97%90%EB%84%88%EC%A7%80%EC%A0%88%EC%95%BD", "에너지절약"),
    ("%00%07%EC%97%90%EB%84%88%EC%A7%80%EC%A0%88%EC%95%BD%1B", "에너지절약"),
    ("vegan%25", "vegan%"),
    ("vegan%", "vegan%"),
    ("vegan%2", "vegan%2"),
]


@pytest.mark.parametrize(("raw", "message"), RAW)
def test_a_value_is_decoded_a_second_time_only_where_it_was_encoded_twice(one: Running, raw: str, message: str) -> None:
    assert f"요청: {message}" in asked(one, raw).splitlines()


@pytest.mark.parametrize("code", [once, twice, quote_plus, lambda text: quote_plus(quote_plus(text))])
@pytest.mark.parametrize("label", ["제로웨이스트", "에너지 절약", "문화 공유", "디지털 탄소", "탄소 발자국"])
def test_base_info_is_read_alike_in_every_encoding(one: Running, code: Any, label: str) -> None:
    for form in ("NFC", "NFD"):
        values = PLACE | {"category": unicodedata.normalize(form, label), "sessionId": "세션 ㄱ"}
        query = "&".join(f"{name}={code(value)}" for name, value in values.items())
        events = one.request("GET", f"{BASE}/{INFO}?{query}", STREAM).events()
        assert events[-1].status == 200
        assert events[0].data["sessionId"] == "세션 ㄱ"
        assert {event.data["label"] for event in events if event.name == "item"} == {label.replace("탄소 발", "탄소발")}


def test_control_characters_and_lone_surrogates_are_dropped_but_newlines_stay(one: Running) -> None:
    session = "a\u0000b\ud800c\u0085d\u200be\nf"
    told = one.post(FREE, message="환경\ud800을 \u0000지키자", sessionId=session)
    assert told.status == 200
    assert "환경을 지키자" in one.asked[-1].body["messages"][-1]["content"]
    turn = one.request("GET", f"{BASE}/{FREE}?message={once(ON_TOPIC)}&sessionId=a%00b%0Ac%7Fd", STREAM).until("turn")
    assert turn[-1].data["sessionId"] == "ab\ncd"


def test_a_java_client_that_offers_http_2_is_answered(one: Running) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAB"}
    call = one.post(FREE, offer, message=ON_TOPIC)
    assert call.json()["status"] == 200
    call.socket.sendall(b"GET /health/live HTTP/1.1\r\nhost: gateway\r\n\r\n")
    assert call.socket.recv(15) == b"HTTP/1.1 200 OK"
    assert one.get(FREE, offer, message=ON_TOPIC).events()[-1].status == 200


# -- anything at all ----------------------------------------------------------------------------------------------

ANSWERS = {200, 400, 410, 413, 422}
usual = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
raw_values = st.one_of(
    st.text(max_size=60).map(lambda text: quote(text, safe="", errors="surrogatepass")),
    st.binary(max_size=40).map(lambda data: "".join(f"%{byte:02x}" for byte in data)),
    st.text(alphabet="%0123456789aAfF+&=;/?:@ㄱ가", max_size=40).map(lambda text: quote(text, safe="%+&=;/?:@")),
)
names = st.sampled_from(["message", "location", "workType", "category", "sessionId", "turnId", "x", ""])
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60)
flat = plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=5), plain, max_size=3)
values = flat | st.lists(flat, max_size=3) | st.dictionaries(st.text(max_size=5), flat, max_size=3)


@usual
@given(st.sampled_from([FREE, INFO]), st.lists(st.tuples(names, raw_values), max_size=5), st.booleans())
@example(FREE, [("message", "%")], True)
def test_any_query_gets_one_of_the_contracts_answers(
    one: Running, kind: str, pairs: list[tuple[str, str]], streaming: bool
) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    call = one.request("GET", f"{BASE}/{kind}?{query}", STREAM if streaming else {})
    if streaming or call.status == 200:
        events = call.events()
        assert call.status == 200
        assert [event.name for event in events].count("close") == 1
        assert events[-1].status in ANSWERS
    else:
        told = call.json()
        assert list(told) == ["status", "message", "data"]
        assert told["status"] == call.status in ANSWERS
    call.close()


@usual
@given(st.sampled_from([FREE, INFO]), st.dictionaries(names, values, max_size=5))
def test_any_body_gets_one_of_the_contracts_answers(one: Running, kind: str, fields: dict[str, Any]) -> None:
    call = one.post(kind, **fields)
    told = call.json()
    assert list(told) == ["status", "message", "data"]
    assert told["status"] == call.status in ANSWERS
    call.close()


@pytest.mark.parametrize(
    "start", [b"GET /\xec\xb1\x8c HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"HELLO\r\n\r\n"]
)
def test_bytes_that_are_no_http_get_the_contracts_form(gateway: Running, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT) as raw:
        raw.settimeout(TIMEOUT)
        raw.sendall(start)
        head, _, body = b"".join(iter(lambda: raw.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"status": 400, "message": "올바른 HTTP 요청이 아닙니다.", "data": None}
