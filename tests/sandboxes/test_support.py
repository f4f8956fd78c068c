"""Which fields are honoured, approximated or refused; which bubblewrap runs; what a machine is told to permit."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.sandboxes import probe, support, which
from bakeoff.sandboxes.base import Support
from bakeoff.tasks.model import Environment, Network, NetworkMode

NETWORK = "environment.network_mode"


@pytest.mark.parametrize(
    ("mode", "bubblewrap", "process"),
    [
        (NetworkMode.NONE, Support.ENFORCED, Support.APPROXIMATED),
        (NetworkMode.PUBLIC, Support.APPROXIMATED, Support.ENFORCED),
        (NetworkMode.ALLOWLIST, Support.APPROXIMATED, Support.REFUSED),
        (NetworkMode.HOST, Support.ENFORCED, Support.ENFORCED),
    ],
)
def test_the_network_is_answered_for_even_where_the_task_is_silent(
    mode: NetworkMode, bubblewrap: Support, process: Support
) -> None:
    environment = Environment(network=Network(mode=mode))
    assert support.bubblewrap(environment) == {NETWORK: bubblewrap}
    assert support.process(environment) == {NETWORK: process}


@pytest.mark.parametrize(
    ("field", "environment", "answer"),
    [
        ("environment.memory_mb", Environment(memory_mb=512), Support.APPROXIMATED),
        ("environment.cpus", Environment(cpus=2), Support.APPROXIMATED),
        ("environment.gpus", Environment(gpus=0), Support.ENFORCED),
        ("environment.gpus", Environment(gpus=1), Support.REFUSED),
        ("environment.compose", Environment(compose="x"), Support.REFUSED),
        ("environment.os", Environment(os="windows"), Support.REFUSED),
        ("environment.healthcheck", Environment(), Support.ENFORCED),
        ("agent.timeout_sec", Environment(), Support.ENFORCED),
        ("steps.verifier.collect.service", Environment(), Support.REFUSED),
    ],
)
def test_each_field_has_its_answer(field: str, environment: Environment, answer: Support) -> None:
    import msgspec

    named = msgspec.structs.replace(environment, fields=(field,))
    assert support.bubblewrap(named)[field] is answer


def test_what_control_groups_limit_is_enforced_where_they_can_be_used() -> None:
    fields = ("environment.memory_mb", "environment.cpus", "environment.storage_mb")
    environment = Environment(memory_mb=512, cpus=2, storage_mb=512, fields=fields)
    answers = support.bubblewrap(environment, {"memory", "pids"})
    assert [answers[field] for field in fields] == [Support.ENFORCED, Support.APPROXIMATED, Support.APPROXIMATED]


def test_one_bubblewrap_is_chosen_and_named() -> None:
    found = which.bubblewrap()
    assert found.origin in ("system", "wheel")
    assert Path(found.path).exists()
    assert tuple(map(int, found.version.split(".")[:2])) >= which.MINIMUM


def test_the_probe_says_that_this_machine_works() -> None:
    found = {check.name: check for check in probe.checks()}
    assert found["bubblewrap"].ok and found["namespaces"].ok and found["BAKEOFF_HOME"].ok
    assert which.bubblewrap().version in found["bubblewrap"].detail


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict_unprivileged_userns=0"),
        ("kernel.unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", "0", "max_user_namespaces=15000"),
    ],
)
def test_what_forbids_namespaces_is_named_with_its_remedy(
    name: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_sysctl", lambda asked: value if asked == name else "")
    monkeypatch.setattr(probe, "_in_container", lambda: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    message = probe.refused("unshare: Operation not permitted")
    assert remedy in message and "Operation not permitted" in message
