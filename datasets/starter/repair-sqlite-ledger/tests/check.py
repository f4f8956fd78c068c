"""Judges /app/ledger.db and /app/report.csv. Exit 0: all of it holds.

The database is somebody else's: it is copied, opened with no trust in its schema, and every statement has a deadline.
"""

import csv
import io
import json
import os
import pathlib
import resource
import signal
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable

TESTS = pathlib.Path(__file__).parent
LEDGER = "/app/ledger.db"
REPORT = "/app/report.csv"
MAX_LEDGER = 16 << 20
MAX_REPORT = 1 << 20
MAX_ROWS = 5000
SECONDS = 40

COLUMNS = {
    "accounts": ["id", "code", "name", "kind"],
    "entries": ["id", "source", "reference", "booked_on", "memo", "batch", "imported_at"],
    "postings": ["id", "entry_id", "account_id", "amount"],
    "attachments": ["id", "entry_id", "file"],
    "balances": ["account_id", "month", "total"],
    "notes": ["id", "written_on", "text"],
    "quarantine": ["posting_id", "entry_id", "account_id", "amount"],
}


class Wrong(Exception):
    """What does not hold, for the log."""


def read_file(path: str, limit: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Wrong(f"{path}: cannot be opened ({error.strerror})") from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Wrong(f"{path}: not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Wrong(f"{path}: too big")
    return data


def connect(data: bytes, folder: str, name: str) -> sqlite3.Connection:
    path = pathlib.Path(folder, name)
    path.write_bytes(data)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA foreign_keys = ON")
    end = time.monotonic() + SECONDS / 4
    db.set_progress_handler(lambda: time.monotonic() > end, 10000)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return db


def check_schema(db: sqlite3.Connection) -> None:
    found = dict(
        db.execute("SELECT name, upper(substr(ltrim(sql), 1, 13)) FROM sqlite_master WHERE type = 'table' LIMIT 100")
    )
    for table, columns in COLUMNS.items():
        if not found.get(table, "").startswith("CREATE TABLE"):
            raise Wrong(f"{table}: is no ordinary table of the database")
        names = [row[1] for row in db.execute(f"PRAGMA table_xinfo({table})")]
        if names != columns:
            raise Wrong(f"{table}: other columns than it should have")


def check_sound(db: sqlite3.Connection) -> None:
    if [row[0] for row in db.execute("PRAGMA integrity_check(1)")] != ["ok"]:
        raise Wrong("integrity_check finds something")
    if db.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise Wrong("foreign_key_check finds something")


def rows_of(db: sqlite3.Connection, table: str) -> list[list[object]]:
    names = ", ".join(COLUMNS[table])
    rows = [list(row) for row in db.execute(f"SELECT {names} FROM {table} LIMIT {MAX_ROWS}")]
    if table == "postings":
        return rows
    # 12 and 12.0 are the same number here: nothing was said about the type of these columns
    return [[int(cell) if isinstance(cell, float) and cell.is_integer() else cell for cell in row] for row in rows]


def check_rows(db: sqlite3.Connection, table: str, wanted: list[list[object]]) -> None:
    found = sorted(json.dumps(row) for row in rows_of(db, table))
    right = sorted(json.dumps(row) for row in wanted)
    if found != right:
        missing, extra = set(right) - set(found), set(found) - set(right)
        raise Wrong(
            f"{table}: {len(missing)} of {len(right)} rows missing or different, {len(extra)} that should not be so"
        )


def check_plan(db: sqlite3.Connection, name: str) -> None:
    sql = (TESTS / name).read_text(encoding="utf-8")
    values = {"account": 1, "first": "2025-03-01", "last": "2025-03-31", "source": "shop", "reference": "INV-1"}
    plan = [row[3].upper() for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    if any(step.startswith("SCAN") or "AUTOMATIC" in step for step in plan):
        raise Wrong(f"the plan of {name} still scans")


def attempt(db: sqlite3.Connection, sql: str, values: dict[str, object]) -> bool:
    """Whether the statement is accepted, up to its commit. Any error but a broken constraint counts as neither."""
    try:
        db.execute("BEGIN")
        db.execute(sql, values)
        db.execute("COMMIT")
    except sqlite3.IntegrityError:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return False
    return True


POSTING = "INSERT INTO postings (id, entry_id, account_id, amount) VALUES (:id, :entry, :account, :amount)"
ENTRY = (
    "INSERT INTO entries (id, source, reference, booked_on, memo, batch, imported_at) "
    "VALUES (:id, :source, :reference, '2025-04-02', 'x', 'HQ-14', '2025-04-02T18:00:00Z')"
)
ATTACHMENT = "INSERT INTO attachments (id, entry_id, file) VALUES (:id, :entry, 'new.pdf')"
BALANCE = "INSERT INTO balances (account_id, month, total) VALUES (:account, :month, 5)"


def check_guards(db: sqlite3.Connection, wanted: dict[str, list[list[object]]]) -> None:
    account, entry = wanted["postings"][0][2], wanted["postings"][0][1]
    key = next(row for row in wanted["entries"] if row[0] == entry)
    other = next(row for row in wanted["entries"] if row[0] != entry)
    posted = {row[1] for row in wanted["postings"]}
    attached = next(row[1] for row in wanted["attachments"] if row[1] not in posted)
    balance = wanted["balances"][0]
    same = f"  {str(key[2]).strip().swapcase()} "
    accepted: list[tuple[str, str, dict[str, object]]] = [
        ("a new entry", ENTRY, {"id": 90001, "source": "new source", "reference": "NEW-1"}),
        ("the reference of another source", ENTRY, {"id": 90002, "source": "new source", "reference": key[2]}),
        ("a posting", POSTING, {"id": 90001, "entry": 90001, "account": account, "amount": -1250}),
        ("an attachment", ATTACHMENT, {"id": 90001, "entry": 90001}),
        ("a balance of another month", BALANCE, {"account": balance[0], "month": "2031-01"}),
        (
            "a posting put on another account",
            "UPDATE postings SET account_id = :account WHERE id = 90001",
            {"account": balance[0]},
        ),
        ("an entry's own reference written otherwise", "UPDATE entries SET reference = :reference WHERE id = :id",
         {"id": entry, "reference": same}),
        ("an attachment put on another entry", "UPDATE attachments SET entry_id = :entry WHERE id = 90001", {"entry": entry}),
        ("another total of a balance", "UPDATE balances SET total = 6 WHERE month = '2031-01'", {}),
        ("deleting an entry that nothing refers to", "DELETE FROM entries WHERE id = 90002", {}),
    ]  # fmt: skip
    refused: list[tuple[str, str, dict[str, object]]] = [
        ("the same entry again", ENTRY, {"id": 90003, "source": key[1], "reference": same}),
        ("an entry made the same as another", "UPDATE entries SET source = :source, reference = :reference WHERE id = :id",
         {"id": other[0], "source": key[1], "reference": same}),
        ("a posting without an entry", POSTING, {"id": 90004, "entry": 95000, "account": account, "amount": 5}),
        ("a posting without an account", POSTING, {"id": 90004, "entry": entry, "account": 95000, "amount": 5}),
        ("a posting on no entry", POSTING, {"id": 90004, "entry": None, "account": account, "amount": 5}),
        ("a posting on no account", POSTING, {"id": 90004, "entry": entry, "account": None, "amount": 5}),
        ("a posting with a fraction", POSTING, {"id": 90004, "entry": entry, "account": account, "amount": 12.5}),
        ("a posting with text", POSTING, {"id": 90004, "entry": entry, "account": account, "amount": "12,50"}),
        ("a posting with no amount", POSTING, {"id": 90004, "entry": entry, "account": account, "amount": None}),
        ("a posting changed to a fraction", "UPDATE postings SET amount = 0.5 WHERE id = 90001", {}),
        ("a posting moved to no entry", "UPDATE postings SET entry_id = 95000 WHERE id = 90001", {}),
        ("a posting moved to no account", "UPDATE postings SET account_id = 95000 WHERE id = 90001", {}),
        ("an attachment without an entry", ATTACHMENT, {"id": 90004, "entry": 95000}),
        ("an attachment on no entry", ATTACHMENT, {"id": 90004, "entry": None}),
        ("an attachment moved to no entry", "UPDATE attachments SET entry_id = 95000 WHERE id = 90001", {}),
        ("a balance without an account", BALANCE, {"account": 95000, "month": "2025-03"}),
        ("a balance on no account", BALANCE, {"account": None, "month": "2025-03"}),
        ("a second balance", BALANCE, {"account": balance[0], "month": balance[1]}),
        ("a balance made the second one", "UPDATE balances SET month = :month WHERE month = '2031-01'", {"month": balance[1]}),
        ("a balance moved to no account", "UPDATE balances SET account_id = 95000 WHERE month = '2031-01'", {}),
        ("deleting an entry with postings", "DELETE FROM entries WHERE id = :id", {"id": entry}),
        ("deleting an entry with attachments", "DELETE FROM entries WHERE id = :id", {"id": attached}),
        ("deleting an account with postings", "DELETE FROM accounts WHERE id = :id", {"id": account}),
    ]  # fmt: skip
    for what, sql, values in accepted:
        if not attempt(db, sql, values):
            raise Wrong(f"refused, and should not be: {what}")
    if db.execute("SELECT amount FROM postings WHERE id = 90001").fetchone() != (-1250,):
        raise Wrong("a new posting does not keep its amount")
    for what, sql, values in refused:
        if attempt(db, sql, values):
            raise Wrong(f"accepted, and should be refused: {what}")


def check_report(data: bytes, wanted: list[list[str]]) -> None:
    found = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline="")) if row]
    if not found or found[0] != wanted[0]:
        raise Wrong("report.csv: not the header that was asked for")
    if sorted(found) != sorted(wanted):
        raise Wrong("report.csv: rows are not what they should be")
    if found != wanted:
        raise Wrong("report.csv: rows are not in the order that was asked for")


def main() -> int:
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    wanted = json.loads((TESTS / "expected.json").read_text(encoding="utf-8"))
    failed = 0

    def step(check: Callable[..., None], *args: object) -> None:
        nonlocal failed
        named = " ".join([check.__name__, *(arg for arg in args if isinstance(arg, str))])
        try:
            check(*args)
        except (Wrong, sqlite3.Error, ValueError, TypeError, csv.Error, MemoryError) as error:
            failed += 1
            print(f"FAILED {named}: {error}"[:400])
        else:
            print(f"ok {named}")

    with tempfile.TemporaryDirectory() as folder:
        try:
            data = read_file(LEDGER, MAX_LEDGER)
            db = connect(data, folder, "judged.db")
            check_schema(db)
        except (Wrong, sqlite3.Error) as error:
            print(f"FAILED to open the ledger: {error}")
            return 1
        step(check_sound, db)
        for table in COLUMNS:
            step(check_rows, db, table, wanted[table])
        for query in ("statement.sql", "find.sql"):
            step(check_plan, db, query)
        db.close()
        step(check_guards, connect(data, folder, "guarded.db"), wanted)
        try:
            report = read_file(REPORT, MAX_REPORT)
        except Wrong as error:
            print(f"FAILED report: {error}")
            return 1
        step(check_report, report, wanted["report"])
    return 1 if failed else 0


sys.exit(main())
