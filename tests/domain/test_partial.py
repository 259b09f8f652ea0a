"""A flat JSON object, cut anywhere: its values as display text, only ever growing."""

import json
import re
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.domain.partial import FlatObject, InvalidAnswer
from mulgil.text import clean_engine

MEGABYTE = 1_000_000
TOKENS = ["<|im_end|>", "<|eot_id|>", "<|END_OF_TURN|>", "<｜end▁of▁sentence｜>", "</s>", "<s>", "<pad>", "<think>"]
TOKENS += ["<end_of_turn>", "```", "```json", "`````"]

# Composed already, as `clean` composes what is not: only Hangul is composed while it streams.
ALPHABET = [*"가각힣요 \t\n\r\"\\/{}:,'&\0\x1b\x7f\x85\ufffd\u2028\u200d\ufe0f😀👍🏽é3%"]
WORDS = [
    *ALPHABET,
    "👨‍👩‍👧",
    "🇰🇷",
    "오늘 ",
    "한글",
    unicodedata.normalize("NFD", "각"),
    unicodedata.normalize("NFD", "나"),
]
VALUES = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)
OBJECTS = st.dictionaries(st.sampled_from(["recommend", "t1", "d1", "키", '"', "\\n", "😀"]), VALUES, max_size=4)
FORMS = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 0, 2, "\t"]),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", " : ")]),
    }
)


def expected(value: str) -> str:
    """What `clean_engine` leaves of a text whose white space is one space each."""
    kept = "".join(" " if char.isspace() else char for char in value)
    return re.sub(r" +", " ", clean_engine(kept)).strip(" ")


def cut(text: str, data: st.DataObject) -> Iterator[str]:
    """Cut the text at places that hypothesis draws."""
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, 12))
        yield text[at : at + size]
        at += size


def fed(*chunks: str) -> FlatObject:
    found = FlatObject()
    for chunk in chunks:
        found.feed(chunk)
    return found


def shown(*pieces: str) -> str:
    """The display text of one value whose characters come in these pieces."""
    parts = [json.dumps(piece, ensure_ascii=False)[1:-1] for piece in pieces]
    return fed('{"a":"', *parts, '"}').values["a"].shown


@given(OBJECTS, FORMS, st.data())
def test_any_object_cut_anywhere_gives_its_values_cleaned_and_on_one_line(values, form, data):
    found = FlatObject()
    joined: dict[str, str] = {}
    for chunk in cut(json.dumps(values, **form), data):
        found.feed(chunk)
        for key, text in found.values.items():
            before = joined.get(key, "")
            assert text.shown.startswith(before)
            joined[key] = before + text.shown[len(before) :]
    assert found.closed
    assert all(text.done for text in found.values.values())
    assert list(found.values) == list(values)
    assert joined == {key: expected(value) for key, value in values.items()}


@given(st.text(max_size=60), st.data())
def test_how_a_text_is_cut_never_changes_what_is_shown(value, data):
    whole = json.dumps({"a": value}, ensure_ascii=data.draw(st.booleans()))
    assert fed(*cut(whole, data)).values["a"].shown == fed(whole).values["a"].shown


@given(st.lists(st.sampled_from([*TOKENS, *"<|｜>/`sjon 가e_", "im_end", "</"]), max_size=14).map("".join), st.data())
def test_how_special_tokens_are_cut_never_changes_what_is_shown(value, data):
    whole = json.dumps({"a": value})
    text = fed(*cut(whole, data)).values["a"].shown
    assert text == fed(whole).values["a"].shown
    assert "<|" not in text


@pytest.mark.parametrize("token", TOKENS)
def test_a_special_token_split_anywhere_never_shows(token):
    for at in range(len(token) + 1):
        assert shown("물을 ", token[:at], token[at:], " 아껴요") == "물을 아껴요"
        assert shown("물을 아껴요", token[:at], token[at:]) == "물을 아껴요"
        assert shown(token[:at], token[at:], "물을 아껴요") == "물을 아껴요"


@pytest.mark.parametrize("text", ["3 < 5", "a <b> c", "x <", "1 </ 2", "`ls` 써요", "<3", "a<b", "`"])
def test_signs_that_begin_no_special_token_do_show(text):
    for at in range(len(text) + 1):
        assert shown(text[:at], text[at:]) == text


def test_a_word_shows_at_once_but_not_the_space_that_may_be_the_last():
    found = fed('{"a":"물을 아')
    assert found.values["a"].shown == "물을 아"
    found.feed("껴요. ")
    assert found.values["a"].shown == "물을 아껴요."


def test_a_surrogate_pair_shows_when_its_second_half_is_there():
    found = fed('{"a":"좋아\\ud83d')
    assert found.values["a"].shown == "좋아"
    found.feed("\\ude0")
    assert found.values["a"].shown == "좋아"
    found.feed('0"}')
    assert found.values["a"].shown == "좋아😀"


@pytest.mark.parametrize(
    ("halves", "left"),
    [("\\ud83d", ""), ("\\ude00", ""), ("\\ud83d가\\ude00", "가"), ("\\ude00\\ud83d", ""), ("\\ud83d\\n\\ude00", " ")],
)
def test_lone_surrogates_are_dropped(halves, left):
    assert fed(f'{{"a":"가{halves}나"}}').values["a"].shown == f"가{left}나"


def test_text_around_the_object_is_ignored():
    found = fed("답변입니다:\n```json\n", '{"a":"가"}', "\n```\n{ 더 [말해요")
    assert found.closed
    assert found.values["a"].shown == "가"


@pytest.mark.parametrize(
    "broken",
    [
        '{"a":1}', '{"a":null}', '{"a":["b"]}', '{"a":{"b":"c"}}', '{"a" "b"}', '{a:"b"}', "{'a':'b'}", '{"a":"b" "c"}',
        '{"a":"\\x"}', '{"a":"\\u12G4"}', '{"a":"\\u-123"}', '{"a":"b","a":"c"}', '{,"a":"b"}', "{{", '{"a"::"b"}',
        "{]",
    ],
)  # fmt: skip
def test_what_can_become_no_flat_object_of_strings_is_invalid(broken):
    for at in range(len(broken)):
        with pytest.raises(InvalidAnswer):
            fed(broken[:at], broken[at:], '" more "')


@given(st.text(alphabet='{}[]":,\\uab0d8 \n\t가<|`', max_size=60), st.data())
def test_no_text_raises_anything_but_invalid_answer(text, data):
    found = FlatObject()
    try:
        for chunk in cut(text, data):
            found.feed(chunk)
    except InvalidAnswer:
        pass
    assert all(isinstance(value.shown, str) for value in found.values.values())


@pytest.mark.parametrize("size", [2, 64, 10_000])
def test_a_text_that_never_ends_is_invalid(size):
    text = "가나" * 2500
    with pytest.raises(InvalidAnswer):
        fed('{"a":"', *(text[at : at + size] for at in range(0, len(text), size)))


ENDLESS = {
    "no object": "가",
    "spaces before a key": "{ ",
    "a key": '{"k',
    "letters": '{"a":"x',
    "spaces": '{"a":" ',
    "escaped newlines": '{"a":"\\n',
    "back quotes": '{"a":"`',
    "special beginnings": '{"a":"<|',
    "less-than signs": '{"a":"<',
    "jamo": '{"a":"ᄀ',
    "controls": '{"a":"\\u0000',
    "quotes": '{"a":"b"' + "\n",
}


@pytest.mark.parametrize("size", [2, MEGABYTE])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_megabyte_of_anything_is_read_in_bounded_time(name, size):
    head = re.match(r'\{("a":")?', ENDLESS[name])
    unit = ENDLESS[name][head.end() if head else 0 :]
    text = ENDLESS[name] + unit * (MEGABYTE // len(unit))
    began = time.process_time()
    found = FlatObject()
    try:
        for at in range(0, len(text), size):
            found.feed(text[at : at + size])
    except InvalidAnswer:
        pass
    # A second or so; anything quadratic takes minutes.
    assert time.process_time() - began < 15
