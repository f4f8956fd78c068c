"""Folders of reports and archives: making them, and reading what the job made of them."""

import gzip
import io
import os
import random
import stat
import tarfile
import zlib
from pathlib import Path

from runner import own

LIMIT = 64 << 20
BROKEN = "broken"


def noise(size, seed):
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def make_folder(path):
    path.mkdir(parents=True)
    own(path)
    return path


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content)
        own(path)


def pack(path, files):
    """Writes an archive as the job would have; the later its name, the older its time stamp."""
    for folder in (path.parent.parent, path.parent):
        if not folder.exists():
            make_folder(folder)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(buffer.getvalue())
    age = 2_000_000_000 - int("".join(letter for letter in path.name if letter.isdigit()))
    os.utime(path, (age, age))
    own(path)


def unpack(path):
    """The files in an archive by name, None if there is no archive, BROKEN if it is not complete or holds other things."""
    try:
        info = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode) or info.st_size > LIMIT:
        return BROKEN
    try:
        with gzip.open(path) as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT or not content:
            return BROKEN
        files = {}
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                name = member.name[2:] if member.name.startswith("./") else member.name
                if member.isdir() and name in (".", ""):
                    continue
                if not member.isreg() or "/" in name:
                    return BROKEN
                files[name] = archive.extractfile(member).read()
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, UnicodeError, KeyError, AttributeError):
        return BROKEN
    return files


def reports(folder):
    """The reports that are in a folder: regular files that are not hidden."""
    found = {}
    for entry in os.scandir(folder):
        if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False) and entry.stat().st_size <= LIMIT:
            found[entry.name] = Path(entry.path).read_bytes()
    return found


def names(folder):
    """The names in a folder that are not the job's own; none if there is no folder."""
    try:
        return {name for name in os.listdir(folder) if not name.startswith(".")}
    except OSError:
        return set()


def leftovers(archive):
    """Bytes in what the job left under hidden names."""
    total = 0
    for folder, _, files in os.walk(archive):
        hidden = any(part.startswith(".") for part in Path(folder).relative_to(archive).parts)
        total += sum(os.lstat(Path(folder, name)).st_size for name in files if hidden or name.startswith("."))
    return total


def grown(archive, before):
    """Whether a file under a folder has content, and is not as it was before (see state)."""
    return any(now[0] and before.get(path) != now for path, now in state(archive).items())


def state(archive):
    """Size and inode of each file under a folder."""
    found = {}
    for folder, _, files in os.walk(archive):
        for name in files:
            try:
                info = os.lstat(Path(folder, name))
            except OSError:
                continue
            found[Path(folder, name)] = info.st_size, info.st_ino
    return found
