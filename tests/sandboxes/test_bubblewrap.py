"""The backend bubblewrap: the common suite on the host root."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest
from conformance import Conformance, Opener
from limiting import Limits

from bakeoff.images.host import host_root
from bakeoff.sandboxes.base import Mount, Sandbox, Support
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment, Network, NetworkMode

ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))


@pytest.fixture
async def backend() -> AsyncIterator[BubblewrapBackend]:
    made = BubblewrapBackend()
    yield made
    await made.close()
    assert os.path.isdir(host_root().paths[0])


@pytest.fixture
def opener(backend: BubblewrapBackend) -> Opener:
    @asynccontextmanager
    async def opened(mounts: Sequence[Mount] = (), environment: Environment = ENVIRONMENT) -> AsyncIterator[Sandbox]:
        async with backend.open(environment, host_root(), mounts, "job/run") as box:
            yield box

    return opened


@pytest.fixture
async def box(opener: Opener) -> AsyncIterator[Sandbox]:
    async with opener() as opened:
        yield opened


@pytest.fixture
async def enforced(backend: BubblewrapBackend) -> Collection[str]:
    await backend.check()
    fields = ("environment.memory_mb", "environment.cpus", "environment.storage_mb")
    answers = backend.supports(Environment(fields=fields))
    return [field for field in fields if answers[field] is Support.ENFORCED]


class TestBubblewrap(Conformance):
    pass


class TestLimits(Limits):
    pass
