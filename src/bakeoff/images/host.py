"""The root ``host``: the machine's /usr, read-only, under an otherwise clean system that is generated once."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bakeoff.files import tar
from bakeoff.home import home
from bakeoff.images.lent import lent_env, lent_interpreter
from bakeoff.images.root import DEFAULT_PATH, Root
from bakeoff.images.unpacked import publish

FOLDERS = (
    "usr", "etc", "root", "home", "tmp", "run", "var", "var/tmp", "var/lib", "var/log", "var/cache", "proc", "dev", "sys",
    "mnt", "opt", "srv", "app", "tests", "logs", "logs/agent", "logs/verifier", "logs/artifacts",
)  # fmt: skip
_MODES = {
    "root": 0o700,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
    "logs/agent": 0o777,
    "logs/verifier": 0o777,
    "logs/artifacts": 0o777,
}
_WRITTEN = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "shells": "/bin/sh\n/bin/bash\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "hostname": "sandbox\n",
    "resolv.conf": "",
    "host.conf": "multi on\n",
}
_COPIED = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki",
    "localtime", "timezone", "mime.types", "services", "protocols", "profile", "profile.d", "bash.bashrc", "login.defs",
    "os-release", "inputrc", "terminfo", "locale.conf", "locale.alias", "debian_version", "fonts", "gai.conf", "groff",
    "ImageMagick-6", "ImageMagick-7", "magic", "magic.mime", "manpath.config", "maven/logging", "maven/m2.conf", "perl", "php",
    "R", "rpc", "vim", "X11/rgb.txt", "xml",
)  # fmt: skip
_MAX_FILE = 4 << 20
_USR_LINK_FOLDERS = ("bin", "sbin", "lib", "share", "libexec")


def host_root() -> Root:
    """The host root of this machine; its skeleton is made at the first call and kept under ``<home>/roots``."""
    digest = _digest()
    path = home() / "roots" / f"host-{digest[:32]}"
    if not path.is_dir():
        publish(lambda: (skeleton(),), path, owners=False)
    lent = lent_interpreter()
    return Root(
        kind="host",
        digest=f"sha256:{digest}",
        paths=(str(path),),
        env=lent_env(),
        lent=() if lent is None else (lent,),
    )


@functools.cache
def _digest() -> str:
    return hashlib.sha256(skeleton()).hexdigest()


@functools.cache
def skeleton() -> bytes:
    """The generated system as a tar, without times: the same machine gives the same bytes."""
    entries: dict[str, tuple[tar.Member, bytes]] = {}

    def add(name: str, kind: bytes, mode: int, data: bytes = b"", target: str = "") -> None:
        folders = name.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            above = "/".join(folders[:depth])
            entries.setdefault(above, (tar.Member(name=above.encode(), kind=tar.FOLDER, mode=0o755), b""))
        member = tar.Member(
            name=os.fsencode(name), kind=kind, mode=mode, size=len(data), target=os.fsencode(target), mtime=0
        )
        entries[name] = (member, data)

    lent = lent_interpreter()
    for name in FOLDERS:
        # Whoever may not look into a folder passes through to what is shown below it.
        through = 0o111 if lent is not None and lent.startswith(f"/{name}/") else 0
        add(name, tar.FOLDER, _MODES.get(name, 0o755) | through)
    if lent is not None:
        add(lent[1:], tar.FOLDER, 0o755)
    for name in ("bin", "lib", "lib64", "lib32", "libx32", "sbin"):
        if Path("/usr", name).is_dir():
            add(name, tar.LINK, 0o777, target=f"usr/{name}")
    add("var/run", tar.LINK, 0o777, target="/run")
    add("var/lock", tar.LINK, 0o777, target="/run/lock")
    add("etc/mtab", tar.LINK, 0o777, target="/proc/self/mounts")
    for name in (*_COPIED, *_linked_from_usr()):
        for path in _below(Path("/etc", name)):
            inner = str(path)[1:]
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                add(inner, tar.LINK, 0o777, target=os.readlink(path))
            elif stat.S_ISDIR(found.st_mode):
                add(inner, tar.FOLDER, 0o755)
            elif stat.S_ISREG(found.st_mode) and found.st_mode & 0o004 and found.st_size <= _MAX_FILE:
                add(inner, tar.FILE, 0o644 | found.st_mode & 0o111, path.read_bytes())
    for name, text in _WRITTEN.items():
        add(f"etc/{name}", tar.FILE, 0o644, text.encode())
    return tar.build(entries[name] for name in sorted(entries))


def _below(top: Path) -> Iterator[Path]:
    """``top`` and all below it, links not followed; what cannot be read is left out."""
    try:
        found = top.lstat()
        yield top
        if stat.S_ISDIR(found.st_mode):
            for name in sorted(os.listdir(top)):
                yield from _below(top / name)
    except OSError:
        return


def _linked_from_usr() -> list[str]:
    """What links in /usr point to in /etc, without which programs there do not work (java's configuration, for one)."""
    found: set[str] = set()
    folders = [os.path.join("/usr", folder) for folder in _USR_LINK_FOLDERS]
    folders += [folder for folder, _folders, _files in os.walk("/usr/lib/jvm")]
    for folder in folders:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink():
                target = os.path.normpath(os.path.join(folder, os.readlink(entry.path)))
                if target.startswith("/etc/") and not target.startswith("/etc/alternatives/"):
                    found.add(target.removeprefix("/etc/"))
    return sorted(found)


def missing_needs(needs: Sequence[str]) -> list[str]:
    """Which of ``needs`` (``git``, ``python3>=3.9``) the host root does not have, each with what was found instead."""
    return [problem for need in needs if (problem := _missing(need))]


def _shown() -> tuple[str, ...]:
    """The folders of this machine, one of which a program must be in to be there inside."""
    lent = lent_interpreter()
    return ("/usr/",) if lent is None else ("/usr/", f"{lent}/")


@functools.cache
def _missing(need: str) -> str:
    match = re.fullmatch(r"\s*([^<>=!\s]+)\s*(?:>=\s*([0-9][0-9.]*))?\s*", need)
    if match is None:
        return f"{need} (not of the form NAME or NAME>=VERSION)"
    name, wanted = match.group(1), match.group(2)
    path = shutil.which(name, path=lent_env().get("PATH", DEFAULT_PATH))
    if path is None or not os.path.realpath(path).startswith(_shown()):
        return need
    if wanted is None:
        return ""
    found = _version(path)
    if not found:
        return f"{need} (its version cannot be told)"
    return "" if _numbers(found) >= _numbers(wanted) else f"{need} (found {found})"


def _version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=20, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(?:\.\d+)+|\b\d+\b", done.stdout or done.stderr)
    return found.group() if found else ""


def _numbers(version: str) -> tuple[int, ...]:
    out = [int(part) for part in version.strip(".").split(".") if part]
    while out and out[-1] == 0:
        out.pop()
    return tuple(out)
