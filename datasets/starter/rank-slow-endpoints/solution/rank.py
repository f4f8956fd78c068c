"""Read the log, group its requests by endpoint, and write the table."""

import csv
import pathlib
import re

LOG = pathlib.Path("/app/access.log")
TABLE = pathlib.Path("/app/slow.csv")
LINE = re.compile(r'.*"([^ "]+) ([^ "]+) HTTP/[^ "]+" (\d{3}) \d+ (\d+)\.(\d{3})')
IDENTITY = re.compile("[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MORE_THAN = 20


def fold(path):
    path = path.partition("?")[0]
    if path != "/":
        path = path.removesuffix("/")
    return "/".join("{id}" if IDENTITY.fullmatch(part) else part for part in path.split("/"))


def main():
    endpoints = {}
    for line in LOG.read_text(encoding="utf-8").splitlines():
        match = LINE.fullmatch(line)
        if match is None or match[1] == "OPTIONS":
            continue
        endpoint = f"{match[1]} {fold(match[2])}"
        endpoints.setdefault(endpoint, []).append((int(match[4] + match[5]), int(match[3])))
    rows = []
    for endpoint, requests in endpoints.items():
        count = len(requests)
        if count > MORE_THAN:
            errors = sum(status >= 500 for _, status in requests)
            tenths = (2000 * errors + count) // (2 * count)
            place = -(-95 * count // 100)
            p95 = sorted(time for time, _ in requests)[place - 1]
            rows.append([endpoint, count, f"{tenths // 10}.{tenths % 10}", p95])
    rows.sort(key=lambda row: (-row[3], -row[1], row[0].encode()))
    with open(TABLE, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([["endpoint", "requests", "error_pct", "p95_ms"], *rows])


main()
