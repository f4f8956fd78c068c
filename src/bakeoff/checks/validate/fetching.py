"""Commands that get something from a network: installers of packages, and fetchers of what an address names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from bakeoff.checks.validate.hosts import outside, outside_remote, outside_url
from bakeoff.checks.validate.shell_values import program
from bakeoff.checks.validate.texts import ANY, words

_PYTHON = re.compile(r"(python|pypy)[\d.]*")
_PIP = re.compile(r"pip[\d.]*")
_LOCAL = re.compile(r"(\.{0,2}/|~/|file:).*|\.{1,2}(\[.*\])?|.*\.(whl|tar\.gz|zip|deb|apk|rpm|tgz|gem|crate)")
_PIP_VALUED = words(
    "-r -c -t -i -f -e --requirement --constraint --target --index-url --extra-index-url --find-links --prefix --root "
    "--python --cache-dir --log --timeout --retries --proxy --editable --report --platform --python-version"
)
_DATA = words(
    "-d --data --data-raw --data-binary --data-urlencode --data-ascii --json -H --header -e --referer -A --user-agent -F "
    "--form -o --output -w --write-out -u --user -b --cookie -c --cookie-jar -K --config -T --upload-file --post-data "
    "--post-file -O --output-document -P --directory-prefix --cacert --cert --key -m --max-time -X --request"
)
_REDIRECTED = words("--resolve --connect-to --unix-socket -x --proxy --socks5 --abstract-unix-socket")
_SYSTEM = {
    "apt": words("install update upgrade full-upgrade dist-upgrade download source build-dep"),
    "apt-get": words("install update upgrade dist-upgrade download source build-dep"),
    "aptitude": words("install update upgrade"),
    "apk": words("add update upgrade fetch"),
    "dnf": words("install update upgrade makecache"),
    "microdnf": words("install update upgrade"),
    "yum": words("install update upgrade makecache"),
    "zypper": words("install in update refresh"),
    "conda": words("install create update"),
    "mamba": words("install create update"),
    "micromamba": words("install create update"),
    "brew": words("install update upgrade"),
    "npm": words("install i ci add update"),
    "pnpm": words("install i add update dlx"),
    "yarn": words("install add upgrade dlx"),
    "cargo": words("install add fetch update"),
    "gem": words("install update fetch"),
    "composer": words("install require update"),
    "docker": words("pull"),
    "podman": words("pull"),
    "playwright": words("install"),
    "poetry": words("install add update"),
    "pipx": words("install run"),
    "snap": words("install"),
}
_GIT_VALUED = words("-C -c --git-dir --work-tree -b --branch --depth -o")
_WITHOUT = words("--offline --no-index --local --no-download --simulate --dry-run --print-uris")
_NO_ARGUMENT = ("--version", "-V", "--help", "-h", "help")


def fetches(said: Sequence[str]) -> str:
    """The name of the command where these words get something from outside the sandbox; empty where that is not sure."""
    ran = program(said)
    if not ran:
        return ""
    name = ran[0].rpartition("/")[2]
    rest = ran[1:]
    if _PYTHON.fullmatch(name):
        module = rest[rest.index("-m") + 1 :] if "-m" in rest else []
        return fetches(module) if module and _PIP.fullmatch(module[0]) else ""
    if any(word in _WITHOUT for word in rest) or (rest and rest[0] in _NO_ARGUMENT):
        return ""
    if _PIP.fullmatch(name):
        return _pip(name, rest)
    if name in _SYSTEM:
        return _system(name, rest)
    check = _OTHERS.get(name)
    if check is None or not check(rest):
        return ""
    return f"git {_arguments(rest, _GIT_VALUED)[0]}" if name == "git" else name


def _pip(name: str, rest: Sequence[str]) -> str:
    at = next((index for index, word in enumerate(rest) if word in ("install", "download", "wheel", "sync")), -1)
    if at < 0:
        return ""
    given = _arguments(rest[at + 1 :], _PIP_VALUED)
    listed = any(re.match(r"-r|--requirement", word) for word in rest) or rest[at] == "sync"
    remote = [word for word in given if not _LOCAL.fullmatch(word) and word != ANY]
    return f"{name} {rest[at]}" if remote or listed else ""


def _system(name: str, rest: Sequence[str]) -> str:
    given = _arguments(rest, words("-o -t -c -n -p -C --prefix --registry"))
    if not given or given[0] not in _SYSTEM[name]:
        return ""
    packages = given[1:]
    if packages and all(_LOCAL.fullmatch(word) for word in packages):
        return ""
    return f"{name} {given[0]}"


def _arguments(rest: Sequence[str], valued: frozenset[str]) -> list[str]:
    """The words that are neither options nor their values."""
    found: list[str] = []
    skip = False
    for word in rest:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in valued
        else:
            found.append(word)
    return found


def _uv(rest: Sequence[str]) -> bool:
    given = _arguments(rest, words("--directory --project -p --python --config-file"))
    match given[:2]:
        case ["pip", "install" | "sync"]:
            return bool(_pip("uv pip", rest[list(rest).index("pip") + 1 :]))
        case ["tool", "install" | "run" | "upgrade"] | ["python", "install"] | ["add" | "sync" | "lock", *_]:
            return True
        case ["run", *_]:
            return any(word in ("-w", "--with") or word.startswith("--with=") for word in rest)
        case _:
            return False


def _url(rest: Sequence[str]) -> bool:
    """True where a fetcher is given a URL outside, which is not only a part of what it sends."""
    if any(word.split("=")[0] in _REDIRECTED for word in rest):
        return False
    before = ""
    for word in rest:
        if before not in _DATA and outside_url(word):
            return True
        before = word
    return False


def _git(rest: Sequence[str]) -> bool:
    given = _arguments(rest, _GIT_VALUED)
    wanted = words("clone fetch pull push ls-remote submodule archive")
    return bool(given) and given[0] in wanted and any(outside_remote(word) for word in given[1:])


def _go(rest: Sequence[str]) -> bool:
    match rest:
        case ["get", *_] | ["mod", "download", *_]:
            return True
        case _:
            return rest[:1] == ["install"] and any("@" in word for word in rest)


def _connects(rest: Sequence[str]) -> bool:
    return any(
        outside(word.rpartition("@")[2]) or outside_remote(word) for word in _arguments(rest, words("-p -i -o -l -w"))
    )


_OTHERS: dict[str, Callable[[Sequence[str]], bool]] = {
    "uv": _uv,
    "uvx": lambda rest: bool(rest),
    "npx": lambda rest: "-y" in rest or "--yes" in rest,
    "curl": _url,
    "wget": _url,
    "aria2c": _url,
    "http": _url,
    "https": _url,
    "git": _git,
    "go": _go,
    "ssh": _connects,
    "scp": _connects,
    "rsync": _connects,
    "nc": _connects,
    "ncat": _connects,
    "telnet": _connects,
    "ping": _connects,
}
