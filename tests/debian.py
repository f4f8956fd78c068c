"""A Debian root file system as a tar, for tests of image roots: made once by mmdebstrap, kept between sessions of one checkout.

It holds apt, adduser and the packages of ``PACKAGES`` as a local repository in /opt/packages, the only source of its apt:
nothing inside needs a network. The sources that it is made from are the machine's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGES = ("nginx-light", "cron")
_PLACE = Path(__file__).resolve().parent.parent / ".bakeoff" / "test-roots"
_HOOK = rf"""set -e
chroot "$1" apt-get install -y -qq --no-install-recommends --download-only {" ".join(PACKAGES)}
mkdir -p "$1/opt/packages"
mv "$1"/var/cache/apt/archives/*.deb "$1/opt/packages/"
chroot "$1" sh -e <<'END'
cd /opt/packages
for file in *.deb; do
    dpkg-deb -f "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done > Packages
rm -rf /etc/apt/sources.list.d /var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/opt/packages ./' > /etc/apt/sources.list
END
"""
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_WITHIN = 300.0  # seconds


def debian_tar() -> tuple[Path | None, str]:
    """The tar, which any id that can enter its folder can read; or None and why there is none here."""
    place = Path(os.environ.get("BAKEOFF_TEST_CACHE") or _PLACE)
    suite, sources = _sources()
    key = hashlib.sha256("\0".join((suite, sources, _HOOK, *_LEFT_OUT)).encode()).hexdigest()[:16]
    tar = place / f"debian-{key}.tar"
    if tar.is_file():
        return tar, ""
    if shutil.which("mmdebstrap") is None:
        return None, "mmdebstrap is not installed"
    if not sources:
        return None, "apt lists no packages of this distribution's own: apt-get update"
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tar.is_file():
            for old in place.glob("debian-*.tar"):
                old.unlink()
            return _make(suite, sources, tar)
    return tar, ""


def _sources() -> tuple[str, str]:
    """The suite and the apt sources of the machine's own distribution."""
    form = "$(ORIGIN)\t$(CODENAME)\tdeb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    wanted = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    try:
        release = Path("/etc/os-release").read_text()
        listed = subprocess.run(wanted, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "", ""
    known = dict(line.replace('"', "").split("=", 1) for line in release.splitlines() if "=" in line)
    suite, distribution = known.get("VERSION_CODENAME", ""), known.get("ID", "")
    rows = [row for line in listed.splitlines() if len(row := line.split("\t")) == 3]
    own = [row[2] for row in rows if row[0].lower() == distribution and row[1].split("-")[0] == suite]
    return suite, "\n".join(dict.fromkeys(own))


def _make(suite: str, sources: str, tar: Path) -> tuple[Path | None, str]:
    with tempfile.TemporaryDirectory(dir=tar.parent) as folder:
        made = Path(folder) / "root.tar"
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
        line = ["mmdebstrap", "--quiet", "--variant=apt", "--include=adduser", *options]
        try:
            done = subprocess.run(
                [*line, f"--customize-hook={_HOOK}", suite, str(made), "-"],
                input=sources + "\n",
                capture_output=True,
                text=True,
                timeout=_WITHIN,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"mmdebstrap did not end within {_WITHIN:.0f} s"
        if done.returncode:
            return None, f"mmdebstrap failed: {done.stderr.strip()[-500:]}"
        made.chmod(0o644)
        made.rename(tar)
    return tar, ""
