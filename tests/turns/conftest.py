"""A flow and a store for each test of turns."""

import pytest
from doubles import Flow, Store


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def flow() -> Flow:
    return Flow()
