"""Solutions in version-control history, wherever git keeps them."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from planting import BROKEN, FIXED, MEND, commit, git

from bakeoff.checks.base import Looked

Look = Callable[..., Awaitable[Looked]]
pytestmark = pytest.mark.usefixtures("has_git")
REPO = "environment/files/repo"


def old_commit(repository: Path) -> None:
    commit(repository, "shop.py", FIXED)
    commit(repository, "shop.py", BROKEN + "# now\n")


def unreachable(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    commit(repository, "shop.py", FIXED)
    git(repository, "reset", "-q", "--hard", before)
    git(repository, "reflog", "expire", "--expire=now", "--all")


def stashed(repository: Path) -> None:
    (repository / "shop.py").write_text(FIXED)
    git(repository, "stash")


def staged_once(repository: Path) -> None:
    (repository / "shop.py").write_text(FIXED)
    git(repository, "add", "shop.py")
    git(repository, "reset", "-q", "--hard")


def in_packs(repository: Path) -> None:
    old_commit(repository)
    git(repository, "gc", "-q", "--aggressive", "--prune=now")
    assert list(repository.glob(".git/objects/pack/*.pack"))


def bare_beside(repository: Path) -> None:
    old = repository.parent / "origin.git"
    git(repository, "clone", "-q", "--bare", ".", str(old))
    work = repository.parent.parent / "work"
    git(old, "clone", "-q", ".", str(work))
    commit(work, "shop.py", FIXED)
    git(work, "push", "-q")
    shutil.rmtree(work)


def on_the_way(repository: Path) -> None:
    commit(repository, "shop.py", FIXED.replace("count // 3", "count // 2"))
    commit(repository, "shop.py", BROKEN)


def broken_repository(repository: Path) -> None:
    old_commit(repository)
    (repository / ".git" / "HEAD").unlink()
    (repository / ".git" / "config").write_text("[[[\n")


def in_a_module(repository: Path) -> None:
    other = repository.parent.parent / "other"
    other.mkdir()
    git(other, "init", "-q")
    commit(other, "price.py", FIXED)
    (repository / ".git" / "modules").mkdir()
    shutil.move(other / ".git", repository / ".git" / "modules" / "price")
    shutil.rmtree(other)


def as_script_in_a_tag(repository: Path) -> None:
    git(repository, "tag", "-a", "kept", "-m", MEND)


def in_a_message(repository: Path) -> None:
    commit(repository, "README", "Two.\n", "How to mend it\n\n" + MEND)


PLANTED = (
    *(old_commit, unreachable, stashed, staged_once, on_the_way, in_packs, bare_beside, broken_repository, in_a_module),
    *(as_script_in_a_tag, in_a_message),
)


@pytest.mark.parametrize("plant", PLANTED)
async def test_a_solution_in_history_is_found(shop: Path, look: Look, plant: Callable[[Path], None]) -> None:
    plant(shop / REPO)
    found = await look(shop)
    assert found.findings
    assert all(finding.field.startswith("/app/") and "git" in finding.field for finding in found.findings)


async def test_a_history_without_the_solution_is_clean(shop: Path, look: Look) -> None:
    repository = shop / REPO
    commit(repository, "shop.py", BROKEN + "\n\ndef name():\n    return 'shop of many things'\n")
    commit(repository, "shop.py", BROKEN)
    git(repository, "gc", "-q")
    assert await look(shop) == Looked()


async def test_the_commit_and_the_path_in_it_are_named(shop: Path, look: Look) -> None:
    (shop / REPO / "src").mkdir()
    where = commit(shop / REPO, "src/shop.py", FIXED)
    commit(shop / REPO, "src/shop.py", "gone\n")
    (finding,) = (await look(shop)).findings
    assert finding.field == f"/app/repo/.git!commit {where[:12]}!src/shop.py"


async def test_a_history_that_is_meant_is_a_note(shop: Path, look: Look) -> None:
    old_commit(shop / REPO)
    toml = shop / "task.toml"
    toml.write_text(toml.read_text().replace("[agent]", 'meant = ["/app/repo/.git/**"]\n[agent]', 1))
    found = await look(shop)
    assert found.findings == ()
    assert "meant" in found.notes[0].message


async def test_what_a_repository_configures_is_never_run(shop: Path, look: Look) -> None:
    old_commit(shop / REPO)
    for key in ("core.fsmonitor", "core.pager", "alias.cat-file", "core.sshCommand"):
        git(shop / REPO, "config", key, "touch /app/ran; false")
    with open(shop / "solution" / "solve.sh", "a") as solve:
        solve.write("test ! -e /app/ran\n")
    found = await look(shop)
    assert found.findings
    assert found.notes == ()  # or the solution would have failed


async def test_a_setup_script_that_commits_the_solution_is_found(shop: Path, look: Look) -> None:
    script = f"#!/bin/sh\nset -eu\ncd /app/repo\ngit config user.name a; git config user.email a@b\ncat >shop.py <<'END'\n{FIXED}END\n"
    script += "git commit -qam good; git reset -q --hard HEAD~1; git reflog expire --expire=now --all\n"
    (shop / "environment" / "setup.sh").write_text(script)
    toml = shop / "task.toml"
    toml.write_text(toml.read_text().replace("[agent]", 'setup = "environment/setup.sh"\n[agent]', 1))
    (finding,) = (await look(shop)).findings
    assert finding.field.startswith("/app/repo/.git!commit ")


async def test_without_git_loose_objects_are_read_and_packs_are_told(shop: Path, look: Look, root: Path) -> None:
    old_commit(shop / REPO)
    repository = root / "srv" / "repo"
    shutil.move(shop / REPO, repository)
    (shop / REPO).mkdir()
    (shop / REPO / "shop.py").write_text(BROKEN)
    found = await look(shop, root)
    assert [finding.field.partition("!")[0] for finding in found.findings] == ["/srv/repo/.git"]
    git(repository, "gc", "-q", "--prune=now")
    found = await look(shop, root)
    assert found.findings == ()
    assert any("packs were not read" in note.message for note in found.notes)


async def test_other_histories_are_told(shop: Path, look: Look) -> None:
    (shop / REPO / ".hg").mkdir()
    (shop / REPO / ".hg" / "requires").write_text("store\n")
    (note,) = (await look(shop)).notes
    assert "Mercurial" in note.message
