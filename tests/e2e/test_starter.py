"""The dataset ``starter`` as a user runs it: every solution passes, nothing else does, and nothing is skipped where all is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff.checks.validate.needs import NOT_EVERYWHERE
from bakeoff.tasks.datasets import load_dataset

Require = Callable[[str, bool, str], None]


@pytest.fixture(autouse=True)
def everything_is_installed(require: Require) -> None:
    needs = {need.partition(">")[0] for task in load_dataset("starter").tasks for need in task.environment.needs}
    lacking = sorted(name for name in needs & NOT_EVERYWHERE if shutil.which(name) is None)
    require("starter", not lacking, f"tasks of it need {', '.join(lacking)}")


def bakeoff(*args: str, home: Path) -> dict[str, object]:
    call = [sys.executable, "-m", "bakeoff", *args]
    env = {**os.environ, "BAKEOFF_HOME": str(home)}
    ran = subprocess.run(call, cwd=home, env=env, capture_output=True, text=True, timeout=880, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_every_solution_passes_and_no_task_is_skipped(tmp_path: Path) -> None:
    found = bakeoff("run", "-d", "starter", "-a", "oracle", "-q", "--json", home=tmp_path)
    assert found["counts"] == {"passed": len(load_dataset("starter").tasks)}


QUICK = ("rank-*", "tidy-*", "fix-broken-*", "recover-*", "merge-*")
"""One of every kind of judge: of data, of a folder, of a live service, of a repository, of a program."""


@pytest.mark.timeout(900)
def test_all_gates_hold(tmp_path: Path) -> None:
    """Of all tasks; of a few where somebody has checked all of them on this machine just before, and says so in BAKEOFF_CHECKED."""
    some = [word for name in QUICK for word in ("-i", name)] if os.environ.get("BAKEOFF_CHECKED") else []
    found = bakeoff("check", "starter", "-q", "--format", "json", *some, home=tmp_path)
    assert found["ok"] is True
