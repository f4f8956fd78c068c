"""The real key of a provider: from the environment, a ``.env`` file, or a command. Nothing shows it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bakeoff.errors import InputError
from bakeoff.gateway.providers import Provider

COMMAND_SECONDS = 60.0
LONGEST = 16 << 10

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(.*)")
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'")
_SOUND = re.compile(r"[\x21-\x7e]+")


class Key:
    """A secret. ``value`` gives it; no text form of this does."""

    __slots__ = ("source", "value")

    def __init__(self, value: str, source: str) -> None:
        self.value = value
        self.source = source

    def __repr__(self) -> str:
        return f"Key(from {self.source})"

    def __reduce__(self) -> str:
        raise TypeError("a key stays in its process")


def find_key(provider: Provider, environ: Mapping[str, str], folder: Path) -> Key | None:
    """The provider's key, or None for one that works without. ``folder`` is where ``.env`` may be.

    A command is ``BAKEOFF_KEY_COMMAND_<PROVIDER>`` or the provider's ``key_command``, and comes after the variables.
    It runs without a shell. Raises InputError, which says what to do.
    """
    written = dotenv(folder / ".env")
    for name in provider.keys:
        for values, source in ((environ, name), (written, f"{name} in .env")):
            if value := values.get(name, "").strip():
                return _key(value, source)
    variable = "BAKEOFF_KEY_COMMAND_" + re.sub(r"[^A-Z0-9]", "_", provider.name.upper())
    line = environ.get(variable) or written.get(variable, "")
    try:
        command = tuple(shlex.split(line)) if line else provider.key_command
    except ValueError as error:
        raise InputError(
            "the command for the key cannot be read", where=variable, wanted="a program and arguments"
        ) from error
    if command:
        return _key(_asked(command, environ, variable if line else f"key_command of {provider.name}"), "a command")
    if provider.local:
        return None
    names = " or ".join(provider.keys) or variable
    raise InputError(
        f"no key for {provider.name}",
        where="model",
        wanted=f"{names} in the environment or in .env, or a program that prints it in {variable}; replays and scripted models need none",
    )


def dotenv(path: Path) -> dict[str, str]:
    """The variables of a ``.env`` file, with quotes and comments allowed. Other lines are passed over, and a missing file has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.split("\n"):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if not match:
            continue
        rest = match[2]
        quoted = _QUOTED.match(rest)
        if quoted:
            found[match[1]] = quoted[2] if quoted[1] is None else re.sub(r"\\(.)", r"\1", quoted[1])
        else:
            found[match[1]] = re.split(r"\s#|^#", rest, maxsplit=1)[0].strip()
    return found


def _asked(command: tuple[str, ...], environ: Mapping[str, str], where: str) -> str:
    """What the command prints. Its output is in no error: it may be a key, or half of one."""
    advice = "a program that prints the key on standard output; run it by hand to see what it says"
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"the command for the key did not end in {COMMAND_SECONDS:.0f} s"
        raise InputError(message, where=where, wanted=advice) from None
    except OSError as error:
        raise InputError(
            "the command for the key cannot be run", where=where, found=error.strerror or "", wanted=advice
        ) from None
    if done.returncode:
        message = f"the command for the key ended with {done.returncode}"
        raise InputError(message, where=where, wanted=advice)
    text = done.stdout.decode(errors="replace").strip()
    if not text:
        raise InputError("the command for the key printed nothing", where=where, wanted=advice)
    return text


def _key(value: str, source: str) -> Key:
    if not _SOUND.fullmatch(value) or len(value) > LONGEST:
        raise InputError("this is no key", where=source, wanted="one line of visible ASCII characters")
    return Key(value, source)
