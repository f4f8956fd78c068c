"""Bundles of real agents for tests: installed once, kept between sessions of one checkout.

As a program it installs all that tests run, to have that done before they ask; who asks meanwhile waits for it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from bakeoff.agents.registry import prepare_agents
from bakeoff.errors import InputError
from bakeoff.home import home
from bakeoff.records.job import AgentRequest

_PLACE = Path(__file__).resolve().parent.parent / ".bakeoff" / "test-bundles"

WANTED = ("codex", "claude-code", "mini-swe-agent")


def prepared(name: str) -> str:
    """Make ``BAKEOFF_HOME/bundles`` the kept ones, with the agent ``name`` among them; why that is not possible, or an empty string."""
    place = Path(os.environ.get("BAKEOFF_TEST_BUNDLES") or _PLACE)
    place.mkdir(parents=True, exist_ok=True)
    home().mkdir(parents=True, exist_ok=True)
    try:
        (home() / "bundles").symlink_to(place)
    except FileExistsError:
        assert (home() / "bundles").resolve() == place.resolve()
    try:
        prepare_agents([AgentRequest(name=name)], lambda _: None)
    except InputError as error:
        return str(error)
    return ""


def _main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        os.environ["BAKEOFF_HOME"] = place
        for name in WANTED:
            began = time.monotonic()
            why = prepared(name)
            wrong += bool(why)
            print(f"bundles: {name}: {why or f'there after {time.monotonic() - began:.0f} s'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main())
