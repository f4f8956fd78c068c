"""``results.jsonl``: appended and synced line by line. What is not in it did not happen."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bakeoff.errors import InputError
from bakeoff.records.job import JobRecord
from bakeoff.records.results import SCHEMA_VERSION, TrialResult

RESULTS = "results.jsonl"
JOB = "job.json"
LOCK = ".lock"

_decoder = msgspec.json.Decoder(TrialResult)


class JobLock:
    """Holds a job's folder for one harness. The kernel lets go when the holder ends, however it ends."""

    def __init__(self, job: Path) -> None:
        self._path = job / LOCK
        self._descriptor = -1

    def __enter__(self) -> JobLock:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise InputError(
                "another bakeoff works on this job; wait for it to end, or stop it",
                where=str(self._path.parent),
                found=f"process {holder}" if holder else "a lock that is held",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Journal:
    """The one writer of a job's results. Opening it cuts off a last line that a kill left unfinished."""

    def __init__(self, job: Path) -> None:
        self._path = job / RESULTS
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = _whole_lines(self._descriptor)
        os.ftruncate(self._descriptor, self._size)
        self.syncs = 0

    def append(self, result: TrialResult) -> None:
        """Append one line and sync it. After an error (a full disk) the file ends where it ended before; the error is raised."""
        line = msgspec.json.encode(result) + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(line)
        self.syncs += 1

    def close(self) -> None:
        os.close(self._descriptor)


def _whole_lines(descriptor: int) -> int:
    """The length of the file up to and with its last newline."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        block = os.pread(descriptor, end - start, start)
        found = block.rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def read_results(job: Path) -> Iterator[TrialResult]:
    """The finished trials in the order they finished, one at a time. A last line without its newline is not there yet.

    Raises InputError, with the line's number, for a line that is not a result, or a trial that stands there twice.
    """
    path = job / RESULTS
    seen: set[tuple[str, str, int]] = set()
    try:
        stream = open(path, "rb")  # noqa: SIM115 (closed by the with below; a job without results is an empty one)
    except FileNotFoundError:
        return
    with stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            try:
                result = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise InputError(f"line {number} is not a result: {error}", where=str(path)) from None
            _check_version(result.schema_version, f"{path}: line {number}")
            if result.key in seen:
                raise InputError(f"line {number} repeats a trial", where=str(path), found=f"{result.key}")
            seen.add(result.key)
            yield result


def planned_results(folder: Path, job: JobRecord) -> Iterator[TrialResult]:
    """``read_results`` of a job whose record is at hand. Raises InputError for a trial that is not of its plan: jobs never mix."""
    plan = {trial.run_id: trial for trial in job.plan}
    for number, result in enumerate(read_results(folder), 1):
        trial = plan.get(result.run_id)
        if trial is None or (trial.task, trial.case, trial.config, trial.attempt) != (
            result.task,
            result.case,
            result.config.slug,
            result.attempt,
        ):
            raise InputError(
                f"line {number} is of no trial that this job planned",
                where=str(folder / RESULTS),
                found=f"{result.run_id} {result.key}",
                wanted="lines of this job alone, as they were written",
            )
        yield result


def read_job(job: Path) -> JobRecord:
    """A job's ``job.json``. Raises InputError where it is missing, malformed, or of another version."""
    path = job / JOB
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("this is not a job folder: it has no job.json", where=str(job)) from None
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        _check_version(version, str(path))
        return msgspec.json.decode(data, type=JobRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a job record: {error}", where=str(path)) from None


class _Version(msgspec.Struct):
    schema_version: str


def _check_version(found: str, where: str) -> None:
    if found.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InputError(
            "written by another version of bakeoff; use that version, or start a new job",
            where=where,
            field="schema_version",
            found=found,
            wanted=f"{SCHEMA_VERSION.split('.')[0]}.x",
        )
