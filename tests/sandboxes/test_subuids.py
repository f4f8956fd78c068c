"""Many ids for the sandboxes of an ordinary user: how they are found, and what they make possible."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conformance import content, entry, fetch, finish, pack, read, sh
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import ImageError, SandboxError, Unsupported
from bakeoff.files import tar
from bakeoff.home import home
from bakeoff.images.host import host_root
from bakeoff.images.stores import tar_root
from bakeoff.records.job import RunRequest
from bakeoff.sandboxes import probe, subids
from bakeoff.sandboxes.base import Sandbox
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.sandboxes.subids import NoneHere, Range
from bakeoff.tasks.model import AgentLimits, Environment, Network, NetworkMode, Step, Task, VerifierSpec
from bakeoff.trials.environment import check_support, one_id_note

if TYPE_CHECKING:
    from tests.conftest import OrdinaryUser

HERE = Path(__file__).parent
ENVIRONMENT = Environment(root="host", network=Network(mode=NetworkMode.NONE))
MINE = ("ann", "1001")

# How they are found


NUMBERS = st.integers(0, 1 << 33).map(str) | st.sampled_from(["", "-1", "1_000", "0x10", "٣", " 5", "1e3", "9" * 400])
OWNERS = st.sampled_from(["ann", "bob", "1001", "1002", ""]) | st.text(max_size=3)
LINES = st.builds(":".join, st.lists(OWNERS | NUMBERS, min_size=0, max_size=4)) | st.text(max_size=20)


@settings(max_examples=40)
@given(st.lists(LINES, max_size=12))
def test_whatever_the_file_holds_only_whole_ranges_are_read(lines: list[str]) -> None:
    text = "\n".join(lines)
    for one in subids.parse(text):
        assert one.count > 0 and 0 <= one.first < one.first + one.count < 1 << 32
        assert one.owner and text.count(f"{one.owner}:") >= 1


RANGES = st.builds(
    Range, owner=st.sampled_from(["ann", "1001", "bob", "1002"]), first=st.integers(0, 4000), count=st.integers(1, 800)
)


@settings(max_examples=40)
@given(st.lists(RANGES, max_size=8))
def test_the_largest_range_is_taken_that_gives_nobody_elses_ids_away(ranges: list[Range]) -> None:
    def good(one: Range) -> bool:
        ids = set(range(one.first, one.first + one.count))
        taken = {
            number
            for other in ranges
            if other.owner not in MINE
            for number in range(other.first, other.first + other.count)
        }
        return one.owner in MINE and one.first >= 1000 and 1001 not in ids and not ids & taken

    sizes = [one.count for one in ranges if good(one)]
    if not sizes:
        with pytest.raises(NoneHere):
            subids.choose(ranges, MINE, 1001, "/etc/subuid")
    else:
        chosen = subids.choose(ranges, MINE, 1001, "/etc/subuid")
        assert good(chosen) and chosen.count == max(sizes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no range for ann"),
        ("# nothing\nann:100000\nann:x:65536\nann:100000:0", "no range for ann"),
        ("ann:0:65536", "machine's own accounts"),
        ("ann:1000:65536", "own id"),
        ("ann:100000:65536\nbob:165535:10", "overlaps that of bob"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(text: str, reason: str) -> None:
    with pytest.raises(NoneHere, match=reason):
        subids.choose(subids.parse(text), MINE, 1001, "/etc/subuid")


def test_names_and_ids_both_name_the_owner() -> None:
    for owner in MINE:
        found = subids.choose(subids.parse(f"{owner}:100000:65536"), MINE, 1001, "/etc/subuid")
        assert (found.first, found.count) == (100000, 65536)


def test_a_program_without_its_setuid_bit_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "newuidmap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert not subids.may_change_ids(str(program))
    monkeypatch.setattr(subids, "_SEARCHED", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("pwd.getpwuid", lambda _: type("Account", (), {"pw_name": "ann"}))
    with pytest.raises(NoneHere, match="setuid bit"):
        subids.find()
    program.unlink()
    with pytest.raises(NoneHere, match="newuidmap is not on this machine"):
        subids.find()


# What they make possible


def _found() -> str:
    """Why this user has none, empty where there are some."""
    try:
        subids.find()
    except NoneHere as error:
        return str(error)
    return ""


@pytest.fixture
async def backend(require: Callable[[str, bool, str], None]) -> AsyncIterator[BubblewrapBackend]:
    if os.geteuid() == 0:
        pytest.skip("these run once more as an ordinary user")
    require("subuids", not (reason := _found()), reason)
    made = BubblewrapBackend()
    await made.check()
    require("subuids", made.ids > 1, made.one_id)
    yield made
    await made.close()


@pytest.fixture
async def box(backend: BubblewrapBackend) -> AsyncIterator[Sandbox]:
    async with backend.open(ENVIRONMENT, host_root(), [], "job/run") as opened:
        yield opened


async def test_files_of_other_users_are_made_got_changed_and_removed(box: Sandbox) -> None:
    script = (
        "mkdir d && echo theirs > d/f && chmod 600 d/f && chown -R 33:34 d && chmod 700 d && "
        "setpriv --reuid 33 --regid 34 --clear-groups sh -c 'id -u; id -g; cat d/f; cat /root/x; echo more > d/more; umask 077; "
        "mkdir -p d/closed/er; echo x > d/closed/er/f; chmod 000 d/closed'"
    )
    ended, out, _ = await sh(box, f"echo root > /root/x; {script}")
    assert (ended.code, out) == (0, b"33\n34\ntheirs\n")
    got = await fetch(box, "/app/d")
    assert set(got) == {"d", "d/f", "d/more", "d/closed", "d/closed/er", "d/closed/er/f"}
    assert (await content(box, "/app/d/f")) == b"theirs\n"
    found = {(change.path, change.kind, change.mode) async for change in box.changes()}
    assert ("/app/d/f", "added", 0o600) in found and ("/app/d/closed/er/f", "added", 0o600) in found
    await box.put(pack(entry("f", b"new")), "/app/d")
    _, out, _ = await sh(box, "cat d/f; stat -c '%u %g' d d/f")
    assert out == b"new33 34\n0 0\n"
    await box.put(pack(entry("only", b"x")), "/app/d", fresh=True)
    assert set(await fetch(box, "/app/d")) == {"d", "d/only"}


async def test_a_service_of_another_user_runs_and_is_ended(box: Sandbox) -> None:
    process = await box.start(
        ["/bin/sh", "-c", "echo up; exec sleep 60"], env={"PATH": "/usr/bin:/bin"}, cwd="/", user="33:33"
    )
    assert await anext(process.stdout) == b"up\n"
    assert (await sh(box, "stat -c %u /proc/[0-9]* | grep -c 33"))[1] == b"1\n"
    assert [one.name for one in await box.end_processes()] == ["sleep"]
    ended, _, _ = await finish(process)
    assert ended.signal == 9


async def test_users_are_found_where_the_harness_itself_may_not_look(box: Sandbox) -> None:
    await sh(
        box,
        "echo 'web:x:33:33::/var:/bin/sh' >> /etc/passwd; chown 33 /etc /etc/passwd; chmod 700 /etc; chmod 600 /etc/passwd",
    )
    process = await box.start(["id", "-u"], env={"PATH": "/usr/bin"}, cwd="/", user="web")
    assert (await finish(process))[1] == b"33\n"
    with pytest.raises(SandboxError, match="nobody-here"):
        await box.start(["id"], env={"PATH": "/usr/bin"}, cwd="/", user="nobody-here")


async def test_snapshots_keep_owners_whoever_owns_the_root(backend: BubblewrapBackend, box: Sandbox) -> None:
    await sh(box, "echo x > f; chown 33:33 f / /app; chmod 700 / /app f")
    root = await box.snapshot()
    await sh(box, "echo y > g")
    async with backend.open(ENVIRONMENT, root, [], "job/copy") as copy:
        assert (await sh(copy, "stat -c '%u %a' f; cat f"))[1] == b"33 700\nx\n"
    assert {("/app/f", "added"), ("/app/g", "added")} <= {(one.path, one.kind) async for one in box.changes()}


async def test_a_stream_is_passed_on_between_two_sandboxes_and_not_held(
    backend: BubblewrapBackend, box: Sandbox
) -> None:
    """More transfers at once than anything has threads for, each waiting for another's bytes."""
    await sh(box, "head -c 3000000 /dev/zero > big; chown 33 big; chmod 600 big")
    async with backend.open(ENVIRONMENT, host_root(), [], "job/other") as other:
        async with asyncio.timeout(30):
            await asyncio.gather(
                *(other.put(box.get("/app/big", max_bytes=1 << 23), f"/app/{number}") for number in range(12))
            )
        assert (await sh(other, "cat */big | wc -c"))[1] == b"36000000\n"


async def test_a_transfer_that_is_given_up_leaves_nothing_open(backend: BubblewrapBackend, box: Sandbox) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield tar.header(tar.Member(name=b"half", size=1 << 20))
        await asyncio.sleep(60)

    await sh(box, "head -c 3000000 /dev/zero > big")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await box.put(never(), "/app")
        stream = box.get("/app/big", max_bytes=1 << 23)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined] - it is a generator
        with pytest.raises(FileNotFoundError):
            await read(box.get("/app/nothing", max_bytes=1))
        with pytest.raises(SandboxError, match="more bytes"):
            await read(box.get("/app/big", max_bytes=1000))
    await asyncio.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_closing_leaves_nothing_of_any_owner(backend: BubblewrapBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    async with backend.open(ENVIRONMENT, host_root(), [], "gone/run") as box:
        await sh(box, "mkdir -p d/e; echo x > d/e/f; chown -R 33 d; chmod 000 d/e d")
    (live,) = [path for path in (home() / "sandboxes").iterdir() if (path / "gone").exists()]
    assert os.listdir(live / "gone") == []
    await backend.close()
    assert not live.exists()


KILLED = """
import asyncio
from bakeoff.images.host import host_root
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment
async def main():
    backend = BubblewrapBackend()
    async with backend.open(Environment(root="host"), host_root(), [], "killed-many/run") as box:
        script = "mkdir -p d/e; echo x > d/e/f; chown -R 33 d; chmod 000 d/e d; echo up; exec sleep 60"
        process = await box.start(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, cwd="/app")
        print((await anext(process.stdout)).decode(), end="", flush=True)
        await process.wait()
asyncio.run(main())
"""


REAPS = """
import asyncio
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
async def main():
    backend = BubblewrapBackend()
    print(await backend.reap("%s"))
    await backend.close()
asyncio.run(main())
"""


async def test_what_a_killed_harness_leaves_is_removed_at_the_next_start(backend: BubblewrapBackend) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, cwd="/")  # noqa: ASYNC220
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    below = _below(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 5
    while (left := [pid for pid in below if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < deadline:
        time.sleep(0.005)  # noqa: ASYNC251 - nothing else runs here
    assert len(below) >= 5 and left == []
    assert list((home() / "sandboxes").glob("*/killed-many/*")) != []
    assert await backend.reap("another") == 0
    script = REAPS % "killed-many"
    alone = subprocess.run(["setpriv", "--no-new-privs", sys.executable, "-c", script], capture_output=True, check=True)  # noqa: ASYNC221
    assert alone.stdout == b"0\n"  # who has one id leaves it, and goes on
    other = BubblewrapBackend()  # not started yet
    assert await other.reap("killed-many") == 1
    await other.close()
    assert list((home() / "sandboxes").glob("*/killed-many")) == []


async def test_the_end_of_the_worker_is_an_error_and_no_hang(backend: BubblewrapBackend, box: Sandbox) -> None:
    (worker,) = [pid for pid in _children(os.getpid()) if b"bakeoff.sandboxes.worker" in _command(pid)]
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(SandboxError, match="the process that works on files"):
        async with asyncio.timeout(10):
            await box.put(pack(entry("f", b"x")), "/app")
    assert (await sh(box, "echo fine"))[1] == b"fine\n"


def _image(*more: tuple[tar.Member, bytes]) -> bytes:
    """A root with a shell of the machine's own, and files of several owners."""
    listed = subprocess.run(["ldd", "/usr/bin/dash"], capture_output=True, text=True, check=True).stdout
    members = [entry(".", kind=tar.FOLDER, mode=0o755)]
    for name in ("/usr/bin/stat", "/usr/bin/dash", *(word for word in listed.split() if word.startswith("/"))):
        members.append(entry(name[1:], Path(name).read_bytes(), mode=0o755))
    libraries = subprocess.run(["ldd", "/usr/bin/stat"], capture_output=True, text=True, check=True).stdout
    members += [entry(word[1:], Path(word).read_bytes(), mode=0o755) for word in libraries.split() if word[0] == "/"]
    members += [
        entry("bin/sh", kind=tar.LINK, target=b"/usr/bin/dash"),
        *(entry(name, kind=tar.FOLDER, mode=0o755) for name in ("proc", "dev", "tmp", "etc")),
        entry("var/www", kind=tar.FOLDER, mode=0o750, uid=33, gid=33),
        entry("var/www/page", b"x", mode=0o640, uid=33, gid=34),
        *more,
    ]
    return tar.build(members)


async def test_an_image_shows_its_owners_inside_and_is_unpacked_once(
    backend: BubblewrapBackend, tmp_path: Path
) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(_image())
    assert backend.unpacking is not None
    plain, owned = tar_root(archive), tar_root(archive, backend.unpacking)
    assert plain.paths != owned.paths and plain.digest == owned.digest
    before = Path(owned.paths[0]).stat().st_ino
    assert Path(tar_root(archive, backend.unpacking).paths[0]).stat().st_ino == before
    try:
        async with backend.open(Environment(workdir="/work"), owned, [], "j/r") as box:
            _, out, err = await sh(box, "stat -c '%u %g %a' /var/www /var/www/page /usr/bin/dash", cwd="/")
            assert out.decode().splitlines() == ["33 33 750", "33 34 640", "0 0 755"], err
            assert set(await fetch(box, "/var/www")) == {"www", "www/page"}
            assert [change.path async for change in box.changes()] == []
    finally:
        backend.unpacking.discard(Path(owned.paths[0]))
    assert not os.path.exists(owned.paths[0])


async def test_an_image_that_cannot_be_unpacked_leaves_nothing(backend: BubblewrapBackend, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    before = set((home() / "roots").iterdir())
    for data, reason in (
        (_image(entry("odd", b"x", uid=70000)), "ids above"),
        (_image()[:200_000], "cannot be unpacked"),
    ):
        archive.write_bytes(data)
        with pytest.raises(ImageError, match=reason):
            tar_root(archive, backend.unpacking)
        assert set((home() / "roots").iterdir()) == before


async def test_the_probe_names_the_range(backend: BubblewrapBackend) -> None:
    found = {check.name: check for check in probe.checks()}["user ids"]
    assert f"{backend.ids:,} ids inside" in found.detail and str(subids.find().first_uid) in found.detail


REFUSED = """
import asyncio
from bakeoff.sandboxes import probe
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
async def main():
    backend = BubblewrapBackend()
    await backend.check()
    print(backend.ids, backend.unpacking, backend.one_id)
    print([check.detail for check in probe.checks() if check.name == "user ids"])
    await backend.close()
asyncio.run(main())
"""


async def test_where_newuidmap_is_refused_one_id_is_had_and_the_reason_told(backend: BubblewrapBackend) -> None:
    """Without new privileges its setuid bit means nothing."""
    command = ["setpriv", "--no-new-privs", sys.executable, "-c", REFUSED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: ASYNC221
    first, second = done.stdout.splitlines()
    assert first.startswith("1 None ") and "newuidmap: write to uid_map failed" in first
    assert "one id inside" in second and "newuidmap: write to uid_map failed" in second


def test_with_one_id_a_job_is_told_what_will_fail_and_a_task_with_a_user_is_refused() -> None:
    backend = BubblewrapBackend()
    backend.one_id = "newuidmap is not on this machine (remedy, as root: `apt install uidmap`)"
    on_host, on_image = Environment(root="host"), Environment(root="image")
    assert one_id_note([on_host], backend) == ""
    note = one_id_note([on_host, on_image], backend)
    assert "chown, su, apt and services" in note and "apt install uidmap" in note
    task = Task(
        dataset="d",
        name="t",
        digest="",
        steps=(Step(name="", instruction="", agent=AgentLimits(user="web")),),
        environment=on_image,
        verifier=VerifierSpec(),
        files=(),
    )
    with pytest.raises(Unsupported, match="apt install uidmap"):
        check_support(on_image, task, backend, RunRequest())
    backend.one_id, backend.ids = "", 65536
    assert one_id_note([on_image], backend) == ""
    assert check_support(on_image, task, backend, RunRequest()) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can show another /etc/subuid to newuidmap")
@pytest.mark.parametrize(
    ("lines", "ids", "reason"),
    [
        (["{id}:1000000000:65536"], 65536, ""),
        (["# a comment", "{name}:1000000000:100", "{id}:1000200000:2000", "{id}:x:1"], 2001, ""),
        (["{name}:1000000000:65536", "somebody-else:1000000100:5"], 1, "overlaps that of somebody-else"),
        (["somebody-else:1000000000:65536"], 1, "has no range for"),
    ],
    ids=["by id", "the largest", "shared", "none"],
)
def test_the_files_of_the_machine_decide(
    ordinary_user: OrdinaryUser,
    require: Callable[[str, bool, str], None],
    tmp_path: Path,
    lines: list[str],
    ids: int,
    reason: str,
) -> None:
    """In a mount namespace of its own the machine has another /etc/subuid, for newuidmap too."""
    uid = ordinary_user.home.stat().st_uid
    account = next((one.pw_name for one in pwd.getpwall() if one.pw_uid == uid), "")
    require("subuids", bool(account) and shutil.which("newuidmap") is not None, "an account and newuidmap are needed")
    table = tmp_path / "table"
    table.write_text("".join(f"{line}\n".format(id=uid, name=account) for line in lines))
    script = 'mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && exec "$@"'
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "env"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, table, *user, ordinary_user.python, "-c", REFUSED],
        env=ordinary_user.env,
        cwd=ordinary_user.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{ids} ") and reason in first
    assert (f"{ids:,} ids" if ids > 1 else "one id") in second and reason in second


@pytest.mark.instead_of_a_users_run
@pytest.mark.timeout(120)
def test_the_same_holds_for_an_ordinary_user(
    ordinary_user: OrdinaryUser, require: Callable[[str, bool, str], None]
) -> None:
    script = "from bakeoff.sandboxes import subids; print(subids.find().count)"
    found = ordinary_user.run([ordinary_user.python, "-c", script])
    require("subuids", found.returncode == 0, found.stderr[-300:])
    options = ["-q", "-p", "no:cacheprovider", "--timeout", "60"]
    done = ordinary_user.run(
        [ordinary_user.python, "-m", "pytest", *options, HERE / "test_subuids.py"],
        env={"BAKEOFF_REQUIRE": "subuids"},
        cwd=HERE.parent.parent,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def _children(pid: int) -> list[int]:
    tasks = os.listdir(f"/proc/{pid}/task")
    return [int(child) for task in tasks for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]


def _below(pid: int) -> list[int]:
    found = _children(pid)
    return [*found, *(below for child in found for below in _below(child))]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
