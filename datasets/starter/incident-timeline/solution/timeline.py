"""Reads the five logs, finds the incident, writes /app/incident.json."""

import gzip
import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

LOGS = Path("/app/logs")
MINUTE = timedelta(minutes=1)
UTC = timezone(timedelta())
EDGE = re.compile(r'\S+ \[([^]]+)\] "\S+ (\S+)" (\d+) \d+ rid=(\S+)')
CHECKOUT = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+)Z +(\w+)")
PAYMENTS = re.compile(r"(\d{4}-\d\d-\d\d [\d:.]+) (\w) (?:REQ (\S+) )?")


def zone(line: str) -> timezone:
    sign, hours, minutes = re.search(r"UTC([+-])(\d\d):(\d\d)", line).groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)


def edge():
    """Every answered request: (time, id, status)."""
    old = gzip.decompress((LOGS / "edge/access.log.1.gz").read_bytes()).decode().splitlines()
    new = (LOGS / "edge/access.log").read_text().splitlines()
    seen = set(old)
    for line in old + [line for line in new if line not in seen]:
        when, path, status, rid = EDGE.match(line).groups()
        if path != "/healthz":
            yield datetime.strptime(when, "%d/%b/%Y:%H:%M:%S %z"), rid.lower(), int(status)


def checkout():
    records = []
    for line in (LOGS / "checkout/checkout.log").read_text().splitlines():
        if CHECKOUT.match(line):
            records.append(line)
        else:
            records[-1] += "\n" + line
    for record in records:
        when, level = CHECKOUT.match(record).groups()
        if level in ("ERROR", "FATAL"):
            rid = re.search(r"\breq=(\S+)", record)
            yield datetime.fromisoformat(when + "+00:00"), rid and rid.group(1).lower()


def inventory():
    for line in (LOGS / "inventory/inventory.jsonl").read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["level"] in ("error", "fatal"):
            when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=record["ts"])
            yield when, record.get("request", "").lower() or None


def payments():
    lines = (LOGS / "payments/payments.log").read_text().splitlines()
    here = zone(lines[0])
    step = next(number for number, line in enumerate(lines) if "timesync" in line)
    fast = timedelta(seconds=float(re.search(r"ran ([\d.]+) s fast", lines[step]).group(1)))
    for number, line in enumerate(lines[1:], 1):
        when, level, rid = PAYMENTS.match(line).groups()
        if level == "E":
            true = datetime.strptime(when, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=here)
            yield true - (fast if number < step else timedelta()), rid and rid.lower()


def deployments():
    lines = (LOGS / "deploy/deploy.log").read_text().splitlines()
    here = zone(lines[0])
    for line in lines[1:]:
        when, name, service, version, state = (part.strip() for part in line.split("|"))
        if state == "live":
            yield datetime.strptime(when, "%d.%m.%Y %H:%M:%S").replace(tzinfo=here), name, service, version


def text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    requests = sorted(edge())
    errors = [(when, "edge", rid) for when, rid, status in requests if status >= 500]
    errors += [(when, "checkout", rid) for when, rid in checkout()]
    errors += [(when, "inventory", rid) for when, rid in inventory()]
    errors += [(when, "payments", rid) for when, rid in payments()]
    errors.sort(key=lambda error: error[0])
    times = [when for when, _, _ in errors]
    start = next(i for i, t in enumerate(times) if sum(t <= other < t + MINUTE for other in times) >= 5)
    end = start
    while end + 1 < len(times) and times[end + 1] - times[end] < 10 * MINUTE:
        end += 1
    errors = errors[start : end + 1]

    live, name, service, version = max(entry for entry in deployments() if entry[0] < errors[0][0])
    first = next(error for error in errors if error[2])
    affected = {rid for _, _, rid in errors if rid}
    answered = {rid for _, rid, status in requests if status < 500}
    recovered = next(when for when, _, status in requests if when > errors[-1][0] and status < 500)
    counts = {service: Counter() for service in ("edge", "checkout", "inventory", "payments")}
    for when, at, _ in errors:
        counts[at][text(when)[:16] + "Z"] += 1
    report = {
        "deployment": {"id": name, "service": service, "version": version, "live_at": text(live)},
        "first_failing_request": {"request_id": first[2], "service": first[1], "time": text(first[0])},
        "affected_requests": sorted(affected),
        "lost_requests": sorted(affected - answered),
        "errors": counts,
        "last_error_at": text(errors[-1][0]),
        "recovered_at": text(recovered),
        "seconds_to_recovery": int((recovered - live).total_seconds()),
    }
    Path("/app/incident.json").write_text(json.dumps(report, indent=2) + "\n")


main()
