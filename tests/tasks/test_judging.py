"""The code that judges of ``starter`` share: what it holds a judged program to, and what it reads of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff.tasks.shipped import shipped_datasets

Require = Callable[[str, bool, str], None]
SHARED = shipped_datasets() / "shared"


def judged(program: str, *, options: str = "", seconds: float = 10, temporary: str = "/tmp") -> dict[str, object]:
    """How a program ends that a judge runs. The judge is a process of its own, since it ends all that comes from it."""
    judge = f"""
        import json, os, sys, tempfile
        sys.path.insert(0, {str(SHARED)!r})
        from judging import Apart, _descendants, _fence
        os.umask(0o022)
        tempfile.tempdir = {temporary!r}
        apart = Apart(file_bytes=1000, {options})
        with tempfile.TemporaryDirectory() as folder:
            apart.own(folder)
            ended = apart.run(["python3", "-c", sys.argv[1]], {seconds}, folder)
            told = open(f"{{folder}}/told").read() if os.path.exists(f"{{folder}}/told") else ""
        left = len(_descendants())
        print(json.dumps([ended.code, ended.out.decode(), left, told, bool(apart.user or os.getuid()), _fence([]) is not None]))
    """
    command = [sys.executable, "-I", "-S", "-B", "-c", textwrap.dedent(judge), textwrap.dedent(program)]
    said = subprocess.run(command, capture_output=True, check=True, timeout=30, text=True)
    return dict(zip(("code", "out", "left", "told", "lesser", "fenced"), json.loads(said.stdout), strict=True))


def test_a_program_has_its_folder_its_exit_code_and_its_output() -> None:
    found = judged("import sys; print('hello'); open('told', 'w').write('x'); sys.exit(3)")
    assert (found["code"], found["out"], found["left"], found["told"]) == (3, "hello\n", 0, "x")


def test_a_program_is_ended_when_its_time_is_up() -> None:
    assert judged("print('hello', flush=True); import time; time.sleep(60)", seconds=0.3)["code"] is None


def test_nothing_of_a_program_lives_on_after_it() -> None:
    found = judged(
        """
        import ctypes, os, threading, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                threading.Thread(target=time.sleep, args=[60]).start()
                ctypes.CDLL(None).pthread_exit(None)
            os._exit(0)
        os.wait()
        """
    )
    assert (found["code"], found["left"]) == (0, 0)


def test_a_program_writes_no_more_into_a_file_than_it_may() -> None:
    found = judged("import sys; sys.stdout.write('x' * 5000); sys.stdout.flush()")
    assert found["code"] != 0
    assert len(str(found["out"])) <= 1001


def test_a_program_has_no_more_memory_and_processes_than_it_may() -> None:
    assert judged("bytearray(600 << 20)", options="memory=500 << 20")["code"] == 1
    found = judged("import os; os.fork()", options="processes=0")
    assert found["code"] == (1 if found["lesser"] else 0), "the system bounds no processes of root"


def test_a_program_can_neither_write_elsewhere_nor_signal_its_judge(tmp_path: Path, require: Require) -> None:
    (tmp_path / "temporary").mkdir()
    found = judged(
        f"""
        import os, signal
        told = []
        for what in (lambda: open({str(tmp_path / "new")!r}, "w"), lambda: os.kill(os.getppid(), signal.SIGCONT)):
            try:
                what()
            except PermissionError:
                told.append("refused")
        open("told", "w").write(" ".join(told))
        """,
        temporary=str(tmp_path / "temporary"),
    )
    require("landlock", bool(found["fenced"]), "the kernel fences programs in with it")
    assert not (tmp_path / "new").exists()
    assert str(found["told"]).startswith("refused")


def test_what_is_no_plain_file_of_a_sensible_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED))
    from judging import Wrong, parse_json, read_file  # pyright: ignore[reportMissingImports] - a file of the datasets

    (tmp_path / "good").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("good")
    os.mkfifo(tmp_path / "pipe")
    assert read_file(str(tmp_path / "good"), 5) == b"12345"
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(Wrong):
            read_file(str(path), 5)
    with pytest.raises(Wrong, match="the file: too big"):
        read_file(str(tmp_path / "good"), 4, "the file")
    for data in (b"[" * 100_000, b"\xff", b"", b'{"a": 1'):
        with pytest.raises(Wrong):
            parse_json(data)
    assert parse_json(b'{"a": 1}') == {"a": 1}
