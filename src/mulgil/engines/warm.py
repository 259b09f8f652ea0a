"""Let every slot of llama.cpp know a prompt's unchanging beginning before the first user comes.

A prefix is read once, in one slot; its state is saved to a file and restored into the other slots, which takes
milliseconds. The file is kept, so that the next start restores it into all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp

from mulgil.engines.base import Message

KEPT = 16
"""Files of prefixes that are kept; a prompt that was edited leaves its old one behind."""

Prefix = Sequence[Message]


class Warmer:
    """Warms the slots of one server; `folder` is its slot folder, `identity` names model and sizes."""

    def __init__(self, session: aiohttp.ClientSession, slots: int, folder: Path, identity: str) -> None:
        self._session = session
        self._slots = slots
        self._folder = folder
        self._identity = identity

    async def warm(self, prefixes: Sequence[Prefix]) -> None:
        """Give every slot a prefix; several prefixes share the slots evenly, since a slot remembers one."""
        for number, prefix in enumerate(prefixes[: self._slots]):
            await self._warm(prefix, range(number, self._slots, len(prefixes)))
        self._tidy()

    async def _warm(self, prefix: Prefix, slots: range) -> None:
        text = await self._rendered(prefix)
        name = hashlib.sha256(json.dumps([self._identity, text]).encode()).hexdigest()
        file = self._folder / f"{name}.prefix"
        if file.exists() and await self._restored(file, slots):
            os.utime(file)
            return
        await self._read(text, slots[0])
        await self._save(slots[0], file)
        for slot in slots[1:]:
            if not await self._restored(file, range(slot, slot + 1)):
                await self._read(text, slot)

    async def _rendered(self, prefix: Prefix) -> str:
        messages = [asdict(message) for message in prefix]
        # Without the opening of an answer: what follows in a real prompt is another message.
        return str((await self._post("/apply-template", messages=messages, add_generation_prompt=False))["prompt"])

    async def _read(self, text: str, slot: int) -> None:
        await self._post("/completion", prompt=text, n_predict=0, id_slot=slot, cache_prompt=True)

    async def _save(self, slot: int, file: Path) -> None:
        new = file.with_suffix(f".{os.getpid()}")
        await self._post(f"/slots/{slot}?action=save", filename=new.name)
        new.replace(file)

    async def _restored(self, file: Path, slots: range) -> bool:
        """Restore the file into these slots; False: the engine refused it."""
        try:
            for slot in slots:
                await self._post(f"/slots/{slot}?action=restore", filename=file.name)
        except aiohttp.ClientResponseError:
            return False
        return True

    async def _post(self, path: str, **body: object) -> dict[str, Any]:
        async with self._session.post(path, json=body, raise_for_status=True) as response:
            found: dict[str, Any] = await response.json()
            return found

    def _tidy(self) -> None:
        files = sorted(self._folder.glob("*.prefix"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[KEPT:]:
            file.unlink(missing_ok=True)
