"""Judges /app/out and the program /app/merge.py. Exit 0: all of it holds.

The program runs as a process of its own on exports that it has not seen, and only what it wrote is looked at. What is right is kept
as digests: the program could read this folder, and would find nothing in it to copy.
"""

import contextlib
import csv
import ctypes
import hashlib
import io
import json
import os
import pathlib
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from typing import Any

TESTS = pathlib.Path(__file__).parent
PROGRAM = "/app/merge.py"
MAX_BYTES = 4 << 20
SECONDS = 15
PR_SET_CHILD_SUBREAPER = 36
NOBODY = 65534
PR_SET_NO_NEW_PRIVS = 38
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same on every architecture
LANDLOCK_WRITES = {1: 0x1FF2, 2: 0x3FF2, 3: 0x7FF2}  # writing, making, moving and removing files, by version
LANDLOCK_SCOPES = 0x3  # abstract sockets and signals, since version 6


class Wrong(Exception):
    """What does not hold, for the log."""


class Stuck(Wrong):
    """The program did not end: it is not started again, so that the verdict comes in time."""


def read_file(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Wrong(f"cannot be opened ({error.strerror})") from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Wrong("not a regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Wrong("too big")
    return data


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:24]


def describe(data: bytes) -> dict[str, object]:
    """What is compared of a CSV file: its header, its number of rows, and each column beside the first one."""
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8"), newline="")) if row]
    except (ValueError, csv.Error) as error:
        raise Wrong(f"no CSV in UTF-8 ({error})") from None
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    columns = {name: digest([[row[0], *row[place : place + 1]] for row in body]) for place, name in enumerate(header)}
    return {"header": header, "rows": len(body), "columns": columns, "all": digest(body)}


def compare(data: bytes, wanted: dict[str, object]) -> None:
    found = describe(data)
    if found["header"] != wanted["header"]:
        raise Wrong("not the header that was asked for")
    if found["rows"] != wanted["rows"]:
        raise Wrong("not as many rows as there should be")
    columns = found["columns"]
    right = wanted["columns"]
    assert isinstance(columns, dict) and isinstance(right, dict)
    bad = [name for name in right if columns[name] != right[name]]
    if bad:
        raise Wrong(f"values or order of rows differ in {', '.join(bad)}")
    if found["all"] != wanted["all"]:
        raise Wrong("rows have more fields than the header")


def children() -> list[int]:
    found: list[int] = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(entry.name))
    return found


def end_children() -> None:
    """Ends whatever the program left behind, so that nothing of it runs when the verdict is written."""
    deadline = time.monotonic() + 5
    while (left := children()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)


def fence(writable: list[str]) -> int | None:
    """Rules of Landlock: no file elsewhere can be written, no process outside be signalled. None where the kernel has none.

    They matter where a sandbox has a single user, which the program then shares with the judge.
    """
    libc = ctypes.CDLL(None)
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return None
    writes = LANDLOCK_WRITES[min(version, 3)]
    handled = struct.pack("QQQ", writes, 0, LANDLOCK_SCOPES if version >= 6 else 0)
    rules = libc.syscall(LANDLOCK_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return None
    for path in writable:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        libc.syscall(LANDLOCK_ADD_RULE, rules, 1, struct.pack("=Qi", writes, place), 0)
        os.close(place)
    return rules


def limit(rules: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES, MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if rules is not None:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0)


def lesser_user() -> dict[str, Any]:
    """Options that start the program as a user that can neither end this process nor write the verdict, where that is possible."""
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        os.chown(folder, NOBODY, NOBODY)
        trial = [sys.executable, "-c", "open('trial', 'w').close()"]
        if subprocess.run(trial, cwd=folder, stderr=subprocess.DEVNULL, timeout=SECONDS, **options).returncode == 0:
            return options
    return {}


def run(program: bytes, user: dict[str, Any], arguments: list[str], folder: str) -> None:
    copy = pathlib.Path(folder, "program.py")
    copy.write_bytes(program)
    if user:
        os.chown(folder, NOBODY, NOBODY)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    rules = fence([tempfile.gettempdir(), "/dev"])
    with open(pathlib.Path(folder, "said"), "w+b") as said:
        process = subprocess.Popen(
            [sys.executable, copy, *arguments],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder, env=env, start_new_session=True,
            preexec_fn=lambda: limit(rules), **user,
        )  # fmt: skip
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise Stuck("the program does not end") from None
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            end_children()
            if rules is not None:
                os.close(rules)
        if code != 0:
            said.seek(0)
            last = said.read(MAX_BYTES).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise Wrong(f"the program ends with exit code {code}: {last[:200]}")


def main() -> int:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wanted = json.loads((TESTS / "expected.json").read_text(encoding="utf-8"))
    failed = 0
    os.umask(0o022)
    user = lesser_user()

    def judge(what: str, folder: str, right: dict[str, dict[str, object]]) -> None:
        nonlocal failed
        for name in ("customers.csv", "conflicts.csv"):
            try:
                compare(read_file(f"{folder}/{name}"), right[name])
            except Wrong as error:
                failed += 1
                print(f"FAILED {what}, {name}: {error}")
            else:
                print(f"ok {what}, {name}")

    judge("today's exports", "/app/out", wanted["given"])
    for name in sorted(set(wanted) - {"given"}):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "in").mkdir()
            for export in (TESTS / "sets" / name).iterdir():
                pathlib.Path(folder, "in", export.name).write_bytes(export.read_bytes())
            try:
                run(read_file(PROGRAM), user, [f"{folder}/in", f"{folder}/new/out"], folder)
            except Wrong as error:
                failed += 1
                print(f"FAILED other exports {name}: {error}")
                if isinstance(error, Stuck):
                    break
            else:
                judge(f"other exports {name}", f"{folder}/new/out", wanted[name])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
