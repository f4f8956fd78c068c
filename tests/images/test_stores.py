"""Folders and tars as root file systems."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bakeoff.cli.main import main
from bakeoff.errors import ImageError
from bakeoff.images.stores import folder_root, tar_root

if TYPE_CHECKING:
    from tests.conftest import OrdinaryUser

OTHER = 183 if Path("/proc/self/exe").read_bytes()[18] != 183 else 62  # the number of a machine that this one is not
FOREIGN = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0" + OTHER.to_bytes(2, "little") + bytes(44)


def a_tar(*, shell: bytes | None = b"#!") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("bin/sh", shell), ("etc/motd", b"hello\n")):
            if data is not None:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o755
                tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "roots"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that can be a root, as far as can be seen."""
    made = tmp_path / "root"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "sh").write_text("#!")
    (made / "bin" / "sh").chmod(0o755)
    return made


def test_nobody_else_reaches_the_programs_of_an_unpacked_image(tmp_path: Path, store: Path) -> None:
    """Its setuid programs are real root's where root unpacks."""
    archive = tmp_path / "root.tar"
    archive.write_bytes(a_tar())
    tar_root(archive)
    assert store.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_is_unpacked_once_however_it_is_packed(
    tmp_path: Path, store: Path, pack: Callable[[bytes], bytes]
) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(pack(a_tar()))
    root = tar_root(archive)
    (path,) = map(Path, root.paths)
    assert (path / "etc" / "motd").read_text() == "hello\n"
    assert root.digest.startswith("sha256:")
    (path / "mark").touch()
    assert tar_root(archive) == root
    assert (path / "mark").exists()
    assert [entry.name for entry in store.iterdir()] == [path.name]


def test_a_tar_that_was_replaced_is_another_root(tmp_path: Path, store: Path) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(a_tar())
    first = tar_root(archive)
    archive.write_bytes(a_tar(shell=b"#?"))
    assert tar_root(archive).digest != first.digest


def test_concurrent_harnesses_unpack_one_root(tmp_path: Path, store: Path) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(a_tar())
    with ThreadPoolExecutor(4) as pool:
        roots = set(pool.map(lambda _: tar_root(archive).paths, range(8)))
    assert len(roots) == 1
    assert len(list(store.iterdir())) == 1


def test_what_a_killed_harness_left_half_made_goes_with_the_next(tmp_path: Path, store: Path) -> None:
    closed = store / ".new-killed" / "closed"
    closed.mkdir(parents=True)
    (closed / "file").touch()
    closed.chmod(0)
    archive = tmp_path / "root.tar"
    archive.write_bytes(a_tar())
    place = Path(tar_root(archive).paths[0])
    assert [entry.name for entry in store.iterdir()] == [place.name]


DAMAGED = {
    "no tar": b"no tar at all" * 100,
    "cut off, packed": gzip.compress(a_tar())[:-20],
    "cut off": a_tar()[:700],
    "packed, cut off at once": lzma.compress(b"x")[:9],
    "empty": b"",
    "holding nothing": bytes(10240),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_tar_is_one_clear_error_and_leaves_nothing(tmp_path: Path, store: Path, data: bytes) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(data)
    with pytest.raises(ImageError, match=r"root\.tar (cannot be unpacked|has no /bin/sh)"):
        tar_root(archive)
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("name", ["no tar", "packed, cut off at once", "empty", "holding nothing"])
def test_what_is_no_tar_is_said_before_the_job(
    tmp_path: Path, make_task: Callable[..., Path], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(DAMAGED[name])
    assert run(make_task(), archive, tmp_path / "jobs") == 2
    assert f"--root: {archive} cannot be unpacked as a root file system" in capfd.readouterr().err
    assert not (tmp_path / "jobs").exists()


def run(task: Path, root: Path, out: Path) -> int:
    return main([str(part) for part in ("run", "-t", task, "-a", "nop", "--root", root, "-o", out, "-q")])


def no_shell(root: Path) -> str:
    (root / "bin" / "sh").unlink()
    return "has no /bin/sh"


def shell_leads_out(root: Path) -> str:
    (root / "bin" / "sh").unlink()
    (root / "bin" / "sh").symlink_to("../" * 20 + "bin/sh")
    return "has no /bin/sh"


def shell_is_a_folder(root: Path) -> str:
    (root / "bin" / "sh").unlink()
    (root / "bin" / "sh").mkdir()
    return "its /bin/sh is no program"


def shell_is_a_pipe(root: Path) -> str:
    (root / "bin" / "sh").unlink()
    os.mkfifo(root / "bin" / "sh", 0o755)
    return "its /bin/sh is no program"


def shell_does_not_run(root: Path) -> str:
    (root / "bin" / "sh").chmod(0o644)
    return "its /bin/sh is no program"


def foreign(root: Path) -> str:
    (root / "bin" / "sh").rename(root / "bin" / "dash")
    (root / "bin" / "sh").symlink_to("/bin/dash")  # as a process inside sees it
    (root / "bin" / "dash").write_bytes(FOREIGN)
    return (
        f"is a root file system for {'aarch64' if OTHER == 183 else 'x86_64'}, and this machine is {os.uname().machine}"
    )


def linked_tmp(root: Path) -> str:
    (root / "tmp").symlink_to("/etc")
    return "has a link at /tmp"


@pytest.mark.parametrize(
    "spoil",
    [no_shell, shell_leads_out, shell_is_a_folder, shell_is_a_pipe, shell_does_not_run, foreign, linked_tmp],
    ids=lambda spoil: spoil.__name__,
)
def test_a_folder_that_can_be_no_root_is_said_before_the_job(
    tmp_path: Path,
    folder: Path,
    make_task: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], str],
) -> None:
    folder_root(folder)
    reason = spoil(folder)
    with pytest.raises(ImageError) as error:
        folder_root(folder)
    assert reason in str(error.value)
    assert run(make_task(), folder, tmp_path / "jobs") == 2
    assert reason in capfd.readouterr().err
    assert not (tmp_path / "jobs").exists()


def test_a_link_to_a_root_is_that_root(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert folder_root(tmp_path / "link") == folder_root(folder)
    assert folder_root(folder).paths == (str(folder),)


def test_a_root_that_holds_the_store_would_show_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(folder / "var" / "bakeoff"))
    with pytest.raises(ImageError, match="where bakeoff keeps its own files"):
        folder_root(folder)


def test_a_root_that_cannot_be_read_is_said_before_the_job(ordinary_user: OrdinaryUser) -> None:
    closed = ordinary_user.home / "closed"
    ordinary_user.run(["sh", "-c", "mkdir -p closed/bin task && echo > archive.tar && chmod 0 closed archive.tar"])
    task = ["-t", ordinary_user.home / "task", "-a", "nop"]
    for path in (closed, ordinary_user.home / "archive.tar"):
        done = ordinary_user.bakeoff("run", *task, "--root", path)
        assert done.returncode == 2, done.stderr
    ordinary_user.run(["chmod", "-R", "700", "closed", "archive.tar"])
