"""The category of a turn is decided once, by the first rule that speaks."""

import random
import unicodedata

import pytest

from mulgil.domain.decide import choose, decide
from mulgil.domain.model import Profile, Value
from mulgil.errors import ChoiceUnknown

SESSION = Profile(category="MEDIA", base_category="ENERGY_SAVING")
KEYWORD = [
    ("플로깅하면서 쓰레기 줍기", "PLOGGING"),
    ("디지털 탄소 챌린지", "DIGITAL_CARBON"),
    ("디지털탄소 챌린지", "DIGITAL_CARBON"),
    ("처음 해보는 비건 챌린지", "VEGAN"),
    ("다른 사람들과 플로깅", "PLOGGING"),
    ("저탄소 생활", "CARBON_FOOTPRINT"),
    ("실내운동 챌린지", "PLOGGING"),
    ("제로 웨이스트 알려줘", "ZERO_WASTE"),
    ("에너지절약 챌린지", "ENERGY_SAVING"),
    ("문화 공유 챌린지", "MEDIA"),
    ("탄소 발자국 줄이기", "CARBON_FOOTPRINT"),
    ("diy 챌린지", "UPCYCLING"),
    ("sns에 올릴 챌린지", "MEDIA"),
    ("운동화 신고 운동하기", "PLOGGING"),
    ("물고기 말고 고기", "VEGAN"),
    ("동물원에서 쓰레기 줍기", "ZERO_WASTE"),
    ("비건은 싫어요 플로깅 추천", "PLOGGING"),
    ("비건이랑 플로깅 말고 디지털 챌린지", "DIGITAL_CARBON"),
    ("비건은 하고 플로깅은 말고", "VEGAN"),
    ("비건은 좋은데 플로깅은 싫어요", "VEGAN"),
    ("플로깅은 싫고 비건은 좋아요", "VEGAN"),
    ("쓰레기 줄이는 건 좋은데 플로깅은 싫어요", "ZERO_WASTE"),
    ("운동하지 말고 채식할까요", "VEGAN"),
    ("디지털 탄소 말고 탄소발자국", "CARBON_FOOTPRINT"),
    ("쓰레기 버리지 말고 재활용하자", "ZERO_WASTE"),
    ("비건이 싫지 않아요", "VEGAN"),
    ("vegan 식사 추천", "VEGAN"),
    ("소셜 미디어 홍보", "MEDIA"),
    ("충전기 뽑는 챌린지", "ENERGY_SAVING"),
    ("이러닝 말고 러닝", "PLOGGING"),
    ("전기차 타기", "ENERGY_SAVING"),
]
RETURN = [
    "원래대로 해줘",
    "원래 대로 돌려줘",
    "처음으로 돌아가줘",
    "처음으로 돌아갈래요",
    "처음 카테고리로 추천해줘",
    "이전 카테고리",
    "기존 카테고리로 해줘",
    "기존대로 해주세요",
    "이전으로 해줘",
    "이전 걸로 해줘",
    "원래 하던 걸로 추천해줘",
    "처음에 골랐던 걸로",
    "처음에 제가 골랐던 카테고리로",
    "처음 말한 대로 해줘",
    "원래 것으로",
    "처음 거로 다시",
]
ANYTHING = [
    "플로깅 챌린지 말고 다른 거",
    "비건 말고 아무거나",
    "플로깅말고 다른거 추천",
    "원래 카테고리 말고 다른 거",
    "아무거나 추천해줘",
    "아무 거나 괜찮아요",
    "아무 챌린지나 추천해줘",
    "아무 것이나 줘",
    "아무거라도 추천해줘",
    "다른 거 추천해줘",
    "다른거 추천해줘",
    "다른 걸로 해줘",
    "새로운 거 알려줘",
    "딴 거 없어요?",
    "딴거 줘봐요",
]
STAY = [
    "비건이 아닌 걸 추천해줘",
    "운동 싫어하는 사람도 할 수 있는 챌린지",
    "다른 지역에서 할 만한 챌린지",
    "최고기온이 높은 날 챌린지 추천",
    "이 정도보다 쉬운 챌린지 추천",
    "결과일까요 챌린지",
    "비건 말고 추천해줘",
    "비건이랑 플로깅 말고 추천",
    "플로깅 빼고 추천해 주세요",
    "디지털 제외하고 추천해줘",
    "디지털은 제외해 주세요",
    "비건, 플로깅, 업사이클 말고 추천해줘",
    "비건도 플로깅도 싫어요",
    "운동하는 건 싫어요",
    "플라스틱 쓰레기 말고 추천",
    "비건 챌린지는 하기 싫어요",
    "플로깅은 너무 싫어",
    "이전에 말한 것 더 자세히",
    "처음 해보는데 쉬운 걸로 추천해줘",
    "처음이라 쉬운 챌린지로 부탁해요",
    "처음인데 마음대로 추천해줘",
    "처음인데 카테고리가 뭐가 있나요",
    "처음으로 도전하는데 추천해줘",
    "처음부터 쉬운 걸로 추천해줘",
    "처음 시작하는데 제대로 하고 싶어요 추천",
    "이전에 도시로 이사 왔어요 추천해줘",
    "아무래도 추천을 받고 싶어요",
    "다른 거리에서 할 수 있는 챌린지",
    "다른 챌린지 추천해줘",
    "아무것도 모르는데 추천해줘",
    "생각이 다른 것 같아요 추천해줘",
    "이거랑 뭐가 다른 거예요 알려줘",
    "다른 사람들과 할 챌린지",
    "속도보다 환경",
    "나도보고싶어 환경",
    "안전등급 환경",
    "환경운동에 관심 있어요",
]


@pytest.mark.parametrize(("message", "code"), KEYWORD)
def test_the_first_wanted_keyword_decides(ask, message, code):
    decision = ask(message, SESSION)
    assert (decision.by, decision.category.code, decision.profile.category) == ("keyword", code, code)
    assert decision.word
    assert decision.word in message


@pytest.mark.parametrize("message", RETURN)
def test_a_wish_to_go_back_gives_the_base_category(ask, message):
    decision = ask(message, SESSION)
    assert (decision.by, decision.category.code) == ("return", "ENERGY_SAVING")


@pytest.mark.parametrize("message", ANYTHING)
def test_a_wish_for_anything_else_gives_another_category(ask, message):
    codes = {ask(message, SESSION, seed=seed).category.code for seed in range(20)}
    assert ask(message, SESSION).by == "anything"
    assert "MEDIA" not in codes
    assert len(codes) > 2


@pytest.mark.parametrize("message", STAY)
def test_anything_else_keeps_the_session_s_category(ask, message):
    decision = ask(message, SESSION, given=True)
    assert (decision.by, decision.category.code, decision.word) == ("session", "MEDIA", None)


def test_every_keyword_of_every_category_names_it(ask, domain):
    for category in domain.categories.values():
        for keyword in (category.label, *category.keywords):
            assert ask(f"{keyword} 챌린지").category.code == category.code, keyword


def test_a_session_that_never_had_a_category_starts_with_the_default(ask):
    decision = ask("집에서 할 수 있는 챌린지 추천해줘")
    assert (decision.by, decision.category.code) == ("default", "ZERO_WASTE")
    assert decision.profile.category == "ZERO_WASTE"
    assert decision.profile.base_category is None


def test_going_back_without_a_base_category_keeps_what_is(ask):
    decision = ask("원래대로 해줘", Profile(category="VEGAN"))
    assert (decision.by, decision.category.code) == ("session", "VEGAN")


def test_free_text_leaves_the_base_category(ask):
    assert ask("비건 챌린지 추천해줘", SESSION).profile == Profile("VEGAN", "ENERGY_SAVING", {})


def test_anything_else_never_picks_what_the_message_does_not_want(ask):
    message = "비건이랑 플로깅 말고 아무거나 추천해줘"
    codes = {ask(message, SESSION, seed=seed).category.code for seed in range(60)}
    assert codes == {"ZERO_WASTE", "CARBON_FOOTPRINT", "ENERGY_SAVING", "UPCYCLING", "DIGITAL_CARBON"}


def test_only_the_wish_for_anything_minds_what_is_not_wanted(ask):
    vegan = Profile(category="VEGAN", base_category="VEGAN")
    assert ask("비건 말고 추천해줘", vegan).category.code == "VEGAN"
    assert ask("비건 말고 원래대로 해줘", vegan).category.code == "VEGAN"


def test_where_all_others_are_unwanted_the_session_s_category_stays(ask):
    message = "제로웨이스트, 플로깅, 탄소발자국, 에너지 절약, 업사이클, 디지털 탄소, 비건 말고 다른 거"
    assert ask(message, SESSION).category.code == "MEDIA"


@pytest.mark.parametrize(
    "mask", ["물고기", "공유기", "고기압", "동물원", "운동화", "방탄소년단", "시민운동", "이러닝", "전파사"]
)
def test_an_exception_hides_the_keyword_inside_it_and_no_other(ask, mask):
    assert ask(f"지구와 {mask}").by == "default"
    assert ask(f"지구와 {mask} 그리고 비건").category.code == "VEGAN"


def test_every_exception_hides_something(domain):
    rules = domain.rules
    words = [word for each in domain.categories.values() for word in (each.label, *each.keywords)]
    words += [word for field in domain.fields for option in field.words.values() for word in option]
    words += [*rules.any_phrases, *(a + b for a in rules.any_words for b in rules.any_targets), *rules.negations]
    flat = [word.replace(" ", "").casefold() for word in words]
    useless = [
        each for each in rules.keyword_exceptions if not any(word in each.replace(" ", "").casefold() for word in flat)
    ]
    assert useless == []


def test_a_message_typed_as_nfd_is_read_as_nfc(domain, morphemes):
    message = unicodedata.normalize("NFD", "비건 챌린지 추천해줘")
    tokens = morphemes.analyse(unicodedata.normalize("NFC", message))
    decision = decide(domain, message, tokens, Profile(), given=False, rng=random.Random(0))  # noqa: S311 - no secret
    assert decision.category.code == "VEGAN"


@pytest.mark.parametrize("message", ["비건 챌린지", "비건 말고 플로깅", "처음으로 해줘", "다른 거", "", "시발", "추천"])
def test_without_morphemes_a_message_is_still_decided(domain, message):
    assert decide(domain, message, (), SESSION, given=False, rng=random.Random(0)).category  # noqa: S311 - no secret


def test_base_info_chooses_everything(domain):
    guessed = Profile("VEGAN", None, {"location": Value("산", chosen=False)})
    values = {"category": "디지털탄소", "location": "해안가", "workType": "교대 근무"}
    decision = choose(domain, values, guessed)
    assert (decision.on_topic, decision.by, decision.category.code) == (True, "chosen", "DIGITAL_CARBON")
    assert decision.profile == Profile(
        "DIGITAL_CARBON",
        "DIGITAL_CARBON",
        {"location": Value("바닷가", chosen=True), "workType": Value("교대 근무", chosen=True)},
    )


def test_base_info_chooses_anew_each_time(domain):
    values = {"category": "비건", "location": "도시", "workType": "사무직"}
    first = choose(domain, values, Profile()).profile
    second = choose(domain, values | {"category": "플로깅", "location": "산"}, first).profile
    assert (second.category, second.base_category) == ("PLOGGING", "PLOGGING")
    assert second.values["location"] == Value("산", chosen=True)


def test_base_info_refuses_an_unknown_category(domain):
    with pytest.raises(ChoiceUnknown) as caught:
        choose(domain, {"category": "우주", "location": "도시", "workType": "사무직"}, Profile())
    assert caught.value.data == {"invalidFields": ["category"]}
