"""The job killed half way, and two runs at once."""

import os
import signal
import time

from folders import BROKEN, grown, leftovers, names, noise, pack, put, reports, state, unpack
from runner import Run, run
from undisturbed import Place

SATURDAY, WEEK = "2026-03-14", "2026-W11"
BIG = 1_500_000


def whole(place, content):
    """Whether no archive is broken and each report is in one, or still among the reports."""
    archives = [unpack(place.daily / name) for name in names(place.daily)]
    archives += [unpack(place.weekly / name) for name in names(place.weekly)]
    if BROKEN in archives:
        return False
    here = [reports(place.reports), *archives]
    return all(any(files.get(name) == data for files in here) for name, data in content.items())


def killed(job, scratch):
    """Killed when the archive's name first shows something new, when anything at all was written, and after a moment."""
    for moment in ("the archive changes", "something is written", "a moment"):
        place = Place(job, scratch)
        old = {"old report": b"o" * 1000, "twice": b"old"}
        size = 3 * BIG if moment == "the archive changes" else BIG  # long enough to be met in the middle
        new = {"big one": noise(size, 2), "twice": b"new", "small": b"s"}
        pack(place.daily / f"reports-{SATURDAY}.tar.gz", old)
        pack(place.daily / "reports-2026-03-13.tar.gz", {"friday": b"f"})
        put(place.reports, new)
        target = place.daily / f"reports-{SATURDAY}.tar.gz"
        before = state(place.archive)
        going = Run(place.argv("-d", SATURDAY))
        until = time.monotonic() + (0.03 if moment == "a moment" else 10)
        while going.running() and time.monotonic() < until:
            if moment == "the archive changes" and state(place.archive).get(target) != before[target]:
                break
            if moment == "something is written" and grown(place.archive, before):
                break
            time.sleep(0.0005)
        going.kill()
        content = {**old, **new, "friday": b"f"}
        lasting = {name: data for name, data in content.items() if name != "twice"}
        yield f"killed when {moment}: nothing is lost or half there", whole(place, {**lasting, "twice": b"new"})
        status = place.run("-d", SATURDAY)
        yield f"killed when {moment}: the next run goes through", status == 0
        done = place.day(SATURDAY) == {**old, **new} and place.week(WEEK) == {**old, **new}
        yield f"killed when {moment}: the next run completes it", done and not reports(place.reports)
        wanted = {f"reports-{SATURDAY}.tar.gz", "reports-2026-03-13.tar.gz"}
        clean = names(place.daily) == wanted and leftovers(place.archive) < 4096
        yield f"killed when {moment}: the next run clears away", clean and names(place.archive) == {"daily", "weekly"}


def snapshot(place):
    folders = (place.reports, place.archive, place.daily, place.weekly)
    return [
        {name: os.lstat(folder / name).st_size for name in names(folder) if name != "daily" and name != "weekly"}
        for folder in folders
    ]


def attempt(job, scratch, patience):
    """One run stopped while it works, and a second one: True, False, or None if the first was not stopped at the right time."""
    place, other = Place(job, scratch), Place(job, scratch)
    content = {"big one": noise(BIG, 3), "a b": b"ab"}
    put(place.reports, content)
    put(other.reports, {"else": b"e"})
    first = Run(place.argv("-d", SATURDAY))
    until = time.monotonic() + patience
    while first.running() and time.monotonic() < until and not grown(place.archive, {}):
        time.sleep(0.0005)
    first.signal(signal.SIGSTOP)
    if not first.running():
        first.wait()
        return None
    late = {"late report": b"late"}
    put(place.reports, late)
    before = snapshot(place)
    second = Run(place.argv("-d", SATURDAY)).wait(6)
    unchanged = snapshot(place) == before
    beside = Run(other.argv("-d", SATURDAY)).wait(6)
    first.signal(signal.SIGCONT)
    status = first.wait()
    if not whole(place, {**content, **late}):
        return False
    if second == 0 and status in (0, 75):
        return None
    return second == 75 and unchanged and beside == 0 and status == 0 and other.day(SATURDAY) == {"else": b"e"}


def at_once(job, scratch):
    for patience in (5, 0.06, 0.12, 0.2, 0.4, 5):
        result = attempt(job, scratch, patience)
        if result is not None:
            break
    yield "two at once: the second ends with 75, nothing is lost, other folders are free", result is True
    place = Place(job, scratch)
    put(place.reports, {"x": b"x"})
    going = [Run(place.argv("-d", SATURDAY)) for _ in range(4)]
    ended = [each.wait() for each in going]
    good = set(ended) <= {0, 75} and 0 in ended and place.day(SATURDAY) == {"x": b"x"}
    yield "four at once: one does the work, the others end with 0 or 75", good
    yield "two at once: free again afterwards", run(place.argv("-d", SATURDAY)) == 0


SECTIONS = (killed, at_once)
