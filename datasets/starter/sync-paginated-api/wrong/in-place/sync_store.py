"""The mirror: one file that has the records and all that the next run must know, so that they cannot disagree."""

# Wrong: the mirror is written in place.
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Store:
    """The mirror in memory; ``save`` puts it on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.records: dict[str, dict[str, Any]] = known.get("records", {})
        self.deleted: dict[str, int] = known.get("deleted", {})
        self.cursor: str | None = known.get("cursor")
        named = known.get("named")
        self.named: set[str] | None = None if named is None else set(named)

    def begin_again(self) -> None:
        """Read a new feed from its beginning; from now on it is noted what it names."""
        self.cursor = None
        self.named = set()

    def apply(self, entry: Mapping[str, Any]) -> None:
        name, rev = entry["id"], entry["rev"]
        if self.named is not None:
            self.named.add(name)
        newest = max(self.deleted.get(name, -1), self.records.get(name, {}).get("rev", -1))
        if rev <= newest:
            return
        if entry.get("deleted"):
            self.records.pop(name, None)
            self.deleted[name] = rev
        else:
            self.deleted.pop(name, None)
            self.records[name] = {"rev": rev, "data": entry["data"]}

    def reached_end(self) -> None:
        """Drop what a new feed does not name, now that all of it has been read."""
        if self.named is not None:
            for name in set(self.records) - self.named:
                self.deleted[name] = self.records.pop(name)["rev"]
            self.named = None

    def save(self) -> None:
        state = {
            "records": self.records,
            "deleted": self.deleted,
            "cursor": self.cursor,
            "named": None if self.named is None else sorted(self.named),
        }
        with open(self._path, "w", encoding="utf-8") as file:
            json.dump(state, file, ensure_ascii=False)
