"""The scripted double, asked over raw sockets: what it is told to send is what arrives."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mulgil.engines.scripted import Answer, Fault, Script, ScriptedEngine, ScriptedServer, load_script, start_scripted
from mulgil.errors import SetupError

HANGUL_SENTENCE = r"^[가-힣0-9 ,]{4,30}[.!?]$"


class Raw:
    """A client that sends a request and keeps every read apart."""

    def __init__(self, server: ScriptedServer) -> None:
        self._address = server.base_url.removeprefix("http://").split(":")

    async def open(self, path: str, body: object = None, key: str = "") -> "Raw":
        self.reader, self.writer = await asyncio.open_connection(self._address[0], int(self._address[1]))
        data = b"" if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(data)}"
        self.writer.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + data)
        return self

    async def reads(self) -> list[bytes]:
        found = []
        async with asyncio.timeout(5):
            while data := await self.reader.read(65536):
                found.append(data)
        self.writer.close()
        return found

    async def until(self, text: bytes) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readuntil(text)


@pytest.fixture
async def play() -> AsyncIterator[Callable[[Script], Any]]:
    servers: list[ScriptedServer] = []

    async def start(script: Script) -> ScriptedServer:
        servers.append(await start_scripted(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(message: str = "hello", **more: object) -> dict[str, Any]:
    return {"model": "x", "stream": True, "messages": [{"role": "user", "content": message}], **more}


def shaped(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def body_of(response: bytes) -> bytes:
    """The body, its chunks put together; a chunk that was cut off counts as far as it came."""
    head, _, rest = response.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def events_of(body: bytes) -> list[str]:
    return [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]


def text_of(body: bytes) -> str:
    chunks = [json.loads(event) for event in events_of(body) if event != "[DONE]"]
    deltas = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("choices", [])]
    return "".join(deltas)


async def response_to(server: ScriptedServer, body: object, path: str = "/v1/chat/completions", key: str = "") -> bytes:
    return b"".join(await (await Raw(server).open(path, body, key)).reads())


async def test_a_stream_carries_the_pieces_one_event_each_and_ends_in_done(play):
    server = await play(Script(answers=(Answer(pieces=("물길", " 하나", "\n")),)))
    body = body_of(await response_to(server, ask()))
    events = events_of(body)
    assert [json.loads(event)["choices"][0]["delta"].get("content") for event in events[:-1]] == [
        "",
        "물길",
        " 하나",
        "\n",
        None,
    ]
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "stop"
    assert events[-1] == "[DONE]"


async def test_a_whole_answer_has_the_same_text(play):
    server = await play(Script(answers=(Answer(text="한 문장입니다."),)))
    answer = json.loads(body_of(await response_to(server, ask(stream=False))))
    assert answer["choices"][0]["message"]["content"] == "한 문장입니다."
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


async def test_without_an_answer_the_schema_is_filled_with_texts_that_its_patterns_match(play):
    server = await play(Script())
    properties = {
        "recommend": {"type": "string", "pattern": HANGUL_SENTENCE},
        "d1": {"type": "string", "pattern": HANGUL_SENTENCE},
        "kind": {"const": "eco"},
        "size": {"enum": ["big", "small"]},
        "plain": {"type": "string", "maxLength": 5},
    }
    answer = json.loads(text_of(body_of(await response_to(server, ask(response_format=shaped(properties))))))
    assert list(answer) == list(properties)
    assert re.fullmatch(HANGUL_SENTENCE, answer["recommend"])
    assert answer["recommend"] != answer["d1"]
    assert (answer["kind"], answer["size"], answer["plain"]) == ("eco", "big", "A scr")


async def test_fields_fill_the_schema_in_its_order(play):
    server = await play(Script(answers=(Answer(fields={"d1": "둘째", "*": "나머지"}, chunk=3),)))
    names = {name: {"type": "string"} for name in ("recommend", "d1", "d2")}
    body = body_of(await response_to(server, ask(response_format=shaped(names))))
    assert text_of(body) == '{"recommend": "나머지", "d1": "둘째", "d2": "나머지"}'
    assert json.loads(events_of(body)[1])["choices"][0]["delta"]["content"] == '{"r'


async def test_the_last_user_message_chooses_the_answer_and_others_come_in_turn(play):
    answers = (Answer(text="one"), Answer(text="two"), Answer(match="비건", text="vegan"))
    server = await play(Script(answers=answers))
    said = [text_of(body_of(await response_to(server, ask(message)))) for message in ("a", "비건 식단", "b", "c")]
    assert said == ["one", "vegan", "two", "one"]


async def test_usage_comes_as_the_last_chunk_when_the_request_asks_for_it(play):
    server = await play(Script(answers=(Answer(text="abcd"),)))
    events = events_of(body_of(await response_to(server, ask(stream_options={"include_usage": True}))))
    last = json.loads(events[-2])
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 2


async def test_length_is_told_as_the_reason_of_the_end(play):
    server = await play(Script(answers=(Answer(text="ab", finish="length"),)))
    events = events_of(body_of(await response_to(server, ask())))
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "length"


async def test_pauses_and_rate_set_the_time_of_the_pieces(play):
    server = await play(Script(answers=(Answer(pieces=("a", "b", "c"), headers_ms=60, rate=20, pauses={2: 150}),)))
    client = await Raw(server).open("/v1/chat/completions", ask())
    start = time.monotonic()
    moments = []
    for mark in (b"\r\n\r\n", b'"content":"b"', b'"content":"c"'):
        await client.until(mark)
        moments.append(time.monotonic() - start)
    await client.reads()
    assert moments[0] > 0.055
    assert moments[1] - moments[0] > 0.045
    assert moments[2] - moments[1] > 0.14


async def test_a_gate_holds_a_piece_until_it_is_released(play):
    server = await play(Script(answers=(Answer(pieces=("a", "b"), gates={1: "go"}),)))
    client = await Raw(server).open("/v1/chat/completions", ask())
    await client.until(b'"content":"a"')
    assert server.recorder.requests[0].pieces == 1
    await response_to(server, {"gate": "go"}, "/release")
    assert b'"content":"b"' in b"".join(await client.reads())


# -- faults -------------------------------------------------------------------------------------------------------


async def faulty(play: Any, fault: Fault, **more: Any) -> tuple[ScriptedServer, bytes]:
    server = await play(Script(answers=(Answer(pieces=("ab", "cd", "ef"), fault=fault, **more),)))
    return server, await response_to(server, ask())


async def test_a_status_comes_instead_of_the_answer(play):
    _, response = await faulty(play, Fault(kind="status", status=503, retry_after=7))
    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 7\r\n" in response
    assert json.loads(body_of(response))["error"]["code"] == 503


async def test_a_hangup_sends_not_a_byte(play):
    _, response = await faulty(play, Fault(kind="hangup"))
    assert response == b""


async def test_a_close_ends_the_connection_in_the_middle(play):
    server, response = await faulty(play, Fault(kind="close", at=2))
    assert text_of(body_of(response)) == "abcd"
    assert not response.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in response
    assert server.recorder.requests[0].left is None


async def test_a_reset_reaches_the_client_as_an_error(play):
    server = await play(Script(answers=(Answer(pieces=("ab", "cd"), fault=Fault(kind="reset", at=1)),)))
    client = await Raw(server).open("/v1/chat/completions", ask())
    with pytest.raises(ConnectionResetError):
        await client.reads()


async def test_a_stall_sends_nothing_more_and_the_record_tells_when_the_client_left(play):
    server = await play(Script(answers=(Answer(pieces=("ab", "cd"), fault=Fault(kind="stall", at=1)),)))
    client = await Raw(server).open("/v1/chat/completions", ask())
    await client.until(b'"content":"ab"}')
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.until(b"cd")
    client.writer.close()
    assert await asyncio.to_thread(server.recorder.wait, lambda requests: requests[0].left)
    assert (server.recorder.requests[0].ended, server.recorder.open) == (None, 0)


async def test_garbage_comes_between_whole_events(play):
    _, response = await faulty(play, Fault(kind="garbage", at=1))
    body = body_of(response)
    assert b"\xff\xfe" in body
    with pytest.raises(UnicodeDecodeError):
        body.decode()
    assert b'"content":"cd"' in body


async def test_broken_json_is_an_event_that_no_parser_takes(play):
    _, response = await faulty(play, Fault(kind="broken_json", at=1))
    broken = events_of(body_of(response))[2]
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)


async def test_an_error_object_ends_the_stream(play):
    _, response = await faulty(play, Fault(kind="error", at=1))
    events = events_of(body_of(response))
    assert json.loads(events[2])["error"]["message"] == "scripted fault"
    assert events[3:] == ["[DONE]"]


async def test_done_can_be_missing_in_a_body_that_ends_well(play):
    _, response = await faulty(play, Fault(kind="no_done"))
    assert response.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in response
    assert text_of(body_of(response)) == "abcdef"


@pytest.mark.parametrize(
    ("kind", "end"),
    [("close", b'"completion'), ("broken_json", b'"total_tok'), ("garbage", b"not an event"), ("hangup", b"")],
)
async def test_faults_reach_a_whole_answer_too(play, kind, end):
    server = await play(Script(answers=(Answer(text="abcd", fault=Fault(kind=kind)),)))
    response = await response_to(server, ask(stream=False))
    assert end in response
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        json.loads(body_of(response))


# -- how bytes arrive ---------------------------------------------------------------------------------------------


async def test_several_deltas_can_come_in_one_write(play):
    server = await play(Script(answers=(Answer(pieces=("a", "b", "c", "d"), gap_ms=30, deltas_per_write=2),)))
    reads = await (await Raw(server).open("/v1/chat/completions", ask())).reads()
    together = [read for read in reads if b'"content":"c"' in read]
    assert len(together) == 1
    assert b'"content":"d"' in together[0]
    assert b'"content":"b"' not in together[0]


async def test_one_event_can_be_split_inside_a_character(play):
    server = await play(Script(answers=(Answer(pieces=("가나",), split_bytes=1),)))
    reads = await (await Raw(server).open("/v1/chat/completions", ask())).reads()
    assert text_of(body_of(b"".join(reads))) == "가나"
    character = "가".encode()
    assert not any(character in read for read in reads)


async def test_lines_can_end_in_crlf_with_comments_in_between(play):
    server = await play(Script(answers=(Answer(pieces=("a", "b"), crlf=True, comments=True),)))
    body = body_of(await response_to(server, ask()))
    assert body.count(b": scripted\r\n\r\n") >= 2
    assert b"\n" not in body.replace(b"\r\n", b"")
    assert text_of(body) == "ab"


async def test_escaped_json_lets_a_lone_surrogate_through(play):
    server = await play(Script(answers=(Answer(pieces=("\ud800",), ascii=True),)))
    assert rb'"content":"\ud800"' in body_of(await response_to(server, ask()))


# -- the record and the other endpoints ---------------------------------------------------------------------------


async def test_every_request_is_recorded_with_its_body_and_end(play):
    server = await play(Script(answers=(Answer(pieces=("a", "b")),)))
    await response_to(server, ask("first"), key="secret")
    seen = json.loads(body_of(await response_to(server, None, "/recorded")))
    (request,) = seen["requests"]
    assert request["body"]["messages"][0]["content"] == "first"
    assert request["headers"]["authorization"] == "Bearer secret"
    assert (request["pieces"], request["left"], seen["open"], seen["peak"]) == (2, None, 0, 1)
    assert request["opened"] <= request["ended"]


async def test_a_connection_serves_many_requests(play):
    server = await play(Script(answers=(Answer(text="ab"),)))
    host, port = server.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(ask()).encode()
    for _ in range(3):
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
        async with asyncio.timeout(5):
            assert b"[DONE]" in await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    assert len(server.recorder.requests) == 3


async def test_the_server_tells_its_slots_context_model_and_tokens(play):
    server = await play(Script(model="double", slots=2, context=512))
    props = json.loads(body_of(await response_to(server, None, "/props")))
    models = json.loads(body_of(await response_to(server, None, "/v1/models")))
    tokens = json.loads(body_of(await response_to(server, {"content": "abcde"}, "/tokenize")))
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (2, 512)
    assert (models["data"][0]["id"], models["data"][0]["max_model_len"]) == ("double", 512)
    assert tokens["tokens"] == [0, 1, 2]


async def test_like_vllm_it_can_have_no_props(play):
    server = await play(Script(props=False))
    assert (await response_to(server, None, "/props")).startswith(b"HTTP/1.1 404")


async def test_a_key_is_asked_for_where_the_script_has_one(play):
    server = await play(Script(key="secret"))
    assert (await response_to(server, ask())).startswith(b"HTTP/1.1 401")
    assert (await response_to(server, ask(), key="secret")).startswith(b"HTTP/1.1 200")
    assert (await response_to(server, None, "/health")).startswith(b"HTTP/1.1 200")


async def test_health_is_what_the_script_says(play):
    server = await play(Script(health=503))
    assert (await response_to(server, None, "/health")).startswith(b"HTTP/1.1 503")


async def test_a_script_is_replaced_while_it_runs(play):
    server = await play(Script())
    await response_to(server, {"answers": [{"text": "new"}]}, "/script")
    assert text_of(body_of(await response_to(server, ask()))) == "new"
    assert (await response_to(server, {"answer": []}, "/script")).startswith(b"HTTP/1.1 422")


@pytest.mark.parametrize("body", [{}, [], {"messages": 1}, ask(response_format=shaped({"a": {"pattern": "["}}))])
async def test_a_request_that_makes_no_sense_is_a_bad_request(play, body):
    server = await play(Script())
    assert (await response_to(server, body)).startswith(b"HTTP/1.1 400")


async def test_in_a_thread_it_serves_and_takes_another_script():
    with ScriptedEngine(Script(answers=(Answer(text="one"),))) as engine:
        engine.play(Script(answers=(Answer(pieces=("two",), gates={0: "go"}),)))
        client = await Raw(engine.server).open("/v1/chat/completions", ask())
        assert await asyncio.to_thread(engine.recorder.wait, len)
        engine.release("go")
        assert text_of(body_of(b"".join(await client.reads()))) == "two"


def test_on_uvloop_it_plays_the_same():
    async def exchange() -> tuple[bytes, str]:
        answers = (Answer(text="ab"), Answer(pieces=("ab", "cd"), fault=Fault(kind="reset", at=1)))
        server = await start_scripted(Script(answers=answers))
        whole = await response_to(server, ask())
        client = await Raw(server).open("/v1/chat/completions", ask())
        try:
            await client.reads()
            end = "whole"
        except ConnectionResetError:
            end = "reset"
        server.close()
        return whole, end

    whole, end = uvloop.run(exchange())
    assert (text_of(body_of(whole)), end) == ("ab", "reset")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", '[[answers]]\ntext = "a"\nrate = 50\npauses = { 3 = 200 }\nfault = { kind = "close", at = 2 }\n'),
        (
            "s.json",
            '{"answers": [{"text": "a", "rate": 50, "pauses": {"3": 200}, "fault": {"kind": "close", "at": 2}}]}',
        ),
    ],
)
def test_a_script_is_read_from_toml_or_json(tmp_path: Path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    expected = Answer(text="a", rate=50, pauses={3: 200}, fault=Fault(kind="close", at=2))
    assert load_script(path).answers == (expected,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [('{"answers": [{"txt": "a"}]}', r"wrong at answers\.0\.txt: Extra inputs"), ("{", "is no valid json")],
)
def test_a_wrong_script_stops_the_start_with_a_sentence(tmp_path: Path, text, sentence):
    path = tmp_path / "s.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SetupError, match=sentence):
        load_script(path)
    with pytest.raises(SetupError, match="can't be read"):
        load_script(tmp_path / "none.json")
