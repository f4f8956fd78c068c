"""The reward that a verifier left in a folder: ``reward.json`` before ``reward.txt``, finite numbers alone."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import cast

from bakeoff.verifiers.base import Verdict

SIZE_LIMIT = 64 << 10
NAMES = ("reward.json", "reward.txt")
MAIN = "reward"
_NUMBER = re.compile(rb"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")


class Nonsense(ValueError):
    """A reward file that is there and is not a reward; its text says why."""


def read_reward(folder: Path, metric: str | None) -> Verdict:
    """The verdict in a folder that holds what the verifier left. Nothing there is followed that is not a regular file.

    A ``reward.json`` that is nonsense is a fault even beside a good ``reward.txt``, and so are two that disagree: one of them was
    written by something that the tests ran. ``metric`` names the reward that counts where
    the file has several and none is called ``reward``.
    """
    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        try:
            data = _read(folder / name)
            if data is not None:
                found[name] = parse_json(data) if name.endswith(".json") else {MAIN: parse_text(data)}
        except Nonsense as error:
            return Verdict(fault="error", detail=f"{name}: {error}")
    if not found:
        return Verdict(fault="error", detail="no reward: neither reward.json nor reward.txt was written")
    name, rewards = next(iter(found.items()))
    reward = choose(rewards, metric)
    if reward is None:
        return Verdict(rewards=rewards, fault="error", detail=f"{name}: {_ambiguous(rewards, metric)}")
    mains = {main for named in found.values() if (main := choose(named, None)) is not None}
    if len(mains) > 1:
        return Verdict(fault="error", detail="reward.json and reward.txt disagree; one of them is not of the tests")
    return Verdict(reward=reward, rewards=rewards)


def choose(rewards: dict[str, float], metric: str | None) -> float | None:
    """The reward that counts: the one called ``reward``, else the only one, else the one called ``metric``; None where none is."""
    if MAIN in rewards:
        return rewards[MAIN]
    if len(rewards) == 1:
        return next(iter(rewards.values()))
    return rewards.get(metric) if metric is not None else None


def _ambiguous(rewards: dict[str, float], metric: str | None) -> str:
    names = ", ".join(sorted(rewards))
    if metric is None:
        return f"several rewards and none is called {MAIN!r} ({names}); choose one with --metric"
    return f"several rewards and none is called {MAIN!r} or {metric!r} ({names})"


def parse_text(data: bytes) -> float:
    """One finite decimal number with nothing but white space around it. Raises Nonsense."""
    if not data.strip():
        raise Nonsense("empty")
    match = _NUMBER.fullmatch(data)
    if match is None:
        raise Nonsense(f"not one decimal number: {_shown(data)}")
    value = float(match.group(1))
    if not math.isfinite(value):
        raise Nonsense(f"not a finite number: {_shown(data)}")
    return value


def parse_json(data: bytes) -> dict[str, float]:
    """A flat object of finite numbers with at least one name, and none twice. Raises Nonsense."""
    try:
        value: object = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant)
    except UnicodeDecodeError:
        raise Nonsense("not UTF-8") from None
    except RecursionError:
        raise Nonsense("nested too deep") from None
    except Nonsense:
        raise
    except ValueError as error:
        raise Nonsense(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Nonsense("not an object of names and numbers")
    found = cast("dict[str, object]", value)
    if not found:
        raise Nonsense("an empty object")
    return {_name(name): _finite(name, item) for name, item in found.items()}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Nonsense("a name stands there twice")
    return found


def _constant(name: str) -> float:
    raise Nonsense(f"not a finite number: {name}")


def _name(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Nonsense("a name that is not text") from None
    return name


def _finite(name: str, item: object) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise Nonsense(f"{_shown(name.encode('utf-8', 'replace'))} is not a number")
    try:
        number = float(item)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Nonsense(f"{_shown(name.encode('utf-8', 'replace'))} is not a finite number")
    return number


def _shown(data: bytes) -> str:
    text = data.strip().decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _read(path: Path) -> bytes | None:
    """The bytes of a regular file, None where nothing has that name. Raises Nonsense for anything else, and past the limit."""
    try:
        info = os.lstat(path)
        if not stat.S_ISREG(info.st_mode):
            raise Nonsense("not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Nonsense("not a regular file")
        data = stream.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise Nonsense(f"larger than {SIZE_LIMIT >> 10} KiB")
    return data
