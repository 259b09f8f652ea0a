"""The embedded engine's own process: llama.cpp's HTTP server, on this machine only.

`python -m mulgil.engines.llamacpp` reads one line of JSON (a `LlamaConfig`) from its standard input, loads the model,
writes one line `{"port": N}` and serves until its standard input ends or its parent dies.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
ERRORS_ONLY = 1
"""llama.cpp's verbosity that writes what went wrong, and nothing else."""

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """What the process is told; the key goes this way too, since a command line is public.

    context       tokens of one slot
    threads       0 takes the machine's cores
    cache_mib     memory for conversations that lost their slot
    slot_folder   where the prefixes' read state is kept between starts; empty: nowhere
    port          0 takes a free one
    parent        the process whose death ends this one
    """

    model: str
    slots: int = 4
    context: int = 4096
    threads: int = 0
    prefix_cache: bool = True
    cache_mib: int = 512
    slot_folder: str = ""
    key: str = ""
    port: int = 0
    parent: int = 0

    def to_line(self) -> bytes:
        """Return the config as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def main() -> None:
    """Serve one model until the parent lets go."""
    # The terminal sends Ctrl-C to the whole group; the supervisor decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = LlamaConfig(**json.loads(sys.stdin.buffer.readline()))
    _die_with(config.parent)
    threading.Thread(target=_leave_at_end_of_input, daemon=True).start()
    try:
        server = _server(config)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent gets its text and explains it
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        # The library's threads may still run: no destructors.
        os._exit(1)
    print(json.dumps({"port": int(server.listening_address.rsplit(":", 1)[1])}), flush=True)
    # Nobody reads the output any more: what a library prints later must not fill that pipe.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Event().wait()


def _leave_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(0)


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent: loading holds the interpreter, so the input can't be read."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        # It died before the kernel was told.
        os._exit(0)


def _server(config: LlamaConfig) -> Any:
    import xllamacpp  # noqa: PLC0415 - 100 MB of libraries that the parent, which imports LlamaConfig, must not load

    return xllamacpp.Server(_params(config, xllamacpp.CommonParams()))


def _params(config: LlamaConfig, params: Any) -> Any:
    params.model.path = config.model
    params.model_alias = {Path(config.model).stem}
    params.hostnames, params.port, params.api_keys = [HOST], config.port, [config.key]
    params.ui, params.verbosity, params.endpoint_props = False, ERRORS_ONLY, False
    params.n_parallel, params.n_ctx = config.slots, config.slots * config.context
    # Asked-for sizes are kept or refused, never shrunk in silence.
    params.fit_params = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config.threads or cores()
    # One sequence a slot: with a unified cache a restored prefix was dropped from half of the slots.
    params.kv_unified = False
    params.cache_prompt = config.prefix_cache
    params.cache_ram_mib = config.cache_mib if config.prefix_cache else 0
    if config.slot_folder:
        # The library joins folder and name as they are.
        params.slot_save_path = f"{config.slot_folder}/"
    return params


if __name__ == "__main__":
    main()
