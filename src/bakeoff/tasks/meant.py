"""What a task shows on purpose although it looks like a leak: the patterns of its ``meant``."""

from __future__ import annotations

from fnmatch import fnmatchcase

from bakeoff.tasks.model import PACKET_DIR, Task


def is_meant(task: Task, *paths: str) -> bool:
    """Whether one of ``paths`` (in the sandbox, or relative to the task's folder) matches a pattern; ``*`` matches ``/`` too.

    A folder may be given with or without a ``/`` at its end: ``/app/repo/.git/**`` means the folder itself as well.
    """
    forms = [form for path in paths if path for form in (path, f"{path.rstrip('/')}/")]
    return any(fnmatchcase(form, pattern) for form in forms for pattern in task.meant)


def meant_files(task: Task) -> frozenset[str]:
    """The task's files that are meant, by the pattern of their own path or of their place in the packet."""
    return frozenset(file.path for file in task.files if is_meant(task, file.path, f"{PACKET_DIR}/fixture/{file.path}"))
