"""The schema's patterns, as regular expressions: what the engine can write at all."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.domain.answer import continued, framed, patterns, schema
from mulgil.domain.display import Slot, keys
from mulgil.domain.model import AnswerRules, Domain, Frames

FRAMES = Frames(
    subject="$category 챌린지 세 가지",
    openers=("오늘부터 할 수 있는", "혼자서도 쉬운 (정말)"),
    closings=("를 추천해요.", "는 어떠세요?"),
    word="'$word' 이야기에 어울리는",
    unquoted=("뛰면서",),
    phrases={
        "location": {"도시": "도시에서 지내", "산": "산 가까이에서 지내"},
        "workType": {"사무직": "사무실에서 일하", "재택근무": "집에서 일하"},
    },
    joiner="고 ",
    end="는 분께 어울리는",
)
RULES = AnswerRules(
    letters="가-힣",
    punctuation=",~%()·",
    endings="요[.!?]",
    recommend=(4, 40),
    title=(2, 12),
    description=(4, 30),
    frames=FRAMES,
)
WRITES_ALL = [Slot("VEGAN", "비건")] * 3
DESCRIBES = [Slot("VEGAN", "비건", title) for title in ("하나", "둘", "셋")]


def fits(key: str, text: str, ground: str = "") -> bool:
    """Whether the model can write this text into this field."""
    return bool(re.fullmatch(patterns(RULES, WRITES_ALL, {key: ground})[key], text))


@pytest.mark.parametrize("key", ["recommend", "d1", "d3"])
@pytest.mark.parametrize("text", ["물을 아껴 써요.", "물을 아껴 볼까요?", "물, 불 (둘 다) 아껴요!"])
def test_a_sentence_in_the_domains_letters_fits(key, text):
    assert fits(key, text)


@pytest.mark.parametrize(
    "text",
    [
        "물을 아껴 씁니다.", "물을 아껴 써요", "물을 써요.\n", "물을\n아껴요.", '물을 "아껴요."', "물을 아껴요\\.",
        "물을 아껴요. 불도 꺼요.", "물을 아껴요!? 네요.", "水를 아껴 써요.", "水道を使う요.", "ㅋㅋㅋ 아껴요.",
        "물을 <b>요.", "물을 아껴 써요. ",
    ],
)  # fmt: skip
def test_anything_but_one_sentence_of_the_register_does_not_fit(text):
    assert not fits("d1", text)


def test_a_title_is_no_sentence_and_has_no_ending():
    assert fits("t1", "텀블러 쓰기")
    assert not fits("t1", "텀블러를 써요.")
    assert not fits("t1", "가")


def test_lengths_are_those_of_the_rules():
    assert fits("t1", "가" * 12)
    assert not fits("t1", "가" * 13)
    assert fits("d1", "가" * 30 + "요.")
    assert not fits("d1", "가" * 31 + "요.")


def test_a_digit_fits_only_where_the_ground_has_one():
    assert fits("d1", "2.5킬로를 30분에 옮겨요.", ground="봉투 3개")
    assert not fits("d1", "30분만 걸어요.", ground="봉투 세 개")
    assert not fits("d1", "30분만 걸어요.")


def test_a_decimal_point_is_no_end_of_a_sentence():
    assert fits("d1", "물 2.5통을 아껴요.", ground="2.5")
    assert not fits("d1", "물 2통을 아껴요. 네요.", ground="2.5")
    assert not fits("d1", "물 2. 통을 아껴요.", ground="2.5")


def test_a_latin_word_fits_only_if_it_stands_in_the_ground():
    assert fits("d1", "SNS에 LED 사진을 올려요.", ground="LED를 SNS에서 보았어요")
    assert not fits("d1", "SNS에 올려 봐요.", ground="led와 sn")
    assert not fits("d1", "SNSS에 올려요.", ground="SNS")


def test_each_field_has_its_own_ground():
    found = patterns(RULES, DESCRIBES, {"d1": "3개", "d2": "LED"})
    assert re.fullmatch(found["d1"], "3개를 모아요.")
    assert not re.fullmatch(found["d2"], "3개를 모아요.")
    assert re.fullmatch(found["d2"], "LED로 바꿔요.")
    assert not re.fullmatch(found["d3"], "LED로 바꿔요.")


@given(st.text(max_size=80), st.sampled_from(["recommend", "t1", "d2"]))
def test_the_ground_is_text_and_never_a_pattern(ground, key):
    pattern = re.compile(patterns(RULES, WRITES_ALL, {key: ground})[key])
    assert not pattern.fullmatch('물을 "아껴 써요.')
    assert not pattern.fullmatch("물을 {아껴} 써요.")


@pytest.mark.parametrize("slots", [WRITES_ALL, DESCRIBES, [Slot("VEGAN", "비건", "하나", "써요.")] * 3])
def test_the_schema_asks_for_strings_in_reading_order_and_nothing_else(slots):
    made = schema(patterns(RULES, slots, {}))
    assert list(made["properties"]) == made["required"] == keys(slots)
    assert made["additionalProperties"] is False
    for field in made["properties"].values():
        assert field["type"] == "string"
        assert field["pattern"].startswith("^")
        assert field["pattern"].endswith("$")


# -- the rest of a field ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", ["물을", "물을 아껴", "물 (둘)", "물·불~", "2.5통"])
def test_a_begun_field_goes_on_from_what_was_shown(begun):
    pattern = continued(RULES, "d1", begun, "3")
    assert re.fullmatch(pattern, f"{begun} 더 아껴요.")
    assert not re.fullmatch(pattern, "불을 더 아껴요.")
    assert not re.fullmatch(pattern, begun)
    assert not re.fullmatch(pattern, f"{begun} 더 아껴요. 네")


def test_a_begun_field_that_has_its_ending_may_be_at_its_end():
    assert re.fullmatch(continued(RULES, "d1", "물을 아껴요.", ""), "물을 아껴요.")


def test_a_begun_title_may_be_at_its_end_or_go_on():
    pattern = continued(RULES, "t1", "텀블러", "")
    assert re.fullmatch(pattern, "텀블러")
    assert re.fullmatch(pattern, "텀블러 쓰기")
    assert not re.fullmatch(pattern, "텀블러 쓰기와 그리고 더 많이")


def test_a_field_that_was_begun_at_full_length_can_still_end():
    begun = "가" * 30
    assert re.fullmatch(continued(RULES, "d1", begun, ""), begun + "요.")


@given(st.text(min_size=1, max_size=20))
def test_what_was_shown_is_taken_literally(begun):
    assert re.fullmatch(continued(RULES, "d1", begun, ""), f"{begun}아껴요.")


# -- sentences from frames ----------------------------------------------------------------------------------------


def sentences(frames: Frames, label: str, leads: list[str]) -> set[str]:
    subject = frames.subject.replace("$category", label)
    return {f"{lead} {subject}{closing}" for lead, closing in itertools.product(leads, frames.closings)}


def matching(pattern: str, candidates: set[str]) -> set[str]:
    return {text for text in candidates if re.fullmatch(pattern, text)}


PERSONS = [
    ({"location": "도시", "workType": "사무직"}, "도시에서 지내고 사무실에서 일하는 분께 어울리는"),
    ({"workType": "재택근무"}, "집에서 일하는 분께 어울리는"),
    ({"location": "산", "workType": "우주인"}, "산 가까이에서 지내는 분께 어울리는"),
]


@pytest.mark.parametrize(("values", "lead"), PERSONS)
def test_a_known_situation_leads_the_sentence(values, lead):
    pattern = framed(FRAMES, "에너지 절약", values, "")
    right = sentences(FRAMES, "에너지 절약", [lead])
    assert matching(pattern, right) == right
    assert not re.fullmatch(pattern, next(iter(sentences(FRAMES, "에너지 절약", [FRAMES.openers[0]]))))
    assert not re.fullmatch(pattern, next(iter(sentences(FRAMES, "비건", [lead]))))


def test_the_word_that_decided_may_lead_it_too():
    pattern = framed(FRAMES, "비건", {"location": "도시"}, "채식")
    right = sentences(FRAMES, "비건", ["도시에서 지내는 분께 어울리는", "'채식' 이야기에 어울리는"])
    assert matching(pattern, right) == right
    assert not re.fullmatch(pattern, "'고기' 이야기에 어울리는 비건 챌린지 세 가지를 추천해요.")


@pytest.mark.parametrize("word", ["", "뛰면서", "탄소 중립", "a|b", "$category"])
def test_where_nothing_is_known_an_opener_leads(word):
    pattern = framed(FRAMES, "비건", {"location": "달"}, word)
    right = sentences(FRAMES, "비건", list(FRAMES.openers))
    assert matching(pattern, right) == right
    assert not re.search(f"'{re.escape(word)}'", pattern)


def test_a_sentence_that_was_begun_goes_on_as_one_of_those_that_begin_so():
    begun = "오늘부터 할 수 있는 비건 챌린지 세 가지는"
    pattern = framed(FRAMES, "비건", {}, "", begun)
    assert matching(pattern, sentences(FRAMES, "비건", list(FRAMES.openers))) == {f"{begun} 어떠세요?"}


def test_every_sentence_of_the_bundled_frames_is_one_clean_line_in_its_register(domain: Domain):
    frames, rules = domain.answer.frames, domain.answer
    values = [dict.fromkeys(frames.phrases)]
    for field, told in frames.phrases.items():
        values = [each | {field: option} for each in values for option in [None, *told]]
    for label, each in itertools.product([category.label for category in domain.categories.values()], values):
        known = {field: option for field, option in each.items() if option}
        lead = frames.joiner.join(frames.phrases[field][option] for field, option in known.items()) + frames.end
        right = sentences(frames, label, [lead] if known else list(frames.openers))
        assert matching(framed(frames, label, known, ""), right) == right
        for sentence in right:
            assert re.fullmatch(f"[{rules.letters} {rules.punctuation}]+(?:{rules.endings})", sentence)
