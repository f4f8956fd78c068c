"""Tests that need a network: what they install or fetch from outside while they judge."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from bakeoff.checks.validate.fetching import fetches
from bakeoff.checks.validate.hosts import outside, outside_url
from bakeoff.checks.validate.python_code import called
from bakeoff.checks.validate.python_starts import started
from bakeoff.checks.validate.sources import Fault, Source
from bakeoff.checks.validate.texts import words

_INSTALLERS = words("curl wget aria2c http https git ssh scp rsync nc ncat telnet ping")
_VERBS = words("get post put patch delete head options request stream")
_RECEIVERS = words("requests httpx session client sess http aiohttp")
_OPENERS = words("urlopen urlretrieve Request")
_CONNECTIONS = words("HTTPConnection HTTPSConnection create_connection connect gethostbyname getaddrinfo FTP SMTP")
_MOCKED = re.compile(r"\b(responses|requests_mock|respx|httpretty|vcr|mock|monkeypatch|pytest_httpserver)\b")
_EXPECTED = words("raises assertRaises assertRaisesRegex suppress")


def network_faults(run: Iterable[Source]) -> Iterator[Fault]:
    """Each place where the files that are run get something from outside the sandbox."""
    for source in run:
        yield from _of_shell(source)
        yield from _of_python(source)


def told(command: str) -> str:
    """The message for a command that needs a network."""
    if command.split()[0] in _INSTALLERS:
        return f"{command} gets something from outside while the tests run; wanted it in tests/, or in the Dockerfile"
    return f"{command} gets packages from the network while the tests run; wanted them installed in the Dockerfile"


def _of_shell(source: Source) -> Iterator[Fault]:
    seen: set[int] = set()
    for command in source.commands:
        if command.line not in seen and (name := fetches(command.words)):
            seen.add(command.line)
            yield source.fault(command.line, told(name))


def _of_python(source: Source) -> Iterator[Fault]:
    mocked = bool(_MOCKED.search(source.text))
    expected = _expected_to_fail(source)
    for node in source.python.nodes:
        if not isinstance(node, ast.Call) or id(node) in expected:
            continue
        fetched = (name for command in started(source.python, node) if (name := fetches(command.words)))
        message = next(map(told, fetched), "")
        if not message and not mocked and _reaches(source, node):
            message = f"{called(node).lstrip('.')} reaches outside while the tests run; wanted what it fetches in tests/, or a local server"
        if message:
            yield source.fault(node.lineno, message)


def _expected_to_fail(source: Source) -> set[int]:
    """Calls inside ``with pytest.raises(…)``: they show that there is no way out."""
    return {
        id(inner)
        for node in source.python.nodes
        if isinstance(node, ast.With)
        and any(
            isinstance(item.context_expr, ast.Call) and called(item.context_expr).rpartition(".")[2] in _EXPECTED
            for item in node.items
        )
        for inner in ast.walk(node)
    }


def _reaches(source: Source, node: ast.Call) -> bool:
    name = called(node)
    before, _, last = name.rpartition(".")
    value = source.python.value
    if last in _OPENERS:
        return bool(node.args) and outside_url(value(node.args[0]))
    if last in _VERBS and before.rpartition(".")[2] in _RECEIVERS:
        return any(outside_url(value(argument)) for argument in node.args[:2])
    if last in _CONNECTIONS and node.args:
        first = node.args[0]
        if isinstance(first, ast.Tuple):
            return bool(first.elts) and outside(value(first.elts[0]))
        return last != "connect" and outside(value(first))
    return False
