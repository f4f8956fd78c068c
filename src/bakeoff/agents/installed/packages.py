"""Packages of npm, pip and apt into a folder, by this machine's own clients."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bakeoff.errors import InputError

_WITHIN = 1800.0  # seconds: hundreds of megabytes over a slow line
APT_LIST = "apt/packages.list"
_KEPT = 600  # characters of what a client said


def run(argv: Sequence[str], folder: Path, what: str, *, remedy: str = "", env: Mapping[str, str] | None = None) -> str:
    """Standard output of a client that runs in ``folder``. Raises InputError about ``what`` with the end of what it said where it fails."""
    try:
        done = subprocess.run(
            list(argv),
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_WITHIN,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(f"{argv[0]} is not on this machine", where=what, wanted=remedy) from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{argv[0]} did not end within {_WITHIN:.0f} s", where=what) from None
    except OSError as error:
        raise InputError(f"{argv[0]} cannot be run: {error.strerror}", where=what, wanted=remedy) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-_KEPT:]
        raise InputError(f"{argv[0]} failed with exit code {done.returncode}: {said}", where=what, wanted=remedy)
    return done.stdout


def npm(bundle: Path, packages: Sequence[str], what: str) -> None:
    """Packages of npm into ``npm/node_modules``, without running any script of theirs, and for every C library."""
    folder = bundle / "npm"
    folder.mkdir(exist_ok=True)
    line = [
        "npm",
        "install",
        "--prefix",
        str(folder),
        "--force",
        "--ignore-scripts",
        "--omit=dev",
        "--no-save",
        "--no-package-lock",
    ]
    line += ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error", "--install-links=false"]
    remedy = "npm (Debian, Ubuntu: apt-get install npm), and a registry that it reaches"
    run([*line, "--", *packages], folder, what, remedy=remedy)
    (folder / "node_modules" / ".package-lock.json").unlink(
        missing_ok=True
    )  # it names the registry, which is no part of the agent


def pip(target: Path, packages: Sequence[str], what: str, *, exact: bool) -> None:
    """Packages of pip into ``target``; ``exact``: without what they depend on."""
    base = [sys.executable, "-m", "pip"]
    remedy = "pip for this Python (python -m ensurepip; Debian, Ubuntu: apt-get install python3-pip), and an index that it reaches"
    run([*base, "--version"], target, what, remedy=remedy)
    line = [
        *base,
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--target",
        str(target),
    ]
    run([*line, *(["--no-deps"] if exact else []), "--", *packages], target, what, remedy=remedy)


def compile_python(folder: Path) -> None:
    """Byte code beside every module, good whatever the times of files are, so that a bundle that nobody may write to starts as quickly.

    Modules that are for other versions of Python stay as they are.
    """
    line = [
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(folder),
        str(folder),
    ]
    subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_WITHIN, check=False)


def apt(bundle: Path, packages: Sequence[str], what: str) -> None:
    """Debian packages, without what they depend on, unpacked into ``apt``; nothing of this machine is changed.

    ``APT_LIST`` has a line ``name version`` for each.
    """
    remedy = "apt-get and dpkg-deb, with lists (apt-get update)"
    with tempfile.TemporaryDirectory(dir=bundle) as folder:
        place = Path(folder)
        place.chmod(0o755)
        run(["apt-get", "download", "-q", *packages], place, what, remedy=remedy)
        came: list[str] = []
        for file in sorted(place.glob("*.deb")):
            run(["dpkg-deb", "-x", str(file), str(bundle / "apt")], place, what, remedy=remedy)
            line = ["dpkg-deb", "-W", "--showformat=${Package} ${Version}\\n", str(file)]
            came.append(run(line, place, what, remedy=remedy))
        (bundle / APT_LIST).write_text("".join(came))


def steps(bundle: Path, lines: Sequence[str], what: str) -> None:
    """Command lines for ``sh``, in the folder of the bundle, with a home that is thrown away."""
    with tempfile.TemporaryDirectory() as home:
        for line in lines:
            run(["/bin/sh", "-euc", line], bundle, f"{what}: {line}", env={"HOME": home})


def node_program(bundle: Path, version: str, arch: str, what: str) -> Path:
    """The program of node of that version, from npm, in a folder that ``forget_node`` removes."""
    folder = bundle / ".node"
    folder.mkdir()
    npm(folder, [f"node-linux-{arch}@{version}"], what)
    return folder / "npm" / "node_modules" / f"node-linux-{arch}" / "bin" / "node"


def forget_node(bundle: Path) -> None:
    """Remove what ``node_program`` left."""
    shutil.rmtree(bundle / ".node", ignore_errors=True)
