"""Root file systems unpacked once into the store and shared from there."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from bakeoff.files.inside import FOLDER
from bakeoff.files.owners import AS_NAMED
from bakeoff.files.remove import remove_path
from bakeoff.files.unpack import Unpacker

_STAGING = ".new-"


def publish(
    chunks: Callable[[], Iterable[bytes]],
    place: Path,
    *,
    owners: bool,
    check: Callable[[Path], object] = lambda _: None,
) -> None:
    """Unpack a tar beside ``place`` and rename it there, unless that is there already: a kill leaves nothing that looks whole.

    ``owners``: files get the owners that the tar names. One at a time unpacks, whatever the number of harnesses, and sweeps what
    killed ones left. Raises OSError and TarError, and whatever ``check`` does about the unpacked folder, which then is gone.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place.parent):
        if place.is_dir():
            return
        for left in place.parent.glob(f"{_STAGING}*"):
            remove_path(left)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=place.parent))
        try:
            _unpack(chunks(), staging, owners)
            check(staging)
            staging.rename(place)
        finally:
            remove_path(staging)


def _unpack(chunks: Iterable[bytes], staging: Path, owners: bool) -> None:
    staging.chmod(0o755)
    folder = os.open(staging, FOLDER)
    unpacker = Unpacker(folder, owners=AS_NAMED if owners else None, top=owners)
    try:
        for chunk in chunks:
            unpacker.feed(chunk)
        unpacker.finish()
    finally:
        unpacker.close()
        os.close(folder)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    lock = os.open(folder, FOLDER)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
