"""Labels: files in the spool, numbered and signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
import threading
from pathlib import Path

from stampd.settings import Refused, Settings


class Spool:
    """The labels of one folder."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.spool
        self._key = _read_key(settings.key)
        self._lock = threading.Lock()
        self._counter = self._folder / "next-id"
        try:
            int(self._counter.read_text())
        except (OSError, ValueError) as error:
            raise Refused(f"{self._counter}: {error}") from None

    def ids(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdecimal())

    def get(self, number: str) -> object | None:
        path = self._folder / f"{number}.json"
        if not number.isdecimal() or not path.is_file():
            return None
        return json.loads(path.read_text(encoding="utf-8"))

    def add(self, item: str, name: str, to: str) -> dict[str, object]:
        """Raises FileExistsError where a label has the number already: no label is ever overwritten."""
        with self._lock:
            number = int(self._counter.read_text())
            signature = hmac.new(self._key, f"{number}|{item}|{to}".encode(), hashlib.sha256).hexdigest()
            label = {"id": number, "item": item, "name": name, "to": to, "signature": signature}
            with open(self._folder / f"{number}.json", "x", encoding="utf-8") as file:
                file.write(json.dumps(label, ensure_ascii=False, indent=2) + "\n")
            self._counter.write_text(f"{number + 1}\n")
            return label


def _read_key(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Refused(f"{path} has mode {mode:04o}: others than its owner have rights to the key")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error}") from None
