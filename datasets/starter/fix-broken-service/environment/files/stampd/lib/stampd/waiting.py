"""Waits until both processes answer."""

from __future__ import annotations

import socket
import sys
import time

from stampd.settings import Settings


def main(settings: Settings) -> int:
    places = {"catalogue": (settings.catalog_bind, settings.catalog_port), "service": (settings.bind, settings.port)}
    deadline = time.monotonic() + 5
    for what, place in places.items():
        while not listens(place):
            if time.monotonic() > deadline:
                sys.stderr.write(f"stampd: the {what} does not answer on {place[0]}:{place[1]}\n")
                return 1
            time.sleep(0.02)
    return 0


def listens(place: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(place, timeout=0.2):
            return True
    except OSError:
        return False
