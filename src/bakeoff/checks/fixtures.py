"""Whether fixtures can be trusted: where they come from, whether they are whole, whether they hold an answer, and no secret."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bakeoff.checks.base import Looked
from bakeoff.checks.known_bad import KnownBad, read_known_bad
from bakeoff.checks.secret_scan import Scan, read_allowed
from bakeoff.errors import InputError
from bakeoff.gateway.secrets import Secrets, secret_values
from bakeoff.records.checks import FIXTURE_GATES, CheckReport, Finding, FixtureGateName, Gate
from bakeoff.records.exchanges import Provenance
from bakeoff.records.fixture_files import BLOBS, COMPRESSED, EXCHANGES, PROVENANCE, REFUSED
from bakeoff.records.fixture_lines import exchanges_file, read_lines
from bakeoff.records.fixtures import Fixture, find_fixtures, read_fixture
from bakeoff.records.times import now
from bakeoff.tasks.datasets import load_dataset
from bakeoff.tasks.model import Dataset

_SIGNS = (EXCHANGES, COMPRESSED, PROVENANCE, REFUSED)


def is_of_fixtures(path: Path) -> bool:
    """Whether a folder is a fixture, or a tree of fixtures and no task or dataset."""
    if not path.is_dir() or (path / "task.toml").exists():
        return False
    if any((path / sign).exists() for sign in _SIGNS):
        return True
    if any((below / "task.toml").exists() for below in path.iterdir()):
        return False
    try:
        return bool(find_fixtures(path))
    except InputError:
        return False


def check_fixtures(
    path: Path, *, registry: Sequence[Path] = (), environment: dict[str, str] | None = None
) -> CheckReport:
    """Look at a fixture, or each one of a tree. ``environment`` has values that must not be in any (default: this process's).

    What is found in a fixture that ``known-bad.toml`` names is a note, but for secrets.
    Raises InputError where there is no fixture, or that list cannot be read.
    """
    list_file, bad = read_known_bad(path)
    folders = find_fixtures(path)
    datasets = _Datasets(registry)
    scan = Scan(Secrets(secret_values(dict(os.environ) if environment is None else environment)), read_allowed())
    findings: dict[FixtureGateName, list[Finding]] = {name: [] for name in FIXTURE_GATES}
    notes: dict[FixtureGateName, list[Finding]] = {name: [] for name in FIXTURE_GATES}
    digests: list[str] = []
    for folder in folders:
        name = str(folder.relative_to(path)) if folder != path else folder.name
        entry = bad.get(folder.resolve())
        if entry is not None:
            notes["provenance"].append(_known(name, entry))
        digest, looked = _look(folder, name, datasets, scan)
        digests.append(f"{name}\0{digest}")
        for gate, item in looked.items():
            known = entry is not None and gate != "secrets"
            (notes if known else findings)[gate] += item.findings
            notes[gate] += item.notes
    findings["provenance"] += _stale(list_file, bad, path)
    gates = tuple(Gate(name, not findings[name], tuple(findings[name]), tuple(notes[name])) for name in FIXTURE_GATES)
    return CheckReport(
        subject=str(path),
        digest=hashlib.sha256("\0".join(digests).encode()).hexdigest(),
        checked_at=now(),
        ok=all(gate.ok for gate in gates),
        gates=gates,
    )


class _Datasets:
    """Datasets by the name that a provenance has, each loaded once; None for one that is not known here."""

    def __init__(self, registry: Sequence[Path]) -> None:
        self._registry = registry
        self._loaded: dict[str, Dataset | None] = {}

    def get(self, name: str) -> Dataset | None:
        if name not in self._loaded:
            try:
                self._loaded[name] = (
                    load_dataset(name, skip_invalid=True, registry=self._registry) if _is_name(name) else None
                )
            except InputError:
                self._loaded[name] = None
        return self._loaded[name]


def _is_name(name: str) -> bool:
    return "/" not in name and not name.startswith(".")


def _look(folder: Path, name: str, datasets: _Datasets, scan: Scan) -> tuple[str, dict[FixtureGateName, Looked]]:
    """The digest of a fixture's lines, empty where they cannot be read, and what each gate found."""
    try:
        fixture = read_fixture(folder)
    except InputError as fault:
        looked: dict[FixtureGateName, Looked] = {"hashes": Looked((_finding(name, folder, fault),))}
        if (folder / REFUSED).exists():
            return "", {"secrets": looked["hashes"]}
        return "", {**looked, "secrets": Looked(tuple(_secrets(folder, name, scan)))}
    return fixture.sha256, {
        "provenance": Looked(tuple(_provenance(fixture, name, datasets))),
        "hashes": Looked(tuple(_hashes(fixture, name))),
        "answers": Looked(tuple(_answers(fixture, name))),
        "secrets": Looked(
            (*_secrets(folder, name, scan), *_bodies(fixture, name, scan)), tuple(_unread(fixture.provenance, name))
        ),
    }


def _provenance(fixture: Fixture, name: str, datasets: _Datasets) -> Iterator[Finding]:
    told = fixture.provenance
    if told is None:
        yield Finding(
            task=name, file=PROVENANCE, message="missing: nothing says what this was recorded from; record it again"
        )
        return
    dataset = datasets.get(told.dataset)
    if dataset is None:
        yield _wrong(name, "dataset", f"an orphan: no dataset {told.dataset!r} is known here; --registry names more")
        return
    ref = f"{told.task}@{told.case}" if told.case else told.task
    task = next((task for task in dataset.tasks if task.ref == ref), None)
    if task is None:
        yield _wrong(name, "task", f"an orphan: the dataset {told.dataset!r} has no task {ref!r}")
    elif task.digest != told.task_digest:
        yield _wrong(name, "task_digest", f"recorded from another version of {ref!r}; record it again")
    if told.exchanges != len(fixture.exchanges):
        yield _wrong(name, "exchanges", f"says {told.exchanges}, and there are {len(fixture.exchanges)}")


def _wrong(name: str, field: str, message: str) -> Finding:
    return Finding(task=name, file=PROVENANCE, field=field, message=message)


def _hashes(fixture: Fixture, name: str) -> Iterator[Finding]:
    if fixture.modified and fixture.provenance is not None:
        said = (
            f"edited since it was recorded: {fixture.sha256}, and its provenance says {fixture.provenance.sha256[:80]}"
        )
        yield Finding(task=name, file=fixture.file.name, field="sha256", message=said)
    for fault in fixture.verify():
        yield _finding(name, fixture.folder, fault)
    used = {
        os.path.basename(blob.file) for one in fixture.exchanges for blob in (one.request, one.response) if blob.file
    }
    blobs = fixture.folder / BLOBS
    for file in sorted(os.listdir(blobs)) if blobs.is_dir() else ():
        if file not in used:
            yield Finding(task=name, file=f"{BLOBS}/{file}", message="no exchange has it; remove it, or record again")


def _answers(fixture: Fixture, name: str) -> Iterator[Finding]:
    answered = [
        one for one in fixture.exchanges if one.via != "gateway" and one.end == "complete" and (one.status or 500) < 400
    ]
    if not fixture.exchanges:
        yield Finding(task=name, file=fixture.file.name, message="nothing was recorded: there is nothing to replay")
    elif not answered:
        said = f"errors only: none of {len(fixture.exchanges)} requests was answered; record it again"
        yield Finding(task=name, file=fixture.file.name, message=said)


def _secrets(folder: Path, name: str, scan: Scan) -> Iterator[Finding]:
    """In the lines and in the provenance, as far as they can be read."""
    try:
        file = exchanges_file(folder)
        for number, line in enumerate(read_lines(file), 1):
            yield from _leaks(name, file.name, f"line {number}", line, scan)
    except InputError:
        pass  # the gate for hashes says so
    try:
        data = (folder / PROVENANCE).read_bytes()
    except OSError:
        return
    yield from _leaks(name, PROVENANCE, "", data, scan)


def _bodies(fixture: Fixture, name: str, scan: Scan) -> Iterator[Finding]:
    """In bodies that do not stand in the lines as they are."""
    seen: set[str] = set()
    for number, exchange in enumerate(fixture.exchanges, 1):
        for side in ("request", "response"):
            blob = exchange.request if side == "request" else exchange.response
            if blob.sha256 in seen or (blob.text is not None and blob.delta is None):
                continue
            seen.add(blob.sha256)
            try:
                data = fixture.body(exchange, side)
            except InputError:
                continue  # the gate for hashes says so
            yield from _leaks(name, fixture.file.name, f"line {number}: {side}", data, scan)


def _leaks(name: str, file: str, field: str, data: bytes, scan: Scan) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for leak in scan.leaks(data):
        if (leak.kind, leak.masked) not in seen:
            seen.add((leak.kind, leak.masked))
            said = f"a secret by its {leak.by}: {leak.kind} {leak.masked}; revoke it, and record again"
            yield Finding(task=name, file=file, field=field, message=said)


def _unread(told: Provenance | None, name: str) -> Iterator[Finding]:
    if told is not None and (number := told.redactions.get("unread body", 0)):
        said = f"{number} compressed bodies could not be looked into"
        yield Finding(task=name, file=PROVENANCE, field="redactions", message=said)


def _known(name: str, entry: KnownBad) -> Finding:
    return Finding(task=name, message=f"known to be bad since {entry.date.isoformat()}: {entry.reason}")


def _stale(file: Path | None, bad: dict[Path, KnownBad], path: Path) -> Iterator[Finding]:
    """Entries of the list that name no fixture. Only the whole tree can tell."""
    if file is None or file.parent != path.resolve():
        return
    there: Collection[Path] = {folder.resolve() for folder in find_fixtures(path)}
    for place, entry in bad.items():
        if place not in there:
            said = f"names no fixture: {entry.path}; remove the entry, or mend its path"
            yield Finding(task=entry.path, file=file.name, message=said)


def _finding(name: str, folder: Path, fault: InputError) -> Finding:
    """A fault in the words of a finding: its file relative to the fixture, its line in the field."""
    place = fault.where.removeprefix(f"{folder}{os.sep}")
    file, _, line = place.partition(": ")
    field = ": ".join(part for part in (line, fault.field) if part)
    message = InputError(fault.message, found=fault.found, wanted=fault.wanted).render()
    return Finding(task=name, file="" if place == str(folder) else file, field=field, message=message)
