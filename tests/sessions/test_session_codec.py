"""The codec: what a session looks like as text, and how a long one is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.domain.model import Profile, Value
from mulgil.sessions.base import Exchange, Session
from mulgil.sessions.codec import MAX_BYTES, decode, encode, fit

WHOLE = Session(
    profile=Profile("VEGAN", "PLOGGING", {"location": Value("바닷가", chosen=True)}),
    exchanges=(Exchange("비건 챌린지 추천해줘", '{"recommend": "좋아요"}\n'),),
    given=("vegan-001", "vegan-002"),
    version=3,
)

# One code point at a time: a high and a low surrogate side by side are one character in JSON.
texts = st.text(max_size=20) | st.characters(codec=None)
profiles = st.builds(
    Profile, st.none() | texts, st.none() | texts, st.dictionaries(texts, st.builds(Value, texts, st.booleans()))
)
sessions = st.builds(
    Session,
    profiles,
    st.lists(st.builds(Exchange, texts, texts)).map(tuple),
    st.lists(texts).map(tuple),
    st.integers(min_value=0),
)


@given(sessions)
def test_every_session_comes_back_equal_and_its_text_is_utf8(session: Session) -> None:
    assert decode(encode(session).encode().decode()) == session


def test_korean_stands_in_the_text_as_it_is() -> None:
    assert "비건 챌린지" in encode(WHOLE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), -1),
        (("version",), True),
        (("version",), "3"),
        (("exchanges",), [["only one"]]),
        (("exchanges",), [[1, 2]]),
        (("exchanges",), None),
        (("given",), [1]),
        (("profile",), []),
        (("profile", "category"), 5),
        (("profile", "values"), []),
        (("profile", "values"), {"location": ["바닷가", 1]}),
        (("profile", "values"), {"location": 7}),
    ],
)
def test_a_wrong_value_is_refused(path: tuple[str, ...], value: object) -> None:
    stored = json.loads(encode(WHOLE))
    place = stored
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError):  # noqa: PT011 - any sentence will do
        decode(json.dumps(stored))


@pytest.mark.parametrize("key", ["version", "profile", "exchanges", "given"])
def test_a_missing_key_is_refused(key: str) -> None:
    stored = json.loads(encode(WHOLE))
    del stored[key]
    with pytest.raises(ValueError, match="not a stored session"):
        decode(json.dumps(stored))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", encode(WHOLE)[:-5], "[" * 100_000])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any sentence will do
        decode(text)


def test_a_session_that_fits_stays_as_it_is() -> None:
    assert fit(WHOLE) == (WHOLE, encode(WHOLE))


def test_a_long_session_loses_its_oldest_exchanges_and_no_more_than_needed() -> None:
    exchanges = tuple(Exchange(f"{n} " + "가" * 1000, "나" * 1000) for n in range(100))
    kept, text = fit(Session(exchanges=exchanges))
    assert kept.exchanges == exchanges[-len(kept.exchanges) :]
    assert len(text.encode()) <= MAX_BYTES
    one_more = Session(exchanges=exchanges[-len(kept.exchanges) - 1 :])
    assert len(encode(one_more).encode()) > MAX_BYTES
    assert decode(text) == kept


def test_an_exchange_over_the_limit_alone_is_dropped_and_the_profile_stays() -> None:
    session = Session(profile=WHOLE.profile, exchanges=(Exchange("가" * MAX_BYTES, ""),), given=WHOLE.given)
    kept, _ = fit(session)
    assert kept == Session(profile=WHOLE.profile, given=WHOLE.given)


def test_when_no_exchange_is_left_the_oldest_given_go() -> None:
    names = tuple(f"entry-{n}" for n in range(50_000))
    kept, text = fit(Session(exchanges=WHOLE.exchanges, given=names))
    assert kept.exchanges == ()
    assert kept.given == names[-len(kept.given) :]
    assert MAX_BYTES - 20 < len(text.encode()) <= MAX_BYTES
