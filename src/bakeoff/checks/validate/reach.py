"""Which files of ``/tests`` are run, and which of them anything refers to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from bakeoff.checks.validate.mentions import Mentions
from bakeoff.checks.validate.python_code import called
from bakeoff.checks.validate.shell import Command
from bakeoff.checks.validate.shell_values import program
from bakeoff.checks.validate.sources import Source
from bakeoff.checks.validate.texts import words

ENTRIES = ("test.sh", "test.bat")
_INTERPRETER = re.compile(r"(python|pypy)[\d.]*|(ba|da|a|z)?sh|uv|uvx|poetry|coverage|\.|source|pytest|py\.test")
_STARTING = words(
    "run Popen call check_call check_output system popen run_path execv execve execvp "
    "spec_from_file_location SourceFileLoader create_subprocess_exec create_subprocess_shell exec "
)
_DISCOVERED = re.compile(r"(test_.*|.*_test|tests?|test.*)\.py")
_OTHER_RUNNERS = words(
    "npm npx jest vitest mocha cargo go make mvn gradle ctest bats prove phpunit rspec rake tox nox "
    "behave robot yarn pnpm deno bun dotnet stack cabal "
)
_FILE_OR_MODULE = re.compile(r".*\.py.*|[A-Za-z_][\w.]*\.[A-Za-z_]\w*", re.DOTALL)
_FOR_PYTEST = frozenset(("conftest.py", "pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini", ".coveragerc"))


_COLLECTORS = {"pytest": words("pytest py.test"), "unittest": words("unittest")}
_COLLECTING = {
    "pytest": re.compile(r"pytest\.main|[\"']pytest[\"']"),
    "unittest": re.compile(r"unittest\.main|[\"']unittest[\"']|TestLoader|TextTestRunner"),
}


class Reach(Struct, frozen=True):
    """What happens to the files in ``/tests``: ``run`` are those run as programs, by their place there; ``named`` the places of those
    that something names which is run or named itself. ``collects``: pytest or unittest look for tests by themselves.
    """

    run: tuple[Source, ...]
    named: frozenset[str]
    collects: bool


def reach(tests: Mapping[str, Source]) -> Reach:
    """Follow the test script through the files of ``/tests`` (by place)."""
    runners = _runners(tests)
    entries = [name for name in ENTRIES if name in tests]
    run = set(entries)
    named = set(entries)
    pending = list(entries)
    known: dict[str, Mentions] = {}
    while pending:
        source = tests[pending.pop()]
        mentions = known[source.place] = known.get(source.place) or Mentions(source)
        started = _started(source) if source.place in run else set[str]()
        for place in tests:
            if place not in named and (mentions.names(place) or _collected(place, source, runners)):
                named.add(place)
                pending.append(place)
            if place in run:
                continue
            name = place.rpartition("/")[2]
            imported = source.place in run and name.removesuffix(".py") in mentions.modules and name.endswith(".py")
            if imported or name in started or _collected(place, source, runners):
                run.add(place)
                named.add(place)
                # What it starts itself counts only now.
                pending.append(place)
    return Reach(tuple(tests[place] for place in sorted(run)), frozenset(named), bool(runners & _COLLECTORS.keys()))


def _runners(tests: Mapping[str, Source]) -> set[str]:
    """Tools named anywhere in the tests that find test files by themselves."""
    found: set[str] = set()
    for source in tests.values():
        for command in source.commands:
            # As ``uvx --with pytest==8`` and ``python -m pytest`` name it.
            said = {re.split(r"[=<>\[@]", word.rpartition("/")[2], maxsplit=1)[0] for word in command.words}
            found |= {name for name, words in _COLLECTORS.items() if said & words}
            ran = program(command.words)
            if ran and ran[0].rpartition("/")[2] in _OTHER_RUNNERS:
                found.add("other")
        if source.kind == "python":
            found |= {name for name, pattern in _COLLECTING.items() if pattern.search(source.text)}
    return found


def _collected(place: str, source: Source, runners: set[str]) -> bool:
    """True where a runner that works for ``source`` finds the file by itself."""
    name = place.rpartition("/")[2]
    if "other" in runners and source.place in ENTRIES:
        return not name.endswith((".txt", ".json", ".csv")) and name not in ENTRIES
    if not runners & _COLLECTORS.keys() or source.place not in ENTRIES:
        return False
    if name in _FOR_PYTEST:
        return True
    return bool(_DISCOVERED.fullmatch(name)) and _on_a_folder(source)


def _on_a_folder(source: Source) -> bool:
    """True where pytest or unittest is called on a folder (or on nothing, which is the working directory)."""
    if source.kind != "shell":
        return True
    for command in source.commands:
        names = [word.rpartition("/")[2] for word in command.words]
        at = next((at for at, name in enumerate(names) if any(name in known for known in _COLLECTORS.values())), None)
        if at is not None and not any(_FILE_OR_MODULE.fullmatch(word) for word in command.words[at + 1 :]):
            return True
    return not source.shell.whole


def _started(source: Source) -> set[str]:
    """Names of files that this one runs as programs."""
    calls = (node for node in source.python.nodes if isinstance(node, ast.Call))
    return {name for command in source.commands for name in _programs(command)} | {
        name for call in calls for name in _of_call(source, call)
    }


def _programs(command: Command) -> Iterable[str]:
    ran = program(command.words)
    if not ran:
        return ()
    name = ran[0].rpartition("/")[2]
    if _INTERPRETER.fullmatch(name) or any(word.rpartition("/")[2] == "pytest" for word in ran):
        return {word.partition("::")[0].rpartition("/")[2] for word in ran[1:]} | _modules(ran)
    return {name}


def _modules(ran: list[str]) -> set[str]:
    """Files of ``python -m NAME`` and ``-m unittest NAME``."""
    dotted = [word.split(".") for word in ran if re.fullmatch(r"[A-Za-z_][\w.]*", word)]
    return {f"{name}.py" for parts in dotted for name in (parts[0], parts[-1])}


def _of_call(source: Source, node: ast.Call) -> Iterable[str]:
    if called(node).rpartition(".")[2] not in _STARTING:
        return ()
    inside = (part for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.expr))
    texts = [source.python.value(part) for part in inside]
    return {word.rpartition("/")[2] for text in texts for word in text.split()[:50]}
