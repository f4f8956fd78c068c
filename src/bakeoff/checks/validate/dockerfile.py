"""Dockerfiles that take what their context does not hold, or that lay something where hidden files will be."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator

from bakeoff.checks.dockerfiles import copies
from bakeoff.checks.validate.sources import Fault, Source

_HIDDEN = ("/tests", "/solution")


def dockerfile_faults(source: Source, context: Collection[str], *, certain: bool) -> Iterator[Fault]:
    """``context`` holds the paths of the context's files; not ``certain``: another file may build it from another folder."""
    for copy in copies(source.text):
        if any(copy.target == hidden or copy.target.startswith(hidden + "/") for hidden in _HIDDEN):
            message = f"copies into {copy.target}, where hidden files are laid; wanted another folder"
            yield source.fault(copy.line, message)
            continue
        for path in copy.sources:
            if re.match(r"[a-z]+://|git@|<<", path) or re.search(r"[$*?\[]", path):
                continue
            if (problem := _wrong(path, context, certain)) is not None:
                yield source.fault(copy.line, problem)


def _wrong(path: str, context: Collection[str], certain: bool) -> str | None:
    here = posixpath.normpath(path.lstrip("/") or ".")
    if here == ".." or here.startswith("../"):
        return f"copies {path}, from outside of the build context environment/; wanted a path inside of it"
    if here == "." or not certain or any(file == here or file.startswith(here + "/") for file in context):
        return None
    if here.split("/")[0] in ("tests", "solution"):
        return f"copies {path}: tests and solutions stay hidden until the agent has ended; wanted this line removed"
    return f"copies {path}, which is not in the build context environment/; wanted the file there, or this line removed"
