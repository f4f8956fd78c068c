"""Judges the commit in a copy of the repository, and runs the program that it holds on inputs made here.

What the program prints is compared with a second implementation of what it is for, in this file. Whether it is quick is judged
by the processor time that it takes for as many records with few ids, on the same machine at the same time.
"""

import contextlib
import ctypes
import json
import math
import os
import pathlib
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

REPOSITORY = "/app/tally"
GIT_DIR = f"{REPOSITORY}/.git"
CULPRIT_FILE = "/app/culprit.txt"
CULPRIT = "5db236b1217457349b96e533c66bed56e4b96c8c"
TIP = "28c370877f738152557a7623083ae69178037328"
TAGS = {
    "refs/tags/v1.2": "0dd97630706748e4fe3a3f80279c089906f6bf04",
    "refs/tags/v1.4": "5d3f10de0e856c5887e5b534af2c33d794548ef3",
}
TAKEN = ("HEAD", "packed-refs", "refs", "objects")
FILES_LIMIT = 20_000
BYTES_LIMIT = 50 << 20
LINES_LIMIT = 10
MANY = 15_000
# Compared with few ids, the list takes 20 times as long where all are new, and 15 times where half are repeated; a dict, at most twice.
TIMES = 5
TRIES = 2
PATIENCE = 60.0
NOBODY = 65534
CUSTOMERS = ("Nord & Co", "Almgren", "Berg", "berg", "Åkesson", "Zander", "Holm")
ARTICLES = ("rope", "anchor", "lantern", "fender", "buoy")

failures = []


class StopError(Exception):
    """Without this, nothing that follows can be judged."""


def expect(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def must(condition, what):
    expect(condition, what)
    if not condition:
        raise StopError


def files_below(top, leave_out=()):
    """Relative path and status of everything below ``top`` that is not a folder. Links are not followed."""
    found, todo = {}, [""]
    while todo:
        folder = todo.pop()
        with os.scandir(os.path.join(top, folder)) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if path in leave_out:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)
                else:
                    found[path] = entry.stat(follow_symlinks=False)
                must(len(found) + len(todo) <= FILES_LIMIT, f"{top} has a sensible number of files")
    total = sum(status.st_size for status in found.values() if stat.S_ISREG(status.st_mode))
    must(total <= BYTES_LIMIT, f"{top} has a sensible size")
    return found


def is_folder(path):
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def read(path):
    """A regular file's content; opened so that a pipe put there in the meantime cannot block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        return file.read(BYTES_LIMIT)


class Copy:
    """The repository without its configuration, hooks and borrowed objects."""

    def __init__(self, work):
        self.path = work / "copy"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(work),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
        }

    def fill(self, files):
        self.run("init", "-q", "--bare", "--template=", str(self.path))
        for path, status in files.items():
            wanted = path.split("/")[0] in TAKEN or path.startswith("sharedindex.")
            if wanted and stat.S_ISREG(status.st_mode) and path != "objects/info/alternates":
                to = self.path / path
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(read(f"{GIT_DIR}/{path}"))

    def run(self, *args):
        """Exit code and output of git in the copy."""
        try:
            done = subprocess.run(
                ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *args],
                cwd="/",
                env={**self.env, "GIT_DIR": str(self.path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
            )
        except subprocess.TimeoutExpired:
            return 124, ""
        return done.returncode, done.stdout.decode(errors="replace")


def check_culprit():
    try:
        text = read(CULPRIT_FILE)[:1000].decode(errors="replace").strip()
    except OSError:
        text = ""
    expect(bool(text), f"{CULPRIT_FILE} has something in it")
    expect(not text or text == CULPRIT, "the commit named is the first slow one")


def check_commit(copy):
    """One small commit on top of what was there."""
    _, head = copy.run("symbolic-ref", "HEAD")
    expect(head.strip() == "refs/heads/main", "main is checked out")
    expect(not os.path.lexists(f"{GIT_DIR}/BISECT_LOG"), "no bisection is going on")
    for tag, commit in TAGS.items():
        expect(copy.run("rev-parse", "--verify", tag)[1].strip() == commit, f"{tag} is as it was")
    code, line = copy.run("rev-list", "--parents", "-n", "1", "refs/heads/main", "--")
    must(code == 0, "the last commit of main can be read")
    expect(line.split()[1:] == [TIP], "main is one commit ahead of where it was")
    code, text = copy.run("diff-tree", "-r", "--no-renames", "--numstat", TIP, "refs/heads/main")
    must(code == 0, "what was changed can be read")
    changes = [line.split("\t") for line in text.splitlines()]
    small = all(count.isdigit() and int(count) <= LINES_LIMIT for change in changes for count in change[:2])
    must(bool(changes), "the program is changed")
    expect(len(changes) == 1 and changes[0][2].startswith("tally/"), "one file of the program is changed")
    expect(small, "no more lines are changed than were to be")


def export(copy, to):
    to.mkdir()
    code, _ = copy.run(f"--work-tree={to}", "read-tree", "-u", "--reset", "refs/heads/main")
    must(code == 0, "the last commit of main can be checked out")


def end_children():
    """Whatever the program left behind was adopted by this process, and ends before anything else is judged."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        except OSError:
            return
        if not children:
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(int(child), signal.SIGKILL)
                os.waitpid(int(child), 0)


def run_program(folder, args, seconds=PATIENCE):
    """Exit code, output and processor time. A program that takes more than the seconds, rounded up, is ended with code 124."""
    output = folder.parent / "output"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = math.ceil(seconds)
    with output.open("wb") as file:
        try:
            ended = subprocess.run(
                ["python3", "-B", "-m", "tally", *map(str, args)],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
                preexec_fn=lambda: give_up_rights(limit),
            )
            code = 124 if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else ended.returncode
        except subprocess.TimeoutExpired:
            code = 124
        finally:
            end_children()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return code, output.read_bytes()[:BYTES_LIMIT].decode(errors="replace"), spent


def give_up_rights(limit):
    """Where there is another user, the program is run as that one: it cannot reach this process or what it writes."""
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))


def make_records(rng, count, again):
    """Records with ids in no order, ``again`` of a hundred sent before, perhaps with another amount or other letters in the id."""
    ids = [f"{'ABCDE'[number % 5]}{number:06}" for number in rng.sample(range(1_000_000), count)]
    records = []
    for place in range(count):
        repeated = place > 3 and rng.random() * 100 < again
        number = ids[int(rng.random() * place)] if repeated else ids[place]
        dice = int(rng.random() * 1_000_000)
        record = (
            number.lower() if dice % 3 == 0 else number,
            f"2025-{1 + dice % 12:02}-{1 + dice // 12 % 28:02}",
            CUSTOMERS[dice // 7 % len(CUSTOMERS)],
            ARTICLES[dice // 11 % len(ARTICLES)],
            dice % 252_001 - 2_000,
        )
        records.append(record)
    return records


def write_records(path, records):
    """One a line, some with spaces around fields, and notes and empty lines in between."""
    lines = []
    for place, record in enumerate(records):
        lines.append((";" if place % 9 else " ; ").join(map(str, record)))
        if place % 50 == 17:
            lines.append(("", "# a note", "   ")[place % 3])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def amount(cents):
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def wanted(records, by="customer", since="", until="", customer="", top=None, flags=()):
    """What the program is to print."""
    first = {}
    for record in records:
        first.setdefault(record[0].upper(), record)
    counted = [
        record
        for record in first.values()
        if (not since or record[1] >= since)
        and (not until or record[1] <= until)
        and (not customer or record[2].lower() == customer.lower())
    ]
    sums, months = {}, {}
    for _, date, name, article, cents in counted:
        key = {"customer": name, "article": article, "month": date[:7]}[by]
        sums[key] = sums.get(key, 0) + cents
        months[date[:7]] = True
    shown = sorted(sums.items())
    if top is not None:
        shown = sorted(shown, key=lambda item: item[1], reverse=True)[:top]
    if "--json" in flags:
        return json.dumps(dict(shown), ensure_ascii=False) + "\n"
    lines = [f"{name} {amount(cents)}" for name, cents in shown]
    if "--total" in flags:
        lines.append(f"TOTAL {amount(sum(sums.values()))}")
    if "--months" in flags:
        lines.append(" ".join(("months:", *months)))
    if "--again" in flags:
        lines.append(f"again: {len(records) - len(first):,}")
    if "--ids" in flags:
        lines.append(" ".join(("ids:", *first)))
    return "\n".join(lines) + "\n"


CASES = (
    {},
    {"by": "article", "flags": ("--total",)},
    {"by": "month", "flags": ("--again", "--months")},
    {"flags": ("--ids", "--again", "--total")},
    {"since": "2025-04-01", "until": "2025-09-15", "flags": ("--ids", "--months")},
    {"customer": "BERG", "by": "article", "flags": ("--total", "--again")},
    {"top": 3, "flags": ("--total",)},
    {"top": 2, "by": "month", "flags": ("--json",)},
)


def arguments(case):
    options = [f"--{name}={value}" for name, value in case.items() if name != "flags"]
    return [*options, *case.get("flags", ())]


def check_program(folder, work):
    rng = random.Random(20250614)
    one, two = work / "one.txt", work / "two.txt"
    records = make_records(rng, 600, 20)
    write_records(one, records[:350])
    write_records(two, records[350:])
    for case in CASES:
        code, out, _ = run_program(folder, [*arguments(case), one, two])
        expect(
            code == 0 and out == wanted(records, **case),
            f"it prints what it did, with {' '.join(arguments(case)) or 'no options'}",
        )
    bad = work / "bad.txt"
    bad.write_text("1;2025-1-1;Berg;rope;100\n", encoding="utf-8")
    expect(run_program(folder, [bad])[0] == 1, "it refuses a date that is none")


def check_speed(folder, work):
    """With many records, the time must not depend on how many ids there are, be they new or repeated."""
    rng = random.Random(20250615)
    case = {"flags": ("--ids", "--again")}
    made = make_records(rng, MANY, 0)
    kinds = {
        "few": [(made[place % 20][0], *record[1:]) for place, record in enumerate(made)],
        "new": made,
        "repeated": made[: MANY // 2]
        + [(made[MANY // 2 - 1 - place % 20][0], *made[place][1:]) for place in range(MANY // 2, MANY)],
    }
    for kind, records in kinds.items():
        write_records(work / kind, records)
    left = ["new", "repeated"]
    for _ in range(TRIES):
        code, out, least = run_program(folder, [*arguments(case), work / "few"])
        must(code == 0 and out == wanted(kinds["few"], **case), "it prints what is right for many records")
        while left:
            code, out, spent = run_program(folder, [*arguments(case), work / left[0]], TIMES * least)
            if code == 124 or spent > TIMES * least:
                break
            must(code == 0 and out == wanted(kinds[left[0]], **case), "it prints what is right for many records")
            left.pop(0)
        else:
            return
    expect(False, "it is quick with many records")


def check(work):
    check_culprit()
    must(is_folder(REPOSITORY) and is_folder(GIT_DIR), f"{GIT_DIR} is a folder")
    copy = Copy(work)
    copy.fill(files_below(GIT_DIR))
    check_commit(copy)
    export(copy, work / "program")
    check_program(work / "program", work)
    check_speed(work / "program", work)


def main():
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    os.umask(0o022)
    work = pathlib.Path(tempfile.mkdtemp(prefix="check-"))
    work.chmod(0o755)
    try:
        check(work)
    except StopError:
        print("stopped here")
    except (OSError, ValueError) as error:
        expect(False, f"the repository can be read ({type(error).__name__})")
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
