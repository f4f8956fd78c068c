"""What a crontab means: when its entries run, and the command and settings they run with."""

import re
from datetime import date, timedelta

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 7, DAYS))


def field(text, low, high, names):
    """The set of numbers that a field means; ValueError if it means none."""

    def number(part):
        if part.lower() in names:
            return names.index(part.lower()) + (1 if names is MONTHS else 0)
        if not re.fullmatch(r"[0-9]{1,2}", part):
            raise ValueError(part)
        return int(part)

    values = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (number(end) for end in span.split("-", 1))
        else:
            first = number(span)
            last = high if step else first
        if not (low <= first <= last <= high):
            raise ValueError(part)
        if step and not re.fullmatch(r"[1-9][0-9]?", step):
            raise ValueError(part)
        values.update(range(first, last + 1, int(step or 1)))
    return values


def fields(entry):
    """The sets of numbers that the five fields of an entry mean."""
    return [field(entry[place], *bounds) for place, bounds in enumerate(FIELDS)]


def parse(text):
    """Settings, and entries as (time fields, command); ValueError for a line that cron would not take."""
    settings, entries = {}, []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        setting = re.fullmatch(r"""([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)""", line)
        if setting:
            value = setting[2]
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            settings[setting[1]] = value
            continue
        macro = line.split(None, 1)
        if macro[0] in MACROS and len(macro) == 2:
            line = f"{MACROS[macro[0]]} {macro[1]}"
        parts = line.split(None, 5)
        if len(parts) != 6:
            raise ValueError(line)
        fields(parts[:5])
        entries.append((tuple(parts[:5]), parts[5]))
    return settings, entries


def times(entry):
    """(the pairs of hour and minute, the days of four years) at which an entry runs."""
    minutes, hours, days, months, weekdays = fields(entry)
    weekdays = {day % 7 for day in weekdays}
    either = not entry[2].startswith("*") and not entry[4].startswith("*")
    runs = set()
    day = date(2025, 1, 1)
    while day < date(2029, 1, 1):
        by_day, by_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month in months and ((by_day or by_week) if either else (by_day and by_week)):
            runs.add(day)
        day += timedelta(1)
    return {(hour, minute) for hour in hours for minute in minutes}, runs


def shell_text(command):
    """What cron gives to the shell: up to the first bare percent sign, the others without their backslashes."""
    return re.split(r"(?<!\\)%", command)[0].replace("\\%", "%")
