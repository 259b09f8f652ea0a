"""What retrieval is made of: entries of a catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a catalogue.

    `values` holds, by the name of a base-info field (`location`, `workType`), the options that the entry fits;
    an absent or empty tuple fits all.
    """

    id: str
    title: str
    description: str
    category: str
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
