"""Dockerfiles that take what their context does not hold, or that lay something where hidden files will be."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Iterator
from typing import cast

from bakeoff.checks.validate.sources import Fault, Source

_COPY = re.compile(r"\s*(COPY|ADD)\s+(.*)", re.IGNORECASE | re.DOTALL)
_HIDDEN = ("/tests", "/solution")


def dockerfile_faults(source: Source, context: Collection[str], *, certain: bool) -> Iterator[Fault]:
    """``context`` holds the paths of the context's files; not ``certain``: another file may build it from another folder."""
    for line, instruction in _instructions(source.text):
        match = _COPY.fullmatch(instruction)
        parts = _parts(match[2]) if match else []
        if len(parts) < 2:
            continue
        *taken, target = parts
        if any(target == hidden or target.startswith(hidden + "/") for hidden in _HIDDEN):
            yield source.fault(line, f"copies into {target}, where hidden files are laid; wanted another folder")
            continue
        for path in taken:
            if re.match(r"[a-z]+://|git@|<<", path) or re.search(r"[$*?\[]", path):
                continue
            if (problem := _wrong(path, context, certain)) is not None:
                yield source.fault(line, problem)


def _wrong(path: str, context: Collection[str], certain: bool) -> str | None:
    here = posixpath.normpath(path.lstrip("/") or ".")
    if here == ".." or here.startswith("../"):
        return f"copies {path}, from outside of the build context environment/; wanted a path inside of it"
    if here == "." or not certain or any(file == here or file.startswith(here + "/") for file in context):
        return None
    if here.split("/")[0] in ("tests", "solution"):
        return f"copies {path}: tests and solutions stay hidden until the agent has ended; wanted this line removed"
    return f"copies {path}, which is not in the build context environment/; wanted the file there, or this line removed"


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """The instructions with the line that each begins in; continued lines are joined."""
    held: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        if not held:
            first = number
        if line.rstrip().endswith("\\"):
            held.append(line.rstrip()[:-1])
            continue
        yield first, " ".join([*held, line])
        held = []


def _parts(arguments: str) -> list[str]:
    """Sources and target of a COPY, empty where they come from another stage or are written in place."""
    rest = arguments.strip()
    while match := re.match(r"--(\w+)(=\S*)?\s+", rest):
        if match[1] == "from":
            return []
        rest = rest[match.end() :]
    if rest.startswith("["):
        try:
            found = json.loads(rest)
        except (ValueError, RecursionError):
            return []
        listed = cast("list[object]", found) if isinstance(found, list) else []
        return [item for item in listed if isinstance(item, str)]
    return rest.split()
