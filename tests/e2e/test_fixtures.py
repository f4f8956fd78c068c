"""The shipped fixtures: real agents go through them again with no model, and notice whatever is not as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakeoff.checks.fixtures import check_fixtures
from bakeoff.gateway.replay.declared import volatile_for
from bakeoff.gateway.replay.roots import joined
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.traffic import Refused, Request
from bakeoff.records.fixtures import Fixture, find_fixtures, read_fixture
from bakeoff.records.journal import read_results
from bakeoff.tasks.datasets import load_task
from bakeoff.tasks.shipped import shipped_datasets
from recorded_traffic import Bytes

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures" / "starter"
SHIPPED = {str(folder.relative_to(FIXTURES)): read_fixture(folder) for folder in find_fixtures(FIXTURES)}
CARELESS = FIXTURES / "citation-check" / "codex-careless"
LARGEST = 128 << 10  # bytes of one fixture

ELSEWHERE = (
    (r"<current_date>[0-9-]{10}<", "<current_date>2031-02-28<"),
    (r"<timezone>[\w/+-]+<", "<timezone>America/New_York<"),
    (r"Today's date is [0-9-]{10}\.", "Today's date is 2031-02-28."),
    (r"The current month is \w+ [0-9]{4}", "The current month is February 2031"),
    (r"OS Version: Linux [^\\]+\\n", r"OS Version: Linux 5.10.0-3-cloud-amd64\\n"),
    (r"<system_information>\\n[^\\]+\\n", r"<system_information>\\nLinux 5.10.0-3-cloud-amd64 #1 SMP x86_64\\n"),
    (r"Chunk ID: [0-9a-f]{6}\\nWall time: [0-9.]+ ", r"Chunk ID: 0f0f0f\\nWall time: 77.1234 "),
)
"""What requests say of the time and the machine, and how another one says it."""


TOLD = {
    "citation-check": "tennant2009",
    "configure-git-webserver": "all as asked, and empty again",
    "decode-telemetry": "found 0 actions",
}
"""Words that the agent was told while it worked, by task."""


def bakeoff(*args: str | Path, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """``bakeoff ARGS`` with no key in its environment."""
    env = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
    call = [sys.executable, "-m", "bakeoff", *map(str, args)]
    return subprocess.run(
        call, cwd=cwd, env={**env, "BAKEOFF_HOME": str(home)}, capture_output=True, text=True, timeout=280, check=False
    )


def requests(fixture: Fixture, changed: Callable[[str], str]) -> Iterator[Request]:
    """What was recorded, as if it were asked again in other words."""
    for one in fixture.exchanges:
        body = Bytes(changed(fixture.body(one, "request").decode()).encode())
        yield Request(
            seq=one.seq,
            api=one.api,
            provider=one.provider,
            method=one.method,
            path=one.path,
            headers=one.request_headers,
            body=body,
        )


def replay_of(fixture: Fixture) -> Replay:
    told = fixture.provenance
    assert told is not None
    return Replay.open(
        fixture, volatile=volatile_for(told.agent.name, told.agent.version), roots=joined(told.roots), raw=told.raw
    )


def elsewhere(body: str) -> str:
    for pattern, other in ELSEWHERE:
        body = re.sub(pattern, other, body)
    return body


@pytest.mark.timeout(300)  # agents start eight times
def test_every_fixture_replays_to_its_outcome_and_reward(
    real_agent: Callable[[str], str], isolated_home: Path, tmp_path: Path
) -> None:
    for name in sorted({told.agent.name for one in SHIPPED.values() if (told := one.provenance)} - {"command"}):
        real_agent(name)
    ran = bakeoff("replay", FIXTURES, "--json", "-q", cwd=tmp_path, home=isolated_home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads(ran.stdout)
    assert len(report["trials"]) == len(SHIPPED)
    for trial in report["trials"]:
        assert (trial["outcome"], trial["reward"]) == (trial["recorded_outcome"], trial["recorded_reward"])
        assert (trial["unused"], trial["served"] > 1) == (0, True)
    assert {result.network for result in read_results(Path(report["job"]))} == {"none"}


def test_another_word_in_a_file_of_the_task_diverges(
    real_agent: Callable[[str], str], isolated_home: Path, tmp_path: Path
) -> None:
    real_agent("codex")
    task = tmp_path / "citation-check"
    shutil.copytree(shipped_datasets() / "starter" / "citation-check", task)
    draft = task / "environment" / "files" / "draft.md"
    draft.write_text(draft.read_text().replace("Long records of the sea level", "Long records of the sea levels"))
    refused = bakeoff("replay", CARELESS, "-t", task, cwd=tmp_path, home=isolated_home)
    assert refused.returncode == 2
    assert "task digest" in refused.stderr

    copy = tmp_path / "fixture"
    shutil.copytree(CARELESS, copy)
    told = json.loads((copy / "provenance.json").read_text())
    (copy / "provenance.json").write_text(json.dumps({**told, "task_digest": load_task(task).digest}))
    ran = bakeoff("replay", copy, "-t", task, "--json", "-q", cwd=tmp_path, home=isolated_home)
    assert ran.returncode == 4, ran.stdout + ran.stderr
    [trial] = json.loads(ran.stdout)["trials"]
    assert (trial["outcome"], trial["served"], trial["unused"]) == ("replay_diverged", 1, 2)
    assert "+Long records of the sea levels at small harbours" in trial["difference"]


@pytest.mark.parametrize("name", SHIPPED)
async def test_another_day_zone_and_kernel_make_no_difference(name: str) -> None:
    fixture = SHIPPED[name]
    replay = replay_of(fixture)
    asked = list(requests(fixture, elsewhere))
    for request, one in zip(asked, fixture.exchanges, strict=True):
        told = fixture.provenance
        assert told is not None
        assert told.agent.name == "command" or request.body.sha256 != one.request.sha256
        answer = await replay.answer(request)
        assert b"".join([piece async for piece in answer.body]) == fixture.body(one, "response")
    assert replay.unused() == ()


@pytest.mark.parametrize("name", SHIPPED)
async def test_another_character_in_what_a_tool_gave_diverges(name: str) -> None:
    fixture = SHIPPED[name]
    word = TOLD[name.partition("/")[0]]
    *before, last = requests(fixture, lambda body: body)
    replay = replay_of(fixture)
    for request in before:
        await replay.answer(request)
    changed = list(requests(fixture, lambda body: body.replace(word, word[::-1])))[-1]
    assert changed.body.sha256 != last.body.sha256
    with pytest.raises(Refused, match="no answer to this request"):
        await replay.answer(changed)


@pytest.mark.parametrize("agent", ["codex", "claude-code"])
def test_with_its_skill_an_agent_asks_something_else_than_without(agent: str) -> None:
    on, off = SHIPPED[f"citation-check/{agent}"], SHIPPED[f"citation-check/{agent}-no-skills"]
    assert [one.provenance.toggles for one in (on, off) if one.provenance] == [{"skills": "on"}, {"skills": "off"}]
    first = [one.body(one.exchanges[0], "request") for one in (on, off)]
    assert [b"check-citations" in body for body in first] == [True, False]
    last = [one.body(one.exchanges[-1], "request") for one in (on, off)]
    assert [b"/skills/check-citations/scripts/find_quote.py /app/sources" in body for body in last] == [True, False]


def test_there_are_failures_among_them_and_nobody_hides_them() -> None:
    rewards = {name: one.provenance.reward for name, one in SHIPPED.items() if one.provenance}
    assert {name for name, reward in rewards.items() if reward == 0} == {
        "citation-check/codex-careless",
        "decode-telemetry/mini-swe-agent-smollm2",
    }
    assert not (FIXTURES.parent / "known-bad.toml").exists()


@pytest.mark.parametrize("name", SHIPPED)
def test_provenance_tells_all_and_nothing_of_the_machine_that_recorded(name: str) -> None:
    told = SHIPPED[name].provenance
    assert told is not None
    assert all((told.data_revision, told.task_digest, told.verifier_digest, told.prompt_sha256, told.agent.digest))
    assert all((told.model, told.provider, told.bakeoff, told.image_digest, told.backend, told.captured_at))
    assert told.agent.files == ()
    assert {place.split("/")[1] for place in told.roots.values() if place.startswith("/")} <= {
        "app",
        "logs",
        "root",
        "task_packet",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_a_fixture_is_small(name: str) -> None:
    assert sum(file.stat().st_size for file in (FIXTURES / name).rglob("*") if file.is_file()) <= LARGEST


def test_all_gates_for_fixtures_hold() -> None:
    assert check_fixtures(FIXTURES, environment={}).ok
