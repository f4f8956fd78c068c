"""Commands that a task calls on a host root and does not say that it needs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from bakeoff.checks.validate.python_code import called
from bakeoff.checks.validate.python_starts import started
from bakeoff.checks.validate.shell_values import program
from bakeoff.checks.validate.sources import Fault, Source
from bakeoff.checks.validate.texts import words

NOT_EVERYWHERE = words(
    "git make gcc cc g++ clang cmake ninja curl wget jq yq sqlite3 nginx apache2 httpd node npm npx python3 python pip pip3 ruby php "
    "go cargo rustc java javac psql mysql redis-server redis-cli tmux screen rsync ssh sshd ssh-keygen scp openssl gpg zip unzip 7z xz "
    "bzip2 zstd file bc dc vim ed cron crontab at strace gdb lsof ps pgrep pkill top free killall fuser ip ss ping nc ncat socat "
    "netstat ifconfig dig nslookup man systemctl supervisord docker pytest uv uvx gawk tree expect patch m4 flex bison pkg-config ld "
    "as ar objdump nm strip readelf pdftotext convert ffmpeg sudo xmllint busybox logrotate ansible terraform envsubst less valgrind"
)
"""Commands that a bare Debian does not have."""

_SAME = (words("gcc cc"), words("python python3"), words("pip pip3"), words("node npm npx"), words("cron crontab"))
_NAME = re.compile(r"[^\s<>=!~]+")
_STARTING = ("subprocess.", "os.")


def need_faults(files: Mapping[str, Source], needs: tuple[str, ...]) -> Iterator[Fault]:
    """The first call of each command that is missing in ``needs``; ``files`` are the scripts of tests, solution and setup."""
    stated = {match[0] for need in needs if (match := _NAME.match(need.strip()))}
    stated |= {name for group in _SAME if group & stated for name in group}
    seen: set[str] = set()
    for path in sorted(files):
        for name, line in _calls(files[path]):
            if name in NOT_EVERYWHERE and name not in stated and name not in seen:
                seen.add(name)
                message = f"calls {name}, which not every machine has"
                wanted = f'wanted "{name}" in needs of [metadata.bakeoff]'
                yield files[path].fault(line, f"{message}; {wanted}")


def _calls(source: Source) -> Iterator[tuple[str, int]]:
    """The names of commands, with the lines that call them."""
    for node in source.python.nodes:
        if isinstance(node, ast.Call) and called(node).startswith(_STARTING):
            for command in started(source.python, node):
                yield from ((name, command.line) for name in program(command.words)[:1])
    optional: set[str] = set()
    for command in source.commands:
        ran = program(command.words)
        if not ran:
            continue
        if ran[0] in ("command", "which", "type", "hash"):
            # A script that asks first has a way without it.
            optional.update(ran[1:])
        name = re.sub(r"^/(usr/)?s?bin/", "", ran[0])
        if "/" not in name and name not in source.shell.functions and name not in optional:
            yield name, command.line
