"""Korean text as morphemes: one Kiwi for the whole process, loaded once (about 4 s and 0.5 GB)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from kiwipiepy import Kiwi

_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


@dataclass(frozen=True, slots=True)
class Token:
    """A morpheme: its dictionary form, Kiwi's tag, and where it stands, in code points of the given text.

    A contraction's morphemes share the characters that they are contracted in.
    """

    form: str
    tag: str
    start: int
    end: int


class Morphemes:
    """Kiwi with the domain's own words. Any thread may call `analyse`; `analysed` is for the event loop's."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._kiwi = Kiwi(num_workers=1)
        for word in words:
            self._kiwi.add_user_word(word, "NNG")
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="morphemes")
        self.analyse("0")  # the first call builds Kiwi's tables, for 1.5 s and with the GIL: better now than in a turn

    def analyse(self, text: str) -> list[Token]:
        """Return the morphemes of `text`, in order."""
        # Given one string, Kiwi holds the GIL to the end (100 ms for 2,000 characters of a bad kind); given a list, its
        # own thread works while the caller waits without the GIL.
        with self._lock:
            (tokens,) = self._kiwi.tokenize([text.translate(_SURROGATES)])
        return [Token(token.form, str(token.tag), token.start, token.end) for token in tokens]

    async def analysed(self, text: str) -> list[Token]:
        """Return `analyse(text)`, worked out on this object's only thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.analyse, text)

    def close(self) -> None:
        """Stop the thread, after what it is doing."""
        self._thread.shutdown(cancel_futures=True)
