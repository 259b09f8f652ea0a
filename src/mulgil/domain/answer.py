"""The schema that the engine's text must match: a flat object of strings, each with a pattern.

Shape and alphabet are enforced while the engine writes, not asked for politely. A digit is allowed only where the
entry or the message has one, and a Latin word only if it stands there too: so no number and no name is made up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from mulgil.domain.display import RECOMMEND, Slot, keys
from mulgil.domain.model import AnswerRules, Frames

_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_LATIN_LIMIT = 8
# Not - and /: they need no escape here, and llama.cpp takes none.
_META = re.compile(r"[\\^$.|?*+()\[\]{}]")
_DIGIT = re.compile(r"[0-9]")


def patterns(rules: AnswerRules, slots: Sequence[Slot], ground: Mapping[str, str]) -> dict[str, str]:
    """Return the pattern of each field to write, in reading order, without its anchors.

    `ground` is the text that each field may take digits and Latin words from.
    """
    return {key: _pattern(rules, key, ground.get(key, "")) for key in keys(slots)}


def framed(frames: Frames, label: str, values: Mapping[str, str], word: str, begun: str = "") -> str:
    """Return the pattern whose every match is a right `recommend` sentence for this category and person.

    Where `begun` was already shown, only the sentences that begin with it are left, if there are any.
    """
    known = [told[option] for field, told in frames.phrases.items() if (option := values.get(field, "")) in told]
    leads = [frames.joiner.join(known) + frames.end] if known else []
    if word and word.isalnum() and word not in frames.unquoted:
        leads.append(Template(frames.word).substitute(word=word))
    leads = leads or list(frames.openers)
    subject = Template(frames.subject).substitute(category=label)
    sentences = [f"{lead} {subject}{closing}" for lead in leads for closing in frames.closings]
    left = [sentence for sentence in sentences if sentence.startswith(begun)] if begun else []
    return _either(left) if left else f"{_either(leads)} {_literal(subject)}{_either(frames.closings)}"


def continued(rules: AnswerRules, key: str, begun: str, ground: str) -> str:
    """Return the pattern of a field of which `begun` was already shown: it goes on from there."""
    most = max(1, _lengths(rules, key)[1] - len(begun))
    rest = f"{_unit(rules, ground)}{{0,{most}}}"
    if not key.startswith("t"):
        rest += f"(?:{rules.endings})"
        if re.search(f"(?:{rules.endings})$", begun):
            rest = f"(?:{rest})?"
    return _literal(begun) + rest


def schema(patterns: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON schema of an object of strings with these patterns, in this order."""
    return {
        "type": "object",
        "properties": {key: {"type": "string", "pattern": f"^{pattern}$"} for key, pattern in patterns.items()},
        "required": list(patterns),
        "additionalProperties": False,
    }


def _pattern(rules: AnswerRules, key: str, ground: str) -> str:
    least, most = _lengths(rules, key)
    ending = "" if key.startswith("t") else f"(?:{rules.endings})"
    return f"{_unit(rules, ground)}{{{least},{most}}}{ending}"


def _lengths(rules: AnswerRules, key: str) -> tuple[int, int]:
    if key == RECOMMEND:
        return rules.recommend
    return rules.title if key.startswith("t") else rules.description


def _unit(rules: AnswerRules, ground: str) -> str:
    units = [f"[{rules.letters} {rules.punctuation}]"]
    if _DIGIT.search(ground):
        units = [f"[{rules.letters} {rules.punctuation}0-9]", "[0-9]\\.[0-9]"]  # 2.5 ends no sentence
    words = list(dict.fromkeys(_LATIN.findall(ground)))[:_LATIN_LIMIT]
    return f"(?:{'|'.join([*units, *words])})"


def _either(texts: Sequence[str]) -> str:
    return "(?:" + "|".join(map(_literal, texts)) + ")"


def _literal(text: str) -> str:
    return _META.sub(r"\\\g<0>", text)
