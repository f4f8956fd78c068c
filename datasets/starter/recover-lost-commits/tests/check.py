"""Looks at a copy of the repository's objects, refs and index: nothing that its own configuration or hooks say is obeyed."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

WORK_TREE = "/app/pricelist"
GIT_DIR = f"{WORK_TREE}/.git"
TAKEN = ("HEAD", "packed-refs", "index", "refs", "objects", "logs")
HALF_DONE = ("rebase-merge", "rebase-apply", "sequencer", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_HEAD", "BISECT_LOG")
FILES_LIMIT = 20_000
BYTES_LIMIT = 50 << 20

FIELDS = ("id", "parents", "name", "email", "date", "tree", "message")

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

    def commits(self):
        """What stands in each commit of main, the oldest first, with its parents."""
        form = "--format=%x01%H%x00%P%x00%an%x00%ae%x00%ad%x00%T%x00%B"
        order = ("--reverse", "--topo-order", "--max-count=1000")
        code, text = self.run("log", *order, "--encoding=UTF-8", "--date=raw", form, "refs/heads/main", "--")
        must(code == 0, "the history of main can be read")
        found = []
        for record in text.split("\1")[1:]:
            parts = [part.strip() for part in record.split("\0")]
            must(len(parts) == len(FIELDS), "the commits of main can be read")
            found.append({field: parts[place] for place, field in enumerate(FIELDS)})
        return found

    def entries(self, *args):
        """Mode and object of each path that ``ls-tree`` or ``ls-files`` lists; None where git fails."""
        code, text = self.run(*args)
        if code:
            return None
        found = {}
        for line in filter(None, text.split("\0")):
            about, _, path = line.partition("\t")
            mode, *rest = about.split(" ")
            found[path] = (mode, rest[1] if rest[0] == "blob" else rest[0])
            if args[0] == "ls-files" and rest[1] != "0":
                return None
        return found


def check_history(found, wanted):
    before = ["", *(commit["id"] for commit in found)]
    expect([commit["parents"] for commit in found] == before[:-1], "main is a straight line")
    must(len(found) == len(wanted), "main has as many commits as were ever meant to be on it")
    for number, should in enumerate(wanted, 1):
        is_ = found[number - 1]
        for field in ("message", "name", "email", "date"):
            what = {"name": "author's name", "email": "author's address", "date": "author date"}.get(field, field)
            expect(is_[field] == should[field], f"commit {number} of main has its {what}")
        expect(is_["tree"] == should["tree"], f"commit {number} of main has the content that belongs there")
        if should["id"]:
            expect(is_["id"] == should["id"], f"commit {number} of main, which was not affected, has its id")


def check_refs(copy, wanted):
    _, text = copy.run("for-each-ref", "--format=%(refname) %(objectname)")
    refs = dict(line.split(" ") for line in text.splitlines())
    for name, commit in wanted.items():
        expect(refs.get(name) == commit, f"{name} is as it was")
    expect(set(refs) <= {*wanted, "refs/heads/main"}, "there are no other branches, tags and refs")


def check_work_tree(copy):
    """That index and work tree are what the last commit of main holds."""
    last = copy.entries("ls-tree", "-r", "-z", "refs/heads/main")
    must(last is not None, "the last commit of main can be read")
    expect(copy.entries("ls-files", "-s", "-z") == last, "the index is what is in the last commit")
    there = {}
    for path, status in files_below(WORK_TREE, leave_out=(".git",)).items():
        if stat.S_ISREG(status.st_mode):
            content = read(f"{WORK_TREE}/{path}")
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            there[path] = ("100755" if status.st_mode & 0o100 else "100644", blob)
        else:
            there[path] = ("other", "")
    expect(not there.keys() - last.keys(), "nothing in the work tree is untracked")
    expect(not last.keys() - there.keys(), "nothing is missing from the work tree")
    expect(
        all(there[path] == last[path] for path in there.keys() & last.keys()), "nothing in the work tree is modified"
    )


def check(work):
    wanted = json.loads(pathlib.Path("/tests/expected.json").read_text(encoding="utf-8"))
    must(is_folder(WORK_TREE) and is_folder(GIT_DIR), f"{GIT_DIR} is a folder")
    files = files_below(GIT_DIR)
    expect(not any(path.endswith(".lock") for path in files), "no lock is left")
    expect(not any(os.path.lexists(f"{GIT_DIR}/{name}") for name in HALF_DONE), "no operation is half done")
    copy = Copy(work)
    copy.fill(files)
    _, head = copy.run("symbolic-ref", "HEAD")
    expect(head.strip() == "refs/heads/main", "main is checked out")
    code, _ = copy.run("fsck", "--full", "--no-dangling", "--no-progress")
    expect(code == 0, "fsck finds no error")
    check_refs(copy, wanted["refs"])
    check_history(copy.commits(), wanted["commits"])
    check_work_tree(copy)


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="check-"))
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
