"""What may stand in a text, and how names are compared."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.text import clean, clean_engine, key

ANY = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("가\x00나\x1b다\x7f", "가나다"),
        ("한 줄\n두 줄", "한 줄\n두 줄"),
        ("가\r\n나\t다", "가\n나다"),
        ("\ud800가\udfff", "가"),
        ("가\x85나", "가나"),
        (unicodedata.normalize("NFD", "비건"), "비건"),
        ("\u1107\x00\u1175", "비"),
        ("👍🏽", "👍🏽"),
    ],
)
def test_control_characters_and_lone_surrogates_are_dropped(given, kept):
    assert clean(given) == kept


def test_a_broken_character_is_dropped_from_the_engine_s_text_only():
    assert clean("가\ufffd나") == "가\ufffd나"
    assert clean_engine("가\ufffd나\x07") == "가나"


@given(ANY)
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)
    assert clean_engine(clean_engine(text)) == clean_engine(text)
    clean(text).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("에너지 절약", "에너지절약"),
        ("ZERO_WASTE", "zero_waste"),
        ("비건", unicodedata.normalize("NFD", "비건")),
        ("ＶＥＧＡＮ", "vegan"),
        (" 제로 웨이스트\u3000", "제로웨이스트"),
    ],
)
def test_names_are_the_same_whatever_case_spaces_and_unicode_form(one, other):
    assert key(one) == key(other)


@given(ANY)
def test_a_key_is_its_own_key(text):
    assert key(key(text)) == key(text)
