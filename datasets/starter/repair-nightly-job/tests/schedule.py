"""The crontab: when the job is started, and what its line does when the scheduler runs it."""

import shutil
import stat
from datetime import datetime, timedelta
from pathlib import Path

import cron
from folders import make_folder, names, pack, put, reports, unpack
from runner import run

DATA = Path("/app/data")
OTHER = ("*/20 6-20 * * mon-fri", 'test -d /app/data/reports || echo "reports are gone"')
LIMIT = 100_000


def read(path):
    try:
        info = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode) or info.st_size > LIMIT:
        return None
    return path.read_text(encoding="utf-8", errors="replace")


def fresh(path):
    """An empty folder, whatever was there."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    return make_folder(path)


def effect(settings, command):
    """Yields (aspect, whether it is right) of one start of the job by the scheduler, today."""
    fresh(DATA)
    inbox, archive = make_folder(DATA / "reports"), DATA / "report archive"
    content = {"some sales.csv": b"1;2\n", "summary": b"s"}
    put(inbox, content)
    today = datetime.now().date()
    days = {number: f"reports-{today - timedelta(number)}.tar.gz" for number in (1, 5, 12, 13, 14, 15, 40)}
    for name in days.values():
        pack(archive / "daily" / name, {"d": name.encode()})
    weeks = [f"reports-2019-W{number}.tar.gz" for number in range(11, 21)]
    for name in weeks:
        pack(archive / "weekly" / name, {"w": name.encode()})
    shell = settings.get("SHELL", "/bin/sh")
    status = run([shell, "-c", cron.shell_text(command)], settings=settings)
    after = datetime.now().date()
    packed = [date for date in {today, after} if unpack(archive / "daily" / f"reports-{date}.tar.gz") == content]
    yield (
        "crontab: the job's line works as the scheduler starts it",
        status == 0 and len(packed) == 1 and not reports(inbox),
    )
    ran = packed[0] if packed else today  # midnight may have passed
    wanted = {name for number, name in days.items() if ran - (today - timedelta(number)) < timedelta(14)}
    yield "crontab: days kept", set(days.values()) & names(archive / "daily") == wanted
    left = {name for name in names(archive / "weekly") if "2019" in name}
    new = len(names(archive / "weekly")) - len(left)
    yield "crontab: weeks kept", left == set(weeks[2 + new :]) and new <= 1
    yield "crontab: nothing is put elsewhere", names(DATA) == {"reports", "report archive"}


def check(nightly):
    """Yields (aspect, whether it is right)."""
    text = read(nightly / "crontab")
    try:
        settings, entries = cron.parse(text or "")
    except ValueError:
        yield "crontab: all lines can be read", False
        return
    ours = [entry for entry in entries if entry[1] != OTHER[1]]
    rest = [fields for fields, command in entries if command == OTHER[1]]
    kept = len(rest) == 1 and cron.times(rest[0]) == cron.times(OTHER[0].split())
    yield "crontab: the other job stays", kept
    yield "crontab: one line for the job", len(ours) == 1
    if len(ours) != 1:
        return
    at, days = cron.times(ours[0][0])
    yield "crontab: the time", at == {(3, 10)}
    yield "crontab: the nights", days == cron.times(("10", "3", "*", "*", "2-6"))[1]
    yield from effect(settings, ours[0][1])
