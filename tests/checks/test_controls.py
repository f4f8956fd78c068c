"""Controls: what must pass passes, what must fail fails, and twice the same; each way of breaking that is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff import api
from bakeoff.home import home
from bakeoff.records.checks import CheckReport
from bakeoff.records.controls import OracleControls
from bakeoff.records.results import Digests
from bakeoff.tasks.datasets import load_dataset

MakeTask = Callable[..., Path]
REWARD = "/logs/verifier/reward.txt"


async def controls(folder: Path) -> CheckReport:
    end = await api.check(str(folder), only=("controls",))
    assert end.report is not None
    return end.report


def wrong(folder: Path, name: str, script: str) -> None:
    (folder / "wrong" / name).mkdir(parents=True)
    (folder / "wrong" / name / "solve.sh").write_text(f"#!/bin/sh\n{script}\n")


async def test_a_sound_task_holds_and_every_control_ran_twice(make_task: MakeTask) -> None:
    folder = make_task("sound")
    wrong(folder, "half", "echo do > /app/answer.txt")
    wrong(folder, "elsewhere", "echo done > /app/answer")
    report = await controls(folder)
    assert report.ok
    assert [(item.name, item.attempt, item.expected, item.got) for item in report.controls] == [
        ("nop", 1, "not passed", "failed"),
        ("nop", 2, "not passed", "failed"),
        ("oracle", 1, "passed", "passed"),
        ("oracle", 2, "passed", "passed"),
        ("wrong/elsewhere", 1, "not passed", "failed"),
        ("wrong/elsewhere", 2, "not passed", "failed"),
        ("wrong/half", 1, "not passed", "failed"),
        ("wrong/half", 2, "not passed", "failed"),
    ]


async def test_an_oracle_that_passed_is_on_record_for_verifiers_that_break_later(make_task: MakeTask) -> None:
    folder = make_task("recorded")
    await controls(folder)
    (task,) = load_dataset(str(folder)).tasks
    lines = (home() / "evidence" / "controls.jsonl").read_text()
    assert task.digest in lines
    image = next(line for line in lines.splitlines() if task.digest in line).split('"image":"')[1].split('"')[0]
    known = OracleControls(home() / "evidence" / "controls.jsonl")
    assert known.passed(Digests(task=task.digest, verifier=task.verifier.digest, image=image))


FLAKY_SOLUTION = '#!/bin/sh\nprintf %s "$BAKEOFF_RUN_ID" > /app/answer.txt\n'
FLAKY_TEST = f'#!/bin/sh\ncase "$(cat /app/answer.txt)" in *-00001) echo 1;; *) echo 0;; esac > {REWARD}\n'


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"test": f"#!/bin/sh\necho 1 > {REWARD}\n"}, "doing nothing passes (passed, passed)"),
        ({"solve": FLAKY_SOLUTION, "test": FLAKY_TEST}, "the verdict is flaky: oracle ended as passed, failed"),
        ({"solve": "#!/bin/sh\necho dome > /app/answer.txt\n"}, "the oracle does not pass (failed, failed)"),
        (
            {"test": f"#!/bin/sh\n[ ! -f /app/answer.txt ] || echo 1 > {REWARD}\n"},
            "the tests gave no verdict on nop: verifier_error",
        ),
        ({"bakeoff": "", "extra": "", "needs": "no-such-command"}, "no control could be run: this machine lacks"),
    ],
    ids=["no-op passes", "flaky", "oracle fails", "no verdict", "cannot run here"],
)
async def test_a_broken_task_is_named(make_task: MakeTask, bad: dict[str, str], message: str) -> None:
    needs = bad.pop("needs", None)
    folder = make_task("broken", **bad)
    if needs:
        toml = folder / "task.toml"
        toml.write_text(toml.read_text().replace('needs = ["sh"]', f'needs = ["{needs}"]'))
    report = await controls(folder)
    assert not report.ok
    assert any(message in finding.message for finding in report.gates[0].findings), report.gates


async def test_a_wrong_solution_that_passes_is_named_with_its_file(make_task: MakeTask) -> None:
    folder = make_task(
        "lenient", test=f"#!/bin/sh\nif [ -s /app/answer.txt ]; then echo 1; else echo 0; fi > {REWARD}\n"
    )
    wrong(folder, "nonsense", "echo nonsense > /app/answer.txt")
    report = await controls(folder)
    (finding,) = report.gates[0].findings
    assert finding.file == "wrong/nonsense/solve.sh"
    assert finding.message.startswith("a wrong solution passes (passed, passed)")


async def test_what_failed_can_be_looked_at_and_what_held_leaves_nothing(make_task: MakeTask) -> None:
    bad = await controls(make_task("bad", solve="#!/bin/sh\ntrue\n"))
    kept = next(Path(item.path) for item in bad.controls if not item.ok)
    assert (kept / "verifier" / "stdout").is_file()
    assert str(kept) in bad.gates[0].findings[0].message or str(kept.parent) in bad.gates[0].findings[0].message
    good = await controls(make_task("good"))
    assert {item.path for item in good.controls} == {""}
    assert list((home() / "checks").glob("good.*")) == []


async def test_a_wrong_solution_of_one_step_leaves_the_other_steps_right(make_task: MakeTask) -> None:
    folder = make_task("steps")
    for name in ("one", "two"):
        step = folder / "steps" / name
        step.mkdir(parents=True)
        (step / "instruction.md").write_text(f"Write {name} into /app/{name}.txt.\n")
        for part in ("tests", "solution"):
            (step / part).mkdir()
        (step / "solution" / "solve.sh").write_text(f"#!/bin/sh\necho {name} > /app/{name}.txt\n")
        (step / "tests" / "test.sh").write_text(
            f'#!/bin/sh\nif [ "$(cat /app/{name}.txt)" = {name} ]; then echo 1; else echo 0; fi > {REWARD}\n'
        )
    for left in ("tests/test.sh", "solution/solve.sh", "instruction.md"):
        (folder / left).unlink()
    (folder / "tests").rmdir()
    (folder / "solution").rmdir()
    toml = folder / "task.toml"
    toml.write_text(toml.read_text() + '[[steps]]\nname = "one"\n[[steps]]\nname = "two"\n')
    late = folder / "steps" / "two" / "wrong" / "late"
    late.mkdir(parents=True)
    (late / "solve.sh").write_text("#!/bin/sh\necho too > /app/two.txt\n")
    report = await controls(folder)
    assert report.ok, report.gates
    assert {item.name for item in report.controls} == {"oracle", "nop", "wrong/late"}
