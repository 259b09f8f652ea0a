"""Thirty real answers of a model as Markdown, to be read by a person: every category, base-info and free text.

python benchmarks/read_answers.py --model qwen2.5-coder-1.5b > answers.md
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from typing import Any

import aiohttp
from tqdm import tqdm

from answer import QUESTIONS, served

PEOPLE = (
    ("도시", "사무직", "제로웨이스트"),
    ("바닷가", "현장직", "플로깅"),
    ("산", "영업직", "탄소발자국"),
    ("농촌", "재택근무", "에너지 절약"),
    ("도시", "영업직", "업사이클"),
    ("바닷가", "사무직", "문화 공유"),
    ("산", "재택근무", "디지털 탄소"),
    ("농촌", "현장직", "비건"),
    ("서울 마포구", "간호사", "제로웨이스트"),
    ("제주도", "카페 사장", "비건"),
)
MORE = (
    "일회용 컵을 너무 많이 써서 줄이고 싶어요",
    "다음 주에 해변에서 플로깅하려고 하는데 뭘 준비하면 좋을까요",
    "대중교통 말고도 탄소 줄이는 방법 추천해줘",
    "에어컨을 안 켜고 여름 나는 법 알려줘",
    "유리병이랑 상자를 재사용해 보고 싶어",
    "SNS에 환경 이야기를 올려 보고 싶은데 어떻게 할까요",
    "스마트폰을 오래 쓰는 것도 환경에 도움이 되나요?",
    "채식을 하루에 한 끼만 해 보려고 해요",
    "원룸에 사는 대학생인데 환경을 위해 뭘 할 수 있을까요",
    "아무거나 추천해줘",
)


def requests() -> list[tuple[str, dict[str, str]]]:
    """Return kind and body of each of the thirty."""
    people = [("base-info", dict(zip(("location", "workType", "category"), each, strict=True))) for each in PEOPLE]
    return people + [("free-text", {"message": text}) for text in (*QUESTIONS, *MORE)]


async def read(model: str, describe: str) -> tuple[int, int]:
    """Print the answers; return how many were whole, and how many were asked."""
    whole = 0
    asked = requests()
    with tempfile.TemporaryDirectory() as data:
        async with served(data, model, cache=True, describe=describe) as url, aiohttp.ClientSession() as http:
            for number, (kind, body) in enumerate(tqdm(asked, desc=model, unit=" answers"), start=1):
                began = time.perf_counter()
                async with http.post(f"{url}/ai/chatbot/recommendation/{kind}", json=body) as answer:
                    told = await answer.json()
                whole += show(number, body, told, time.perf_counter() - began)
    return whole, len(asked)


def show(number: int, body: dict[str, str], told: dict[str, Any], seconds: float) -> bool:
    """Print one answer; return whether it is whole."""
    print(f"{number}. **{' / '.join(body.values())}** ({seconds:.1f} s)")
    if told["status"] != 200 or not told["data"]["challenges"]:
        print(f"   - {told['status']} {told['message']} {told['data']}")
        return False
    print(f"   - {told['data']['recommend']}")
    for each in told["data"]["challenges"]:
        print(f"   - _{each['title']}_: {each['description']}")
    return len(told["data"]["challenges"]) == 3


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a known name or a GGUF file")
    parser.add_argument("--describe", default="model", choices=["model", "entry"], help="who writes the descriptions")
    given = parser.parse_args()
    whole, asked = asyncio.run(read(given.model, given.describe))
    print(f"\n{whole} of {asked} whole answers", file=sys.stderr)


if __name__ == "__main__":
    main()
