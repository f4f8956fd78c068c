"""Looks at the modes of the project, then has things checked into projects of the judge's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

sys.path.insert(0, "/tests")

from judging import Apart

PROJECT = Path("/app/orchard")
LIBRARY = Path("/app/library")
PROGRAM = Path("/app/check-in")
APART = Apart(file_bytes=16 << 20, memory=None, writable=[str(PROJECT)])
KINDS = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe"}

Tree = dict[str, tuple[str, str, str]]  # path: kind, mode (of a link: none), and digest or what a link points to


class Failed(Exception):
    """What does not hold."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise Failed(what)


def tree(top: Path, contents: bool = True) -> Tree:
    """All that is in a folder, and the folder itself, without following any link."""
    found: Tree = {}
    waiting = [(os.fsencode(top), ".")]
    while waiting:
        path, name = waiting.pop()
        status = os.lstat(path)
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        mode = "" if kind == "link" else f"{stat.S_IMODE(status.st_mode):04o}"
        inside = ""
        if kind == "link":
            inside = quote_from_bytes(os.readlink(path))
        elif kind == "file" and contents:
            inside = digest(path, status.st_size)
        elif kind == "folder":
            waiting += [(entry.path, f"{name}/{quote_from_bytes(entry.name)}") for entry in os.scandir(path)]
        found[name] = (kind, mode, inside)
        hold(len(found) < 1000, f"{top} has grown")
    return found


def digest(path: bytes, size: int) -> str:
    if size > 1 << 20:
        return "too big"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(1 << 20)).hexdigest()[:16]


def compare(found: Tree, wanted: Tree, where: str) -> None:
    """Tell what is wrong, without telling what would be right."""
    wrong: list[str] = []
    for name in sorted({*found, *wanted}):
        if name not in found:
            wrong.append(f"{name} is missing")
        elif name not in wanted:
            wrong.append(f"{name} should not be there")
        elif found[name][0] != wanted[name][0]:
            wrong.append(f"{name} is a {found[name][0]}")
        elif found[name][1] != wanted[name][1]:
            wrong.append(f"{name} has a mode that the policy does not give")
        elif found[name][2] != wanted[name][2]:
            wrong.append(f"{name} has changed")
    more = f" (and {len(wrong) - 8} more)" if len(wrong) > 8 else ""
    hold(not wrong, f"{where}: " + "; ".join(wrong[:8]) + more)


def expected(name: str) -> Tree:
    known = json.loads(Path("/tests/expected.json").read_text(encoding="utf-8"))[name]
    return {path: (kind, mode, inside) for path, (kind, mode, inside) in known.items()}


def check_project() -> None:
    compare(tree(PROJECT), expected("orchard"), "/app/orchard")


def check_library() -> None:
    compare(tree(LIBRARY), expected("library"), "/app/library")


def check_in(source: str, folder: str, umask: int, project: Path | None, cwd: Path = Path("/")) -> int:
    env = {"HOME": "/tmp"} if project is None else {"HOME": "/tmp", "PROJECT": str(project)}
    hold(PROGRAM.is_file() and os.access(PROGRAM, os.X_OK), "/app/check-in is no executable file")
    argv = ["sh", "-c", 'umask "$1"; shift; exec "$@"', "sh", f"{umask:04o}", str(PROGRAM), source, folder]
    APART.open_up(str(PROGRAM.parent), str(PROJECT), str(LIBRARY))
    code = APART.run(argv, 10, str(cwd), **env).code
    if code is None:
        raise Failed("check-in takes more than 10 seconds")
    return code


class Place:
    """A project of the judge's own, in folders whose names must not count, and things to check in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.things = folder / "things"
        self.project = folder / "private" / "releases" / "drop" / "farm"
        self.project.mkdir(parents=True)
        self.project.chmod(0o2775)
        self.things.mkdir()
        self.wanted: dict[str, str] = {".": "2775"}

    def thing(self, name: str, data: bytes, mode: int) -> Path:
        """A file among the things."""
        return write(self.things / name, data, mode)

    def there(self, name: str, data: bytes | None, mode: int) -> None:
        """What is in the project already, right or not."""
        if data is None:
            (self.project / name).mkdir()
            (self.project / name).chmod(mode)
        else:
            write(self.project / name, data, mode)
        self.wanted[f"./{name}"] = f"{mode:04o}"

    def check_in(self, source: str, folder: str, umask: int, cwd: Path = Path("/")) -> int:
        APART.own(str(self.folder))
        return check_in(source, folder, umask, self.project, cwd)

    def judge(self, what: str) -> None:
        found = {name: (kind, mode, "") for name, (kind, mode, _) in tree(self.project, contents=False).items()}
        wanted: Tree = {}
        for name, mode in self.wanted.items():
            kind = found[name][0] if name in found and mode else "link"
            wanted[name] = (kind, mode, "")
        compare(found, wanted, what)


def write(path: Path, data: bytes, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def in_place(check: Callable[[Place], None]) -> Callable[[], None]:
    def run() -> None:
        folder = Path(tempfile.mkdtemp())
        try:
            check(Place(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    run.__name__ = check.__name__
    return run


@in_place
def check_folder(place: Place) -> None:
    """A folder of all sorts into a place that has to be made."""
    place.thing("kit/run", b"#!/bin/sh\n", 0o600)
    place.thing("kit/notes.sh", b"no program\n", 0o777)
    place.thing("kit/bin one/tool", b"\x7fELF\x01", 0o400)
    place.thing("kit/bin one/-n", b"\x7fEL", 0o4755)
    place.thing("kit/.env", b"A=1\n", 0o666)
    place.thing("kit/.env.example", b"A=\n", 0o600)
    place.thing("kit/secret\nname", b"vault:v1:", 0o644)
    place.thing("kit/private/.env.x", b"#!/bin/sh\n", 0o777)
    place.thing("kit/private/deep/er/run", b"#!/bin/false", 0o640)
    place.thing("kit/drop/in/x", b"", 0o444)
    place.thing("kit/releases/2.0/run", b"#!/bin/sh\n", 0o2755)
    place.thing("kit/releases/2.0/private/data", b"\0" * 100_000, 0o640)
    (place.things / "kit/empty").mkdir(mode=0o700)
    (place.things / "kit/link").symlink_to("run")
    (place.things / "kit/gone").symlink_to("/nowhere/at/all")
    (place.things / "kit/drop").chmod(0o755)
    data = hashlib.sha256(b"\0" * 100_000).hexdigest()
    hold(place.check_in("kit", "new/er", 0o077, cwd=place.things) == 0, "check-in of a folder fails")
    place.wanted |= {
        "./new": "2775",
        "./new/er": "2775",
        "./new/er/kit": "2775",
        "./new/er/kit/run": "0775",
        "./new/er/kit/notes.sh": "0664",
        "./new/er/kit/bin%20one": "2775",
        "./new/er/kit/bin%20one/tool": "0775",
        "./new/er/kit/bin%20one/-n": "0664",
        "./new/er/kit/.env": "0600",
        "./new/er/kit/.env.example": "0664",
        "./new/er/kit/secret%0Aname": "0600",
        "./new/er/kit/private": "2770",
        "./new/er/kit/private/.env.x": "0700",
        "./new/er/kit/private/deep": "2770",
        "./new/er/kit/private/deep/er": "2770",
        "./new/er/kit/private/deep/er/run": "0770",
        "./new/er/kit/drop": "3777",
        "./new/er/kit/drop/in": "2775",
        "./new/er/kit/drop/in/x": "0664",
        "./new/er/kit/releases": "2775",
        "./new/er/kit/releases/2.0": "2755",
        "./new/er/kit/releases/2.0/run": "0555",
        "./new/er/kit/releases/2.0/private": "2750",
        "./new/er/kit/releases/2.0/private/data": "0440",
        "./new/er/kit/empty": "2775",
        "./new/er/kit/link": "",
        "./new/er/kit/gone": "",
    }
    place.judge("after a folder was checked in")
    big = place.project / "new/er/kit/releases/2.0/private/data"
    hold(hashlib.sha256(big.read_bytes()).hexdigest() == data, "what was checked in is not what it was")
    hold(os.readlink(place.project / "new/er/kit/link") == "run", "a link that was checked in points elsewhere")


@in_place
def check_umasks(place: Place) -> None:
    """Files under several umasks, also the strangest."""
    script = str(place.thing("go", b"#!/bin/sh\n", 0o644))
    text = str(place.thing("text", b"text\n", 0o700))
    for umask, folder in ((0, "a"), (0o777, "b/private/c"), (0o027, "d/releases/1"), (0o002, "drop")):
        for source in (script, text):
            hold(place.check_in(source, folder, umask) == 0, f"check-in fails under umask {umask:04o}")
    hold(place.check_in(text, ".", 0o077) == 0, "check-in into the project itself fails")
    place.wanted |= {
        "./a": "2775",
        "./a/go": "0775",
        "./a/text": "0664",
        "./b": "2775",
        "./b/private": "2770",
        "./b/private/c": "2770",
        "./b/private/c/go": "0770",
        "./b/private/c/text": "0660",
        "./d": "2775",
        "./d/releases": "2775",
        "./d/releases/1": "2755",
        "./d/releases/1/go": "0555",
        "./d/releases/1/text": "0444",
        "./drop": "3777",
        "./drop/go": "0775",
        "./drop/text": "0664",
        "./text": "0664",
    }
    place.judge("after files were checked in")


@in_place
def check_replaced(place: Place) -> None:
    """What is there already is replaced or left alone."""
    outside = write(place.things / "outside", b"outside\n", 0o640)
    place.there("kit", None, 0o2700)
    place.there("kit/other", b"not ours\n", 0o600)
    place.there("releases", None, 0o2775)
    place.there("releases/run", b"text once\n", 0o444)
    place.there("kit/page", b"#!/bin/sh\n", 0o775)
    place.there("kit/.env.example", b"", 0o600)
    (place.project / "kit/link").symlink_to(outside)
    (place.project / "kit/folder").symlink_to(place.things)
    place.thing("new/kit/page", b"text now\n", 0o600)
    place.thing("new/kit/.env.example", b"A=\n", 0o600)
    place.thing("new/kit/link", b"no link any more\n", 0o600)
    place.thing("new/kit/folder/inside", b"", 0o600)
    run = str(place.thing("new/run", b"#!/bin/sh\n", 0o600))
    hold(place.check_in(str(place.things / "new/kit"), ".", 0o022) == 0, "check-in onto a folder fails")
    hold(place.check_in(run, "releases", 0o022) == 0, "check-in onto a file that nobody may write fails")
    place.wanted |= {
        "./releases/run": "0555",
        "./kit/page": "0664",
        "./kit/.env.example": "0664",
        "./kit/link": "0664",
        "./kit/folder": "2775",
        "./kit/folder/inside": "0664",
    }
    place.judge("after things were replaced")
    texts = [(place.project / name).read_bytes() for name in ("releases/run", "kit/page", "kit/link", "kit/other")]
    hold(
        texts == [b"#!/bin/sh\n", b"text now\n", b"no link any more\n", b"not ours\n"],
        "a file has not what it should have",
    )
    same = outside.read_bytes() == b"outside\n" and stat.S_IMODE(outside.stat().st_mode) == 0o640
    hold(same and not (place.things / "inside").exists(), "check-in goes through a link to what lies outside")


@in_place
def check_missing(place: Place) -> None:
    hold(place.check_in(str(place.things / "nothing"), "some/where", 0o022) != 0, "a missing source gives 0")
    place.judge("after a check-in of nothing")


def check_default_project() -> None:
    """Without PROJECT, things go to /app/orchard. Last, since it changes what the others look at."""
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder) / "judge-was-here", b"#!/bin/sh\n", 0o600)
        APART.own(folder)
        APART.own(str(PROJECT))
        hold(check_in(str(source), "teams/south/private", 0o077, None) == 0, "check-in into /app/orchard fails")
    found = tree(PROJECT / "teams/south/private", contents=False)
    wanted = {".": ("folder", "2770", ""), "./judge-was-here": ("file", "0770", "")}
    compare(found, wanted, "after a check-in into /app/orchard")


def main() -> int:
    checks: list[Callable[[], None]] = [
        check_project,
        check_library,
        check_folder,
        check_umasks,
        check_replaced,
        check_missing,
        check_default_project,
    ]
    return 1 if sum(failed(check) for check in checks) else 0


def failed(check: Callable[[], None]) -> bool:
    """Whether it failed; a line says how."""
    try:
        check()
    except Failed as error:
        sys.stdout.write(f"failed: {error}\n")
        return True
    except Exception as error:  # noqa: BLE001 - whatever the agent left there is no reason to end here
        sys.stdout.write(f"failed: {check.__name__}: {error!r}\n")
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
