"""``python3 -m stampd catalog | serve | wait``."""

from __future__ import annotations

import sys

from stampd import catalog, service, waiting
from stampd.settings import Refused, load

COMMANDS = {"catalog": catalog.main, "serve": service.main, "wait": waiting.main}


def main() -> int:
    command = COMMANDS.get(sys.argv[1]) if len(sys.argv) == 2 else None
    if command is None:
        sys.stderr.write(f"usage: python3 -m stampd {' | '.join(COMMANDS)}\n")
        return 2
    try:
        return command(load())
    except Refused as error:
        sys.stderr.write(f"stampd {sys.argv[1]}: {error}\n")
        return 1


sys.exit(main())
