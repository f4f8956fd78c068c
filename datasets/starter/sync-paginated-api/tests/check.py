"""Runs the program against an API of the judge's own, and compares the mirror with what that API knows."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, "/tests")

from api import CREDENTIALS, Api, Data, Run
from judging import Apart, end

PROGRAM = Path("/app/sync.py")
LIMIT = 20  # seconds a run may take
TRIES = 5
APART = Apart(file_bytes=20 << 20, alone=False)


class Failed(Exception):
    """What does not hold."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise Failed(what)


class Bench:
    """An API, and a folder with a mirror of it."""

    def __init__(self, folder: Path, data: Data) -> None:
        self.folder = folder
        self.api = Api(data)
        self.api.watch = self.look
        self.mirror = folder / "the mirror.json"
        self.credentials = folder / "elsewhere" / "who we are.json"
        self.credentials.parent.mkdir()
        self.credentials.write_text(json.dumps(CREDENTIALS))
        self.must_have: set[str] = set()
        self.seen: list[str] = []

    def look(self) -> None:
        """What anybody sees who looks at the mirror while a request is under way."""
        try:
            found = self.records()
        except Failed as error:
            if self.must_have or os.path.lexists(self.mirror):
                self.seen.append(str(error))
        else:
            gone = self.must_have - set(found)
            if gone:
                self.seen.append(f"during a run, {len(gone)} records are missing that still exist")

    def records(self) -> dict[str, object]:
        try:
            found = self.mirror.lstat()
            hold(stat.S_ISREG(found.st_mode) and found.st_size < 20 << 20, "the mirror is no file of a sensible size")
            mirror = json.loads(self.mirror.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise Failed(f"the mirror cannot be read: {type(error).__name__}") from None
        records = mirror.get("records") if isinstance(mirror, dict) else None
        hold(isinstance(records, dict), "the mirror has no records")
        return records

    def start(self) -> subprocess.Popen[bytes]:
        """The program, as the leader of its group."""
        argv = ["python3", str(PROGRAM), "--url", self.api.url, "--credentials", str(self.credentials)]
        argv += ["--mirror", str(self.mirror)]
        APART.own(str(self.folder))
        return APART.start(argv, str(self.folder), subprocess.DEVNULL, subprocess.DEVNULL)

    def sync(self, wanted: int = 0) -> None:
        """A run to its end, and what holds for every run."""
        old = self.mirror.read_bytes() if self.mirror.is_file() else b""
        process = self.start()
        with open(self.mirror if old else os.devnull, "rb") as opened:
            try:
                code = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                raise Failed(f"a run takes more than {LIMIT} seconds") from None
            finally:
                end(process)
            hold(opened.read() == old, "the mirror is written in place")
        self.judge_manners(self.api.run)
        hold(code == wanted, f"the exit code is {code}, not {wanted}")

    def killed_at(self, page: int) -> None:
        """A run that is killed when it asks for a page."""
        self.api.hold_at = page
        process = self.start()
        try:
            deadline = time.monotonic() + LIMIT
            while process.poll() is None and time.monotonic() < deadline and not self.api.holding.wait(0.05):
                pass
            hold(self.api.holding.is_set(), "a run does not get to a page that there is")
        finally:
            end(process)
            self.api.go_on.set()
        self.judge_manners(self.api.run)
        self.look()
        self.judge_seen()

    def judge_manners(self, run: Run) -> None:
        hold(run.early == 0, f"{run.early} requests were made before the time of Retry-After had passed")
        hold(run.together <= 1, "several requests were made at a time")
        hold(run.tokens <= 1 + run.ended, "more tokens were fetched than had to be")
        hold(not run.odd, f"odd requests: {sorted(set(run.odd))[:3]}")
        self.judge_seen()

    def judge_seen(self) -> None:
        hold(not self.seen, self.seen[0] if self.seen else "")

    def compare(self, when: str) -> None:
        found, wanted = self.records(), self.api.data.records
        hold(not set(wanted) - set(found), f"{when}: {len(set(wanted) - set(found))} records are missing")
        hold(not set(found) - set(wanted), f"{when}: {len(set(found) - set(wanted))} records should be gone")
        other = [name for name in wanted if plain(found[name]) != plain(wanted[name])]
        hold(not other, f"{when}: {len(other)} records are not what they should be")
        names = [path.name for path in self.folder.iterdir() if path != self.credentials.parent]
        hold(all(name.startswith(self.mirror.name) for name in names), f"{when}: files lie about that should not")

    def compare_once(self, when: str) -> None:
        self.compare(when)
        hold(self.api.twice == 0, f"{when}: {self.api.twice} entries were fetched again that had been stored")


def plain(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@contextmanager
def bench(data: Data) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        made = Bench(Path(folder), data)
        try:
            yield made
        finally:
            made.api.close()


def some_data() -> Data:
    """Records of all sorts with a history: changes, deletions, some made again, late entries."""
    data = Data()
    odd = [None, 0, "", False, [], {}, 2**70, 1.5e-9, "naïve — 漢字 \u2028", {"records": {"a": [1, {"b": None}]}}, [[]]]
    for number, value in enumerate(odd):
        data.put(f"odd/{number} ü&?", value)
    for number in range(620):
        data.put(f"p{number * 7919 % 10007:05}", {"name": f"Piece {number}", "price": number / 4})
    names = sorted(data.records)
    early = {name: {"id": name, **data.records[name]} for name in names}
    for name in names[40:60]:
        data.put(name, {"name": "changed", "was": name})
    for name in names[50:80]:
        data.delete(name)
    for name in names[70:75]:
        data.put(name, {"name": "made again"})
    for name in [*names[45:48], *names[55:58], *names[72:74]]:
        data.late(early[name])
    return data


def check_first_run() -> None:
    with bench(some_data()) as made:
        made.api.begin()
        made.api.short_pages = {1: 1, 3: 0, 4: 0, 6: 17}
        made.sync()
        made.compare_once("after the first run")


def check_incremental() -> None:
    data = some_data()
    with bench(data) as made:
        made.api.begin()
        made.sync()
        made.api.begin()
        made.sync()
        made.compare_once("after a run without news")
        hold(
            made.api.run.pages == 1 and made.api.run.tokens == 1,
            "a run without news asks for more than a token and a page",
        )
        names = sorted(data.records)
        before = {name: {"id": name, **data.records[name]} for name in names}
        for name in names[100:103]:
            data.delete(name)
        for name in names[110:115]:
            data.put(name, ["newer"])
        made.api.begin()
        made.sync()
        made.compare_once("after a run with some news")
        for name in [*names[100:102], *names[110:112]]:
            data.late(before[name])
        data.put(names[102], "made again")
        made.api.begin()
        made.api.short_pages = {1: 0}
        made.sync()
        made.compare_once("after a run with late entries")


def check_faults() -> None:
    data = some_data()
    with bench(data) as made:
        names = sorted(data.records)

        def change() -> None:
            data.delete(names[300])
            for name in names[301:310]:
                data.put(name, {"changed": "while paging"})
            data.put("brand new", {})

        def change_more() -> None:
            data.put(names[300], "back")
            data.delete("brand new")

        script = ["500", "cut", "drop", "", "429:0.15", "", "cut", "bare", "drop", "503", ""]
        script += ["429:0.04"] * 9 + ["", "", "", "429:0.2", "429:0.075", "", "bare", "", "500", "", "502", "429:0.1"]
        made.api.token_lasts = 4
        made.api.begin(script)
        made.api.at_page = {2: change, 7: change_more}
        made.sync()
        made.compare_once("after a run with faults")
        hold(not made.api.at_page and not made.api.script, "a run ends before the feed does")


def check_killed() -> None:
    data = some_data()
    with bench(data) as made:
        made.api.begin()
        made.killed_at(4)
        made.api.begin()
        made.killed_at(2)
        data.delete(sorted(data.records)[5])
        made.api.begin()
        made.sync()
        made.compare_once("after runs that were killed")
        made.must_have = set(data.records)
        for name in sorted(data.records)[:250]:
            data.put(name, "newer")
        made.api.begin()
        made.killed_at(3)
        made.api.begin()
        made.sync()
        made.compare_once("after a later run that was killed")


def check_gives_up() -> None:
    data = some_data()
    with bench(data) as made:
        made.api.begin(["", "", "", "429:0.05", "500*"])
        made.sync(wanted=1)
        hold(max(made.api.run.tries.values()) == TRIES + 1, f"a request that fails for ever is not made {TRIES} times")
        made.api.begin(["", "", *["drop"] * (TRIES - 1)])
        made.sync()
        made.compare_once("after a run that gave up")
        made.must_have = set(data.records)
        made.api.begin(["500*"])
        made.sync(wanted=1)
        hold(made.api.run.requests == TRIES, f"a request for a token that fails for ever is not made {TRIES} times")
        made.credentials.write_text(json.dumps({**CREDENTIALS, "secret": "wrong"}))
        made.api.begin()
        made.sync(wanted=2)
        hold(made.api.run.requests == 1, "refused credentials are not the end at once")
        made.credentials.write_text(json.dumps(CREDENTIALS))
        made.api.close()
        made.sync(wanted=1)
        made.compare("after runs that got nowhere")


def check_new_feed() -> None:
    data = some_data()
    with bench(data) as made:
        made.api.begin()
        made.sync()
        names = sorted(data.records)
        before = {name: {"id": name, **data.records[name]} for name in names}
        for name in names[200:210]:
            data.delete(name)
        named = data.feed[-2:]
        for name in names[220:225]:
            data.put(name, "in the new feed")
        data.forget([*named, before[names[221]]])
        made.must_have = set(data.records)
        made.api.begin()
        made.killed_at(3)
        data.put("after the kill", 1)
        data.late(before[names[209]])
        made.api.begin(["", "", "", "500*"])
        made.sync(wanted=1)
        made.api.begin()
        made.sync()
        made.compare("after a new feed")
        data.late(before[names[208]])
        data.put(names[205], "made again after all")
        made.api.begin()
        made.sync()
        made.compare("after late entries in a new feed")
        hold(made.api.run.pages == 1, "after a new feed, a run is not incremental any more")
        data.delete(names[300])
        data.forget([])
        made.must_have = set(data.records)
        made.api.begin()
        made.sync()
        made.compare_once("after yet another feed")


def main() -> int:
    checks: list[Callable[[], None]] = [
        check_first_run,
        check_incremental,
        check_faults,
        check_killed,
        check_gives_up,
        check_new_feed,
    ]
    APART.open_up(str(PROGRAM.parent))
    with APART, ThreadPoolExecutor(3) as pool:  # they wait most of the time, each with an API of its own
        found = [line for line in pool.map(failure, checks) if line]
    sys.stdout.writelines(found)
    return 1 if found else 0


def failure(check: Callable[[], None]) -> str:
    """A line that says what does not hold, or nothing."""
    try:
        check()
    except Failed as error:
        return f"failed: {error}\n"
    except Exception as error:  # noqa: BLE001 - whatever the agent left there is no reason to end here
        return f"failed: {check.__name__}: {error!r}\n"
    return ""


if __name__ == "__main__":
    sys.exit(main())
