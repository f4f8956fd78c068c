"""A provider on this machine that keeps what it was sent, and a gateway before it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gateway_world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as made:
        yield made
