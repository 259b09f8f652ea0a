"""The growing answer as pieces, items and, at the end, the answer that they add up to."""

import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.domain.display import DESCRIPTION_LIMIT, TITLE_LIMIT, Display, Slot, keys, rendered
from mulgil.domain.partial import InvalidAnswer
from mulgil.events import Item, Piece

TITLES = ["텀블러 쓰기", "계단 오르기", "2.5kg 줄이기"]
DESCRIPTIONS = ["커피는 텀블러에 받아요.", "한 층은 걸어요. 🚶", 'a"b\\c를 나눠요.']
SLOTS = {
    "model": [Slot("VEGAN", "비건", title, source_id=f"vegan-{n}") for n, title in enumerate(TITLES, 1)],
    "entry": [
        Slot("VEGAN", "비건", *both, f"vegan-{n}") for n, both in enumerate(zip(TITLES, DESCRIPTIONS, strict=True))
    ],
    "generate": [Slot("VEGAN", "비건")] * 3,
}
WRITTEN = {"recommend": "오늘부터 해 봐요."}
WRITTEN |= {f"t{n}": text for n, text in enumerate(TITLES, 1)} | {
    f"d{n}": text for n, text in enumerate(DESCRIPTIONS, 1)
}
TEXT = (
    "오늘부터 해 봐요."
    "\n\n1. 텀블러 쓰기\n커피는 텀블러에 받아요."
    "\n\n2. 계단 오르기\n한 층은 걸어요. 🚶"
    '\n\n3. 2.5kg 줄이기\na"b\\c를 나눠요.'
)
MODES = pytest.mark.parametrize("mode", SLOTS)


def answer(slots: Sequence[Slot], **changes: str) -> str:
    """What the engine writes for these slots."""
    return json.dumps({key: changes.get(key, WRITTEN[key]) for key in keys(slots)}, ensure_ascii=False)


def text_of(events: Sequence[Piece | Item]) -> str:
    return "".join(event.text for event in events if isinstance(event, Piece))


def fed(display: Display, *chunks: str) -> list[Piece | Item]:
    return [event for chunk in chunks for event in display.feed(chunk)]


def fed_to_the_fault(display: Display, *chunks: str) -> list[Piece | Item]:
    """The events up to `InvalidAnswer`, which must come."""
    events: list[Piece | Item] = []
    try:
        for chunk in chunks:
            events.extend(display.feed(chunk))
    except InvalidAnswer:
        return events
    raise AssertionError("no fault")


def in_twos(text: str) -> Iterator[str]:
    return (text[at : at + 2] for at in range(0, len(text), 2))


@MODES
@given(data=st.data())
def test_the_pieces_add_up_to_the_answer_for_every_chunking_and_order(mode, data):
    slots = SLOTS[mode]
    order = data.draw(st.permutations(keys(slots)))
    text = json.dumps({key: WRITTEN[key] for key in order}, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=20)))
    display = Display(slots)
    events = fed(display, *(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)))
    assert text_of(events) == TEXT == rendered(display.finish())
    assert display.whole
    assert display.closed
    items = [event for event in events if isinstance(event, Item)]
    assert [item.index for item in items] == [1, 2, 3]
    assert tuple(item.challenge for item in items) == display.finish().challenges


@MODES
def test_an_item_comes_right_after_the_last_of_its_text(mode):
    display = Display(SLOTS[mode])
    so_far = ""
    for chunk in in_twos(answer(SLOTS[mode])):
        for event in display.feed(chunk):
            if isinstance(event, Piece):
                so_far += event.text
            else:
                assert so_far.count(event.challenge.description) == 1
                assert f"\n{event.index + 2}. " not in so_far or mode == "entry"
    assert so_far == TEXT


def test_a_chunk_brings_one_piece_at_most():
    display = Display(SLOTS["model"])
    events = fed(display, answer(SLOTS["model"]))
    assert [type(event) for event in events] == [Piece, Item, Item, Item]


def test_text_goes_out_as_soon_as_the_engine_wrote_it():
    display = Display(SLOTS["model"])
    assert text_of(fed(display, '{"recommend":"오늘')) == "오늘"
    assert text_of(fed(display, '부터"')) == "부터\n\n1. 텀블러 쓰기\n"
    assert text_of(fed(display, ',"d1":"커')) == "커"


def test_fields_of_another_order_wait_for_those_before_them():
    display = Display(SLOTS["model"])
    assert fed(display, '{"d1":"커피를 받아요.","recommend":') == []
    assert text_of(fed(display, '"네."')) == "네.\n\n1. 텀블러 쓰기\n커피를 받아요.\n\n2. 계단 오르기\n"


def test_the_close_events_challenges_carry_what_the_slots_fixed():
    display = Display(SLOTS["model"])
    fed(display, answer(SLOTS["model"]))
    challenge = display.finish().challenges[1]
    assert (challenge.title, challenge.category, challenge.label, challenge.source_id) == (
        "계단 오르기", "VEGAN", "비건", "vegan-2",
    )  # fmt: skip


@MODES
@pytest.mark.parametrize("end", ["", "\n", "\n```", " 이상입니다", '"', "}}}"])
def test_a_missing_brace_and_whatever_follows_the_last_field_do_not_matter(mode, end):
    for chunks in ([answer(SLOTS[mode])[:-1] + end], [*answer(SLOTS[mode])[:-1], *end]):
        display = Display(SLOTS[mode])
        assert text_of(fed(display, "```json\n", *chunks)) == TEXT
        assert display.finish().recommend == WRITTEN["recommend"]


def test_keys_that_nobody_asked_for_never_show():
    display = Display(SLOTS["generate"])
    text = answer(SLOTS["generate"]).replace('{"recommend"', '{"note":"비밀","recommend"')
    assert text_of(fed(display, *in_twos(text))) == TEXT


def test_what_came_before_a_fault_in_the_same_chunk_is_shown():
    display = Display(SLOTS["model"])
    events = fed_to_the_fault(display, '{"recommend":"네.","d1":"커피를 받아요.","d2":7}')
    assert text_of(events) == "네.\n\n1. 텀블러 쓰기\n커피를 받아요.\n\n2. 계단 오르기\n"
    assert [event.index for event in events if isinstance(event, Item)] == [1]
    assert display.missing() == ["d2", "d3"]
    assert not display.closed


@MODES
@given(data=st.data())
def test_a_retry_goes_on_from_what_was_shown_and_repeats_nothing(mode, data):
    slots = SLOTS[mode]
    text = answer(slots)
    display = Display(slots)
    first = fed(display, *in_twos(text[: data.draw(st.integers(0, text.rindex('"') - 1))]))
    missing = display.missing()
    assert WRITTEN[missing[0]].startswith(display.begun())
    display.restart()
    again = json.dumps({key: WRITTEN[key] for key in missing}, ensure_ascii=False)
    second = fed(display, *in_twos(again))
    assert text_of(first + second) == TEXT == rendered(display.finish())
    assert [event.index for event in first + second if isinstance(event, Item)] == [1, 2, 3]


@pytest.mark.parametrize("changed", ["내일부터 해 봐요.", "오늘", "오늘도 해요", ""])
def test_a_retry_that_no_longer_begins_with_what_was_shown_is_invalid(changed):
    display = Display(SLOTS["model"])
    assert text_of(fed(display, '{"recommend":"오늘부터')) == "오늘부터"
    display.restart()
    assert fed_to_the_fault(display, *in_twos(answer(SLOTS["model"], recommend=changed))) == []


def test_a_retry_after_a_whole_field_asks_for_the_next_one_from_its_start():
    display = Display(SLOTS["model"])
    fed(display, '{"recommend":"네."')
    assert display.missing() == ["d1", "d2", "d3"]
    assert display.begun() == ""


@pytest.mark.parametrize(("key", "limit"), [("t1", TITLE_LIMIT), ("d1", DESCRIPTION_LIMIT), ("recommend", 255)])
def test_a_field_may_be_as_long_as_its_limit_and_no_longer(key, limit):
    slots = SLOTS["generate"]
    longest = "가" * limit
    display = Display(slots)
    fed(display, *in_twos(answer(slots, **{key: longest})))
    assert longest in rendered(display.finish())
    for chunks in ([answer(slots, **{key: longest + "나"})], [*answer(slots, **{key: longest + "나"})]):
        events = fed_to_the_fault(Display(slots), *chunks)
        assert longest + "나" not in text_of(events)


@pytest.mark.parametrize("key", ["recommend", "t2", "d3"])
@pytest.mark.parametrize("empty", ["", "  \n ", "\u0000", "<|im_end|>"])
def test_an_empty_field_is_invalid(key, empty):
    fed_to_the_fault(Display(SLOTS["generate"]), *in_twos(answer(SLOTS["generate"], **{key: empty})))


@pytest.mark.parametrize("twice", ["텀블러 쓰기", "텀블러쓰기", " 텀블러  쓰기 "])
def test_two_challenges_of_one_title_are_no_answer(twice):
    display = Display(SLOTS["generate"])
    fed(display, answer(SLOTS["generate"], t3=twice))
    assert display.whole
    with pytest.raises(InvalidAnswer):
        display.finish()


@MODES
def test_an_unfinished_answer_is_none(mode):
    display = Display(SLOTS[mode])
    fed(display, *in_twos(answer(SLOTS[mode])[:-2]))
    with pytest.raises(InvalidAnswer):
        display.finish()
