"""Run one group of cases on the package, and print what came out as JSON. Knows no expected values.

Runs apart from the judge, as ``driver.py GROUP FOLDER``: FOLDER has ``zones.json`` and a copy of the package. That and Python's own
library are all that the package may read: an audit hook, which code cannot take away again, refuses other files, and processes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

GROUP, FOLDER = sys.argv[1:3]
LIBRARY = os.path.dirname(os.__file__) + "/"
READABLE = (FOLDER + "/", LIBRARY)
# A link into /etc, where it could be a link to anything.
CUSTOM = "customize.py"
REFUSED = (
    "ctypes.", "gc.", "os.exec", "os.fork", "os.kill", "os.link", "os.posix_spawn", "os.rename", "os.spawn", "os.symlink",
    "os.system", "os.chdir", "os.fchdir", "pty.", "socket.", "sqlite3.", "subprocess.", "_posixsubprocess.",
    "cpython.PyInterpreterState_New",
)  # fmt: skip
UNWANTED = {
    "_ctypes", "ctypes", "_posixsubprocess", "subprocess", "_multiprocessing", "_sqlite3", "_testcapi",
    "_testinternalcapi", "_interpreters", "_xxsubinterpreters",
}  # fmt: skip
Cases = dict[str, Callable[[], Any]]


def guard(
    event: str,
    arguments: tuple[Any, ...],
    # All that it needs is bound here, once: the package could change globals and builtins.
    readable: tuple[str, ...] = READABLE,
    library: str = LIBRARY,
    custom: str = CUSTOM,
    refused: tuple[str, ...] = REFUSED,
    unwanted: frozenset[str] = frozenset(UNWANTED),
    kind: Callable[[Any], type] = type,
    text: type = str,
    number: type = int,
    refusal: type[Exception] = PermissionError,
) -> None:
    if event == "open":
        path = arguments[0]
        if kind(path) is not number and (
            kind(path) is not text or "/.." in path or not path.startswith(readable) or path.endswith(custom)
        ):
            raise refusal("no file to be read here")
    elif event.startswith(refused) or (
        # The second argument is the file of a compiled module, which could do anything.
        event == "import"
        and (arguments[0] in unwanted or (kind(arguments[1]) is text and not arguments[1].startswith(library)))
    ):
        raise refusal("not allowed here")


def utc(value: Any) -> Any:
    """Moments as text in UTC; naive datetimes stand out."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%MZ") if value.tzinfo else f"naive {value}"  # noqa: UP017
    if hasattr(value, "start") and hasattr(value, "end"):
        return f"{utc(value.start)}/{utc(value.end)}"
    return [utc(one) for one in value]


def local(value: Any) -> Any:
    """Moments as text in their own offset; bookings with their name."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    if hasattr(value, "start") and hasattr(value, "end"):
        name = f" {value.name}" if hasattr(value, "name") else ""
        return f"{local(value.start)}/{local(value.end)}{name}"
    return [local(one) for one in value]


def error_of(action: Callable[[], Any]) -> str:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - which one it is, is the result
        return type(error).__name__
    return "no error"


def at(text: str, minutes: int = 0) -> datetime:
    """A moment, from its UTC time, written in an offset."""
    zone = timezone(timedelta(minutes=minutes))
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).astimezone(zone)  # noqa: UP017


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


def day(text: str) -> date:
    return date.fromisoformat(text)


def load() -> tuple[Any, dict[str, Any]]:
    """The package, and the hidden zones."""
    sys.path.append(FOLDER)
    import booking

    return booking, booking.load_zones(os.path.join(FOLDER, "zones.json"))


def zones(b: Any, z: dict[str, Any]) -> Cases:
    skerry, tarn, plain = z["Skerry"], z["Tarn"], z["Plain"]
    moments = ["2024-03-31T00:59", "2024-03-31T01:00", "2024-10-27T00:59", "2024-10-27T01:00", "1971-05-05T12:00"]
    walls = ["2024-03-31T01:59", "2024-03-31T02:00", "2024-03-31T02:45", "2024-03-31T03:00", "2024-07-01T00:10"]
    walls += ["2024-10-27T01:59", "2024-10-27T02:00", "2024-10-27T02:59", "2024-10-27T03:00", "1971-01-01T00:00"]
    tarn_walls = ["2024-04-07T01:29", "2024-04-07T01:30", "2024-04-07T01:59", "2024-04-07T02:00", "2024-10-06T01:59"]
    tarn_walls += ["2024-10-06T02:00", "2024-10-06T02:15", "2024-10-06T02:30", "2024-10-06T12:00"]
    tarn_moments = ["2024-04-06T14:59", "2024-04-06T15:00", "2024-10-05T15:29", "2024-10-05T15:30"]
    return {
        "local": lambda: [local(skerry.to_local(at(text))) for text in moments],
        "local from another offset": lambda: local(skerry.to_local(at("2024-06-01T22:30", -420))),
        "offset": lambda: [skerry.offset_at(at(text, 90)).total_seconds() for text in moments],
        "moment": lambda: [utc(skerry.to_moment(wall(text))) for text in walls],
        "half hours": lambda: [utc(tarn.to_moment(wall(text))) for text in tarn_walls],
        "half hours, local": lambda: [local(tarn.to_local(at(text))) for text in tarn_moments],
        "one offset for ever": lambda: utc(plain.to_moment(wall("2031-08-09T04:44"))),
        "changes in any order": lambda: utc(
            b.Zone("X", [(at("2020-06-01T00:00", 30), 10), (at("2010-01-01T00:00"), -20)]).to_moment(
                wall("2015-01-01T00:00")
            )
        ),
        "names": lambda: sorted(zone.name for zone in z.values()),
    }


def intervals(b: Any, z: dict[str, Any]) -> Cases:
    def of(start: str, end: str, minutes: int = 0) -> Any:
        return b.Interval(at(f"2024-05-{start}", minutes), at(f"2024-05-{end}", minutes))

    one = of("02T10:00", "02T12:00")
    others = [
        of("02T08:00", "02T10:00"), of("02T08:00", "02T10:01", 120), of("02T12:00", "02T13:00"), of("02T11:59", "02T13:00"),
        of("02T10:30", "02T11:00"), of("01T00:00", "09T00:00", -300), of("03T10:00", "03T12:00"),
    ]  # fmt: skip
    many = [
        of("03T10:00", "03T11:00"),
        of("01T08:00", "01T18:00"),
        of("01T09:00", "01T10:00"),
        of("01T18:00", "01T19:00", 60),
    ]
    many += [of("01T19:01", "01T20:00"), of("03T10:30", "03T12:00")]
    taken = [
        of("02T16:00", "02T17:00"),
        of("01T00:00", "02T07:00"),
        of("02T09:00", "02T12:00"),
        of("02T10:00", "02T11:00"),
    ]
    taken += [of("02T17:00", "02T17:30", -90), of("05T00:00", "06T00:00")]
    return {
        "overlaps": lambda: [one.overlaps(other) for other in others] + [other.overlaps(one) for other in others],
        "contains": lambda: [
            one.contains(at(f"2024-05-02T{text}", 60)) for text in ("09:59", "10:00", "11:59", "12:00")
        ],
        "equal": lambda: [one == of("02T10:00", "02T12:00", 345), len({one, of("02T10:00", "02T12:00", 345)})],
        "minutes": lambda: [one.minutes, of("01T00:00", "02T00:01").minutes],
        "naive": lambda: error_of(lambda: b.Interval(wall("2024-05-01T00:00"), wall("2024-05-02T00:00"))),
        "empty": lambda: error_of(lambda: of("01T00:00", "01T00:00")),
        "merge": lambda: utc(b.merge(many)),
        "merge nothing": lambda: utc(b.merge([])),
        "subtract": lambda: utc(b.subtract(of("02T08:00", "02T20:00"), taken)),
        "subtract before": lambda: utc(b.subtract(of("02T08:00", "02T20:00"), [of("01T00:00", "01T10:00")])),
        "subtract all": lambda: utc(b.subtract(of("02T08:00", "02T20:00"), [of("02T08:00", "02T21:00")])),
        "subtract an iterator": lambda: utc(b.subtract(of("02T08:00", "02T20:00"), iter(taken))),
    }


def rules(b: Any, z: dict[str, Any]) -> Cases:
    def dates(limit: int, first: str, **fields: Any) -> list[str]:
        found = []
        for one in b.Rule(wall(first), 60, **fields).dates():
            found.append(one.isoformat())
            if len(found) == limit:
                break
        return found

    skip = frozenset({day("2024-01-04"), day("2024-01-06"), day("2023-01-01")})
    return {
        "count": lambda: dates(99, "2024-02-27T09:00", count=4),
        "one": lambda: dates(99, "2024-02-27T09:00", every="month", count=1),
        "until": lambda: dates(99, "2024-01-30T09:00", until=day("2024-02-02")),
        "until the first day": lambda: dates(99, "2024-01-30T09:00", until=day("2024-01-30")),
        "both": lambda: dates(99, "2024-01-30T09:00", step=3, count=9, until=day("2024-02-08")),
        "skip counts": lambda: dates(99, "2024-01-03T09:00", count=5, skip=skip),
        "last skipped": lambda: dates(99, "2024-01-03T09:00", count=4, skip=skip),
        "weekly": lambda: dates(5, "2023-12-27T09:00", every="week"),
        "weekdays": lambda: dates(7, "2024-01-03T09:00", every="week", weekdays=(4, 0, 2, 4)),
        "every second week": lambda: dates(9, "2024-01-04T09:00", every="week", step=2, weekdays=(0, 3, 6)),
        "first on no weekday": lambda: dates(99, "2024-01-03T09:00", every="week", step=3, weekdays=(0, 1), count=4),
        "month ends": lambda: dates(9, "2024-01-31T09:00", every="month"),
        "month steps": lambda: dates(99, "2024-08-30T09:00", every="month", step=3, count=6),
        "leap days": lambda: dates(3, "2024-02-29T09:00", every="month", step=12),
        "aware start": lambda: error_of(lambda: b.Rule(at("2024-01-03T09:00"), 60)),
    }


def occurrences(b: Any, z: dict[str, Any]) -> Cases:
    def within(zone: str, window: tuple[str, str], first: str, minutes: int, **fields: Any) -> Any:
        rule = b.Rule(wall(first), minutes, **fields)
        return utc(rule.occurrences(z[zone], b.Interval(at(window[0], -60), at(window[1], 600))))

    return {
        "over the spring": lambda: within(
            "Skerry", ("2024-03-20T00:00", "2024-04-10T00:00"), "2024-03-19T18:00", 90, every="week"
        ),
        "over the autumn": lambda: within("Skerry", ("2024-10-24T00:00", "2024-10-29T00:00"), "2024-07-01T08:30", 45),
        "begun before": lambda: within("Skerry", ("2024-05-05T22:30", "2024-05-06T20:00"), "2024-05-01T23:00", 120),
        "edges": lambda: within("Plain", ("2024-05-05T10:00", "2024-05-06T09:00"), "2024-05-01T13:00", 60),
        "no edges": lambda: within("Plain", ("2024-05-05T10:30", "2024-05-06T09:30"), "2024-05-01T13:00", 60),
        "long": lambda: within("Plain", ("2024-05-05T10:00", "2024-05-05T10:01"), "2024-05-01T13:00", 3000),
        "skipped hour": lambda: within("Skerry", ("2024-03-30T00:00", "2024-04-02T00:00"), "2024-03-30T02:20", 50),
        "doubled hour": lambda: within("Skerry", ("2024-10-26T00:00", "2024-10-29T00:00"), "2024-10-20T02:20", 50),
        "first in the gap": lambda: within("Skerry", ("2024-03-30T00:00", "2024-04-02T00:00"), "2024-03-31T02:20", 50),
        "elapsed": lambda: within("Skerry", ("2024-03-30T22:00", "2024-03-31T22:00"), "2024-03-30T23:00", 240),
        "half hours": lambda: within("Tarn", ("2024-04-05T00:00", "2024-04-09T00:00"), "2024-04-05T01:45", 30),
        "months": lambda: within(
            "Tarn", ("2024-01-01T00:00", "2024-12-31T00:00"), "2024-03-06T10:00", 60, every="month", step=2
        ),
    }


def calendars(b: Any, z: dict[str, Any]) -> Cases:
    rule = b.Rule
    weekly = {"every": "week"}

    def filled() -> Any:
        calendar = b.Calendar(z["Skerry"])
        calendar.add("hall", "choir", rule(wall("2024-03-19T18:00"), 90, **weekly))
        calendar.add("hall", "night", rule(wall("2024-03-20T22:00"), 240))
        calendar.add("cellar", "band", rule(wall("2024-03-19T20:00"), 60, count=20))
        return calendar

    def touching() -> Any:
        calendar = filled()
        calendar.add("hall", "before", rule(wall("2024-03-26T17:00"), 60, count=3, every="week"))
        calendar.add("hall", "after", rule(wall("2024-03-26T19:30"), 30, until=day("2024-04-02"), every="week"))
        return local(calendar.busy("hall", day("2024-04-02")))

    def conflict(first: str, minutes: int, **fields: Any) -> Callable[[], Any]:
        def run() -> Any:
            calendar = filled()
            before = local(calendar.busy("hall", day("2024-04-02")))
            try:
                calendar.add("hall", "new", rule(wall(first), minutes, **fields))
            except b.Conflict as error:
                return [error.names, local(calendar.busy("hall", day("2024-04-02"))) == before]
            return local(calendar.busy("hall", day("2024-04-02")))

        return run

    def rooms_apart() -> Any:
        calendar = filled()
        return [local(calendar.busy(room, day("2024-03-26"))) for room in ("hall", "cellar", "attic", "hall")]

    def calendars_apart() -> Any:
        calendar, other = filled(), b.Calendar(z["Plain"])
        calendar.busy("hall", day("2024-03-26"))
        other.add("cellar", "club", rule(wall("2024-03-26T20:00"), 15))
        return [local(one.busy(room, day("2024-03-26"))) for room in ("hall", "cellar") for one in (other, calendar)]

    def cancelled() -> Any:
        calendar = filled()
        seen = [local(calendar.busy("hall", day("2024-03-26")))]
        calendar.cancel("hall", "choir")
        seen.append(local(calendar.busy("hall", day("2024-03-26"))))
        calendar.add("hall", "choir", rule(wall("2024-03-26T18:15"), 60))
        seen.append(local(calendar.busy("hall", day("2024-03-26"))))
        seen.append(error_of(lambda: calendar.cancel("hall", "nobody")))
        return [*seen, error_of(lambda: calendar.cancel("attic", "choir"))]

    def result_changed() -> Any:
        calendar = filled()
        calendar.busy("hall", day("2024-03-26")).clear()
        return local(calendar.busy("hall", day("2024-03-26")))

    def given_rooms() -> Any:
        given = {"hall": {"choir": rule(wall("2024-03-19T18:00"), 90)}}
        one, two = b.Calendar(z["Skerry"], given), b.Calendar(z["Skerry"], given)
        one.add("hall", "late", rule(wall("2024-03-19T20:00"), 30))
        two.add("attic", "chess", rule(wall("2024-03-19T20:00"), 30))
        seen = [local(calendar.busy("hall", day("2024-03-20"))) for calendar in (one, two)]
        given["hall"].clear()
        seen.append(local(one.busy("hall", day("2024-03-21"))))
        return [*seen, sorted(given), local(one.busy("attic", day("2024-03-20")))]

    def same_name() -> Any:
        calendar = filled()
        error = error_of(lambda: calendar.add("hall", "choir", rule(wall("2024-03-19T05:00"), 5)))
        calendar.add("attic", "choir", rule(wall("2024-03-19T05:00"), 5))
        return [error, local(calendar.busy("attic", day("2024-03-19")))]

    def horizon(first: str) -> Callable[[], Any]:
        def run() -> Any:
            calendar = b.Calendar(z["Plain"])
            calendar.add("hall", "far", rule(wall("2025-05-02T10:00"), 60, count=1))
            return error_of(lambda: calendar.add("hall", "new", rule(wall(first), 60)))

        return run

    def by_name() -> Any:
        calendar = b.Calendar(
            z["Plain"], {"hall": {"b": rule(wall("2024-03-19T05:00"), 5), "a": rule(wall("2024-03-19T05:00"), 9)}}
        )
        return local(calendar.busy("hall", day("2024-03-19")))

    def short_days() -> Any:
        calendar = b.Calendar(z["Skerry"])
        calendar.add("hall", "early", rule(wall("2024-03-30T00:10"), 20))
        days = ("2024-03-31", "2024-04-01", "2024-10-26", "2024-10-27", "2024-10-28")
        return [local(calendar.busy("hall", day(text))) for text in days]

    def last_hour() -> Any:
        calendar = b.Calendar(z["Skerry"])
        calendar.add("hall", "late", rule(wall("2024-10-20T23:10"), 20))
        return [local(calendar.busy("hall", day(text))) for text in ("2024-10-26", "2024-10-27", "2024-10-28")]

    return {
        "touching": touching,
        "one in the way": conflict("2024-04-02T17:30", 31, count=2),
        "two in the way": conflict("2024-04-01T18:30", 60 * 24, count=1),
        "in the way later": conflict("2024-03-25T19:00", 20, count=30),
        "in the way after midnight": conflict("2024-04-02T01:59", 10, count=1),
        "not in the way": conflict("2024-04-02T02:00", 60 * 16, count=1),
        "rooms apart": rooms_apart,
        "calendars apart": calendars_apart,
        "cancelled": cancelled,
        "result changed": result_changed,
        "rooms given": given_rooms,
        "same name": same_name,
        "within the horizon": horizon("2024-05-02T10:30"),
        "beyond the horizon": horizon("2024-04-30T09:30"),
        "sorted": by_name,
        "short and long days": short_days,
        "last hour of a long day": last_hour,
        "over midnight": lambda: local(filled().busy("hall", day("2024-03-31"))),
    }


def free_times(b: Any, z: dict[str, Any]) -> Cases:
    rule = b.Rule

    def calendar(zone: str = "Skerry") -> Any:
        made = b.Calendar(z[zone])
        made.add("hall", "morning", rule(wall("2024-03-25T08:00"), 60))
        made.add("hall", "noon", rule(wall("2024-03-25T09:30"), 150))
        made.add("hall", "tea", rule(wall("2024-03-25T16:00"), 30, every="week", weekdays=(0, 2, 4)))
        made.add("hall", "night", rule(wall("2024-03-25T22:00"), 300))
        return made

    def free(text: str, *limits: Any, zone: str = "Skerry") -> Callable[[], Any]:
        return lambda: local(calendar(zone).free("hall", day(text), *limits))

    def next_free(after: datetime, minutes: int) -> Callable[[], Any]:
        return lambda: local(calendar().next_free("hall", after, minutes))

    def never() -> Any:
        made = b.Calendar(z["Skerry"])
        made.add("hall", "all", rule(wall("2024-03-25T08:00"), 24 * 60, count=45))
        made.add("attic", "most", rule(wall("2024-03-25T08:00"), 31 * 24 * 60 - 60, count=1))
        after = wall("2024-03-25T08:00")
        return [local(made.next_free(room, after, minutes)) for room in ("hall", "attic") for minutes in (60, 61)]

    def after_cancel() -> Any:
        made = calendar()
        seen = [local(made.free("hall", day("2024-03-27")))]
        made.cancel("hall", "noon")
        return [
            *seen,
            local(made.free("hall", day("2024-03-27"))),
            local(made.next_free("hall", wall("2024-03-27T09:45"), 60)),
        ]

    return {
        "usual": free("2024-03-27"),
        "other day": free("2024-03-28"),
        "just enough": free("2024-03-27", time(8), time(18), 90),
        "too short": free("2024-03-27", time(8), time(18), 91),
        "night": free("2024-03-31", time(0), time(7), 10),
        "autumn night": free("2024-10-27", time(0), time(7), 10),
        "elsewhere": free("2024-07-01", time(6), time(23, 30), 1, zone="Tarn"),
        "empty room": lambda: local(calendar().free("attic", day("2024-10-27"), time(1), time(4))),
        "next, wall time": next_free(wall("2024-06-03T08:10"), 30),
        "next, moment": next_free(at("2024-06-03T06:10", -300), 31),
        "next, at once": next_free(at("2024-06-03T14:30", 60), 5 * 60 + 30),
        "next, tomorrow": next_free(wall("2024-06-03T16:30"), 331),
        "next, in the night": next_free(wall("2024-03-30T23:00"), 120),
        "next, doubled hour": next_free(wall("2024-10-27T02:30"), 10),
        "next, too long": next_free(wall("2024-06-03T16:30"), 1000),
        "next, never": never,
        "after cancel": after_cancel,
    }


GROUPS = {
    "zones": zones, "intervals": intervals, "rules": rules, "occurrences": occurrences, "calendars": calendars,
    "free": free_times,
}  # fmt: skip


def outcome(case: Callable[[], Any]) -> Any:
    try:
        return case()
    except Exception as error:  # noqa: BLE001 - one broken case is not the end of the others
        return f"raised {type(error).__name__}"


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the package prints is no answer
    sys.addaudithook(guard)
    del globals()["guard"]
    results = {name: outcome(case) for name, case in GROUPS[GROUP](*load()).items()}
    answer.write(json.dumps(results))
    answer.close()


main()
