"""Folders of the harness laid over folders of a sandbox, in its outer mount namespace alone: the agent's world never sees them."""

import os

from . import syscalls as sys_

_MODE = 0o777  # whoever judges may be any user; nobody else gets there


def go_to(pidfd: int, namespace: int) -> None:
    """Enter one namespace of a sandbox for a moment. Raises OSError in words where the sandbox has ended meanwhile."""
    if pidfd < 0:
        raise OSError("the sandbox has ended")
    try:
        sys_.setns(pidfd, namespace)
    except ProcessLookupError:
        raise OSError("the sandbox has ended") from None
    except PermissionError as error:  # so does one that is just ending look to who is not root
        raise OSError(f"the sandbox cannot be entered: {error}") from None


def prepare(folder: str, number: int, base: int) -> int:
    """A new empty folder below ``folder``, owned by the sandbox's root, as a mount that is not yet anywhere: its descriptor."""
    path = f"{folder}/c{number}"
    os.mkdir(path)
    os.chmod(path, _MODE)
    if base:
        os.chown(path, base, base)
    return sys_.open_tree(path)


def lay(pidfd: int, own: int, covers: list[tuple[int, str]]) -> list[int]:
    """Put each mount over the folder at its path in the mount namespace of ``pidfd``; those that found one are returned.

    ``own`` is the descriptor of the caller's mount namespace. Links are not followed: what an agent put in a folder's
    place is not covered.
    """
    laid: list[int] = []
    go_to(pidfd, sys_.CLONE_NEWNS)
    try:
        for tree, path in covers:
            try:
                place = sys_.open_folder(path)
            except OSError:
                continue
            try:
                sys_.move_mount(tree, place)
                laid.append(tree)
            finally:
                os.close(place)
    finally:
        sys_.setns(own, sys_.CLONE_NEWNS)
    return laid


def lift(pidfd: int, own: int, covers: list[int]) -> None:
    """Take them away again, by what they are and not by where."""
    go_to(pidfd, sys_.CLONE_NEWNS)
    try:
        for tree in covers:
            os.fchdir(tree)
            sys_.unmount_here()
    finally:
        sys_.setns(own, sys_.CLONE_NEWNS)
