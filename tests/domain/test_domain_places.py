"""Where somebody lives and how somebody works, from the talk: morphemes, not strings."""

import pytest

from mulgil.domain.model import Profile, Value

TOLD = [
    ("도시에 산 지 오래됐어요 추천", {"도시"}),
    ("부산에 살아요 챌린지 추천", set()),
    ("산에 살아요 추천", {"산"}),
    ("산골에 살아요 추천", set()),
    ("서울 시내에 살아요 추천", {"도시"}),
    ("아파트에 살아요 추천", {"도시"}),
    ("바다 근처에 살아요 추천", {"바닷가"}),
    ("해안가에 삽니다 추천", {"바닷가"}),
    ("논 근처 추천", {"농촌"}),
    ("논의가 필요한 환경", set()),
    ("맛집 쓰레기", set()),
    ("시골에 살아요 추천", {"농촌"}),
    ("등산 좋아해요 추천", {"산"}),
    ("고지대에 살아요 추천", {"산"}),
    ("회의가 많아요 추천", {"사무직"}),
    ("오피스에서 일해요 추천", {"사무직"}),
    ("영업 다녀요 추천", {"영업직"}),
    ("영업직인데 추천", {"영업직"}),
    ("출장이 잦아요 추천", {"영업직"}),
    ("공사 현장에서 일해요 추천", {"현장직"}),
    ("현장직이에요 추천", {"현장직"}),
    ("재택근무 중이에요 추천", {"재택근무"}),
    ("재택 중이에요 추천", {"재택근무"}),
    ("홈오피스에서 일해요 추천", {"재택근무"}),
    ("원격으로 일해요 추천", {"재택근무"}),
    ("건설적인 챌린지 추천", set()),
    ("도시락 절약", set()),
    ("산책 챌린지", set()),
    ("사무실에서 일하고 바닷가에 살아요 추천", {"바닷가", "사무직"}),
    ("밭에서 일하고 있어요 추천", {"농촌"}),
    ("놀 논 적 있어요 챌린지", set()),
    ("농촌에 산 적이 있어요 추천", {"농촌"}),
    ("들판이 보여요 추천", {"농촌"}),
    ("도시 말고 시골에 살아요 추천", {"농촌"}),
    ("부산 사는 사무직 추천", {"사무직"}),
    ("울산 사람 챌린지 추천", set()),
    ("산에서 산 물건 재활용", {"산"}),
    ("재산 절약", set()),
]


@pytest.mark.parametrize(("message", "options"), TOLD)
def test_places_and_work_are_heard_as_words(ask, message, options):
    decision = ask(message)
    assert decision.on_topic
    assert {value.text for value in decision.profile.values.values()} == options
    assert not any(value.chosen for value in decision.profile.values.values())


def test_every_word_of_every_option_tells_it(ask, domain):
    for field in domain.fields:
        for option, words in field.words.items():
            for word in words:
                values = ask(f"저는 {word} 근처에 있어요. 챌린지 추천해 주세요").profile.values
                assert values[field.name] == Value(option, chosen=False), word


def test_a_guess_fills_a_blank_and_gives_way_to_a_later_guess(ask):
    first = ask("바닷가에 사는데 챌린지 추천해줘").profile
    assert first.values == {"location": Value("바닷가", chosen=False)}
    second = ask("이제는 농촌에 살아요. 챌린지 추천해줘", first).profile
    assert second.values == {"location": Value("농촌", chosen=False)}
    assert ask("챌린지 추천해줘", second).profile.values == second.values


def test_a_chosen_value_is_never_replaced(ask):
    chosen = Profile("VEGAN", "VEGAN", {"location": Value("도시", chosen=True)})
    heard = ask("바닷가 사무실에서 할 챌린지 추천해줘", chosen).profile.values
    assert heard == {"location": Value("도시", chosen=True), "workType": Value("사무직", chosen=False)}
