#!/bin/sh
# Makes /app/ledger.db from its SQL text.
set -eu
cd /app
rm -f ledger.db
python3 - <<'PY'
import pathlib
import sqlite3

db = sqlite3.connect("ledger.db")
db.executescript(pathlib.Path("ledger.sql").read_text(encoding="utf-8"))
db.commit()
db.close()
PY
rm ledger.sql
