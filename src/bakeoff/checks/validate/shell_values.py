"""What words of a shell script come to, and which program a command really runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from bakeoff.checks.validate.shell import Command, parse_shell
from bakeoff.checks.validate.shell_words import HERE, SUBSTITUTED
from bakeoff.checks.validate.texts import ANY

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?[-=]([^{}$]*))?\}|([A-Za-z_]\w*)|\{[^{}]*\}|[0-9@*#?$!-])")
_SETTING = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_DECLARING = ("export", "local", "readonly", "declare", "typeset")
_DURATION = re.compile(r"\d+(\.\d+)?[smhd]?|\$\S*")
_LONGEST = 1024
_ROUNDS = 6
_WITH_VALUE = {
    "timeout": ("-k", "-s", "--kill-after", "--signal"),
    "sudo": ("-u", "-g", "-C", "-D", "-p"),
    "nice": ("-n",),
    "env": ("-u", "-C", "-S"),
    "xargs": ("-n", "-P", "-I", "-d", "-a", "-L", "-s", "-E"),
    "setpriv": ("--reuid", "--regid", "--groups"),
    "runuser": ("-u",),
    "stdbuf": ("-i", "-o", "-e"),
    "ionice": ("-c", "-n"),
    "exec": ("-a",),
    "flock": ("-w",),
}
_WRAPPING = frozenset((*_WITH_VALUE, "nohup", "time", "command", "builtin", "setsid", "then", "chronic", "unbuffer"))
_SHELLS = ("sh", "bash", "dash", "ash", "zsh")


def variables(commands: Iterable[Command]) -> dict[str, str]:
    """What each variable holds, ``*`` where several values, or none that can be told, are given to it."""
    given: dict[str, set[str]] = {}
    for command in commands:
        settings = list(command.assigns)
        if command.words and command.words[0] in _DECLARING:
            settings += [(match[1], match[2]) for word in command.words[1:] if (match := _SETTING.fullmatch(word))]
        elif command.words and command.words[0] in ("for", "select", "read", "mapfile", "readarray", "getopts"):
            settings += [(word, ANY) for word in command.words[1:]]
        for name, value in settings:
            given.setdefault(name, set()).add(value)
    known = {name: values.pop() if len(values) == 1 else ANY for name, values in given.items()}
    for _ in range(_ROUNDS):
        # Variables that hold one another: a few rounds resolve what real scripts do, and a value of itself stays unknown.
        known = {name: resolved(value, {**known, name: ANY}) for name, value in known.items()}
    return known


def resolved(word: str, known: Mapping[str, str]) -> str:
    """The word with its variables replaced, ``*`` for what cannot be told."""

    def one(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        if not name:
            return ANY
        value = known.get(name)
        if value is None or (value == ANY and match[2]):
            return ANY if match[2] is None else match[2]
        return value

    text = word.replace(HERE, "/tests").replace(SUBSTITUTED, ANY)
    for _ in range(3):
        if "$" not in text or len(text) > _LONGEST:
            break
        text = _VARIABLE.sub(one, text)
    return text if len(text) <= max(_LONGEST, len(word)) else ANY


def program(words: Sequence[str]) -> list[str]:
    """The words of the program that is really run: what stands behind ``sudo``, ``timeout 5``, ``env A=b`` and their like."""
    rest = list(words)
    for _ in range(20):
        if not rest:
            break
        name = rest[0].rpartition("/")[2]
        if name not in _WRAPPING:
            break
        if name == "command" and rest[1:2] in (["-v"], ["-V"]):
            break
        valued = _WITH_VALUE.get(name, ())
        at = 1
        while at < len(rest) and (rest[at].startswith("-") or _SETTING.fullmatch(rest[at])):
            if rest[at] == "--":
                at += 1
                break
            at += 2 if rest[at] in valued else 1
        if name == "timeout" and at < len(rest) and _DURATION.fullmatch(rest[at]):
            at += 1
        rest = rest[at:]
    return rest


def _inner_script(words: Sequence[str]) -> str | None:
    """The script in ``sh -c SCRIPT``, ``eval SCRIPT`` or ``su USER -c SCRIPT``."""
    if not words:
        return None
    name = words[0].rpartition("/")[2]
    if name == "eval":
        return " ".join(words[1:])
    if name in _SHELLS or name in ("su", "runuser"):
        for index, word in enumerate(words[1:-1], 1):
            if re.fullmatch(r"-[a-z]*c|--command", word):
                return words[index + 1]
    return None


def commands_in(commands: Iterable[Command]) -> tuple[Command, ...]:
    """The commands and those in scripts that they hold as a word (``sh -c '…'``), with their variables replaced."""
    every = list(_with_inner(commands, 0))
    known = variables(every)
    return tuple(
        replace(
            command,
            words=tuple(resolved(word, known) for word in command.words),
            assigns=tuple((name, resolved(value, known)) for name, value in command.assigns),
            reads=tuple(resolved(target, known) for target in command.reads),
            writes=tuple(resolved(target, known) for target in command.writes),
        )
        for command in every
    )


def _with_inner(commands: Iterable[Command], level: int) -> Iterator[Command]:
    for command in commands:
        yield command
        script = _inner_script(program(command.words))
        if script is not None and level < 3:
            for inner in _with_inner(parse_shell(script).commands, level + 1):
                # It runs where the command stands, and when that runs.
                yield replace(inner, line=command.line, depth=inner.depth + (not command.always))
