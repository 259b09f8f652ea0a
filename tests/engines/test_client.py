"""The relay's client against the scripted engine on a real socket: what it sends, and every way in which it fails."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing, suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.engines.base import Generation, Message
from mulgil.engines.client import Client, Limits
from mulgil.engines.frames import Frames
from mulgil.engines.scripted import Answer, Fault, Record, Script, ScriptedServer, start_scripted
from mulgil.errors import UpstreamFailed, UpstreamTimeout

LIMIT = 5.0
TEXT = '물길은 흐른다 👨‍👩‍👧 2.5kg \\ "끝"\n'
PIECES = ("물", "길은 ", "흐른다 👨‍👩", "‍👧 2.5kg", ' \\ "', '끝"\n')
ASK = Generation([Message("system", "너는"), Message("user", "안녕")], {"type": "string"}, 77)

Meet = Callable[..., Awaitable[tuple[Client, ScriptedServer]]]


@pytest.fixture
async def meet() -> AsyncIterator[Meet]:
    """Start an engine that plays this script, and a client of it; all is closed, and nothing left to the collector."""
    met: list[tuple[Client, ScriptedServer]] = []

    async def start(*answers: Answer, limits: Limits | None = None, **script: Any) -> tuple[Client, ScriptedServer]:
        server = await start_scripted(Script(answers=answers, **script))
        client = Client(f"{server.base_url}/v1", "scripted", limits=limits or Limits(LIMIT, LIMIT, LIMIT))
        met.append((client, server))
        return met[-1]

    yield start
    for client, server in met:
        await client.close()
        server.close()
    met.clear()
    await asyncio.sleep(0)
    gc.collect()  # an unclosed session or connection warns here, and a warning is an error


async def told(client: Client, generation: Generation = ASK) -> list[str]:
    async with asyncio.timeout(2 * LIMIT), aclosing(client.stream(generation)) as stream:
        return [text async for text in stream]


async def fails(client: Client) -> tuple[list[str], UpstreamFailed]:
    """What was told before the error, and the error."""
    texts: list[str] = []
    try:
        async with asyncio.timeout(2 * LIMIT), aclosing(client.stream(ASK)) as stream:
            async for text in stream:
                texts.append(text)  # noqa: PERF401 - what came before the error must be kept
    except UpstreamFailed as error:
        return texts, error
    raise AssertionError("no error")


async def ended(server: ScriptedServer, count: int = 1) -> Record:
    """The engine's last record, once so many requests have ended or were left; its waiting must not block the loop."""

    def over(requests: Any) -> bool:
        return sum(bool(each.ended or each.left) for each in requests) >= count

    assert await asyncio.to_thread(server.recorder.wait, over, LIMIT)
    return server.recorder.requests[-1]


# -- what goes out, and what comes back ---------------------------------------------------------------------------


async def test_a_stream_gives_the_engines_pieces_as_they_are(meet):
    client, _ = await meet(Answer(pieces=PIECES))
    assert await told(client) == list(PIECES)


async def test_the_request_says_all_that_the_generation_does(meet):
    client, server = await meet(Answer(pieces=("네",)))
    client.key, client.extra = "secret", {"temperature": 0.3}
    await told(client)
    record = await ended(server)
    assert record.headers["authorization"] == "Bearer secret"
    assert record.headers["accept-encoding"] == "identity"
    assert record.body == {
        "model": "scripted",
        "messages": [{"role": "system", "content": "너는"}, {"role": "user", "content": "안녕"}],
        "max_tokens": 77,
        "stream": True,
        "temperature": 0.3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "string"}},
        },
    }


async def test_without_a_schema_no_format_is_asked_for(meet):
    client, server = await meet(Answer(pieces=("네",)))
    await told(client, Generation(ASK.messages, None, 5))
    assert "response_format" not in (await ended(server)).body


@pytest.mark.parametrize(
    "form",
    [
        {"crlf": True},
        {"comments": True},
        {"crlf": True, "comments": True, "usage": True},
        {"ascii": True},
        {"deltas_per_write": 3},
        {"deltas_per_write": 100},
        {"fault": Fault(kind="no_done")},
        {"finish": None},
        {"finish": "length"},
    ],
)
async def test_every_form_of_the_stream_gives_the_same_text(meet, form):
    client, _ = await meet(Answer(pieces=PIECES, **form))
    assert "".join(await told(client)) == TEXT


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_events_split_at_any_byte_give_the_same_text(meet, size):
    client, _ = await meet(Answer(pieces=("길 👍", " 끝"), split_bytes=size))
    assert await told(client) == ["길 👍", " 끝"]


async def test_lone_surrogates_and_cut_pairs_are_no_reason_to_fail(meet):
    client, _ = await meet(Answer(pieces=("가\ud83d", "\ude00나", "\ud83d", "다", "\ude00"), ascii=True))
    texts = await told(client)
    assert "".join(texts).replace("\ud83d", "").replace("\ude00", "") == "가😀나다"


async def test_a_first_piece_arrives_while_the_engine_still_writes(meet):
    client, server = await meet(Answer(pieces=("하나", "둘"), gates={1: "go"}))
    async with asyncio.timeout(LIMIT), aclosing(client.stream(ASK)) as stream:
        assert await anext(stream) == "하나"
        server.release("go")
        assert await anext(stream) == "둘"


async def test_a_whole_answer_leaves_its_connection_for_the_next(meet):
    client, server = await meet(Answer(pieces=PIECES))
    for _ in range(3):
        await told(client)
    assert len(server.connections) == 1


# -- the abort ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [1, 2])
async def test_closing_the_stream_closes_the_engines_connection_at_once(meet, taken):
    client, server = await meet(Answer(pieces=("하나", "둘", "셋"), gates={2: "never"}))
    stream = client.stream(ASK)
    async with asyncio.timeout(LIMIT):
        for _ in range(taken):
            await anext(stream)
        await stream.aclose()
    assert (await ended(server)).left


@pytest.mark.parametrize("when", [{"headers_ms": 60_000}, {"first_ms": 60_000}, {"gates": {1: "never"}}])
async def test_cancelling_the_task_closes_the_engines_connection_at_once(meet, when):
    client, server = await meet(Answer(pieces=("하나", "둘"), **when))
    task = asyncio.create_task(told(client))
    assert await asyncio.to_thread(server.recorder.wait, len, LIMIT)
    task.cancel()
    await asyncio.wait({task}, timeout=LIMIT)
    assert task.cancelled()
    assert (await ended(server)).left


async def test_after_an_abort_the_client_goes_on(meet):
    client, server = await meet(Answer(pieces=("하나", "둘"), gates={1: "never"}), Answer(pieces=("셋",)))
    async with aclosing(client.stream(ASK)) as stream:
        await anext(stream)
    await ended(server)
    assert await told(client) == ["셋"]


# -- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422, 429, 500, 503])
async def test_an_http_status_is_a_failure(meet, status):
    client, _ = await meet(Answer(fault=Fault(kind="status", status=status)))
    texts, error = await fails(client)
    assert not texts
    assert type(error) is UpstreamFailed
    assert str(status) in str(error)


@pytest.mark.parametrize("kind", ["garbage", "broken_json", "error", "close", "reset"])
@pytest.mark.parametrize("at", [0, 2, 6])
async def test_a_fault_in_the_stream_is_a_failure_after_what_was_right(meet, kind, at):
    client, _ = await meet(Answer(pieces=PIECES, fault=Fault(kind=kind, at=at)))
    texts, error = await fails(client)
    assert texts == list(PIECES[:at])
    assert type(error) is UpstreamFailed


async def test_a_hangup_before_the_answer_is_a_failure(meet):
    client, _ = await meet(Answer(fault=Fault(kind="hangup")))
    assert type((await fails(client))[1]) is UpstreamFailed


async def test_a_stream_with_neither_finish_nor_done_is_a_failure(meet):
    client, _ = await meet(Answer(pieces=PIECES, finish=None, fault=Fault(kind="no_done")))
    texts, error = await fails(client)
    assert "".join(texts) == TEXT
    assert type(error) is UpstreamFailed


async def test_a_refused_connection_is_a_failure():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}/v1", "scripted")
    assert type((await fails(client))[1]) is UpstreamFailed
    with pytest.raises(UpstreamFailed):
        await client.check()
    await client.close()


async def test_a_connection_that_nobody_accepts_ends_in_time():
    # One place in the backlog, taken: the kernel then leaves further connections unanswered.
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full, closing(socket.socket()) as first:
        first.setblocking(False)
        first.connect_ex(full.getsockname())
        client = Client(f"http://127.0.0.1:{full.getsockname()[1]}/v1", "x", limits=Limits(0.05, 0.05, LIMIT))
        assert type((await fails(client))[1]) is UpstreamTimeout
        await client.close()


@pytest.mark.parametrize("when", [{"headers_ms": 60_000}, {"first_ms": 60_000}, {"fault": Fault(kind="stall")}])
async def test_an_engine_that_never_begins_ends_in_time(meet, when):
    client, server = await meet(Answer(pieces=PIECES, **when), limits=Limits(0.02, 0.05, LIMIT))
    texts, error = await fails(client)
    assert not texts
    assert type(error) is UpstreamTimeout
    assert not error.retryable
    assert (await ended(server)).ended or server.recorder.requests[-1].left


async def test_an_engine_that_falls_silent_ends_in_time(meet):
    client, server = await meet(Answer(pieces=PIECES, gates={3: "never"}), limits=Limits(LIMIT, LIMIT, 0.05))
    texts, error = await fails(client)
    assert texts == list(PIECES[:3])
    assert type(error) is UpstreamTimeout
    assert (await ended(server)).left


async def test_the_first_text_has_its_own_limit_longer_than_a_silence(meet):
    limits = Limits(LIMIT, LIMIT, 0.05)
    client, _ = await meet(Answer(pieces=("늦은", "말"), first_ms=150), limits=limits)
    assert await told(client) == ["늦은", "말"]


async def test_as_long_as_texts_come_no_limit_ends_the_stream(meet):
    client, _ = await meet(Answer(pieces=("글",) * 10, gap_ms=30), limits=Limits(0.1, 0.1, 0.2))
    assert len(await told(client)) == 10


@pytest.fixture
async def answered() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """A client of a server that answers everything with these bytes, and then says no more."""
    clients: list[Client] = []
    servers: list[asyncio.Server] = []
    handlers: list[asyncio.Task[None]] = []

    async def start(response: bytes, limits: Limits | None = None) -> Client:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handlers.append(asyncio.current_task())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            await reader.read()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/v1"
        clients.append(Client(url, "x", limits=limits or Limits(LIMIT, LIMIT, LIMIT)))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*handlers)
    for server in servers:
        server.close()


OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}\n\n\n",
        b"not http at all\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        OK + b"content-length: 30\r\n\r\ndata: [] or anything else\n\n   ",
        OK + b'content-length: 17\r\n\r\ndata: {"a": "b"}\n',
        OK + b'content-length: 20\r\n\r\ndata: {"choices":1}\n',
        OK + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /v1/chat/completions\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_event_stream_is_a_failure(answered, response):
    assert type((await fails(await answered(response)))[1]) is UpstreamFailed


async def test_comments_alone_keep_no_stream_alive(answered):
    client = await answered(OK + b"\r\n" + b": processing\n\n" * 5, Limits(0.02, 0.05, LIMIT))
    assert type((await fails(client))[1]) is UpstreamTimeout


async def test_a_role_without_a_text_is_no_first_token(answered):
    client = await answered(OK + b"\r\n" + event(delta={"role": "assistant", "content": ""}), Limits(0.02, 0.05, 60))
    assert type((await fails(client))[1]) is UpstreamTimeout


async def test_done_ends_the_stream_even_if_the_engine_does_not_end_its_response(answered):
    client = await answered(OK + b"\r\n" + event("가") + b"data: [DONE]\n\n", Limits(LIMIT, LIMIT, 60))
    assert await told(client) == ["가"]


async def test_an_error_status_whose_body_never_comes_ends_in_time(answered):
    client = await answered(b"HTTP/1.1 500 Oops\r\ncontent-length: 100\r\n\r\n", Limits(0.05, LIMIT, LIMIT))
    assert type((await fails(client))[1]) is UpstreamTimeout


def every(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from every(sub)


@pytest.mark.parametrize("error", sorted(set(every(aiohttp.ClientError)), key=lambda each: each.__name__))
def test_every_error_of_the_http_client_has_a_place_in_the_tree(error):
    from mulgil.engines.client import _mapped  # noqa: PLC0415

    raised = error.__new__(error)
    with pytest.raises(UpstreamFailed) as caught, _mapped():
        raise raised
    assert isinstance(caught.value, UpstreamTimeout) == issubclass(error, TimeoutError)


# -- counting, and what the engine tells of itself ----------------------------------------------------------------


async def test_tokens_are_counted_by_the_engine(meet):
    client, _ = await meet()
    assert await client.count(["물길은 흐른다", "", "가"]) == [4, 0, 1]


async def test_a_text_is_counted_once(meet):
    client, server = await meet()
    assert await client.count(["가나다"]) == [2]
    server.close()
    assert await client.count(["가나다"]) == [2]


async def test_an_engine_that_can_not_count_gets_an_estimate_that_is_too_high_rather_than_too_low(meet):
    client, _ = await meet(key="other")  # every request is refused
    counts = await client.count(["", "가" * 100, "1" * 100, "👨‍👩‍👧" * 10, "abc"])
    assert counts == [0, 150, 100, 150, 3]
    assert not client._counts_exactly


async def test_an_engine_that_could_not_be_reached_is_asked_again(meet):
    client, server = await meet()
    url, client.base_url = client.base_url, "http://127.0.0.1:1/v1"
    assert await client.count(["가나다라"]) == [6]
    client.base_url = url
    assert await client.count(["가나다라"]) == [2]
    assert server.script.slots == 4


async def test_the_engine_tells_its_model_its_context_and_its_slots(meet):
    client, _ = await meet(model="물길-7b", context=8192, slots=3)
    client.model = ""
    await client.discover()
    assert (client.model, client.context, client.slots) == ("물길-7b", 8192, 3)


async def test_an_engine_without_props_keeps_the_slots_that_were_set(meet):
    client, _ = await meet(context=2048, slots=3, props=False)
    client.slots = 9
    await client.discover()
    assert (client.context, client.slots) == (2048, 9)


async def test_a_model_that_the_engine_does_not_serve_is_a_failure(meet):
    client, _ = await meet(model="other")
    with pytest.raises(UpstreamFailed):
        await client.discover()


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"data":[1]}', b'{"data":{}}', b'{"data":[]}', b"\xff", b"null"])
async def test_models_of_another_shape_are_a_failure(answered, body):
    client = await answered(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    client.model = ""
    with pytest.raises(UpstreamFailed):
        await client.check()


async def test_a_check_fails_when_the_engine_is_gone(meet):
    client, server = await meet()
    await client.check()
    server.close()
    with pytest.raises(UpstreamFailed):
        await client.check()


# -- frames -------------------------------------------------------------------------------------------------------


def event(content: str | None = None, *, ascii_: bool = False, **more: object) -> bytes:
    delta = {} if content is None else {"content": content}
    data = {"choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}
    return b"data: " + json.dumps(data, ensure_ascii=ascii_).encode() + b"\n\n"


@given(
    st.lists(st.text(max_size=12), max_size=8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_how_the_bytes_are_cut_never_changes_the_texts(texts, ascii_, crlf, comments, data):
    stream = b"".join((b": hi\n\n" if comments else b"") + event(text, ascii_=ascii_) for text in texts)
    stream += event(finish_reason="stop") + b"data: [DONE]\n\n"
    stream = stream.replace(b"\n", b"\r\n") if crlf else stream
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    frames = Frames()
    told = [text for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) for text in frames.feed(stream[a:b])]
    assert [text for text in told if text] == [text for text in texts if text]
    assert frames.done
    assert frames.finished


def test_nothing_after_done_counts():
    frames = Frames()
    assert list(frames.feed(event("가") + b"data: [DONE]\n\n" + event("나"))) == ["가"]


def test_chunks_without_text_give_none():
    frames = Frames()
    empty = [event(None), event(""), event(None, delta=None), b'data: {"choices": []}\n\n', b"event: x\nid: 1\n\n"]
    assert set(frames.feed(b"".join(empty))) == {""}
    assert not frames.finished


@pytest.mark.parametrize("line", [b"data: {", b"data: 1", b'data: "a"', b"data: {}", b'data: {"choices": 3}', b"hello"])
def test_a_line_of_another_kind_is_a_failure(line):
    with pytest.raises(UpstreamFailed):
        list(Frames().feed(line + b"\n"))


def test_a_line_without_an_end_is_a_failure_before_it_fills_the_memory():
    frames = Frames()
    with pytest.raises(UpstreamFailed):
        all(not list(frames.feed(b"x" * 65_536)) for _ in range(64))
