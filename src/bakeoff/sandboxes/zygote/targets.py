"""Where mounts go in a root: never through a link.

bubblewrap makes the missing folders on the way to a mount while the machine's own file system can still be reached below
/oldroot: a link that stands in the way, in a root from elsewhere or left by an agent in a snapshot, would lead it there.
"""

import os
import stat

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refuse_links(layers: list[str], targets: list[str]) -> None:
    """Raise OSError where a path of ``targets`` leads through a link in the root that the folders ``layers`` make, lowest first."""
    roots: list[int] = []
    try:
        for layer in layers:
            roots.append(os.open(layer, _FOLDER))
        for target in targets:
            _refuse(roots, target)
    finally:
        _close(roots)


def _refuse(roots: list[int], target: str) -> None:
    parts = [part for part in target.split("/") if part]
    found = roots
    try:
        for depth, part in enumerate(parts, 1):
            below = _below(found, part, "/" + "/".join(parts[:depth]), depth == len(parts))
            if found is not roots:
                _close(found)
            found = below
    finally:
        if found is not roots:
            _close(found)


def _below(layers: list[int], name: str, path: str, last: bool) -> list[int]:
    """The folders, lowest first, that ``name`` is made of; none where it is no folder, or the last that is asked for."""
    out: list[int] = []
    try:
        for layer in reversed(layers):
            try:
                found = os.stat(name, dir_fd=layer, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode) and not out:
                raise OSError(f"{path} is a link in the root file system, and nothing is mounted through links")
            if last or not stat.S_ISDIR(found.st_mode):
                break  # a file, or the mark of what was deleted: it hides what lies below
            out.append(os.open(name, _FOLDER, dir_fd=layer))
            if _opaque(out[-1]):
                break
    except BaseException:
        _close(out)
        raise
    return out[::-1]


def _close(folders: list[int]) -> None:
    for fd in folders:
        os.close(fd)


def _opaque(folder: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(f"/proc/self/fd/{folder}", name) == b"y":
                return True
        except OSError:
            continue
    return False
