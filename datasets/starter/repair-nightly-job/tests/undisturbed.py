"""The job on its own: what it packs, keeps and removes, and its exit status."""

import itertools
import os

from folders import leftovers, make_folder, names, noise, pack, put, reports, unpack
from runner import run

ODD_NAMES = [
    "sales north.csv",
    " leading",
    "trailing ",
    "two  spaces",
    "-rf",
    "--help",
    "-C",
    "*",
    "$(touch x)",
    "`id`",
    'it\'s "quoted"',
    "line\nbreak.txt",
    "back\\slash\\n",
    "über.csv",
    "@list",
    "tab\there",
    "plain.txt",
]


class Place:
    """A folder of reports and one of archives, whose paths have spaces in them."""

    count = itertools.count()

    def __init__(self, job, scratch):
        self.job = job
        base = make_folder(scratch / f"place {next(self.count)}")
        self.reports = make_folder(base / "the reports")
        self.archive = base / "the archive"
        self.daily = self.archive / "daily"
        self.weekly = self.archive / "weekly"

    def argv(self, *options):
        return [self.job, *options, self.reports, self.archive]

    def run(self, *options, **how):
        return run(self.argv(*options), **how)

    def day(self, date):
        return unpack(self.daily / f"reports-{date}.tar.gz")

    def week(self, week):
        return unpack(self.weekly / f"reports-{week}.tar.gz")


def packing(job, scratch):
    place = Place(job, scratch)
    content = {name: f"{number}\n".encode() * number for number, name in enumerate(ODD_NAMES)}
    put(place.reports, {**content, ".hidden": b"h"})
    put(make_folder(place.reports / "folder"), {"inner": b"i"})
    os.symlink("plain.txt", place.reports / "link")
    yield "packing: status", place.run("-d", "2026-03-10") == 0
    yield "packing: every report, by its name", place.day("2026-03-10") == content
    yield "packing: packed reports are removed", reports(place.reports) == {}
    rest = set(os.listdir(place.reports))
    yield "packing: folders, links and hidden files stay", rest == {".hidden", "folder", "link"}
    yield "packing: no other archive", names(place.daily) == {"reports-2026-03-10.tar.gz"} and not names(place.weekly)

    again = {"plain.txt": b"newer\n", "late report": b"l"}
    put(place.reports, again)
    status = place.run("-d", "2026-03-10")
    yield "packing: a second run on a day adds", status == 0 and place.day("2026-03-10") == {**content, **again}
    status = place.run("-d", "2026-03-10")
    yield (
        "packing: a run without reports changes nothing",
        status == 0 and place.day("2026-03-10") == {**content, **again},
    )
    status = place.run("-d", "2026-03-11")
    yield "packing: no archive without reports", status == 0 and place.day("2026-03-11") is None
    yield "packing: nothing else stays behind", leftovers(place.archive) < 4096


def weeks(job, scratch):
    for date, week in (("2026-02-14", "2026-W07"), ("2027-01-02", "2026-W53"), ("2028-01-01", "2027-W52")):
        place = Place(job, scratch)
        put(place.reports, {"a b": date.encode()})
        status = place.run("-d", date)
        right = names(place.weekly) == {f"reports-{week}.tar.gz"} and place.week(week) == {"a b": date.encode()}
        yield f"weeks: Saturday {date}", status == 0 and right and place.day(date) == place.week(week)
    put(place.reports, {"c": b"more"})
    place.run("-d", "2028-01-01")
    yield "weeks: a second run on a Saturday", place.week("2027-W52") == {"a b": b"2028-01-01", "c": b"more"}
    put(place.reports, {"d": b"sunday"})
    yield "weeks: not on a Sunday", place.run("-d", "2028-01-02") == 0 and len(names(place.weekly)) == 1

    place = Place(job, scratch)
    kept = ["2025-W52", "2026-W02", "2026-W10"]
    for week in ["2020-W53", "2025-W09", *kept]:
        pack(place.weekly / f"reports-{week}.tar.gz", {"w": week.encode()})
    others = {"reports-2020-W01.tar.gz.keep": b"", "notes on weeks.txt": b""}
    put(place.weekly, others)
    status = place.run("-d", "2026-03-10", "-w", "3")
    wanted = {f"reports-{week}.tar.gz" for week in kept} | others.keys()
    yield "weeks: only the latest stay", status == 0 and names(place.weekly) == wanted


def days(job, scratch):
    cases = (
        ("2028-03-01", ["-n", "2"], ["2028-02-29", "2028-03-02"], ["2028-02-28", "2027-12-31"]),
        ("2027-03-01", ["-n", "2"], ["2027-02-28"], ["2027-02-27"]),
        ("2027-01-03", ["-n", "5"], ["2026-12-30", "2026-12-31"], ["2026-12-29", "2026-01-03"]),
        ("2026-03-10", [], ["2026-03-04", "2026-03-09"], ["2026-03-03", "2025-03-10"]),
    )
    others = {"reports-2020-01-01.tar.gz.keep": b"", "read me": b"", "reports-2020-01-02.tar": b""}
    for date, options, kept, gone in cases:
        place = Place(job, scratch)
        for day in kept + gone:
            pack(place.daily / f"reports-{day}.tar.gz", {"d": day.encode()})
        put(place.daily, others)
        put(place.reports, {"today": b"t"})
        status = place.run("-d", date, *options)
        wanted = {f"reports-{day}.tar.gz" for day in [*kept, date]} | others.keys()
        yield f"days: those kept up to {date}", status == 0 and names(place.daily) == wanted


def statuses(job, scratch):
    place = Place(job, scratch)
    content = {"one": b"1", "two three": b"23"}
    put(place.reports, content)
    folders = [place.reports, place.archive]
    wrong = [
        [],
        [place.reports],
        [*folders, place.archive],
        ["-x", *folders],
        *(["-d", date, *folders] for date in ("2026-02-30", "2027-02-29", "yesterday-ish")),
        *([option, number, *folders] for option, number in (("-n", "0"), ("-w", "2.5"), ("-n", ""))),
    ]
    for arguments in wrong:
        told = " ".join("FOLDER" if part in folders else repr(part) for part in arguments)
        yield f"status: 64 for arguments {told}", run([job, *arguments]) == 64
    yield "status: nothing was done", reports(place.reports) == content and not names(place.daily)

    missing = place.archive.parent / "missing"
    yield "status: 1 if REPORTS is missing", run([job, "-d", "2026-03-10", missing, place.archive]) == 1
    put(place.archive.parent, {"file": b"f"})
    file = place.archive.parent / "file"
    yield "status: 1 if REPORTS is a file", run([job, "-d", "2026-03-10", file, place.archive]) == 1
    yield "status: 1 if ARCHIVE is a file", run([job, "-d", "2026-03-10", place.reports, file]) == 1
    put(make_folder(place.archive.parent / "other"), {"daily": b"a file"})
    other = place.archive.parent / "other"
    yield "status: 1 if ARCHIVE/daily is a file", run([job, "-d", "2026-03-10", place.reports, other]) == 1
    content["big"] = noise(600_000, 1)
    put(place.reports, content)
    status = place.run("-d", "2026-03-10", file_limit=200_000)
    yield "status: 1 if the archive cannot be written", status == 1
    yield "status: reports stay after a failure", reports(place.reports) == content
    yield "status: no half archive after a failure", place.day("2026-03-10") is None
    status = place.run("-d", "2026-03-10")
    yield "status: 0 when it can be written again", status == 0 and place.day("2026-03-10") == content


SECTIONS = (packing, weeks, days, statuses)
