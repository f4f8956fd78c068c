"""What the planted tasks are made of."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOLVE = """#!/bin/sh
set -eu
cd /app
sort -k2 -t, orders.csv | grep -v cancelled | cut -d, -f1,3 >paid-orders.csv
sed 's/EUR/USD/' paid-orders.csv >paid-orders-converted.csv
printf 'settled in %s batches\\n' "$(wc -l <paid-orders.csv)" >settlement.txt
"""
TEST = """#!/bin/sh
cd /app
verdict=1
cmp -s paid-orders.csv /tests/expected.csv || verdict=0
grep -q 'settled in 4 batches' settlement.txt || verdict=0
test "$(wc -l <paid-orders-converted.csv)" -eq 4 || verdict=0
grep -q cancelled paid-orders.csv && verdict=0
echo "$verdict" >/logs/verifier/reward.txt
"""
ORDERS = "".join(
    f"{number},2024-03-{number:02d},{number * 17} EUR,{'paid' if number % 2 else 'cancelled'}\n"
    for number in range(1, 9)
)
EXPECTED = "".join(f"{number},{number * 17} EUR\n" for number in range(1, 9, 2))
GIT = (
    "git",
    "-c",
    "user.name=a",
    "-c",
    "user.email=a@b",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "init.defaultBranch=main",
)
FIXED = """def total(prices):
    return sum(prices) - discount_for(len(prices), largest=max(prices))


def discount_for(count, largest):
    whole_groups = count // 3
    at_most = largest * whole_groups
    return min(whole_groups * 5, at_most)
"""
BROKEN = "def total(prices):\n    return sum(prices) + len(prices)\n"
MEND = f"#!/bin/sh\ncat >/app/repo/shop.py <<'END'\n{FIXED}END\n"


def git(repository: Path, *args: str) -> str:
    done = subprocess.run([*GIT, *args], cwd=repository, check=True, capture_output=True, text=True, timeout=20)
    return done.stdout.strip()


def commit(repository: Path, name: str, text: str, message: str = "Work") -> str:
    """Commit a file with this text; the commit's id."""
    (repository / name).write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", message)
    return git(repository, "rev-parse", "HEAD")


def write(folder: Path, path: str, data: str | bytes) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.encode() if isinstance(data, str) else data)


def add_keys(folder: Path, table: str, lines: str) -> None:
    """Put lines into a table of task.toml, made where there is none."""
    toml = folder / "task.toml"
    text = toml.read_text()
    if f"[{table}]\n" in text:
        toml.write_text(text.replace(f"[{table}]\n", f"[{table}]\n{lines}\n", 1))
    else:
        toml.write_text(f"{text}\n[{table}]\n{lines}\n")
