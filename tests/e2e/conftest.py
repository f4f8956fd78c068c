"""Whole commands in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.cli.main import main
from calling import Call, Said


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """``call("run", …)`` in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Said:
        code = main([str(arg) for arg in args])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run
