"""What code inside does to the files that are brought in, fetched and listed; each defence is shown to be needed."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conformance import PATH, content, entry, fetch, finish, pack, read, sh

from bakeoff.errors import SandboxError
from bakeoff.files import inside, tar
from bakeoff.sandboxes import filework, transfer
from bakeoff.sandboxes.base import Change, Sandbox
from bakeoff.tasks.model import Environment, Network, NetworkMode

ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))
PYTHON = "/usr/bin/python3"


async def python(box: Sandbox, script: str, **more: object) -> bytes:
    """Run a script inside; what it prints."""
    options = {"env": PATH, "cwd": box.workdir, **more}
    async with asyncio.timeout(60):
        ended, out, err = await finish(await box.start([PYTHON, "-c", script], **options))  # type: ignore[arg-type]
    assert ended.code == 0, err.decode()
    return out


@asynccontextmanager
async def attacker(box: Sandbox, script: str, **more: object) -> AsyncIterator[None]:
    """A script that goes on inside until the block ends; it says when it has begun."""
    options = {"env": PATH, "cwd": box.workdir, **more}
    process = await box.start([PYTHON, "-c", script], **options)  # type: ignore[arg-type]
    async for _ in process.stdout:
        break
    try:
        yield
    finally:
        await process.kill()
        await process.wait()


async def changes(box: Sandbox) -> list[Change]:
    return [change async for change in box.changes()]


SWAP = """
import ctypes, os
libc = ctypes.CDLL(None)
def exchange(a, b):
    libc.renameat2(-100, a, -100, b, 2)
"""


# Links


async def test_a_link_at_any_place_of_a_path_leads_nowhere_else(box: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "a" / "b" / "secret"
    secret.parent.mkdir(parents=True)
    secret.write_text("secret")
    parts = ["a", "b", "secret"]
    for at in range(len(parts)):
        name = f"way{at}"
        folder = "/".join([name, *parts[:at]])
        target = tmp_path.joinpath(*parts[: at + 1])
        await sh(box, f"mkdir -p {folder}; ln -s {target} {folder}/{parts[at]}")
        path = f"{box.workdir}/{name}/" + "/".join(parts)
        with pytest.raises(FileNotFoundError):
            await read(box.get(path, max_bytes=1 << 20))
        with pytest.raises(SandboxError):
            await box.put(pack(entry("planted", b"x")), path)
        # The defence is needed: what the link says is there for whoever resolves it on this machine.
        assert Path(os.path.realpath(target)).exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "secret"]


async def test_magic_links_are_no_way_out(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    async with attacker(box, "import os,time; os.open('/',0); print(1, flush=True); time.sleep(60)"):
        last = "import os\nprint(max(int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()))"
        pid = int(await python(box, last))
        for path in (f"/proc/{pid}/root", f"/proc/{pid}/cwd", f"/proc/{pid}/fd/3", "/proc/self/root", "/proc/1/root"):
            await sh(box, f"ln -sfn {path} magic")
            for name in (path, "/app/magic"):
                with pytest.raises((SandboxError, FileNotFoundError)):
                    await read(box.get(f"{name}{tmp_path}/secret", max_bytes=1 << 20))
                with pytest.raises((SandboxError, FileNotFoundError)):
                    await box.put(pack(entry("planted", b"x")), f"{name}{tmp_path}")
    assert os.listdir(tmp_path) == ["secret"]


async def test_folders_and_links_exchanged_in_a_loop_lead_nowhere(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("secret")
    loop = f"""{SWAP}
os.makedirs('d/e'); open('d/e/f', 'w').write('inside')
os.makedirs('x'); os.symlink({str(tmp_path)!r}, 'x/e')
print(1, flush=True)
while True: exchange(b'd/e', b'x/e')
"""
    seen: set[str] = set()
    async with attacker(box, loop):
        for number in range(400):  # as often as it takes to meet each side of the race, 40 times at least
            if number >= 40 and {"put", "folder", "link"} <= seen:
                break
            try:
                await box.put(pack(entry("e/g", b"x"), entry("e/sub/h", b"x"), entry(f"h{number}", b"x")), "/app/d")
                seen.add("put")
            except SandboxError:
                pass
            found = await fetch(box, "/app/d")
            seen.add("folder" if found.get("d/e") is not None and found["d/e"].isdir() else "link")
            assert b"secret" not in await read(box.get("/app/d", max_bytes=1 << 24))
            try:
                assert await content(box, "/app/d/e/f") == b"inside"
            except (FileNotFoundError, SandboxError):
                seen.add("gone")
    assert {"put", "folder", "link"} <= seen, "the race was run"
    assert os.listdir(tmp_path) == ["f"]


def test_the_same_race_is_lost_by_one_who_checks_and_then_opens(tmp_path: Path) -> None:
    """With the defence off: a path that was seen to be a folder is a link when it is opened."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f").write_text("secret")
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / "f").write_text("inside")
    (tmp_path / "in" / "l").symlink_to(tmp_path / "out")
    root = os.open(tmp_path / "in", inside.FOLDER)
    try:
        assert stat.S_ISDIR(os.stat("d", dir_fd=root, follow_symlinks=False).st_mode)
        os.rename(tmp_path / "in" / "d", tmp_path / "in" / "e")
        os.rename(tmp_path / "in" / "l", tmp_path / "in" / "d")
        with open(os.open("d/f", os.O_RDONLY, dir_fd=root)) as stream:
            assert stream.read() == "secret"
        with pytest.raises(FileNotFoundError):
            inside.open_inside(root, "d/f", os.O_RDONLY)
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            inside.open_below(root, b"d")
    finally:
        os.close(root)


async def test_nothing_is_written_to_what_the_kernel_makes_up(box: Sandbox) -> None:
    await sh(box, "ln -s /proc/1 p; ln -s /proc/sys/kernel k; ln -s /dev/pts t; ln -s /proc/self/fd s")
    for path in ("/proc", "/proc/1", "/proc/sys/kernel", "/dev/pts", "/app/p", "/app/k", "/app/t", "/proc/1/task"):
        for fresh in (False, True):
            if fresh and path.startswith("/app/"):
                continue  # there the link goes, and a folder comes
            with pytest.raises(SandboxError):
                await box.put(pack(entry("mem", b"x"), entry("core_pattern", b"|x")), path, fresh=fresh)
        with pytest.raises(SandboxError, match="kernel"):
            await read(box.get(path, max_bytes=1 << 30))
    with pytest.raises(SandboxError):
        await box.put(pack(entry("proc/1/mem", b"x")), "/")
    assert (await sh(box, "cat /proc/sys/kernel/core_pattern; echo fine"))[1].endswith(b"fine\n")


async def test_a_mount_point_is_emptied_where_fresh_is_asked_for(box: Sandbox) -> None:
    await sh(box, "mkdir -p /tmp/a/b; echo x > /tmp/a/f; chmod 000 /tmp/a")
    await box.put(pack(entry("only", b"x")), "/tmp", fresh=True)
    assert (await sh(box, "ls -A /tmp"))[1] == b"only\n"
    for path in ("/usr", "/"):
        with pytest.raises(SandboxError):
            await box.put(pack(entry("only", b"x")), path, fresh=True)


async def test_hard_links_inside_lead_to_files_of_the_stream_alone(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    data = [entry("d/f", b"one", mode=0o640), entry("d/g", kind=tar.HARD_LINK, target=b"d/f")]
    await box.put(pack(*data), "/app")
    assert (await sh(box, "stat -c '%h %a %s' d/f d/g"))[1] == b"2 640 3\n2 640 3\n"
    found = await fetch(box, "/app/d")
    assert found["d/f"].isreg() and found["d/g"].isreg() and found["d/g"].size == 3
    await sh(box, f"ln -s {tmp_path} out; ln -s /etc e; ln -s d/f l")
    for target in (f"out{tmp_path}/secret", "out/secret", "e/passwd", "../etc/passwd", "l", "d", "/etc/passwd"):
        with pytest.raises(SandboxError):
            await box.put(pack(entry("hard", kind=tar.HARD_LINK, target=os.fsencode(target))), "/app")
    # A file that is there under another name too is replaced, and never written through.
    await sh(box, "mkdir n; echo kept > n/a; ln n/a n/b")
    await box.put(pack(entry("a", b"new")), "/app/n")
    assert (await sh(box, "cat n/b"))[1] == b"kept\n"


# Files that are not what they seem


async def test_a_file_that_grows_shrinks_or_goes_while_it_is_read_makes_no_broken_tar(box: Sandbox) -> None:
    loop = """
import os
os.makedirs('g')
print(1, flush=True)
while True:
    with open('g/grows', 'ab') as f: f.write(b'x' * 70000)
    if os.stat('g/grows').st_size > 3_000_000: os.truncate('g/grows', 0)
    with open('g/shrinks', 'wb') as f: f.write(b'y' * 2_000_000)
    os.truncate('g/shrinks', 1000)
    with open('g/goes', 'wb') as f: f.write(b'z' * 1000)
    os.unlink('g/goes')
"""
    async with attacker(box, loop):
        for _ in range(15):
            data = await read(box.get("/app/g", max_bytes=1 << 26))
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    assert stream is None or len(stream.read()) == member.size
            assert len(data) % 512 == 0 and data.endswith(tar.END)


async def test_files_of_terabytes_are_refused_at_once_and_holes_are_bounded(box: Sandbox) -> None:
    await sh(box, "mkdir s; truncate -s 8T s/huge || truncate -s 15T s/huge; truncate -s 64M s/hole")
    start = time.monotonic()
    with pytest.raises(SandboxError, match="more bytes than allowed"):
        await read(box.get("/app/s", max_bytes=16 << 30))
    assert time.monotonic() - start < 5
    await sh(box, "rm s/huge; for i in 1 2 3 4 5 6 7 8; do truncate -s 64M s/$i; done")
    with pytest.raises(SandboxError, match="more bytes than allowed"):
        await read(box.get("/app/s", max_bytes=100 << 20))
    assert (await fetch(box, "/app/s/hole", 65 << 20))["hole"].size == 64 << 20


async def test_what_is_no_file_is_neither_opened_nor_waited_for(box: Sandbox) -> None:
    await python(
        box,
        "import os, socket\nos.makedirs('o/d')\nos.mkfifo('o/p')\nsocket.socket(socket.AF_UNIX).bind('o/s')\n"
        "os.symlink('/dev/zero', 'o/zero')\nos.symlink('p', 'o/lp')\nopen('o/f','w').write('x')",
    )
    async with asyncio.timeout(10):
        found = await fetch(box, "/app/o")
        assert set(found) == {"o", "o/d", "o/f", "o/zero", "o/lp"}
        for path in ("/app/o/p", "/app/o/s", "/dev/zero", "/dev/null", "/app/o/zero", "/app/o/lp"):
            assert await fetch(box, path) == {}
        await box.put(pack(entry("p", b"file"), entry("s", b"file"), entry("zero", b"file")), "/app/o")
    assert (await sh(box, "cat o/p o/s o/zero; stat -c %F o/p o/s o/zero | sort -u"))[
        1
    ] == b"filefilefileregular file\n"
    odd = [(entry("q", kind=kind), kind) for kind in (tar.FIFO, tar.CHARACTER, tar.BLOCK_DEVICE)]
    await box.put(pack(*(member for member, _ in odd)), "/app/o")
    assert "o/q" not in await fetch(box, "/app/o") and b"q" not in (await sh(box, "ls o"))[1]


async def test_a_folder_becomes_a_file_and_a_file_a_folder(box: Sandbox) -> None:
    await sh(box, "mkdir -p r/d/e; echo x > r/d/e/f; echo x > r/f; chmod 000 r/d/e; chmod 500 r")
    await box.put(pack(entry("d", b"file now"), entry("f/below", b"x"), entry("f", kind=tar.FOLDER)), "/app/r2")
    members = [entry("d", b"file now"), entry("f", kind=tar.FOLDER, mode=0o711), entry("f/below", b"x")]
    await box.put(pack(*members), "/app/r")
    assert (await sh(box, "cat r/d; stat -c '%F %a' r r/f; cat r/f/below"))[1] == (
        b"file nowdirectory 500\ndirectory 711\nx"
    )


async def test_files_and_folders_that_nobody_may_touch_are_brought_and_fetched(box: Sandbox) -> None:
    members = [entry("z", kind=tar.FOLDER, mode=0), entry("z/f", b"x", mode=0), entry("z/d", kind=tar.FOLDER, mode=0)]
    for _ in range(2):
        await box.put(pack(*members, entry("z/d/g", b"y", mode=0o4000)), "/app")
    found = await fetch(box, "/app/z")
    assert {name: member.mode for name, member in found.items()} == {"z": 0, "z/f": 0, "z/d": 0, "z/d/g": 0o4000}


# Many, deep, odd


async def test_names_of_every_kind_come_out_as_they_are_and_inject_nothing(box: Sandbox) -> None:
    script = r"""
import os
os.makedirs('names')
for name in NAMES:
    open(b'names/' + name, 'wb').write(name)
"""
    names = [
        b"\n", b"a\nb", b"-rf", b"--", b"..a", b"...", b" ", b"\xff\xfe\x80", b"13 path=evil\n", b"x=y\n17 size=9\n",
        "\u202e\N{SNOWMAN}".encode(), b"a" * 255, b"\xc3\x28", b"\\x41", b"*", b"'\"$(id)`", b"\x01\x7f", b"@LongLink",
        b"pax_global_header", b"C:\\x",
    ]  # fmt: skip
    await python(box, script.replace("NAMES", repr(names)))
    data = await read(box.get("/app/names", max_bytes=1 << 24))
    parser, found = tar.Parser(), dict[bytes, bytes]()
    name = b""
    for member, piece in parser.feed(data):
        if member is not None:
            name = member.name
        elif piece is not None:
            found[name.removeprefix(b"names/")] = piece
    assert found == {name: name for name in names}
    await box.put(pack(*((tar.Member(name=b"back/" + name), name) for name in names)), "/app")
    assert (
        await python(box, "import os\nprint(sorted(os.listdir(b'back')) == sorted(os.listdir(b'names')))") == b"True\n"
    )
    told = {change.path for change in await changes(box)}
    assert {"/app/names/\\xff\\xfe\\x80", "/app/names/a\nb", "/app/names/\\xc3("} <= told
    await sh(box, "rm -r names back")


async def test_folders_a_thousand_levels_deep_are_brought_fetched_listed_and_removed(box: Sandbox) -> None:
    make = """
import os
os.mkdir('deep'); os.chdir('deep')
for i in range(LEVELS):
    os.mkdir('d'); os.chdir('d')
    if i % 100 == 0: open('a', 'w').close()
    if i % 50 == 0: os.mkdir('z')
"""
    await python(box, make.replace("LEVELS", "1100"))
    found = await fetch(box, "/app/deep")
    assert len(found) == 1 + 1100 + 11 + 22
    paths = [change.path for change in await changes(box)]
    assert len(paths) == len(set(paths)) == len(found) and max(map(len, paths)) == len("/app/deep") + 2200
    await box.put(box.get("/app/deep", max_bytes=1 << 26), "/app/copy")
    assert (await sh(box, "find copy | wc -l; find deep | wc -l"))[1].split() == [b"1135", b"1134"]
    for name in ("deep", "copy"):
        await box.put(pack(entry("f", b"")), f"/app/{name}", fresh=True)
    # Beyond what any program can name: said, not followed; and removed all the same.
    await sh(box, "rm -r deep")
    await python(box, make.replace("LEVELS", "2200"))
    with pytest.raises(SandboxError, match="longer than"):
        await read(box.get("/app/deep", max_bytes=1 << 26))
    listed: list[Change] = []
    with pytest.raises(SandboxError, match="too deep"):
        async for change in box.changes():
            listed.append(change)
    assert len(listed) > 2043
    await box.put(pack(entry("f", b"")), "/app/deep", fresh=True)
    assert set(await fetch(box, "/app/deep")) == {"deep", "deep/f"}
    with pytest.raises(SandboxError):
        await box.put(pack(entry("/".join(["d" * 200] * 30), b"x")), "/app")


async def test_descriptors_are_bounded_however_deep_the_folders_are(box: Sandbox) -> None:
    await python(box, "import os\nfor i in range(600):\n    os.mkdir('d'); os.mkdir('e'); os.chdir('d')\n")
    before = _descriptors()
    most = 0
    async for _ in box.get("/app", max_bytes=1 << 26):
        most = max(most, _descriptors())
    async for _ in box.changes():
        most = max(most, _descriptors())
    assert most - before < 140
    assert _descriptors() <= before


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Owners


@pytest.mark.skipif(os.geteuid() != 0, reason="one id alone is there for an ordinary user")
async def test_owners_come_and_go_as_the_ids_that_are_inside(box: Sandbox) -> None:
    members = [
        entry("o", kind=tar.FOLDER, mode=0o2755, uid=33, gid=34),
        entry("o/f", b"x", mode=0o4711, uid=1000, gid=65534),
        entry("o/l", kind=tar.LINK, target=b"/etc/passwd", uid=7, gid=8),
        entry("o/beyond", b"x", uid=1 << 17, gid=0xFFFFFFFF),
        entry("o/hard", kind=tar.HARD_LINK, target=b"o/f"),
    ]
    await box.put(pack(*members), "/app")
    _, out, _ = await sh(box, "stat -c '%n %u:%g %a' o o/f o/l o/beyond o/hard /etc/passwd")
    assert out.decode().splitlines()[:5] == [
        "o 33:34 2755", "o/f 1000:65534 4711", "o/l 7:8 777", "o/beyond 0:0 644", "o/hard 1000:65534 4711",
    ]  # fmt: skip
    found = await fetch(box, "/app/o")
    assert {(name, member.uid, member.gid) for name, member in found.items()} == {
        ("o", 33, 34), ("o/f", 1000, 65534), ("o/l", 7, 8), ("o/beyond", 0, 0), ("o/hard", 1000, 65534),
    }  # fmt: skip
    usr = await fetch(box, "/usr/bin/env")
    assert usr["env"].uid == 65534, "what is the machine's belongs to nobody"


# Who gives up half-way


async def test_one_who_gives_up_while_a_thread_works_closes_nothing_under_its_hands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A descriptor closed too early may be another file's by the time that the thread writes to it."""
    began, go_on, order = threading.Event(), threading.Event(), list[str]()

    def slowly(*_args: object, **_more: object) -> Iterator[bytes]:
        try:
            began.set()
            go_on.wait(10)
            order.append("worked")
            yield b"x"
        finally:
            order.append("closed")

    class Slow:
        def __init__(self, *_args: object, **_more: object) -> None: ...

        def feed(self, _data: bytes) -> None:
            began.set()
            go_on.wait(10)
            order.append("worked")

        finish = close = lambda _self: order.append("closed")

    monkeypatch.setattr(transfer.pack, "pack", slowly)
    monkeypatch.setattr(filework.unpack, "Unpacker", Slow)
    root, threads = os.open(tmp_path, inside.FOLDER), transfer.Threads(None)
    try:
        for work in (
            read(transfer.get(threads, root, "x", max_bytes=1)),
            transfer.put(threads, root, pack(entry("f", b"x" * (2 << 20))), "/", fresh=False),
        ):
            began.clear()
            go_on.clear()
            order.clear()
            task = asyncio.create_task(work)
            await asyncio.to_thread(began.wait, 10)
            task.cancel()
            await asyncio.sleep(0.05)
            assert order == []
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert order == ["worked", "closed"]
    finally:
        threads.close()
        os.close(root)
