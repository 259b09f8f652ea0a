"""The prompt as messages: a part that is the same for every user first, what changes last.

Templates are the domain's files: `system.<mode>.txt`, optionally `example.<mode>.user.txt` and `.assistant.txt`,
`user.<mode>.txt`, `entry.txt`. Messages are append-only over a session, so that the engine's prefix cache holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Literal

from mulgil.domain.model import Category, Domain, Profile

Mode = Literal["model", "entry", "generate"]
"""Who writes what: `model` describes chosen entries, `entry` only recommends them, `generate` writes everything."""

MODES: tuple[Mode, ...] = ("model", "entry", "generate")


def stable(domain: Domain, mode: Mode) -> list[tuple[str, str]]:
    """Return the messages, as (role, content), that every prompt of this mode begins with."""
    messages = [("system", domain.prompts[f"system.{mode}"])]
    for role in ("user", "assistant"):
        example = domain.prompts.get(f"example.{mode}.{role}")
        if example:
            messages.append((role, example))
    return messages


def asked(
    domain: Domain, mode: Mode, message: str, profile: Profile, category: Category, entries: Sequence[tuple[str, str]]
) -> str:
    """Return the user's message of one turn; `entries` are (title, description) in the answer's order.

    User text stands on one line, so that it can't pass for a part of the prompt.
    """
    prompts = domain.prompts
    known = [profile.values[field.name].text for field in domain.fields if field.name in profile.values]
    lines = [
        Template(prompts["entry"]).substitute(number=number, title=title, description=description)
        for number, (title, description) in enumerate(entries, start=1)
    ]
    return Template(prompts[f"user.{mode}"]).substitute(
        request=" ".join(message.split()) or prompts["request"],
        situation=", ".join(" ".join(text.split()) for text in known) or prompts["unknown"],
        category=category.label,
        entries="\n".join(lines),
    )
