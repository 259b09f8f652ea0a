"""Profanity is found however it is spelled; what merely contains its letters is not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.domain.profanity import is_profane
from mulgil.domain.talk import Talk

PROFANE = [
    "시발",
    "씨발 뭐야 이게",
    "아 시발 진짜 짜증나",
    "아씨발",
    "진짜씨발",
    "뭐야시발",
    "시발놈아 추천해줘",
    "시 발 추천해줘",
    "시.발 뭐야",
    "시1발",
    "시1발놈아",
    "씨@발 추천",
    "씨@발것들",
    "시~발",
    "시이이발",
    "시이발놈아",
    "씨바알",
    "시바알 추천",
    "씨이이발",
    "시발시발",
    "시발ㅋㅋ",
    "ㅋㅋ시발",
    "ㅅㅂ",
    "ㅅㅂ 추천해줘",
    "ㅅ ㅂ 추천",
    "ㅅ.ㅂ 추천",
    "ㅅ1ㅂ",
    "ㅆㅂ",
    "아ㅅㅂ",
    "ㅅㅂ놈아",
    "ㅋㅋㅅㅂ",
    "ㅅㅂㅋㅋ",
    "ㅅㅂㅅㅂ",
    "ㅅ발 뭐냐",
    "시ㅂ 뭐냐",
    "씨ㅂ알",
    "ㅅㅣㅂㅏㄹ",
    "ㅅ ㅣ ㅂ ㅏ ㄹ",
    "시바ㄹ",
    "ㅄ 같은 게",
    "ㅂㅅ",
    "ㅂㅅ아",
    "ㅂ ㅅ",
    "병신",
    "병1신",
    "병신아 추천해",
    "이 병신이",
    "병.신",
    "ㅂ신",
    "병ㅅ",
    "개새끼",
    "개새끼야",
    "개1새끼",
    "개 새끼야",
    "ㄱㅅㄲ",
    "fuck you",
    "FUCK",
    "fuckyou",
    "fuuuck",
    "fuuuuuck this",
    "f*ck",
    "f**k",
    "fu*k",
    "fck",
    "f u c k",
    "f.u.c.k",
    "fücking",
    "ｆｕｃｋ",
    "𝓯𝓾𝓬𝓴",
    "fuck이네 진짜",
    "motherfucker",
    "sh1t",
    "shit",
    "SHIT!",
    "sh!t",
    "$hit",
    "s h i t",
    "bullshit",
    "a$$hole",
    "asshole",
    "@sshole",
    "tlqkf",
    "tlqkf 추천",
    "아tlqkf",
    "t l q k f",
    "ㅈ",
    "ㅈ 같네",
    "ㅈ같네 진짜",
    "ㅈ까",
    "비건 ㅈ 추천",
    "좆같다",
    "존나 짜증나",
    "지랄하네",
    "ㅈㄹ하네",
    "씨8",
    "씨bal",
    "플로깅 시발 챌린지",
    "디지털 씨 발 챌린지",
    "ㅆ발",
    "씹새끼",
    "sibal",
    "썅년아",
    "개 새끼네",
    "개새끼들아",
    "SH1T",
    "fuuuuuck",
    "비건 추천해 시1발",
    "씨\u200b발 추천",
    "시\n발",
]
INNOCENT = [
    "시발점이 어디인가요",
    "KTX 시발역에서 추천해줘",
    "출시발표 캠페인을 알려줘",
    "제품 출시 발표",
    "다시 발견한 취미",
    "혹시 발생하는 쓰레기",
    "혹시발생하는 쓰레기",
    "역시 발로 뛰는 플로깅",
    "동시 발생",
    "즉시발송",
    "병신년에 태어났어요",
    "우리 시 발전 계획",
    "서울시 발표 자료",
    "도시 발전과 환경",
    "솜씨 발휘해서 만들기",
    "날씨 발표 보고 산책",
    "아저씨 발냄새",
    "수박 씨 발라 먹기",
    "씨발라먹는 수박",
    "shiitake 버섯 비건 요리",
    "shitake mushroom",
    "Scunthorpe에 살아요",
    "Matsushita 제품",
    "push it to the limit",
    "as soon as possible",
    "class assignment",
    "tlqkfaaaa",
    "감사합니다 ㄱㅅ",
    "수고 ㅅㄱ",
    "제발 ㅈㅂ",
    "죄송 ㅈㅅ",
    "ㅈㅈ",
    "ㅋㅋㅋ 재밌다",
    "ㅎㅎ 고마워요",
    "ㅠㅠ 도와줘",
    "ㅇㅇ 추천해줘",
    "ㄱㄱ",
    "ㄱㄴ? 추천해줘",
    "ㄴㄴ 다른 거",
    "ㅂㅂ",
    "ㄱ, ㄴ, ㄷ, ㄹ, ㅁ, ㅂ, ㅅ 순서로",
    "3시 발 열차",
    "9시발 열차",
    "개 새끼를 낳았어요",
    "강아지 새끼를 키워요",
    "꼭꼭 씹어 먹기",
    "위기가 닥쳐도",
    "불 꺼져 있는지 확인",
    "5개년 계획",
    "개, 새, 고양이",
    "시바견 키워요",
    "시바 라면",
    "존나단 길버트",
    "조나단",
    "지라시",
    "신발 추천",
    "시발 자동차",
    "병 신고하기",
    "화병 신품",
    "가시 발라낸 생선",
    "접시 발판",
    "택시 발전",
    "무시발",
    "잠시 발 담그기",
    "잠시 발을 담그고",
    "홍길동 씨 발표",
    "비타민C 발포정",
    "시 발주 공사",
    "십팔 기술",
    "18 번",
    "지난 18일에",
    "신발",
    "시발점을 알려주세요",
    "사건의 시발이 되었어요",
    "위기가 닥쳐와도 괜찮아요",
    "ㅋㅋㅋㅋ 비건 추천",
    "ㅎㅇ 추천해줘",
    "gun shot",
    "ship it",
    "fuchsia 화분",
]
LISTED = ["시발", "씨발", "fuck", "shit", "개새끼", "병신", "ㅅㅂ", "ㅄ", "ㅂㅅ", "fuckyou", "asshole", "tlqkf", "ㅈ"]


def profane(domain, morphemes, text: str) -> bool:
    return is_profane(domain.rules, Talk(text, morphemes.analyse(text)))


@pytest.mark.parametrize("text", PROFANE)
def test_profanity_is_found_however_it_is_spelled(domain, morphemes, text):
    assert profane(domain, morphemes, text)


@pytest.mark.parametrize("text", INNOCENT)
def test_a_word_that_merely_contains_such_letters_is_none(domain, morphemes, text):
    assert not profane(domain, morphemes, text)


@pytest.mark.parametrize("word", LISTED)
@pytest.mark.parametrize("frame", ["{}", "{} 추천해줘", "비건 챌린지 {}", "야, {}!", "플로깅 {} 추천", "({})"])
def test_each_listed_word_counts_wherever_it_stands(domain, morphemes, word, frame):
    assert profane(domain, morphemes, frame.format(word))


@pytest.mark.parametrize("word", ["시발", "씨발", "병신", "지랄"])
@pytest.mark.parametrize("sign", [" ", ".", "1", "@", "~", "-", "_", "*", "  ", "\u200b"])
def test_any_separator_between_syllables_is_seen_through(domain, morphemes, word, sign):
    assert profane(domain, morphemes, f"{word[0]}{sign}{word[1]} 추천해줘")


def test_nothing_overrides_profanity(ask):
    decision = ask("시발 비건 챌린지 추천해줘")
    assert decision.profane
    assert not decision.on_topic
    assert decision.word is None


def test_without_morphemes_words_between_spaces_are_still_found(domain):
    assert is_profane(domain.rules, Talk("아 시발 뭐야", ()))
    assert not is_profane(domain.rules, Talk("시발점 뭐야", ()))


@given(text=st.text(st.sampled_from("시씨발ㅅㅂㅈ병신fuck s1t*.ㅏㅣ새끼개\uff9e\u0301가"), max_size=40))
def test_no_mixture_of_letters_raises(domain, morphemes, text):
    profane(domain, morphemes, text)


@pytest.mark.parametrize("text", ["ㅅ", "시", "시이", "ㅅ ", "f", "f u ", "시.이.", "s1", "ㅈㅗㄴㄴ", "병 "])
def test_no_long_text_takes_long(domain, morphemes, text):
    long = (text * 2000)[:2000]
    talk = Talk(long, morphemes.analyse(long))
    is_profane(domain.rules, talk)
    started = time.thread_time()
    is_profane(domain.rules, talk)
    assert time.thread_time() - started < 0.2
