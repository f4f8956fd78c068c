"""What is listed as changed, whatever was done to the layers below; and snapshots that copy nothing."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from conformance import entry, fetch, pack, sh

from bakeoff.errors import SandboxError
from bakeoff.files.inside import FOLDER
from bakeoff.images.host import host_root
from bakeoff.images.root import Root
from bakeoff.sandboxes import bubblewrap
from bakeoff.sandboxes.base import Mount, Sandbox
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.changes import changes_between
from bakeoff.tasks.model import Environment

USR = [Mount("/usr", "/usr")]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has one id, and no files of others")


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A root whose programs are the machine's, with files in /data for all that can be done to them."""
    tmp_path.chmod(0o755)
    layer = tmp_path / "root"
    for folder in ("data/opaque/sub", "data/moved/b", "data/tofile", "data/mode", "data/owned", "data/deep/kept"):
        (layer / folder).mkdir(parents=True)
    for folder in ("usr", "tmp", "proc", "dev", "etc"):
        (layer / folder).mkdir()
    for name in ("bin", "lib", "lib64"):
        (layer / name).symlink_to(f"usr/{name}")
    for name in (
        "mode.txt", "same", "hard1", "todir", "link.txt", "opaque/old", "opaque/sub/x", "moved/a", "moved/b/c", "tofile/x",
        "deep/kept/f", "kept",
    ):  # fmt: skip
        (layer / "data" / name).write_text("old\n")
    os.link(layer / "data" / "hard1", layer / "data" / "hard2")
    return layer


def layers(*paths: Path) -> Root:
    return Root(kind="layers", paths=tuple(map(str, paths)))


async def changed(box: Sandbox) -> set[tuple[str, str, str]]:
    found = [change async for change in box.changes()]
    assert len({change.path for change in found}) == len(found)
    return {(change.path, change.kind, change.type) for change in found}


async def test_every_way_to_change_something_is_told_as_what_it_is(backend: BubblewrapBackend, layer: Path) -> None:
    script = r"""
cd /data
chmod 600 mode.txt; chmod 700 mode; cat same > t; cat t > same; rm t
echo more >> hard1; rm todir; mkdir todir; echo x > todir/in; rm -r tofile; echo x > tofile
rm -r opaque; mkdir opaque; echo x > opaque/new; mv moved moved2; rm link.txt; ln -s /etc link.txt
mkfifo pipe; echo x > "$(printf 'odd\377\nname')"; mkdir shut; echo x > shut/in; chmod 000 shut
echo x > gone; rm gone; mkdir -p was/there; rm -r was; touch deep/kept/f
"""
    made_inside = {
        ("/data/mode.txt", "modified", "file"), ("/data/mode", "modified", "folder"), ("/data/same", "modified", "file"),
        ("/data/hard1", "modified", "file"), ("/data/todir", "modified", "folder"), ("/data/todir/in", "added", "file"),
        ("/data/tofile", "modified", "file"), ("/data/opaque/old", "deleted", "file"), ("/data/opaque/sub", "deleted", "folder"),
        ("/data/opaque/new", "added", "file"), ("/data/moved", "deleted", "folder"), ("/data/moved2", "added", "folder"),
        ("/data/moved2/a", "added", "file"), ("/data/moved2/b", "added", "folder"), ("/data/moved2/b/c", "added", "file"),
        ("/data/link.txt", "modified", "link"), ("/data/pipe", "added", "fifo"), ("/data/odd\\xff\nname", "added", "file"),
        ("/data/shut", "added", "folder"), ("/data/shut/in", "added", "file"), ("/data/deep/kept/f", "modified", "file"),
    }  # fmt: skip
    async with backend.open(Environment(workdir="/made/for/it"), layers(layer), USR, "j/r") as box:
        _, _, err = await sh(box, script)
        assert err == b""
        assert await changed(box) == made_inside
        await box.snapshot()
        assert await changed(box) == made_inside
        await sh(box, "chmod 755 /data/mode; rm -r /data/opaque /data/moved2; echo x > /data/moved; rm /data/pipe")
        told = await changed(box)
    gone = {change for change in made_inside if change[0].startswith(("/data/opaque", "/data/mov", "/data/pipe"))}
    assert told == made_inside - gone - {("/data/mode", "modified", "folder")} | {
        ("/data/opaque", "deleted", "folder"),
        ("/data/moved", "modified", "file"),
    }
    assert (layer / "data" / "hard2").read_text() == "old\n"


@ROOT_ONLY
async def test_an_owner_alone_is_a_change_and_owners_are_those_inside(backend: BubblewrapBackend, layer: Path) -> None:
    os.chown(layer / "data" / "deep", 7, 8)
    async with backend.open(Environment(workdir="/w"), layers(layer), USR, "j/r") as box:
        ended, _, err = await sh(box, "chown 5:6 /data/owned; touch /data/deep/n; chown 5:6 /data/deep/n")
        assert ended.code == 0, err
        found = {(change.path, change.kind, change.uid, change.gid) async for change in box.changes()}
        assert found == {("/data/owned", "modified", 5, 6), ("/data/deep/n", "added", 5, 6)}
        fork = await box.snapshot()
        async with backend.open(Environment(workdir="/w"), fork, USR, "j/fork") as copy:
            assert (await sh(copy, "touch /data/owned/f; stat -c %u:%g /data/owned /data/deep"))[1] == b"5:6\n7:8\n"
            assert await changed(copy) == {("/data/owned/f", "added", "file")}


async def test_what_was_made_for_the_sandbox_is_not_the_agents_doing(
    backend: BubblewrapBackend, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("x")
    empty = tmp_path / "root"
    (empty / "usr").mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (empty / name).symlink_to(f"usr/{name}")
    mounts = [*USR, Mount(str(tmp_path / "file"), "/some/where/file"), Mount(str(tmp_path), "/other/place")]
    async with backend.open(Environment(workdir="/a/b/c"), layers(empty), mounts, "j/r") as box:
        assert await changed(box) == set()
        await sh(box, "echo x > f; echo x > ../g; mkdir /some/new")
        assert await changed(box) == {
            ("/a/b/c/f", "added", "file"),
            ("/a/b/g", "added", "file"),
            ("/some/new", "added", "folder"),
        }


def test_only_what_the_upper_layer_holds_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("base", "upper"):
        (tmp_path / name / "d").mkdir(parents=True)
    for number in range(3000):
        (tmp_path / "base" / "d" / f"f{number}").touch()
    (tmp_path / "upper" / "d" / "f7").touch()
    base, upper = (os.open(tmp_path / name, FOLDER) for name in ("base", "upper"))
    looked, real = [0], os.stat

    def counted(*args: object, **more: object) -> os.stat_result:
        looked[0] += 1
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", counted)
    assert [change.path for change in changes_between([base], [upper], frozenset())] == ["/d/f7"]
    monkeypatch.undo()
    assert looked[0] < 12
    os.close(base)
    os.close(upper)


# Snapshots


def _inodes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_ino for path in folder.rglob("*")}


async def test_a_snapshot_copies_no_file_however_many_there_are(backend: BubblewrapBackend) -> None:
    members = [entry(f"d{number % 50}/f{number}", b"x") for number in range(800)]
    async with backend.open(Environment(root="host"), host_root(), [], "j/r") as box:
        await box.put(pack(*members), "/app")
        (upper,) = (Path(os.environ["BAKEOFF_HOME"]) / "sandboxes").glob("*/j/*/u")
        before = _inodes(upper)
        assert len(before) > 850
        frozen = await box.snapshot()
        assert _inodes(Path(frozen.paths[-1])) == before
        assert [path.name for path in upper.parent.iterdir()] == ["f1"], "the work folder went, and nothing else came"
        assert await box.snapshot() == frozen, "nothing was written since, and nothing more is frozen"


async def test_forks_of_one_snapshot_live_side_by_side_and_have_forks_of_their_own(backend: BubblewrapBackend) -> None:
    environment = Environment(root="host")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(backend.open(environment, host_root(), [], "j/first"))
        await sh(first, "echo base > f; mkdir d; echo kept > d/k")
        root = await first.snapshot()
        forks = [await stack.enter_async_context(backend.open(environment, root, [], f"j/{n}")) for n in range(4)]
        for number, fork in enumerate(forks):
            await sh(fork, f"echo {number} >> f; echo x > d/{number}")
        for number, fork in enumerate(forks):
            assert (await sh(fork, "cat f; ls d"))[1].decode().split() == [
                "base",
                str(number),
                *sorted((str(number), "k")),
            ]
            assert await changed(fork) == {("/app/f", "modified", "file"), (f"/app/d/{number}", "added", "file")}
        below = root
        for depth in range(4):
            box = await stack.enter_async_context(backend.open(environment, below, [], f"j/deep{depth}"))
            assert (await sh(box, f"rm -r d; mkdir d; echo {depth} > d/{depth}; cat f"))[1] == b"base\n"
            below = await box.snapshot()
        assert set(await fetch(box, "/app/d")) == {"d", "d/3"}
        assert (await sh(first, "cat f; ls d"))[1] == b"base\nk\n"


async def test_snapshots_stack_beyond_what_mount_options_hold_of_long_paths(backend: BubblewrapBackend) -> None:
    long = f"{'j' * 100}/{'r' * 100}"
    async with backend.open(Environment(root="host"), host_root(), [], long) as box:
        for number in range(20):
            await sh(box, f"echo {number} > f{number}; echo {number} > last; rm -f f{number - 3}")
            root = await box.snapshot()
        assert len(root.paths) == 21 and 21 * 200 > 4096
        assert (await sh(box, "cat last; ls"))[1].split() == [b"19", b"f17", b"f18", b"f19", b"last"]
        assert {path for path, _, _ in await changed(box)} == {f"/app/{name}" for name in ("f17", "f18", "f19", "last")}


async def test_too_many_snapshots_are_an_error_that_says_so(
    backend: BubblewrapBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bubblewrap, "_LAYERS", 3)
    async with backend.open(Environment(root="host"), host_root(), [], "j/r") as box:
        for _ in range(2):
            await sh(box, "echo x > f")
            await box.snapshot()
        await sh(box, "echo x > f")
        await box.snapshot()
        with pytest.raises(SandboxError, match="4 snapshots and layers are on top of each other, and 3 is the most"):
            await sh(box, "true")
