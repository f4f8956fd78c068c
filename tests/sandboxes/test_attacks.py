"""The attacks, on bubblewrap; and that each line of their table is what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attacking import Attacks, Opener
from attacks import ATTACKS
from haunting import Scenarios
from inside import kit
from machine_facts import machine

from bakeoff.images.host import host_root
from bakeoff.sandboxes.base import Mount, Sandbox
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment, Network, NetworkMode

ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))


@pytest.fixture(scope="module")
def facts() -> Iterator[dict[str, Any]]:
    with machine() as found:
        yield found


@pytest.fixture
async def backend(facts: dict[str, Any]) -> AsyncIterator[BubblewrapBackend]:
    made = BubblewrapBackend()
    await made.check()
    yield made
    await made.close()


@pytest.fixture
def many_ids(backend: BubblewrapBackend) -> bool:
    return backend.ids > 1


@pytest.fixture
def opener(backend: BubblewrapBackend) -> Opener:
    @asynccontextmanager
    async def opened(mounts: Sequence[Mount] = (), without: frozenset[str] = frozenset()) -> AsyncIterator[Sandbox]:
        backend.without = without
        async with backend.open(ENVIRONMENT, host_root(), mounts, "job/run") as box:
            yield box

    return opened


class TestBubblewrap(Attacks, Scenarios):
    pass


def test_every_attack_is_shown_to_be_one() -> None:
    unproven = [
        attack.name
        for attack in ATTACKS.values()
        if not (attack.outside or attack.itself or (attack.defences and not attack.also))
    ]
    assert unproven == []


def test_every_attack_has_its_line_and_says_what_stops_it() -> None:
    assert {name for name, attack in ATTACKS.items() if not attack.scenario} == set(kit.ATTACKS)
    silent = [name for name, attack in ATTACKS.items() if not attack.tries or not (attack.by or attack.defences)]
    assert silent == []
