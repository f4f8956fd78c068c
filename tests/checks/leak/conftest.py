"""Tasks with something planted in them, and the gate that looks for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from planting import BROKEN, EXPECTED, MEND, ORDERS, SOLVE, TEST, commit, git

from bakeoff.checks.base import Looked
from bakeoff.checks.leak import leak
from bakeoff.records.job import RunRequest
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.harbor import load


@pytest.fixture
def orders(make_task: Callable[..., Path]) -> Path:
    """A sound task about a file of orders: nothing hidden in it can be seen."""
    folder = make_task(
        "orders",
        solve=SOLVE,
        test=TEST,
        bakeoff='files = "environment/files"',
        instruction="Write the orders in /app/orders.csv that were paid to /app/paid-orders.csv, by date.\n",
    )
    (folder / "environment" / "files").mkdir(parents=True)
    (folder / "environment" / "files" / "orders.csv").write_text(ORDERS)
    (folder / "tests" / "expected.csv").write_text(EXPECTED)
    return folder


@pytest.fixture
def shop(make_task: Callable[..., Path]) -> Path:
    """A sound task about a repository with a fault in it, which the solution mends by writing a file anew."""
    folder = make_task(
        "shop",
        solve=MEND,
        test="#!/bin/sh\npython3 /tests/prices.py; echo $? >/logs/verifier/reward.txt\n",
        bakeoff='files = "environment/files"',
        instruction="The sums of /app/repo are wrong. Mend them.\n",
    )
    repository = folder / "environment" / "files" / "repo"
    repository.mkdir(parents=True)
    git(repository, "init", "-q")
    commit(repository, "README", "A shop.\n")
    commit(repository, "shop.py", BROKEN)
    return folder


@pytest.fixture
async def backend() -> AsyncIterator[BubblewrapBackend]:
    made = BubblewrapBackend()
    await made.check()
    yield made
    await made.close()


Look = Callable[..., Awaitable[Looked]]


@pytest.fixture
def look(backend: BubblewrapBackend) -> Look:
    """``await look(folder)``: what the gate finds in the task there; with ``root`` on that folder as its root."""

    async def go(folder: Path, root: Path | None = None) -> Looked:
        return await leak(load(folder), backend, RunRequest(root=str(root)) if root else None)

    return go


@pytest.fixture(scope="session")
def has_git(require: Callable[[str, bool, str], None]) -> None:
    require("git", shutil.which("git") is not None, "repositories are made with it")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with a shell and few programs, and no git."""
    made = tmp_path / "root"
    for name in ("sh", "rm", "cat", "cp", "mkdir"):
        program = shutil.which(name)
        assert program is not None
        _copy(Path(program), made / "bin" / name)
        for word in subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout.split():
            if word.startswith("/"):
                _copy(Path(word), made / word[1:])
    for folder in ("app", "tmp", "etc", "usr/bin"):
        (made / folder).mkdir(parents=True, exist_ok=True)
    return made


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)
