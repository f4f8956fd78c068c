"""What a sandbox's root file system is made of."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where commands are looked for in a root that says nothing else."""


class Root(Struct, frozen=True):
    """A resolved root file system.

    ``kind``: ``host`` (the machine's /usr under a clean system), ``layers`` (``paths``: folders on this machine, lowest first),
    ``image`` (``reference`` names it for a container engine), ``none`` (the process backend). ``digest`` goes into records.
    ``workdir``, ``env`` and ``user`` are the image's own defaults. ``lent``: folders of this machine that are shown read-only at
    their own paths.
    """

    kind: Literal["host", "layers", "image", "none"]
    digest: str = ""
    paths: tuple[str, ...] = ()
    reference: str = ""
    workdir: str | None = None
    env: dict[str, str] = {}
    user: str | None = None
    lent: tuple[str, ...] = ()
