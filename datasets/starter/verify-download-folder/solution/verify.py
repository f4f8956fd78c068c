"""Read the list, compare it with the folder, report, and move what changed."""

import hashlib
import json
import pathlib
import re

DOWNLOADS = pathlib.Path("/app/downloads")
QUARANTINE = pathlib.Path("/app/quarantine")
REPORT = pathlib.Path("/app/report.json")
LINE = re.compile(r"(\\?)(?:([0-9a-fA-F]{64}) [ *](.+)|SHA256 \((.+)\) = ([0-9a-fA-F]{64}))")


def unescape(path):
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", path)


def read_list():
    listed = {}
    for line in (DOWNLOADS / "SHA256SUMS").read_text(encoding="utf-8").split("\n"):
        match = LINE.fullmatch(line)
        if match is None:
            continue
        path = match[3] or match[4]
        if match[1]:
            path = unescape(path)
        path = path.removeprefix("./")
        listed[path] = (match[2] or match[5]).lower()
    return listed


def main():
    listed = read_list()
    present = {str(path.relative_to(DOWNLOADS)): path for path in DOWNLOADS.rglob("*") if path.is_file()}
    del present["SHA256SUMS"]
    both = listed.keys() & present.keys()
    changed = [path for path in both if hashlib.sha256(present[path].read_bytes()).hexdigest() != listed[path]]
    report = {
        "ok": len(both) - len(changed),
        "missing": sorted(listed.keys() - present.keys()),
        "changed": sorted(changed),
        "unlisted": sorted(present.keys() - listed.keys()),
    }
    REPORT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for path in changed:
        target = QUARANTINE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        present[path].rename(target)


main()
