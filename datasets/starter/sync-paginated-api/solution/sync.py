"""Brings a local mirror of the records API up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sync_client import Client, CursorGone, GaveUp, Refused
from sync_store import Store


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--mirror", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        sync(Client(arguments.url, arguments.credentials.read_bytes()), Store(arguments.mirror))
    except GaveUp as error:
        sys.stderr.write(f"gave up: {error}\n")
        return 1
    except Refused:
        sys.stderr.write("the credentials are refused\n")
        return 2
    return 0


def sync(client: Client, store: Store) -> None:
    more = True
    while more:
        try:
            page = client.page(store.cursor)
        except CursorGone:
            store.begin_again()
            store.save()
            continue
        for entry in page["entries"]:
            store.apply(entry)
        store.cursor = page["cursor"]
        more = page["more"]
        if not more:
            store.reached_end()
        store.save()


if __name__ == "__main__":
    sys.exit(main())
