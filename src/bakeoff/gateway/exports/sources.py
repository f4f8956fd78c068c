"""What can be exported: the finished trials of a job, or fixtures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.exports.facts import Facts, Pairs, of_fixture, of_result
from bakeoff.gateway.exports.reading import pairs
from bakeoff.records.fixtures import find_fixtures, read_fixture
from bakeoff.records.provenance import read_provenance
from bakeoff.records.results import TrialResult

FIXTURE = "fixture"
"""The folder of a trial with its recorded traffic."""


class Source(Struct, frozen=True):
    """A trial to be exported. ``name`` is a relative path that no other trial of the same export has; ``fixture`` is None where
    no traffic was recorded.
    """

    name: str
    facts: Facts
    fixture: Path | None

    def pairs(self) -> Pairs:
        """Its exchanges, one at a time. Raises InputError where they cannot be read."""
        return pairs(read_fixture(self.fixture)) if self.fixture else ()


def of_job(job: Path, results: Iterable[TrialResult]) -> Iterator[Source]:
    """Finished trials of the job in the folder ``job``. Raises InputError where one is said to be elsewhere."""
    for result in results:
        if not result.path or PurePosixPath(result.path).is_absolute() or ".." in PurePosixPath(result.path).parts:
            raise InputError(
                "a trial's folder is not in its job's", where=str(job), found=result.path, wanted="a path below trials"
            )
        fixture = job / result.path / FIXTURE
        there = fixture.is_dir()
        provenance = read_provenance(fixture) if there else None
        yield Source(result.path.removeprefix("trials/"), of_result(result, provenance), fixture if there else None)


def of_folder(folder: Path) -> Iterator[Source]:
    """The fixtures in a folder, or the one that it is. Raises InputError where one does not say what it was recorded from."""
    for fixture in find_fixtures(folder):
        provenance = read_provenance(fixture)
        if provenance is None:
            raise InputError(
                "the fixture has no provenance", where=str(fixture), wanted="a provenance.json beside its exchanges"
            )
        name = fixture.relative_to(folder).as_posix()
        yield Source(fixture.absolute().name if name == "." else name, of_fixture(provenance), fixture)
