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
    for target in targets:
        found = [os.open(layer, _FOLDER) for layer in layers]
        done = ""
        try:
            for part in target.split("/"):
                if not part or not found:
                    continue
                done += "/" + part
                found, above = _below(found, part, done), found
                for fd in above:
                    os.close(fd)
        finally:
            for fd in found:
                os.close(fd)


def _below(layers: list[int], name: str, path: str) -> list[int]:
    """The folders, lowest first, that ``name`` is made of; none where it is no folder."""
    out: list[int] = []
    try:
        for layer in reversed(layers):
            try:
                found = os.stat(name, dir_fd=layer, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode) and not out:
                raise OSError(f"{path} is a link in the root file system, and nothing is mounted through links")
            if not stat.S_ISDIR(found.st_mode):
                break  # a file, or the mark of what was deleted: it hides what lies below
            out.append(os.open(name, _FOLDER, dir_fd=layer))
            if _opaque(out[-1]):
                break
    except BaseException:
        for fd in out:
            os.close(fd)
        out.clear()
        raise
    return out[::-1]


def _opaque(folder: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(f"/proc/self/fd/{folder}", name) == b"y":
                return True
        except OSError:
            continue
    return False
