"""The evidence that checks leave: beside a dataset's lock, or in the harness's home for datasets that are somebody else's."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import msgspec

from bakeoff.errors import InputError
from bakeoff.files.atomic import write_json
from bakeoff.files.streams import read_whole
from bakeoff.home import home
from bakeoff.records.checks import DatasetEvidence, DatasetLock, TaskEvidence
from bakeoff.records.results import SCHEMA_VERSION
from bakeoff.tasks.model import Dataset, Task
from bakeoff.trials.plan import lock_task

LOCK = "dataset.lock.json"
EVIDENCE = "dataset.evidence.json"
_NAMED = 5
_LONGEST = 64 << 20


def place_of(dataset: Dataset) -> Path | None:
    """The folder of the dataset that new evidence goes to: where it was named by its path, and can be written; else None."""
    folder = Path(dataset.folder) if dataset.folder and not dataset.by_name else None
    return folder if folder is not None and os.access(folder, os.W_OK) else None


def prepare_place(dataset: Dataset, place: Path | None = None) -> None:
    """See to it that ``write_evidence`` will be able to put evidence there. Raises InputError with what is in its way."""
    place = place or place_of(dataset)
    if place is None:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "not a folder" if os.path.exists(place) else error.strerror or ""
        raise InputError(
            "evidence cannot be put here", where=str(place), found=what, wanted="a folder, or the name of a new one"
        ) from None
    if not os.access(place, os.W_OK):
        raise InputError("evidence cannot be put here", where=str(place), wanted="a folder that you may write to")
    read_evidence(place / EVIDENCE)
    if (place / LOCK).is_dir():
        raise InputError("a folder where the lock belongs", where=str(place / LOCK), wanted="a file, or nothing")


def write_evidence(
    dataset: Dataset, found: Mapping[str, TaskEvidence], *, whole: bool, place: Path | None = None
) -> Path:
    """Put ``found`` on record, by task ref, and return where. Of what is there, evidence on the same digest is added to.

    It goes into files in ``place``, in the dataset's folder by default; where there is none that may be written, into the
    harness's home, a file for each digest. ``whole``: all of the dataset was looked at, so its lock is written too, and evidence of
    tasks that are gone is dropped. Raises InputError where the file that is there is no evidence: it is not written over.
    """
    place = place or place_of(dataset)
    with _one_at_a_time():
        return _write(dataset, found, whole, place)


def _write(dataset: Dataset, found: Mapping[str, TaskEvidence], whole: bool, place: Path | None) -> Path:
    if place is None:
        folder = _at_home("").parent
        folder.mkdir(parents=True, exist_ok=True)
        for new in found.values():
            write_json(_at_home(new.digest), _joined(_read_one(new.digest), new))
        return folder
    place.mkdir(parents=True, exist_ok=True)
    file = place / EVIDENCE
    old = read_evidence(file)
    kept = {} if whole else dict(old.tasks)
    for ref, new in found.items():
        kept[ref] = _joined(old.tasks.get(ref), new)
    name = dataset.name if whole else old.dataset or dataset.name  # one task alone is a dataset of its own name
    write_json(file, DatasetEvidence(dataset=name, tasks=dict(sorted(kept.items()))))
    if whole:
        tasks = {task.ref: lock_task(task) for task in sorted(dataset.tasks, key=lambda task: task.ref)}
        lock = DatasetLock(dataset=dataset.name, version=dataset.version, digest=dataset.digest, tasks=tasks)
        write_json(place / LOCK, lock)
    return file


@contextmanager
def _one_at_a_time() -> Generator[None]:
    """Two checks that end together add to one file one after the other."""
    folder = home() / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_evidence(file: Path) -> DatasetEvidence:
    """The evidence in ``file``, none where it does not exist. Raises InputError where it is something else."""
    try:
        data = read_whole(file, _LONGEST)
    except (FileNotFoundError, NotADirectoryError):
        return DatasetEvidence(dataset="")
    except OSError as error:
        raise InputError("cannot be read", where=str(file), found=error.strerror or "") from None
    try:
        found = msgspec.json.decode(data, type=DatasetEvidence)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"not evidence of checks: {error}", where=str(file), wanted="what `bakeoff check` wrote"
        ) from None
    if found.schema_version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InputError(
            "evidence of another version", where=str(file), field="schema_version", found=found.schema_version
        )
    return found


def unchecked(datasets: Iterable[Dataset], tasks: Iterable[Task]) -> str:
    """What to tell of those of ``tasks`` that cannot be trusted by the evidence there is; empty where all can."""
    known: list[DatasetEvidence] = []
    unread: list[str] = []
    sources: list[str] = []
    for dataset in datasets:
        sources.append(dataset.ref or dataset.name)
        if dataset.folder:
            try:
                known.append(read_evidence(Path(dataset.folder) / EVIDENCE))
            except InputError as error:
                unread.append(f"\n{error}")
    groups: dict[str, list[str]] = {}
    for task in tasks:
        if why := _why_not(task, known):
            groups.setdefault(why, []).append(task.ref)
    if not groups:
        return ""
    told = "; ".join(f"{why}: {_some(refs)}" for why, refs in groups.items())
    command = " && ".join(f"bakeoff check {quote(source)}" for source in dict.fromkeys(sources))
    return f"no evidence that these tasks can be trusted: {told}. `{command}` looks at them" + "".join(unread)


def _why_not(task: Task, known: Iterable[DatasetEvidence]) -> str:
    found = [item for evidence in known if (item := evidence.tasks.get(task.ref)) is not None]
    same = [item for item in found if item.digest == task.digest]
    if any(item.trusted for item in same):
        return ""
    if (at_home := _read_one(task.digest)) is not None:
        same.append(at_home)
    if at_home is not None and at_home.trusted:
        return ""
    if any(False in item.gates.values() for item in same):
        return "failed a check"
    if same:
        return "checked in part"
    return "changed since its check" if found else "never checked"


def _joined(old: TaskEvidence | None, new: TaskEvidence) -> TaskEvidence:
    if old is None or (old.digest, old.verifier) != (new.digest, new.verifier):
        return new
    return msgspec.structs.replace(
        new,
        image=new.image or old.image,
        gates={**old.gates, **new.gates},
        controls=new.controls or old.controls,
    )


def _at_home(digest: str) -> Path:
    return home() / "evidence" / "tasks" / f"{digest.removeprefix('sha256:')}.json"


def _read_one(digest: str) -> TaskEvidence | None:
    """The evidence at home for one digest; a file that cannot be read is none."""
    try:
        found = msgspec.json.decode(_at_home(digest).read_bytes(), type=TaskEvidence)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.digest == digest else None


def _some(refs: list[str]) -> str:
    more = len(refs) - _NAMED
    return ", ".join(refs[:_NAMED]) + (f" and {more} more" if more > 0 else "")
