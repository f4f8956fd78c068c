"""Roots from elsewhere: their owners are right inside, and no link of theirs leads a mount out."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conformance import sh

from bakeoff.errors import SandboxError
from bakeoff.images.host import host_root
from bakeoff.images.root import Root
from bakeoff.images.stores import tar_root
from bakeoff.sandboxes.base import Mount
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.which import bubblewrap
from bakeoff.sandboxes.zygote import shifted, targets
from bakeoff.tasks.model import Environment, Network, NetworkMode

ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's files belong to one id")
WORLD = 0o777


@pytest.fixture
def victim() -> Iterator[Path]:
    """A folder of the machine in which anybody may write."""
    made = Path(tempfile.mkdtemp(prefix="bakeoff-victim-"))
    made.chmod(WORLD)
    yield made
    shutil.rmtree(made)


def over_host(layer: Path) -> Root:
    return Root(kind="host", paths=(*host_root().paths, str(layer)))


def linked(layer: Path, name: str, target: str) -> None:
    layer.mkdir(mode=0o755)
    (layer / name).symlink_to(target)


LINKS = {
    "a folder above the mount": ("agent", "/oldroot{}"),
    "relative": ("agent", "../oldroot{}"),
    "the mount itself": ("task_packet", "/oldroot{}/new"),
    "the temporary folder": ("tmp", "/oldroot{}/new"),
    "the devices": ("dev", "/oldroot{}"),
    "the processes": ("proc", "/oldroot{}"),
    "to a folder inside": ("agent", "var"),
}


@pytest.mark.parametrize(("name", "target"), LINKS.values(), ids=LINKS)
async def test_no_mount_goes_through_a_link(
    backend: BubblewrapBackend, tmp_path: Path, victim: Path, name: str, target: str
) -> None:
    linked(tmp_path / "layer", name, target.format(victim))
    (tmp_path / "packet").mkdir()
    mounts = (Mount("/etc/hosts", "/agent/evil"), Mount(str(tmp_path / "packet"), "/task_packet"))
    with pytest.raises(SandboxError, match=f"/{name} is a link in the root file system"):
        async with backend.open(ENVIRONMENT, over_host(tmp_path / "layer"), mounts, "job/run"):
            pass
    assert list(victim.iterdir()) == []


def test_looking_for_links_holds_nothing_open(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "a" / "b").mkdir(parents=True)
    (lower / "a" / "b" / "c").symlink_to("/etc")
    (upper / "a").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="/a/b/c is a link"):
        targets.refuse_links([str(lower), str(upper)], ["/x/y", "/a/b/c/d"])
    (upper / "a" / "b").mkdir()
    (upper / "a" / "b" / "c").mkdir()  # hides the link
    targets.refuse_links([str(lower), str(upper)], ["/a/b/c", "/a/b/c/d/e"])
    assert os.listdir("/proc/self/fd") == before


def test_without_that_a_link_leads_a_mount_out(tmp_path: Path, victim: Path) -> None:
    linked(tmp_path / "root", "agent", f"/oldroot{victim}")
    line = [
        bubblewrap().path,
        "--unshare-user",
        "--bind",
        tmp_path / "root",
        "/",
        "--ro-bind",
        "/etc/hosts",
        "/agent/evil",
    ]
    subprocess.run([*line, "true"], check=False, capture_output=True, timeout=20)
    assert [path.name for path in victim.iterdir()] == ["evil"]


async def test_a_link_that_an_agent_leaves_leads_nothing_out_of_a_snapshot(
    backend: BubblewrapBackend, victim: Path
) -> None:
    mounts = (Mount("/etc/hosts", "/agent/evil"),)
    async with backend.open(ENVIRONMENT, host_root(), mounts, "job/run") as box:
        ended, _, err = await sh(box, f"mv /agent /elsewhere && ln -s /oldroot{victim} /agent")
        assert ended.code == 0, err
        await box.snapshot()
        with pytest.raises(SandboxError, match="/agent is a link"):
            await sh(box, "true")
    assert list(victim.iterdir()) == []


async def test_a_link_that_a_snapshot_hides_is_none(backend: BubblewrapBackend, tmp_path: Path) -> None:
    async with backend.open(ENVIRONMENT, over_host(layer_with_link(tmp_path)), (), "job/run") as box:
        ended, _, err = await sh(box, "rm /agent && mkdir /agent")
        assert ended.code == 0, err
        root = await box.snapshot()
        async with backend.open(ENVIRONMENT, root, (Mount("/etc/hosts", "/agent/hosts"),), "job/run") as other:
            ended, out, err = await sh(other, "cat /agent/hosts")
            assert (ended.code, out) == (0, Path("/etc/hosts").read_bytes()), err


def layer_with_link(tmp_path: Path) -> Path:
    linked(tmp_path / "layer", "agent", "/etc")
    return tmp_path / "layer"


def owned_tar(path: Path) -> Path:
    with tarfile.open(path, "w") as tar:

        def add(
            name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, uid: int = 0, gid: int = 0, to: str = ""
        ) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid, entry.linkname = kind, mode, uid, gid, to
            if name == "srv/data":
                entry.pax_headers = {"SCHILY.xattr.user.note": "kept nowhere"}
            entry.size = 2 if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"#!"))

        add("bin", tarfile.SYMTYPE, to="usr/bin")
        add("usr/bin/sh", mode=0o755)
        add("srv", tarfile.DIRTYPE, 0o755)
        add("srv/data", mode=0o640, uid=33, gid=33)
        add("srv/again", tarfile.LNKTYPE, to="srv/data")
        add("srv/home", tarfile.DIRTYPE, 0o2770, uid=1000, gid=50)
        add("srv/link", tarfile.SYMTYPE, uid=1000, gid=1000, to="data")
        add("srv/raised", mode=0o6755, uid=33, gid=8)
        add("srv/null", tarfile.CHRTYPE)
        add("srv/pipe", tarfile.FIFOTYPE)
        add("srv/highest", uid=65534, gid=65534)
    return path


OWNED = """33:33 640 2 data
33:33 640 2 again
1000:50 2770 2 home
1000:1000 777 1 link
33:8 6755 1 raised
65534:65534 644 1 highest
"""


@ROOT_ONLY
async def test_owners_and_modes_of_an_archive_are_the_same_inside(backend: BubblewrapBackend, tmp_path: Path) -> None:
    unpacked = tar_root(owned_tar(tmp_path / "root.tar"))
    async with backend.open(ENVIRONMENT, over_host(Path(unpacked.paths[0])), (), "job/run") as box:
        names = [line.split()[-1] for line in OWNED.splitlines()]
        ended, out, err = await sh(box, f"cd /srv; stat -c '%u:%g %a %h %n' {' '.join(names)}")
        assert (ended.code, out.decode()) == (0, OWNED), err
        ended, out, _ = await sh(box, "ls /srv | wc -l; id -u", user="33")
        assert out.split() == [b"6", b"33"]  # neither the device nor the pipe
        # Whoever runs a program of another's does so as himself.
        program = "cp -p /usr/bin/id /srv/id; chown 33 /srv/id; chmod 6755 /srv/id; setpriv --reuid 1000 /srv/id -u"
        assert (await sh(box, program))[1] == b"1000\n"


OVERLAID = """
import asyncio, os, sys
from pathlib import Path
from bakeoff.errors import SandboxError
from bakeoff.images.host import host_root
from bakeoff.images.root import Root
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment
async def main():
    backend = BubblewrapBackend()
    layer = Path(os.environ["BAKEOFF_HOME"], "layer")
    layer.mkdir(0o755)
    (layer / "mine").touch()
    os.chown(layer / "mine", 33, 33)
    (layer / "mine").chmod(0o4750)
    root = Root(kind="host", paths=(*host_root().paths, str(layer)))
    async with backend.open(Environment(root="host"), root, (), "job/run") as box:
        script = "touch /root/here /app/here /etc/here && stat -c '%u:%g %a' / /etc /root /mine"
        process = await box.start(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, cwd="/")
        await process.stdin.close()
        print(b"".join([piece async for piece in process.stdout]).decode())
        await process.wait()
    large = layer.with_name("large")
    large.mkdir(0o755)
    os.truncate(os.open(large / "file", os.O_CREAT | os.O_WRONLY), 65 << 20)
    for _ in range(2):
        try:
            async with backend.open(Environment(root="host"), Root(kind="host", paths=(*root.paths, str(large))), (), "job/run"):
                pass
        except SandboxError as error:
            print(error)
    await backend.close()
asyncio.run(main())
"""


@ROOT_ONLY
def test_owners_are_right_where_the_file_system_maps_none(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    tmp_path.chmod(0o755)
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = f'mount -t overlay none -o {layers} {tmp_path}/merged && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", OVERLAID],
        env={**os.environ, "BAKEOFF_HOME": str(tmp_path / "merged")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.splitlines()
    assert said[:4] == ["0:0 755", "0:0 755", "0:0 700", "33:33 4750"], done.stderr
    remedy = "cannot show the owners of its files inside: keep the folder, or for an archive BAKEOFF_HOME, on ext4"
    assert [remedy in line for line in said[5:]] == [True, True]


def test_a_copy_stops_at_its_room(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").write_bytes(bytes(5000))
    (tmp_path / "from" / "link").symlink_to("/etc/shadow")
    for room, fits in ((7048, True), (7047, False)):
        target = tmp_path / str(room)
        target.mkdir()
        copy: Callable[[], None] = lambda target=target, room=room: shifted.copy(  # noqa: E731
            str(tmp_path / "from"), str(target), os.getuid(), 1, room
        )
        if fits and os.getuid() == os.getgid():
            copy()
            assert (target / "file").read_bytes() == bytes(5000)
            assert os.readlink(target / "link") == "/etc/shadow"
        elif not fits:
            with pytest.raises(shifted.TooLarge):
                copy()


def small_root(folder: Path) -> Path:
    """A root of a shell, cat, and the libraries that they need."""
    for program in ("/bin/sh", "/bin/cat"):
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=20, check=True).stdout
        for path in (program, *(word for word in listed.split() if word.startswith("/"))):
            place = folder / path[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o755)
    return folder


def test_a_root_inside_the_job_folder_is_a_root(tmp_path: Path, make_task: Callable[..., Path]) -> None:
    root = small_root(tmp_path / "jobs" / "root")
    line = [sys.executable, "-m", "bakeoff", "run", "-t", make_task(), "--root", root, "-a", "oracle", "-q"]
    done = subprocess.run([*line, "-o", root.parent], capture_output=True, text=True, timeout=60, check=False)
    assert "100.0% passed" in done.stdout, done.stderr
    assert not (root / "app").exists()
