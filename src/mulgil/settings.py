"""The only reader of the environment and of `mulgil.toml`: one frozen object, built at the composition root.

Order of precedence: the command line, `MULGIL_*` variables, `mulgil.toml` in the current folder (or `MULGIL_CONFIG`),
the defaults below. An unknown or bad value stops the start with a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from mulgil.errors import SetupError

_PREFIX = "MULGIL_"
_CONFIG = "MULGIL_CONFIG"


class Settings(BaseSettings):
    """Every setting, with its default. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(1, ge=1, description="Gateway processes; above 1 is refused in this version.")
    engine: str = Field(
        "llamacpp", description="`llamacpp`, `scripted`, or the base URL of an OpenAI-compatible server."
    )
    engine_key: str = Field("", description="API key for an engine given by its URL.", repr=False)
    model: str = Field("", description="A known name, a path of a GGUF file, or the name that the upstream serves.")
    models: Path = Field(Path("~/.cache/mulgil/models"), description="Folder where fetched models are kept.")
    domain: str = Field("eco_ko", description="A bundled domain's name, or a domain's folder.")
    data: Path = Field(Path("data"), description="Folder of the index and the sessions.")
    grounding: Literal["catalogue", "generate"] = Field(
        "catalogue", description="`catalogue`: challenges are catalogue entries; `generate`: the model writes them."
    )
    describe: Literal["auto", "model", "entry"] = Field(
        "auto", description="Who writes descriptions. `auto`: the entries for a known small model, else the model."
    )
    slots: int = Field(4, ge=1, le=256, description="Answers that the engine writes at once.")
    context: int = Field(4096, ge=1024, description="Tokens of context for each of them.")
    threads: int = Field(0, ge=0, description="Threads of the embedded engine; 0 takes the machine's cores.")
    prefix_cache: bool = Field(True, description="Let the embedded engine reuse what it read of a prompt.")
    temperature: float = Field(0.3, ge=0, le=2, description="Sampling temperature.")
    max_tokens: int = Field(600, ge=32, description="Most tokens of one answer.")
    queue_limit: int = Field(64, ge=0, description="Turns that may wait for the engine; more get 503.")
    connect_timeout: float = Field(5, gt=0, description="Longest time to connect to the engine.")
    first_token_timeout: float = Field(120, gt=0, description="Longest time until the engine's first chunk.")
    silence_timeout: float = Field(30, gt=0, description="Longest silence between two chunks.")
    turn_timeout: float = Field(280, gt=0, description="Longest turn, queueing included.")
    resume_grace: float = Field(5, ge=0, description="How long a turn goes on without a reader.")
    named_grace: float = Field(30, ge=0, description="The same for a turn whose id the client chose.")
    log_ttl: float = Field(600, ge=0, description="How long an ended turn can be read again.")
    heartbeat: float = Field(10, gt=0, description="Silence after which a stream gets a comment line.")
    drain: float = Field(5, ge=0, description="How long running turns may go on at shutdown.")
    sessions: Literal["sqlite", "memory"] = Field("sqlite", description="Where sessions are kept.")
    session_ttl: float = Field(86_400, gt=0, description="How long a session is kept after its last turn.")
    session_limit: int = Field(100_000, ge=1, description="Most sessions kept; the least recently used go first.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the command line first, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file())

    @property
    def engine_is_url(self) -> bool:
        """Whether the engine is somebody else's server."""
        return self.engine.startswith(("http://", "https://"))


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Return the settings; `given` are the command line's, `None` meaning not given. Raises `SetupError`."""
    _refuse_unknown()
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SetupError(" ".join(map(_sentence, error.errors()))) from error
    except ValueError as error:  # a mulgil.toml that is no TOML
        raise SetupError(f"{_config_file()}: is no TOML ({error}).") from error
    if settings.engine not in {"llamacpp", "scripted"} and not settings.engine_is_url:
        raise SetupError(
            f"engine: {settings.engine!r} is not known; use llamacpp, scripted, or a base URL such as http://host:port/v1."
        )
    if settings.workers > 1:
        raise SetupError(
            "workers: only 1 is supported in this version; start one gateway and put the load on the engine."
        )
    return settings


def _config_file() -> Path:
    return Path(os.environ.get(_CONFIG, "mulgil.toml"))


def _refuse_unknown() -> None:
    known = {_PREFIX + name.upper() for name in Settings.model_fields} | {_CONFIG}
    for name in sorted(os.environ):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            raise SetupError(f"{name}: there is no such setting; the known ones are listed in README.md.")
    if _CONFIG in os.environ and not _config_file().is_file():
        raise SetupError(f"{_CONFIG}: there is no file {_config_file()}.")


def _sentence(error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such setting; the known ones are listed in README.md."
    return f"{name}: {error['msg'].lower()}, but it is {error['input']!r}."
