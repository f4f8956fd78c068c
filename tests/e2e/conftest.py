"""Whole commands in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakeoff.cli.main import main
from calling import Call, Said
from walking import Provider, provider


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """``call("run", …)`` in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Said:
        code = main([str(arg) for arg in args])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def own_file(isolated_home: Path) -> Iterator[Callable[[str, str], None]]:
    """``own_file(name, text)`` puts a file into BAKEOFF_HOME for the length of the test."""
    made: list[Path] = []

    def write(name: str, text: str) -> None:
        isolated_home.mkdir(exist_ok=True)
        made.append(isolated_home / name)
        made[-1].write_text(text)

    yield write
    for path in made:
        path.unlink()


@pytest.fixture
def served() -> Iterator[Provider]:
    """A provider on loopback."""
    with provider() as one:
        yield one
