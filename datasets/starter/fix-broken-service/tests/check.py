"""Judges the running service first, then a copy of its folder under other ports."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HOME = Path("/app/stampd")
SERVICE, CATALOG = 8080, 8071
COPY_SERVICE, COPY_CATALOG = 28180, 28171
MAX_BODY = 8192
TESTS = Path("/tests")
KNOWN = json.loads((TESTS / "known.json").read_text(encoding="utf-8"))

_VALUE = r"""("[^"`()\\]*"|'[^']*'|\$\{[^{}\s`()\\"']*\}|[^\s"'`\\;&|()<>#{}])*"""
_ASSIGNMENT = f"(LC_ALL|STAMPD_PORT|CATALOG_PORT)={_VALUE}"
_ASSIGNMENTS = rf"(export[ \t]+)?{_ASSIGNMENT}([ \t]+{_ASSIGNMENT})*"
PLAIN = re.compile(rf"[ \t]*({_ASSIGNMENTS}([ \t]+#.*|[ \t]*)|#.*)?")


class Failed(Exception):
    """What does not hold."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise Failed(what)


def digest(path: Path, limit: int = 1 << 20) -> str:
    """The SHA-256 of a regular file, or what it is instead."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            return "not a file of a sensible size"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, object]:
    """Status and JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        text = answer.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{method} {path} on port {port}: {error!r}") from None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        raise Failed(f"{method} {path} on port {port}: the answer is not JSON") from None


def order(port: int, item: str, to: str) -> tuple[int, object]:
    return ask(port, "POST", "/labels", json.dumps({"item": item, "to": to}).encode())


def order_of_size(port: int, size: int, item: str) -> int:
    """The status for an order whose body has exactly so many bytes."""
    frame = len(json.dumps({"item": item, "to": ""}).encode())
    body = json.dumps({"item": item, "to": "x" * (size - frame)}).encode()
    assert len(body) == size
    return ask(port, "POST", "/labels", body)[0]


def connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def check_code(home: Path = HOME) -> None:
    found: dict[str, str] = {}
    for top in ("bin", "lib"):
        hold(stat.S_ISDIR((home / top).lstat().st_mode), f"the code was changed: {top} is no folder")
        for folder, folders, files in os.walk(home / top):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in [*files, *(name for name in folders if (Path(folder) / name).is_symlink())]:
                path = Path(folder) / name
                found[str(path.relative_to(home))] = digest(path)
    for name in sorted({*found, *KNOWN["code"]}):
        hold(found.get(name) == KNOWN["code"].get(name), f"the code was changed: {name}")


def check_variables(home: Path = HOME) -> None:
    """start.sh runs this file as shell: it must hold plain assignments, as the README says."""
    path = home / "etc/stampd.env"
    if not os.path.lexists(path):
        return
    hold(stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size < 1 << 16, "etc/stampd.env is no small file")
    for line in path.read_bytes().decode(errors="replace").split("\n"):
        hold(PLAIN.fullmatch(line), "etc/stampd.env holds more than the README allows")


def check_old_labels() -> None:
    for number, known in KNOWN["labels"].items():
        hold(
            digest(HOME / f"var/spool/{number}.json") == known["digest"],
            f"label {number} in var/spool is not what it was",
        )


def check_key() -> None:
    key = HOME / "etc/keys/label.key"
    hold(digest(key) == KNOWN["key"], "etc/keys/label.key is not the key that it was")
    hold(not stat.S_IMODE(key.lstat().st_mode) & 0o077, "others than the owner have rights to etc/keys/label.key")


def check_answers() -> None:
    hold(ask(SERVICE, "GET", "/health")[0] == 200, "GET /health is not 200")
    status, listed = ask(SERVICE, "GET", "/labels")
    hold(
        status == 200 and isinstance(listed, dict) and isinstance(listed.get("labels"), list),
        "GET /labels gives no list",
    )
    for number, known in KNOWN["labels"].items():
        hold(int(number) in listed["labels"], f"GET /labels does not list label {number}")
        status, label = ask(SERVICE, "GET", f"/labels/{number}")
        right = isinstance(label, dict) and label.get("signature") == known["signature"]
        hold(status == 200 and right, f"GET /labels/{number} does not give the label")
    hold(
        ask(CATALOG, "GET", "/v1/items/A-18") == (200, {"name": "Lamp, glass"}),
        "the catalogue does not answer for A-18",
    )


def check_bound() -> None:
    for port in (SERVICE, CATALOG):
        hold(connects("127.0.0.1", port), f"nothing listens on 127.0.0.1:{port}")
        hold(not connects("127.0.0.2", port), f"port {port} can be reached over another address than 127.0.0.1")


def check_new_label(home: Path, port: int, item: str, name: str) -> int:
    """Make a label and look at it from all sides. Returns its number."""
    before = spooled(home)
    to = "Åse Example, 1 Test Road, Nowhere"
    status, label = order(port, item, to)
    hold(status == 201 and isinstance(label, dict), f"POST /labels for {item} gives {status}, not 201")
    number = label.get("id")
    hold(
        isinstance(number, int) and number == max(before) + 1, "a new label is not numbered on from the highest number"
    )
    key = (home / "etc/keys/label.key").read_bytes()
    signature = hmac.new(key, f"{number}|{item}|{to}".encode(), hashlib.sha256).hexdigest()
    hold(label.get("signature") == signature, "a new label's signature is wrong")
    hold(label.get("name") == name, "a new label has not the item's name")
    hold(ask(port, "GET", f"/labels/{number}") == (200, label), "a new label cannot be had")
    hold(spooled(home) == [*before, number], "a new label is not stored in var/spool")
    return number


def spooled(home: Path) -> list[int]:
    return sorted(int(path.stem) for path in (home / "var/spool").glob("*.json") if path.stem.isdecimal())


def check_orders() -> None:
    first = check_new_label(HOME, SERVICE, "Ü-01", "Überwurf, Wolle")
    hold(check_new_label(HOME, SERVICE, "C-30/L", "Apron, large") == first + 1, "labels are not numbered on")
    hold(order(SERVICE, "Q-00", "Nobody")[0] == 422, "an item that there is not does not give 422")


def check_limit(port: int = SERVICE, item: str = "A-17") -> None:
    hold(order_of_size(port, MAX_BODY, item) == 201, f"a body of {MAX_BODY} bytes is not taken")
    hold(order_of_size(port, MAX_BODY + 1, item) == 413, f"a body of {MAX_BODY + 1} bytes does not give 413")


def check_log() -> None:
    ask(SERVICE, "GET", "/labels/9021077")
    log = HOME / "var/log/access.log"
    hold(stat.S_ISREG(log.lstat().st_mode), "var/log/access.log is no file")
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - (1 << 20)))
        hold(b"/labels/9021077" in file.read(1 << 20), "a request leaves no line in var/log/access.log")


def copied(place: Path) -> Path:
    """A copy of the service's folder, without the files of var/run and with an item and a key of its own."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        odd = {name for name in names if stat.S_IFMT((Path(folder) / name).lstat().st_mode) not in _COPIED}
        return odd | {"__pycache__"} | (set(names) if Path(folder) == HOME / "var/run" else set())

    size = sum(path.lstat().st_size for path in HOME.rglob("*"))
    hold(size < 50 << 20, "the folder has grown beyond 50 MB")
    copy = place / "elsewhere"
    shutil.copytree(HOME, copy, symlinks=True, ignore=left_out)
    (copy / "var/run").mkdir(exist_ok=True)
    own = {"share/items.json": json.dumps({"Z-99": "Only in the copy"}), "etc/keys/label.key": "another key"}
    for name, text in own.items():
        (copy / name).unlink()
        (copy / name).write_text(text)
        (copy / name).chmod(0o600)
    check_code(copy)
    check_variables(copy)
    return copy


def hidden_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that what the agent left running does not see: what starts there is what was looked at before."""
    return tempfile.TemporaryDirectory(dir=TESTS if os.access(TESTS, os.W_OK) else None)


_COPIED = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}


def run_script(script: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Run a script of the service, wait for its end, and return it as the leader of its group."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/tmp", **variables}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["sh", str(script)], cwd="/", env=env, start_new_session=True, **quiet)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        end(process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End all that is left of what the script started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass
    process.wait()


def check_copy() -> None:
    before = spooled(HOME)
    with hidden_folder() as place:
        copy = copied(Path(place))
        started = run_script(copy / "bin/start.sh", STAMPD_PORT=str(COPY_SERVICE), CATALOG_PORT=str(COPY_CATALOG))
        try:
            hold(started.returncode == 0, "start.sh of a copy fails")
            hold(ask(COPY_SERVICE, "GET", "/health")[0] == 200, "a copy does not listen on the port of STAMPD_PORT")
            check_new_label(copy, COPY_SERVICE, "Z-99", "Only in the copy")
            check_limit(COPY_SERVICE, "Z-99")
            hold((copy / "var/log/access.log").stat().st_size > 0, "a copy does not write its own access.log")
            hold(ask(COPY_CATALOG, "GET", "/v1/items/Z-99")[0] == 200, "a copy's catalogue is not on CATALOG_PORT")
            hold(spooled(HOME) == before, "a copy writes into the original's var/spool")
        finally:
            end(started)


def check_default_ports() -> None:
    """A copy that is given no ports wants those of the original: both its processes say so, for they are taken."""
    with hidden_folder() as place:
        copy = copied(Path(place))
        shutil.rmtree(copy / "var/log")
        (copy / "var/log").mkdir()
        started = run_script(copy / "bin/start.sh")
        try:
            for name, port in (("stampd.out", SERVICE), ("catalog.out", CATALOG)):
                wanted = f"cannot listen on 127.0.0.1:{port}:"
                hold(
                    says(copy / "var/log" / name, wanted),
                    f"port {port} is not what start.sh uses when no port is given",
                )
        finally:
            end(started)


def says(log: Path, wanted: str) -> bool:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if log.is_file() and wanted in log.read_text(errors="replace"):
            return True
        time.sleep(0.02)
    return False


def main() -> int:
    if any(failed(check) for check in (check_code, check_variables)):
        return 1
    checks: list[Callable[[], None]] = [
        check_old_labels,
        check_key,
        check_bound,
        check_answers,
        check_orders,
        check_limit,
        check_log,
        check_copy,
        check_default_ports,
    ]
    return 1 if sum(failed(check) for check in checks) else 0


def failed(check: Callable[[], None]) -> bool:
    """Whether it failed; a line says how."""
    try:
        check()
    except Failed as error:
        sys.stdout.write(f"failed: {error}\n")
        return True
    except Exception as error:  # noqa: BLE001 - whatever the agent left there is no reason to end here
        sys.stdout.write(f"failed: {check.__name__}: {error!r}\n")
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
