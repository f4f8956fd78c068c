"""A trial's folder after an agent on this machine, which may have put anything there, has worked beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bakeoff.files.remove import remove_path


def new_folder(path: Path) -> Path:
    """Make a folder that is new, whatever stood in its place."""
    remove_path(path)
    path.mkdir(parents=True)
    return path


def look(folder: Path) -> dict[str, bool]:
    """The names in a folder, and whether each is a folder itself."""
    return {entry.name: entry.is_dir(follow_symlinks=False) for entry in os.scandir(folder)}


def reclaim(folder: Path, before: Mapping[str, bool]) -> None:
    """Take out of ``folder`` what ``look`` did not find before; put an empty folder where one has gone or been replaced.

    Nothing that the harness writes there afterwards can be in its way, and it follows no link to do so. This is order, not
    protection: code with the rights of the harness can undo it, which is what the flag of such trials says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    now = look(folder)
    for name, is_folder in now.items():
        if before.get(name) is not is_folder:
            remove_path(folder / name)
    for name, is_folder in before.items():
        if is_folder and now.get(name) is not True:
            (folder / name).mkdir()
        elif is_folder:
            (folder / name).chmod(0o755)
