"""Merge the customer exports of a folder: merge.py IN OUT."""

import csv
import datetime
import io
import json
import pathlib
import re
import sys
import unicodedata

FIELDS = ["name", "email", "phone", "birthday", "city"]
GERMAN = {
    "Nr": "customer_no",
    "Name": "name",
    "Mail": "email",
    "Telefon": "phone",
    "Geburtstag": "birthday",
    "Ort": "city",
    "Stand": "updated",
}
DATES = {
    "shop": (r"([0-9]{4})-([0-9]{2})-([0-9]{2})", "ymd"),
    "erp": (r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})", "dmy"),
    "crm": (r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})", "mdy"),
}
RANK = {"erp": 0, "shop": 1, "crm": 2}


def read_csv(path, encoding, delimiter):
    text = path.read_bytes().decode(encoding)
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
        yield {key: value for key, value in row.items() if key is not None and value is not None}


def read_erp(path):
    for row in read_csv(path, "iso-8859-1", ";"):
        yield {GERMAN[key]: value for key, value in row.items() if key in GERMAN and value.strip() != "-"}


def read_crm(path):
    for line in path.read_bytes().decode("utf-8").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield {key: value for key, value in row.items() if value is not None}


def text(value):
    return unicodedata.normalize("NFC", " ".join(value.split()))


def mail(value):
    value = value.lower()
    return value if re.fullmatch(r"[^@]+@[^@]+", value, re.DOTALL) else None


def phone(value):
    value = re.sub(r"[ /.()-]", "", value.replace("(0)", ""))
    if value.startswith("00"):
        value = "+" + value[2:]
    elif value.startswith("0"):
        value = "+49" + value[1:]
    return value if re.fullmatch(r"\+[0-9]{7,15}", value) else None


def date(value, source):
    pattern, order = DATES[source]
    match = re.fullmatch(pattern, value)
    if match is None:
        return None
    parts = {part: int(match[place]) for place, part in enumerate(order, 1)}
    try:
        return datetime.date(parts["y"], parts["m"], parts["d"]).isoformat()
    except ValueError:
        return None


def clean(source, line, row):
    """A record: known values by field; no key where nothing is known."""
    known = {}
    for field in [*FIELDS, "updated"]:
        if field not in row:
            continue
        value = row[field].strip()
        if value == "":
            value = "" if source == "crm" and field != "updated" else None
        elif field in ("name", "city"):
            value = text(value)
        elif field == "email":
            value = mail(value)
        elif field == "phone":
            value = phone(value)
        else:
            value = date(value, source)
        if value is not None:
            known[field] = value
    number = str(row["id" if source == "crm" else "customer_no"]).strip()
    return {"ref": f"{source}:{number}", "known": known, "age": (known.get("updated", ""), RANK[source], line)}


def group(records):
    parent = list(range(len(records)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    seen = {}
    for i, record in enumerate(records):
        known = record["known"]
        keys = []
        if known.get("email"):
            keys.append(known["email"])
        if known.get("phone") and known.get("birthday"):
            keys.append((known["phone"], known["birthday"]))
        for key in keys:
            parent[root(i)] = root(seen.setdefault(key, i))
    groups = {}
    for i, record in enumerate(records):
        groups.setdefault(root(i), []).append(record)
    return groups.values()


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    exports = {
        "shop": read_csv(folder / "shop.csv", "utf-8-sig", ","),
        "erp": read_erp(folder / "erp.csv"),
        "crm": read_crm(folder / "crm.jsonl"),
    }
    records = [clean(source, line, row) for source, rows in exports.items() for line, row in enumerate(rows)]
    lines = (folder / "deleted.txt").read_text(encoding="utf-8-sig").splitlines()
    deleted = {line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}
    customers, conflicts = [], []
    for members in group(records):
        if any(record["known"].get("email") in deleted for record in members):
            continue
        members.sort(key=lambda record: record["age"], reverse=True)
        sources = " ".join(sorted(record["ref"] for record in members))
        row = [sources]
        for place, field in enumerate(FIELDS):
            values = [record["known"][field] for record in members if field in record["known"]]
            row.append(values[0] if values else "")
            others = sorted(set(values) - set(values[:1]))
            if others:
                conflicts.append((sources, place, [sources, field, values[0], "|".join(others)]))
        customers.append(row)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "customers.csv", [["sources", *FIELDS], *sorted(customers)])
    write(out / "conflicts.csv", [["sources", "field", "kept", "others"], *(row for _, _, row in sorted(conflicts))])


main()
