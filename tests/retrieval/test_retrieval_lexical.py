"""BM25 over morphemes: which terms count, and that the index scores them as the formula says."""

import math

import pytest

from mulgil.retrieval.index import Where, open_index
from mulgil.retrieval.lexical import passage_vector, query_vector, terms


def test_terms_are_content_morphemes_in_lower_case(morphemes):
    found = terms(morphemes, "LED 조명으로 바꾸고 3번 아주 새롭게 걷기")

    assert {"led", "조명", "바꾸", "3", "번", "아주", "새롭", "걷"} <= set(found)
    assert not {"으로", "고", "게", "기"} & set(found)


def test_different_endings_are_one_term(morphemes):
    assert "줍" in terms(morphemes, "쓰레기를 주워요")
    assert "줍" in terms(morphemes, "쓰레기 줍기")


def test_a_term_counts_less_the_longer_the_text_and_the_more_often_it_stands():
    once, twice = passage_vector(["물", "불"], 2), passage_vector(["물", "물"], 2)
    long = passage_vector(["물", *map(str, range(9))], 2)

    assert once.values[0] < twice.values[0] < 2 * once.values[0]
    assert long.values[0] < once.values[0]
    assert once.indices[0] == twice.indices[0] == long.indices[0]


def test_a_question_s_term_counts_once():
    assert query_vector(["물", "물"]).values == (1.0,)


def test_an_average_of_nothing_divides_by_no_zero():
    assert passage_vector([], 0.0).indices == ()


def test_the_index_scores_bm25_with_its_own_document_frequencies(built, entries, embedder, morphemes):
    corpus = [terms(morphemes, f"{e.title}\n{e.description}\n{', '.join(e.tags)}") for e in entries]
    number = next(n for n, found in enumerate(corpus) if "귀리" in found)
    own, average = corpus[number], sum(map(len, corpus)) / len(corpus)
    holding = sum("귀리" in found for found in corpus)
    idf = math.log(1 + (len(corpus) - holding + 0.5) / (holding + 0.5))
    count = own.count("귀리")
    expected = idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(own) / average))

    index = open_index(built, embedder)
    _, lexical = index.search([0.1] * embedder.dimension, query_vector(["귀리"]), Where(), 5)
    index.close()

    assert [hit.entry.id for hit in lexical] == [entries[number].id]
    assert lexical[0].score == pytest.approx(expected, rel=0.01)
