"""The folders that controls run in, under the harness's home."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from bakeoff.errors import InputError
from bakeoff.home import home
from bakeoff.records.journal import JobLock
from bakeoff.records.times import now
from bakeoff.tasks.model import slug

_KEPT = 3
"""Folders of one name that are kept for looking at, newest first: those of checks that found something."""

_STAMP = r"\.[\dT-]+\.\d+Z-[0-9a-f]{6}"


@contextmanager
def check_folder(name: str) -> Generator[Path]:
    """A new folder for the controls of one check; those of earlier checks of the same name are removed, but for the last few.

    Other checks leave it alone until the block ends: it is locked as a job's folder is.
    """
    place = home() / "checks"
    place.mkdir(parents=True, exist_ok=True)
    mine = re.compile(re.escape(slug(name)) + _STAMP)
    earlier = sorted(old for old in place.iterdir() if mine.fullmatch(old.name))
    for old in earlier[: -(_KEPT - 1)]:
        # Another check may be at work there, or be removing it too.
        with suppress(OSError, InputError), JobLock(old):
            shutil.rmtree(old)
    folder = place / f"{slug(name)}.{now().replace(':', '-')}-{secrets.token_hex(3)}"
    folder.mkdir()
    with JobLock(folder):
        yield folder
