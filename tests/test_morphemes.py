"""Korean text as morphemes, with the domain's own words."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.morphemes import Morphemes


@pytest.fixture(scope="module")
def morphemes() -> Iterator[Morphemes]:
    loaded = Morphemes(["비건", "홈오피스"])
    yield loaded
    loaded.close()


def forms(morphemes: Morphemes, text: str, tag: str) -> list[str]:
    return [token.form for token in morphemes.analyse(text) if token.tag.startswith(tag)]


def test_the_domain_s_words_are_nouns(morphemes):
    assert forms(morphemes, "비건을 시작한 뒤로 홈오피스에서 일해요", "NNG")[:1] == ["비건"]
    assert "홈오피스" in forms(morphemes, "비건을 시작한 뒤로 홈오피스에서 일해요", "NNG")


def test_a_word_that_nobody_added_is_read_as_kiwi_reads_it():
    bare = Morphemes()
    try:
        assert "비건" not in forms(bare, "비건을 시작했어요", "NNG")
    finally:
        bare.close()


def test_a_verb_that_is_spelled_like_a_noun_is_a_verb(morphemes):
    assert "산" not in forms(morphemes, "도시에 산 지 오래됐어요", "N")
    assert "산" in forms(morphemes, "산 근처에 살아요", "N")


def test_offsets_are_code_points_also_behind_emoji(morphemes):
    text = "👍👍 비건을 해요"
    (token,) = [each for each in morphemes.analyse(text) if each.form == "비건"]
    assert text[token.start : token.end] == "비건"


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\x00", "\ud800비건", "👨‍👩‍👧", "ㅋㅋㅋ"])
def test_any_text_is_analysed(morphemes, text):
    assert all(0 <= each.start <= each.end <= len(text) for each in morphemes.analyse(text))


@given(text=st.text(max_size=60))
def test_offsets_never_leave_the_text(morphemes, text):
    assert all(0 <= each.start <= each.end <= len(text) for each in morphemes.analyse(text))


async def test_the_event_loop_turns_while_a_hard_text_is_analysed(morphemes):
    analysis = asyncio.ensure_future(morphemes.analysed("가" * 2000))
    turns = 0
    while not analysis.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(analysis.result()) > 0
    assert turns > 20


async def test_all_turns_share_one_thread(morphemes):
    await morphemes.analysed("비건을 해요")
    before = threading.active_count()
    await asyncio.gather(*(morphemes.analysed("비건을 해요") for _ in range(8)))
    assert threading.active_count() == before


def test_threads_may_analyse_at_once(morphemes):
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(forms(morphemes, "비건을 해요", "NNG"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == [["비건"]] * 4
