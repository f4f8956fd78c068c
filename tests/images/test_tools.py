"""The machine's tools work on the host root: what they look for in /etc is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bakeoff.images.host import host_root
from bakeoff.images.root import DEFAULT_PATH
from bakeoff.sandboxes.base import Sandbox
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment, Network, NetworkMode

ENV = {"PATH": DEFAULT_PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "xterm"}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

# The programs that must be on the machine; what is run; what it says.
TOOLS: dict[str, tuple[str, str, str]] = {
    "python: certificates": (
        f"python3 {CERTIFICATES}",
        "python3 -c 'import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)'",
        "True",
    ),
    "python: sqlite3": ("python3", "python3 -c 'import sqlite3 as s; print(*s.connect(\":memory:\").execute(\"select 7\"))'", "(7,)"),
    "python: venv": ("python3", "python3 -m venv --without-pip /tmp/v && /tmp/v/bin/python -c 'import sys; print(sys.prefix)'", "/tmp/v"),
    "python: users": (
        "python3",
        "python3 -c 'import getpass, pwd; print(getpass.getuser(), pwd.getpwnam(\"nobody\").pw_uid)'",
        "root 65534",
    ),
    "python: names": (
        "python3",
        "python3 -c 'import socket as s; print(s.gethostbyname(s.gethostname()), s.getservbyname(\"https\"))'",
        "127.0.0.1 443",
    ),
    "python: locale": ("python3", "python3 -c 'import locale as l; print(l.setlocale(l.LC_ALL, \"\"))'", "C.UTF-8"),
    "python: a terminal": ("python3", "python3 -c 'import pty; pty.spawn([\"/bin/sh\", \"-c\", \"test -t 0 && echo it is\"])'", "it is"),
    "git": (
        "git",
        "cd /tmp && git init -q r && cd r && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --format=%s",
        "x",
    ),
    "gcc": ("gcc", "cd /tmp && echo 'int main(void) { return 7; }' > a.c && gcc a.c && ./a.out; echo $?", "7"),
    "cc, an alternative": ("cc", "cd /tmp && echo 'int main(void) { return 8; }' > b.c && cc -o b b.c && ./b; echo $?", "8"),
    "awk, an alternative": ("awk", "awk 'BEGIN { print 1 + 1 }'", "2"),
    "vim": ("vim", "vim -es -c 'redir >> /dev/stdout' -c 'echo 5' -c q | tail -1", "5"),
    "java": ("java", "java -version 2>&1 | grep -c version", "1"),
    "sqlite3": ("sqlite3", "sqlite3 :memory: 'select 7'", "7"),
    "perl": ("perl", "perl -MPOSIX -MSocket -e 'print scalar(getpwuid(0)), \"\\n\"'", "root"),
    "node": ("node", "node -p 'require(\"os\").userInfo().username'", "root"),
    "make": ("make", "cd /tmp && printf 'all:\\n\\t@echo made\\n' > Makefile && make", "made"),
    "tar": ("tar gzip", "tar -C /etc -czf /tmp/t.tgz passwd && tar tzf /tmp/t.tgz", "passwd"),
    "ps": ("ps", "ps -o user= -p $$", "root"),
    "tmux": ("tmux", "tmux new -d 'echo shown > /tmp/shown' && sleep 0.3; cat /tmp/shown", "shown"),
    "script": ("script", "script -qec 'test -t 0 && echo it is' /dev/null | tr -d '\\r'", "it is"),
    "terminal's kind": ("tput", "tput -T xterm cols", "80"),
    "openssl": (f"openssl {CERTIFICATES}", f"openssl verify -CApath /etc/ssl/certs {CERTIFICATES} | tail -c 3", "OK"),
    "the loader's cache": ("ldconfig", "ldconfig -p | grep -m1 -o 'libc.so.6 '", "libc.so.6"),
    "names by getent": (
        "getent",
        "getent hosts localhost | tr -s ' ' | cut -d' ' -f2; getent group nogroup",
        "localhost\nnogroup:x:65534:",
    ),
    "time zones": ("date", "TZ=Asia/Tokyo date -d @0 +%H", "09"),
    "fonts": ("fc-list /etc/fonts/fonts.conf", "fc-list 2>&1 > /dev/null | wc -l", "0"),
}  # fmt: skip


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    backend = BubblewrapBackend()
    async with backend.open(
        Environment(root="host", network=Network(mode=NetworkMode.NONE)), host_root(), (), "job/run"
    ) as opened:
        yield opened  # type: ignore[misc]
    await backend.close()


async def said(box: Sandbox, script: str) -> tuple[str, str]:
    process = await box.start(["/bin/bash", "-c", script], env=ENV, cwd="/")
    await process.stdin.close()
    out = b"".join([piece async for piece in process.stdout]).decode()
    err = b"".join([piece async for piece in process.stderr]).decode()
    await process.wait()
    return out.strip(), err


async def test_the_machines_tools_work(box: Sandbox) -> None:
    ran = 0
    wrong: dict[str, tuple[str, str]] = {}
    for name, (needed, script, wanted) in TOOLS.items():
        if not all(
            os.path.exists(one) if "/" in one else shutil.which(one, path=DEFAULT_PATH) for one in needed.split()
        ):
            continue
        ran += 1
        out, err = await said(box, script)
        if out != wanted:
            wrong[name] = (out, err)
    assert not wrong
    assert ran >= 10


async def test_the_network_of_the_machine_comes_with_its_name_servers() -> None:
    backend = BubblewrapBackend()
    environment = Environment(root="host", network=Network(mode=NetworkMode.HOST))
    async with backend.open(environment, host_root(), (), "job/run") as box:
        out, _ = await said(box, "cat /etc/resolv.conf")  # type: ignore[arg-type]
    await backend.close()
    place = Path("/etc/resolv.conf")
    assert out == (place.read_text().strip() if place.exists() else "")
