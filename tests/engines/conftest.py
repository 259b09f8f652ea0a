"""What the engine tests share: the small real model, fetched once as a user would have it."""

from pathlib import Path

import pytest

from mulgil.engines.models import fetch, known


@pytest.fixture(scope="session")
def small_model() -> Path:
    """SmolLM2-135M in the user's own cache folder: 98 MB, once."""
    return fetch(known("smollm2-135m"), Path("~/.cache/mulgil/models").expanduser())
