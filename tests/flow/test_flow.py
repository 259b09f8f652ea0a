"""The real graph over the bundled domain, a few entries in memory, and an engine on a real socket."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from mulgil.domain import prompt
from mulgil.domain.display import rendered
from mulgil.domain.model import Profile, Value
from mulgil.engines.client import Client, Limits
from mulgil.engines.scripted import Answer as Play
from mulgil.engines.scripted import Fault, Record, Script, ScriptedServer, start_scripted
from mulgil.engines.slots import Slots
from mulgil.errors import MulgilError, OffTopic, UpstreamFailed, UpstreamTimeout
from mulgil.events import Event, Item, Piece, Queued, Sources
from mulgil.flow import steps as module
from mulgil.flow.graph import Flow, Outcome, build_flow
from mulgil.flow.question import Question
from mulgil.flow.steps import Steps
from mulgil.retrieval.base import Entry
from mulgil.sessions.base import Exchange, Session

LIMIT = 10.0
ENTRIES = [
    Entry("zero-1", "텀블러 쓰기", "커피를 살 때 텀블러를 내밀어요.", "ZERO_WASTE"),
    Entry("zero-2", "2.5kg 줄이기", "쓰레기를 30일 동안 재어 봐요.", "ZERO_WASTE"),
    Entry("zero-3", "LED로 바꾸기", "어두운 전구를 LED로 바꿔요.", "ZERO_WASTE"),
    Entry("zero-4", "손수건 챙기기", "휴지 대신 손수건을 써요.", "ZERO_WASTE"),
]
FIELDS = {
    "recommend": "'플라스틱' 이야기에 어울리는 제로웨이스트 챌린지 세 가지를 추천해요.",
    "t1": "텀블러 들고 나가기",
    "d1": "커피는 내 텀블러에 받아 마셔요.",
    "t2": "장바구니 챙기기",
    "d2": "장을 볼 때 비닐 봉투를 받지 않아요.",
    "t3": "손수건 쓰기",
    "d3": "휴지 대신 손수건으로 손을 닦아요.",
}
WRITTEN = {
    "model": ["recommend", "d1", "d2", "d3"],
    "entry": ["recommend"],
    "generate": ["recommend", "t1", "d1", "t2", "d2", "t3", "d3"],
}
MODES = pytest.mark.parametrize("mode", prompt.MODES)
ON_TOPIC = Question("free-text", message="플라스틱을 줄이고 싶어요")
BASE_INFO = Question("base-info", values={"location": "바닷가", "workType": "사무직", "category": "제로웨이스트"})
STAYS = Session(profile=Profile(category="ZERO_WASTE", base_category="ZERO_WASTE"))


class InMemory(BaseRetriever):
    """Finds the same few entries for everybody, those not seen first; a failure is raised instead."""

    _calls: list[dict[str, Any]] = PrivateAttr(default_factory=list)
    _failure: Exception | None = PrivateAttr(None)
    _entries: Sequence[Entry] = PrivateAttr(ENTRIES)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **asked: Any
    ) -> list[Document]:
        raise NotImplementedError

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain passes it
        **asked: Any,
    ) -> list[Document]:
        self._calls.append({"query": query, **asked})
        if self._failure is not None:
            raise self._failure
        fresh = sorted(self._entries, key=lambda entry: entry.id in asked["seen"])[: asked["k"]]
        return [Document("", metadata={"entry": entry, "score": 0.9}) for entry in fresh]


@dataclass
class World:
    """A flow with everything that it works with, and the events of its last question."""

    flow: Flow
    retriever: InMemory
    client: Client
    server: ScriptedServer
    slots: Slots
    events: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def tells(self, kind: type[Event]) -> None:
        """Return when an event of this kind has come."""
        async with asyncio.timeout(LIMIT):
            while not any(isinstance(event, kind) for event in self.events):
                self._news.clear()
                await self._news.wait()

    async def ask(self, question: Question = ON_TOPIC, session: Session = STAYS) -> Outcome:
        self.events.clear()
        async with asyncio.timeout(LIMIT):
            return await self.flow(question, session, self._emit)

    async def fails(self, question: Question = ON_TOPIC) -> MulgilError:
        with pytest.raises(MulgilError) as raised:
            await self.ask(question)
        return raised.value

    @property
    def asked(self) -> list[Record]:
        return list(self.server.recorder.requests)

    def schema(self, index: int) -> dict[str, Any]:
        return self.asked[index].body["response_format"]["json_schema"]["schema"]

    def messages(self, index: int) -> list[dict[str, str]]:
        return self.asked[index].body["messages"]

    @property
    def shown(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Piece))

    @property
    def items(self) -> list[Item]:
        return [event for event in self.events if isinstance(event, Item)]

    async def until(self, condition: Callable[[Any], object]) -> None:
        """Return when the engine's record shows it; the wait must not block this loop."""
        assert await asyncio.to_thread(self.server.recorder.wait, condition, LIMIT)


Open = Callable[..., Awaitable[World]]


@pytest.fixture
async def opened(domain, morphemes) -> AsyncIterator[Open]:
    worlds: list[World] = []

    async def open_(
        mode: prompt.Mode, *plays: Play, limits: Limits | None = None, count: int = 4, **script: Any
    ) -> World:
        server = await start_scripted(Script(answers=plays, **script))
        client = Client(f"{server.base_url}/v1", "scripted", limits=limits or Limits(LIMIT, LIMIT, LIMIT))
        client.context = server.script.context
        retriever, slots = InMemory(), Slots(count, 8)
        steps = Steps(domain, morphemes, retriever, client, slots, mode, 300)
        worlds.append(World(build_flow(steps), retriever, client, server, slots))
        return worlds[-1]

    yield open_
    for world in worlds:
        await world.client.close()
        world.server.close()
        assert world.slots.running == world.slots.waiting == 0


def written(mode: prompt.Mode, **changes: str) -> str:
    """What the engine writes in this mode."""
    return json.dumps({key: changes.get(key, FIELDS[key]) for key in WRITTEN[mode]}, ensure_ascii=False)


def play(mode: prompt.Mode, **more: Any) -> Play:
    return Play(text=written(mode), **more)


def cut_before(mode: prompt.Mode, text: str, kind: str = "close") -> Play:
    """The answer of this mode, whose engine fails right before this text comes."""
    whole = written(mode)
    at = whole.index(text)
    return Play(pieces=(*whole[:at], whole[at:]), fault=Fault(kind=kind, at=at))


# -- a whole answer -----------------------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("question", [ON_TOPIC, BASE_INFO])
async def test_a_question_is_answered_from_sources_to_the_last_item(opened, mode, question):
    world = await opened(mode, play(mode))
    outcome = await world.ask(question)
    assert isinstance(world.events[0], Sources)
    assert [source.id for source in world.events[0].sources] == ["zero-1", "zero-2", "zero-3"]
    assert world.shown == rendered(outcome.answer)
    assert [item.index for item in world.items] == [1, 2, 3]
    assert tuple(item.challenge for item in world.items) == outcome.answer.challenges
    assert outcome.answer.recommend == FIELDS["recommend"]
    assert len(world.asked) == 1


async def test_each_mode_takes_its_texts_from_where_it_says(opened):
    told = {}
    for mode in prompt.MODES:
        world = await opened(mode, play(mode))
        told[mode] = (await world.ask()).answer.challenges[0]
    entry = ENTRIES[0]
    assert (told["model"].title, told["model"].description) == (entry.title, FIELDS["d1"])
    assert (told["entry"].title, told["entry"].description) == (entry.title, entry.description)
    assert (told["generate"].title, told["generate"].description) == (FIELDS["t1"], FIELDS["d1"])
    assert [told[mode].source_id for mode in prompt.MODES] == ["zero-1", "zero-1", None]
    assert {(each.category, each.label) for each in told.values()} == {("ZERO_WASTE", "제로웨이스트")}


@MODES
async def test_what_the_schema_asks_for_is_always_a_whole_answer(opened, mode):
    world = await opened(mode)  # the engine writes the smallest text that the schema allows
    outcome = await world.ask()
    assert world.schema(0)["required"] == WRITTEN[mode]
    assert world.shown == rendered(outcome.answer)


async def test_pieces_come_while_the_engine_still_writes(opened):
    world = await opened("model", play("model", chunk=4, gates={8: "go"}))
    asking = asyncio.create_task(world.ask())
    await world.tells(Piece)
    assert FIELDS["recommend"].startswith(world.shown)
    world.server.release("go")
    await asking


async def test_retrieval_is_asked_for_the_decided_category_and_this_person(opened):
    world = await opened("model")
    values = {"location": Value("산", chosen=True)}
    session = Session(profile=Profile("VEGAN", "VEGAN", values), given=("zero-1",))
    await world.ask(Question("free-text", message="사무실에서 쓰레기를 줄이고 싶어요"), session)
    assert world.retriever._calls == [
        {
            "query": "사무실에서 쓰레기를 줄이고 싶어요",
            "category": "ZERO_WASTE",
            "values": {"location": "산", "workType": "사무직"},
            "seen": ("zero-1",),
            "k": 3,
        }
    ]


async def test_base_info_is_retrieved_by_its_values(opened):
    world = await opened("model")
    await world.ask(BASE_INFO, Session())
    assert world.retriever._calls[0]["query"] == "제로웨이스트 바닷가 사무직"
    assert world.retriever._calls[0]["values"] == {"location": "바닷가", "workType": "사무직"}


async def test_digits_and_latin_words_are_allowed_only_where_they_are_grounded(opened):
    world = await opened("model")
    await world.ask()
    patterns = {key: field["pattern"] for key, field in world.schema(0)["properties"].items()}
    assert not re.match(patterns["d1"], "커피를 30번 텀블러에 받아요.")
    assert re.match(patterns["d2"], "쓰레기를 30일 동안 재어 봐요.")
    assert re.match(patterns["d3"], "어두운 전구를 LED로 바꿔요.")
    assert not re.match(patterns["d2"], "어두운 전구를 LED로 바꿔요.")
    assert not re.match(patterns["recommend"], "챌린지 3가지를 추천해 드려요.")


@pytest.mark.parametrize("message", ["맛집 추천해줘요", "시발 플라스틱 줄이기", "오늘 날씨 어때요"])
async def test_off_topic_calls_neither_retriever_nor_engine(opened, message):
    world = await opened("model")
    assert type(await world.fails(Question("free-text", message=message))) is OffTopic
    assert world.events == world.retriever._calls == world.asked == []


async def test_who_waits_for_the_engine_is_told_the_position(opened):
    world = await opened("model", play("model", gates={0: "go"}), play("model"), count=1)
    first = asyncio.create_task(world.flow(ON_TOPIC, STAYS, lambda _: None))
    await world.until(len)
    second = asyncio.create_task(world.ask())
    await world.tells(Queued)
    assert [type(event) for event in world.events] == [Sources, Queued]
    assert world.events[1] == Queued(1, None)
    world.server.release("go")
    await asyncio.gather(first, second)


# -- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["close", "reset", "error", "broken_json", "garbage"])
@pytest.mark.parametrize(
    ("mode", "text", "missing", "begun"),
    [
        ("model", '"recommend"', ["recommend", "d1", "d2", "d3"], ""),
        ("model", "어울리는 제로", ["recommend", "d1", "d2", "d3"], "'플라스틱' 이야기에"),
        ("model", ', "d1"', ["d1", "d2", "d3"], ""),
        ("model", "볼 때 비닐", ["d2", "d3"], "장을"),
        ("entry", "어울리는 제로", ["recommend"], "'플라스틱' 이야기에"),
        ("generate", "챙기기", ["t2", "d2", "t3", "d3"], "장바구니"),
        ("generate", "닦아요", ["d3"], "휴지 대신 손수건으로 손을"),
    ],
)
async def test_an_engine_that_dies_is_asked_once_more_and_only_for_the_rest(opened, mode, text, missing, begun, kind):
    world = await opened(mode, cut_before(mode, text, kind), Play())
    outcome = await world.ask()
    assert len(world.asked) == 2
    assert world.schema(0)["required"] == WRITTEN[mode]
    assert world.schema(1)["required"] == missing
    assert world.schema(1)["properties"][missing[0]]["pattern"].startswith("^" if not begun else f"^{begun}") or (
        mode == "entry" and begun in world.schema(1)["properties"][missing[0]]["pattern"]
    )
    assert world.messages(1) == world.messages(0)
    assert world.shown == rendered(outcome.answer)
    assert begun in world.shown
    assert [item.index for item in world.items] == [1, 2, 3]
    kept = json.loads(outcome.session.exchanges[-1].assistant)
    assert list(kept) == WRITTEN[mode]
    assert kept["recommend"] == outcome.answer.recommend


@pytest.mark.parametrize("broken", ["아니요", '{"recommend":7}', "{}", "", '{"recommend":"네요."'])
async def test_no_usable_answer_is_asked_for_once_more_and_then_a_failure(opened, broken):
    world = await opened("model", Play(text=broken))
    assert type(await world.fails()) is UpstreamFailed
    assert len(world.asked) == 2


async def test_an_unusable_answer_may_be_followed_by_a_usable_one(opened):
    world = await opened("generate", Play(text="아니요"), play("generate"))
    outcome = await world.ask()
    assert world.shown == rendered(outcome.answer)


@MODES
async def test_a_second_death_is_a_failure_and_nothing_shown_is_taken_back(opened, mode):
    world = await opened(mode, cut_before(mode, "어울리는"), cut_before(mode, "웨이스트"))
    assert type(await world.fails()) is UpstreamFailed
    assert world.shown == "'플라스틱' 이야기에 어울리는 제로"
    assert len(world.asked) == 2


async def test_a_retry_that_says_something_else_is_a_failure(opened):
    other = Play(text=written("model", recommend="내일부터 해 보는 챌린지를 추천해요."))
    world = await opened("model", cut_before("model", "어울리는"), other)
    assert type(await world.fails()) is UpstreamFailed
    assert world.shown == "'플라스틱' 이야기에"


async def test_an_engine_that_falls_silent_is_not_asked_again(opened):
    limits = Limits(LIMIT, LIMIT, 0.05)
    world = await opened("model", cut_before("model", "어울리는", "stall"), limits=limits)
    assert type(await world.fails()) is UpstreamTimeout
    assert len(world.asked) == 1


async def test_two_challenges_of_one_title_are_a_failure_of_the_engine(opened):
    world = await opened("generate", Play(text=written("generate", t3=FIELDS["t1"])))
    assert type(await world.fails()) is UpstreamFailed
    assert len(world.asked) == 1


async def test_an_index_with_too_few_entries_is_a_failure(opened):
    world = await opened("model")
    world.retriever._entries = ENTRIES[:2]
    assert type(await world.fails()) is UpstreamFailed
    assert world.events == world.asked == []


async def test_what_the_retriever_raises_ends_the_turn_before_the_engine_is_asked(opened):
    world = await opened("model")
    world.retriever._failure = UpstreamFailed("index")
    assert await world.fails() is world.retriever._failure
    assert world.asked == []


@MODES
@pytest.mark.parametrize("end", ["", "}\n```\n이상입니다. 더 말할게요"])
async def test_how_the_engine_ends_does_not_matter_once_everything_is_shown(opened, mode, end):
    whole = written(mode)[:-1]
    world = await opened(mode, Play(pieces=(whole, *end)))
    outcome = await world.ask()
    assert len(world.asked) == 1
    assert world.shown == rendered(outcome.answer)
    assert json.loads(outcome.session.exchanges[-1].assistant)["recommend"] == outcome.answer.recommend


@pytest.mark.parametrize("kind", ["close", "reset", "error", "broken_json", "no_done"])
async def test_an_engine_that_dies_after_everything_is_shown_spoils_nothing(opened, kind):
    whole = written("model")
    world = await opened("model", Play(pieces=(whole[:-1], whole[-1]), finish=None, fault=Fault(kind=kind, at=1)))
    outcome = await world.ask()
    assert len(world.asked) == 1
    assert world.shown == rendered(outcome.answer)


@pytest.mark.parametrize("end", [-1, None])
async def test_an_engine_that_hangs_after_everything_is_shown_is_left(opened, monkeypatch, end):
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    whole = written("model")[:end]
    world = await opened("model", Play(pieces=(whole, "!"), gates={1: "never"}))
    outcome = await world.ask()
    assert world.shown == rendered(outcome.answer)
    await world.until(lambda requests: requests[0].left)


@pytest.mark.parametrize("at", [0, 8])
async def test_cancelling_the_task_closes_the_engines_connection(opened, at):
    world = await opened("model", play("model", chunk=4, gates={at: "never"}))
    asking = asyncio.create_task(world.ask())
    await world.until(len)
    if at:
        await world.tells(Piece)
    asking.cancel()
    await asyncio.wait({asking}, timeout=LIMIT)
    assert asking.cancelled()
    await world.until(lambda requests: requests[0].left)


async def test_cancelling_one_who_waits_leaves_the_queue(opened):
    world = await opened("model", play("model", gates={0: "go"}), count=1)
    first = asyncio.create_task(world.flow(ON_TOPIC, STAYS, lambda _: None))
    await world.until(len)
    second = asyncio.create_task(world.ask())
    await world.tells(Queued)
    second.cancel()
    await asyncio.wait({second}, timeout=LIMIT)
    assert world.slots.waiting == 0
    world.server.release("go")
    await first


# -- the session after it -----------------------------------------------------------------------------------------


@MODES
async def test_the_session_keeps_the_exchange_as_the_engine_saw_it(opened, mode):
    world = await opened(mode, play(mode))
    outcome = await world.ask()
    assert outcome.session.exchanges == (Exchange(world.messages(0)[-1]["content"], written(mode)),)
    assert outcome.session.given == ("zero-1", "zero-2", "zero-3")
    assert outcome.session.profile.category == "ZERO_WASTE"
    assert outcome.session.version == STAYS.version


async def test_the_session_keeps_three_exchanges_and_every_entry_once_the_latest_last(opened):
    world = await opened("entry")
    session = STAYS
    for _ in range(5):
        session = (await world.ask(session=session)).session
        assert len(set(session.given)) == len(session.given)
    assert len(session.exchanges) == 3
    assert set(session.given) == {entry.id for entry in ENTRIES}
    assert session.given[-3:] == tuple(source.id for source in world.events[0].sources)


async def test_what_a_message_tells_of_the_person_stays_in_the_session(opened):
    world = await opened("model")
    outcome = await world.ask(Question("free-text", message="시골에 살면서 채식을 해 보고 싶어요"), Session())
    assert outcome.session.profile == Profile("VEGAN", None, {"location": Value("농촌", chosen=False)})
    assert "농촌" in world.messages(0)[-1]["content"]


@MODES
async def test_the_messages_of_a_turn_begin_with_those_of_the_turn_before(opened, mode):
    world = await opened(mode, context=100_000)
    session = STAYS
    for _ in range(4):
        session = (await world.ask(session=session)).session
    for turn in range(3):
        before, after = world.messages(turn), world.messages(turn + 1)
        assert after[: len(before)] == before
        assert [message["role"] for message in after[len(before) :]] == ["assistant", "user"]
    assert len(world.messages(3)) == len(world.messages(0)) + 6


LONG = "플라스틱을 줄이고 싶어요 " + "오늘은 👨‍👩‍👧 카페에서 컵 12개를 봤어요 🥤. " * 100


@MODES
@pytest.mark.parametrize("context", [2048, 4096])
async def test_thirty_long_turns_fit_the_engines_context_and_keep_their_entries(opened, mode, context):
    world = await opened(mode, context=context)
    session = STAYS
    for number in range(30):
        message = f"{number} {LONG}"[:2000]
        session = (await world.ask(Question("free-text", message=message), session)).session
        sent = [each["content"] for each in world.messages(number)]
        assert sum(await world.client.count(sent)) + 300 <= context
        assert sent[-1].startswith(prompt_start(sent[-1], number))
        if mode != "entry":
            assert all(entry.title in sent[-1] for entry in ENTRIES if entry.id in session.given[-3:])
    assert len(world.asked) == 30


def prompt_start(sent: str, number: int) -> str:
    """The part of the prompt up to the message's own first words, which are never cut away."""
    return sent[: sent.index(f"{number} 플라스틱을 줄이고") + 1]
