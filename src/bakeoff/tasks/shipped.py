"""Where the datasets are that ship with bakeoff."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_datasets() -> Path:
    """``bakeoff/datasets`` of an installed package, ``datasets`` of a checkout."""
    installed = _PACKAGE / "datasets"
    return installed if installed.is_dir() else _PACKAGE.parent.parent / "datasets"
