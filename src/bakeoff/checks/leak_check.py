"""Secrets in folders, and in what git tracks: by the values that this environment has, and by shape."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bakeoff.checks.secret_scan import Scan, read_allowed
from bakeoff.errors import InputError
from bakeoff.gateway.secrets import Secrets, secret_values
from bakeoff.records.leaks import LeakFound, LeakNote, LeakReport

MAX_FILE = 64 << 20
"""Bytes of one file, unfolded, that are looked at."""

MAX_FILES = 200_000

BINARY = "binary: not looked into"

_STEP = 1 << 20
_HEAD = 8192
_PASSED_OVER = frozenset((".git", "node_modules", "__pycache__", ".venv"))


def leak_check(
    path: Path, *, tracked: bool = False, allow: Sequence[Path] = (), environment: Mapping[str, str] | None = None
) -> LeakReport:
    """Look through a file, a folder, or (``tracked``) what git tracks at ``path``.

    Values are those of variables of ``environment`` (default: this process's) whose names are those of secrets. ``allow`` are more files of
    exact rules. Raises InputError where there is no such path, no repository, or a rule is none.
    """
    if not os.path.lexists(path):
        raise InputError("there is no such file or folder", where=str(path))
    allowed = read_allowed()
    for file in allow:
        allowed |= read_allowed(file)
    secrets = Secrets(secret_values(dict(os.environ if environment is None else environment)))
    scan = Scan(secrets, allowed)
    findings: list[LeakFound] = []
    notes: list[LeakNote] = []
    files = 0
    for name in _tracked(path) if tracked else _below(path, notes):
        if files >= MAX_FILES:
            notes.append(LeakNote(file="", message=f"more than {MAX_FILES} files: the rest was not looked at"))
            break
        files += 1
        full = path / name if name else path
        for leak in _in_file(full, name or path.name, scan, secrets.reach, notes):
            findings.append(leak)
    return LeakReport(
        path=str(path),
        tracked=tracked,
        ok=not findings,
        files=files,
        allowed=scan.let_through,
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _tracked(path: Path) -> Iterator[str]:
    """The files that git tracks at and below a folder, as they are in it now."""
    call = ["git", "-C", str(path), "ls-files", "-z"]
    try:
        ran = subprocess.run(call, capture_output=True, check=False, timeout=120)
    except FileNotFoundError:
        raise InputError("git is not installed", where="--tracked", wanted="git, or no --tracked") from None
    except NotADirectoryError:
        raise InputError("not a folder", where=str(path), wanted="a folder of a git repository") from None
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(
            "git does not list this folder", where=str(path), found=said[-1] if said else "", wanted="a git repository"
        )
    for name in ran.stdout.split(b"\0"):
        if name:
            yield os.fsdecode(name)


def _below(path: Path, notes: list[LeakNote]) -> Iterator[str]:
    """Every file below a folder, in order of names; the empty name for a file itself. Links are not followed."""
    if not path.is_dir():
        yield ""
        return

    def failed(error: OSError) -> None:
        name = os.path.relpath(error.filename, path) if error.filename else ""
        notes.append(LeakNote(file=name, message=f"cannot be read: {error.strerror}"))

    for folder, below, files in os.walk(path, onerror=failed):
        for name in sorted(_PASSED_OVER & set(below)):
            place = os.path.relpath(os.path.join(folder, name), path)
            notes.append(LeakNote(file=place, message="not looked into; name it to have it looked into"))
        below[:] = sorted(set(below) - _PASSED_OVER)
        for name in sorted(files):
            yield os.path.relpath(os.path.join(folder, name), path)


def _in_file(full: Path, name: str, scan: Scan, reach: int, notes: list[LeakNote]) -> Iterator[LeakFound]:
    def note(message: str) -> None:
        notes.append(LeakNote(file=name, message=message))

    try:
        info = os.lstat(full)
        if stat.S_ISLNK(info.st_mode):
            target = os.readlink(os.fsencode(full))
            yield from _found(name, target, 1, scan)
            return
        if not stat.S_ISREG(info.st_mode):
            return
        descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            opened = _unfolded(stream, name)
            if opened is stream and b"\0" in stream.peek(_HEAD)[:_HEAD] and not name.endswith(".tar"):
                note(BINARY)
                return
            yield from _in_stream(opened, name, scan, reach, note)
    except OSError as error:
        note(f"cannot be read: {error.strerror or error}")
    except _Damaged as damaged:
        note(f"damaged: {damaged}")


def _in_stream(stream: Any, name: str, scan: Scan, reach: int, note: Callable[[str], None]) -> Iterator[LeakFound]:
    """Windows that overlap by as much as a secret can be long; what stands in the overlap is told once."""
    line, total, held = 1, 0, b""
    while data := stream.read(_STEP):
        total += len(data)
        held += data
        if len(held) > 2 * reach:
            cut = len(held) - reach
            # a secret that begins before the cut ends before the window does
            yield from _found(name, held, line, scan, stop=cut)
            line += held.count(b"\n", 0, cut)
            held = held[cut:]
        if total >= MAX_FILE:
            note(f"longer than {MAX_FILE} bytes: looked at to there")
            break
    yield from _found(name, held, line, scan)


def _found(name: str, data: bytes, line: int, scan: Scan, *, stop: int | None = None) -> Iterator[LeakFound]:
    for leak in scan.leaks(data, line=line, stop=stop):
        yield LeakFound(file=name, line=leak.line, kind=leak.kind, by=leak.by, masked=leak.masked)


class _Damaged(Exception):
    pass


class _Unfolding:
    """Reads a compressed stream, and says in one way that it is damaged."""

    def __init__(self, inner: Any, errors: tuple[type[Exception], ...]) -> None:
        self._inner = inner
        self._errors = errors

    def read(self, size: int) -> bytes:
        try:
            return self._inner.read(size)
        except self._errors as error:
            raise _Damaged(str(error)) from None


def _unfolded(stream: Any, name: str) -> Any:
    if name.endswith((".gz", ".tgz")):
        return _Unfolding(gzip.GzipFile(fileobj=stream), (EOFError, zlib.error, gzip.BadGzipFile))
    if name.endswith(".zst"):
        import zstandard

        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream, read_across_frames=True)
        return _Unfolding(reader, (zstandard.ZstdError,))
    return stream
