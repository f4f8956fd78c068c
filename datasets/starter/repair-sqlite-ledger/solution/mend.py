"""Mend the ledger with mend.sql, which stands beside this file, and write the report."""

import csv
import pathlib
import sqlite3

REPORT = """
SELECT a.code, a.name, count(DISTINCT m.entry_id), coalesce(sum(m.amount), 0) AS total
FROM accounts AS a
LEFT JOIN (
    SELECT p.account_id, p.entry_id, p.amount
    FROM postings AS p JOIN entries AS e ON e.id = p.entry_id
    WHERE e.booked_on LIKE '2025-03-%'
) AS m ON m.account_id = a.id
WHERE a.kind = 'expense'
GROUP BY a.id
ORDER BY total DESC, a.code
"""


def money(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def main() -> None:
    sql = (pathlib.Path(__file__).parent / "mend.sql").read_text(encoding="utf-8")
    db = sqlite3.connect("/app/ledger.db", isolation_level=None)
    db.executescript(f"PRAGMA foreign_keys = OFF; BEGIN; {sql} COMMIT; VACUUM;")
    with open("/app/report.csv", "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["code", "name", "entries", "total"])
        writer.writerows([code, name, entries, money(total)] for code, name, entries, total in db.execute(REPORT))
    db.close()


main()
