"""What programs print differently every time: left out where it stands as those programs print it, and nowhere else."""

from __future__ import annotations

import json

import pytest

from bakeoff.gateway.replay.declared import Volatile, shipped
from bakeoff.gateway.replay.normalise import normalise
from bakeoff.gateway.replay.rules import rules_for

RULES = rules_for(Volatile(outputs=("output",)))
LISTING = (
    "total 8\n-rw-r--r-- 1 root root  120 Nov 21 21:33 draft.md\ndrwxr-xr-x 2 root root 4096 Nov  1 09:05 sources\n"
)


def key(text: str) -> object:
    return normalise({"output": text}, RULES, lambda part: part, [])


def same(one: str, other: str) -> bool:
    return key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LISTING, LISTING.replace("Nov 21 21:33", "Dec  2 00:01").replace("Nov  1 09:05", "Jan 12  2024")),
        (json.dumps(LISTING), json.dumps(LISTING.replace("21:33", "21:34"))),
        ("-rw-r--r--. 1 me staff 1.2K 2026-11-21 21:33 a", "-rw-r--r--. 1 me staff 1.2K 2026-11-22 00:00 a"),
        ("crw-rw-rw- 1 root root 1, 3 Nov 21 21:33 null", "crw-rw-rw- 1 root root 1, 3 Nov 21 21:35 null"),
        ("== 3 passed, 1 warning in 0.05s ==", "== 3 passed, 1 warning in 61.20s (0:01:01) =="),
        ("...\nRan 3 tests in 0.001s\n\nOK", "...\nRan 3 tests in 0.012s\n\nOK"),
    ],
    ids=["ls", "ls in JSON", "ls of other options", "a device", "pytest", "unittest"],
)
def test_times_that_programs_print_do_not_count(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("120", "121"),
        ("draft.md", "draft.mb"),
        ("-rw-r--r--", "-rwxr--r--"),
        ("1 root", "1 toor"),
        ("total 8", "total 9"),
        ("sources", "Nov 21 21:33"),
    ],
)
def test_all_else_of_a_listing_counts(old: str, new: str) -> None:
    assert not same(LISTING, LISTING.replace(old, new, 1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The meeting is on Nov 21 21:33 here", "The meeting is on Nov 21 21:34 here"),
        ("2026-11-21 21:33 started", "2026-11-21 21:34 started"),
        ("done in 0.05s", "done in 0.06s"),
        ("== 3 passed in 0.05s ==", "== 4 passed in 0.05s =="),
        ("I Ran 3 tests in 0.001s", "I Ran 3 tests in 0.002s"),
        ("note: -rw-r--r-- 1 root root 1 Nov 21 21:33 a", "note: -rw-r--r-- 1 root root 1 Nov 21 21:34 a"),
    ],
)
def test_times_that_stand_elsewhere_count(one: str, other: str) -> None:
    assert not same(one, other)


def test_agents_that_were_recorded_say_where_outputs_stand() -> None:
    for name in ("codex", "claude-code", "mini-swe-agent"):
        assert [data.outputs for data in shipped() if data.agent == name] != [()]
