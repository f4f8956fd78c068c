"""Runs the mended job in scratch folders under odd conditions, and reads the schedule by its meaning."""

import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import disturbed  # noqa: E402  (found beside this file only with the line above)
import runner  # noqa: E402
import schedule  # noqa: E402
import undisturbed  # noqa: E402
from sections import side_by_side  # noqa: E402

NIGHTLY = Path("/app/nightly")
SIZE_LIMIT = 5_000_000
COUNT_LIMIT = 500


def sound(folder):
    """Whether the job's folder holds nothing but files, folders and links of a sensible size."""
    total = count = 0
    for at, folders, files in os.walk(folder):
        for name in folders + files:
            info = os.lstat(Path(at, name))
            if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode) or stat.S_ISLNK(info.st_mode)):
                return False
            total += info.st_size
            count += 1
            if total > SIZE_LIMIT or count > COUNT_LIMIT:
                return False
    return not os.path.islink(folder) and os.path.isfile(Path(folder, "rotate.sh"))


def open_up(folder):
    """Lets everybody read a folder, as its own user could."""
    for at, folders, files in os.walk(folder):
        for path in [Path(at), *(Path(at, name) for name in folders + files)]:
            if not path.is_symlink():
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


@contextmanager
def closed(folders):
    """Folders that the job has no business in, shut to everybody but this user for as long as it lasts."""
    modes = {}
    try:
        for folder in folders:
            try:
                mode = stat.S_IMODE(os.stat(folder).st_mode)
                os.chmod(folder, 0o700)
            except OSError:
                continue
            modes[folder] = mode
        yield
    finally:
        for folder, mode in modes.items():
            os.chmod(folder, mode)


def parts(job, scratch):
    """The parts of the check, each with a folder of its own."""
    for check in (*undisturbed.SECTIONS, *disturbed.SECTIONS):
        folder = scratch / check.__name__
        folder.mkdir()
        folder.chmod(0o755)
        yield partial(check, job, folder)
    yield partial(schedule.check, NIGHTLY)


def main() -> int:
    if not NIGHTLY.is_dir() or not sound(NIGHTLY):
        print("/app/nightly: not a folder with rotate.sh and other files of a sensible size")
        return 1
    wrong = 0
    runner.adopt()
    scratch = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        scratch.chmod(0o755)
        copy = scratch / "night jobs" / "nightly"
        shutil.copytree(NIGHTLY, copy, symlinks=True)
        for folder in (NIGHTLY, copy):
            open_up(folder)
        with closed(["/tests", "/logs/verifier"]):
            for aspect, right in side_by_side(parts(copy / "rotate.sh", scratch)):
                print(f"{aspect}: {'right' if right else 'wrong'}", flush=True)
                wrong += not right
    finally:
        runner.end_all()
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if wrong else 0


sys.exit(main())
