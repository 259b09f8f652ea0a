"""A message decided by the bundled domain's rules."""

import random
from collections.abc import Callable

import pytest

from mulgil.domain.decide import Decision, decide
from mulgil.domain.model import Domain, Profile
from mulgil.morphemes import Morphemes

Ask = Callable[..., Decision]


@pytest.fixture(scope="session")
def ask(domain: Domain, morphemes: Morphemes) -> Ask:
    def ask_(message: str, profile: Profile | None = None, *, given: bool = False, seed: int = 0) -> Decision:
        tokens = morphemes.analyse(message)
        return decide(domain, message, tokens, profile or Profile(), given, random.Random(seed))  # noqa: S311 - no secret

    return ask_
