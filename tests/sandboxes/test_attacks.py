"""The attacks, on bubblewrap; and that each line of their table is what it says."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attacking import Attacks, Opener, code, excused
from attacks import ATTACKS
from conformance import PATH, finish
from haunting import Scenarios
from inside import kit
from machine_facts import machine

from bakeoff.images.host import host_root
from bakeoff.images.root import Root
from bakeoff.sandboxes.base import Mount, Sandbox, tar_bytes
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.process import ProcessBackend
from bakeoff.sandboxes.zygote.seccomp import GROUPS
from bakeoff.tasks.model import Environment, Network, NetworkMode
from bakeoff.tasks.protections import PROTECTIONS

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


@pytest.mark.skipif(not os.access("/", os.W_OK), reason="this user cannot make folders such as /logs")
@pytest.mark.usefixtures("machine_alone")
async def test_without_isolation_they_succeed(facts: dict[str, Any]) -> None:
    names = {attack.name for attack in ATTACKS.values() if attack.outside}
    backend = ProcessBackend()
    environment = Environment(workdir="/bakeoff-test/app")
    async with backend.open(environment, Root(kind="none"), [], "job/run") as box:
        await box.put(tar_bytes(code()), box.workdir)
        env = {**PATH, "FACTS": json.dumps(facts)}
        argv = ["/usr/bin/python3", "-m", "inside.run", *names]
        _, out, _ = await finish(await box.start(argv, env=env, cwd=box.workdir))
    await backend.close()
    assert excused({name: result for name, result in json.loads(out).items() if "broke" not in result}) == {}


def test_every_attack_is_shown_to_be_one() -> None:
    unproven = [
        attack.name
        for attack in ATTACKS.values()
        if not (attack.outside or attack.itself or (attack.defences and not attack.also))
    ]
    assert unproven == []


def test_every_attack_with_two_sides_has_its_test() -> None:
    tests = {name.removeprefix("test_") for name in dir(Scenarios) if name.startswith("test_")}
    # The others show that the attacks do what they must where they are not stopped.
    assert {name for name, attack in ATTACKS.items() if attack.scenario} == tests - {
        "a_process_that_enters_unprotected_is_had",
        "a_judge_is_seen_and_reached_where_the_agent_has_no_world_of_its_own",
        "a_judge_who_talks_to_a_service_loses_files_where_that_may_look_into_it",
        "a_judge_is_deceived_where_the_agent_has_no_world_of_its_own",
    }


def test_every_defence_is_a_protection_and_every_protection_a_defence() -> None:
    named = {name for attack in ATTACKS.values() for name in attack.defences}
    assert named == {protection.name for protection in PROTECTIONS}
    assert named > GROUPS.keys()


def test_every_attack_has_its_line_and_says_what_stops_it() -> None:
    assert {name for name, attack in ATTACKS.items() if not attack.scenario} == set(kit.ATTACKS)
    silent = [name for name, attack in ATTACKS.items() if not attack.tries or not (attack.by or attack.defences)]
    assert silent == []
