"""What was asked, after the door checked it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["base-info", "free-text"]


@dataclass(frozen=True, slots=True)
class Question:
    """`message` for free-text; for base-info `values` by field name, options in canonical form, category by code."""

    kind: Kind
    message: str = ""
    values: Mapping[str, str] | None = None
