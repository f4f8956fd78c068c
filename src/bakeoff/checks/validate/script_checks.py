"""Test scripts that check nothing: empty ones, code after an exit, rewards that nothing writes or that are always 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bakeoff.checks.validate.reach import Reach
from bakeoff.checks.validate.shell import Command
from bakeoff.checks.validate.shell_values import program
from bakeoff.checks.validate.sources import Fault, Source
from bakeoff.checks.validate.texts import words

_REWARD = re.compile(r"reward\.(txt|json)")
_NAMED = re.compile(rb"reward\W{0,4}\.?\W{0,4}(txt|json)|/logs/verifier")
_ONE = re.compile(r"""\s*(1(\.0*)?|\{\s*"reward"\s*:\s*1(\.0*)?\s*\})(\\n|\s)*""")
_FOLDER = re.compile(r".*logs/verifier/?")
_NO_WRITER = words("mkdir ls chmod chown rm cd pushd test [ [[ export stat find touch")
_LEAVES = words("exit exec return kill trap break")
_SELF_READING = re.compile(r"\$(0|\{?BASH_SOURCE)")


def script_faults(tests: Mapping[str, Source], reached: Reach, shown: str) -> Iterator[Fault]:
    """What is wrong with the test script; ``shown`` is where it should stand, for when it does not."""
    script = tests.get("test.sh") or tests.get("test.bat")
    if script is None:
        yield shown, "", "missing; wanted a script that checks the agent's work and writes the reward"
        return
    if not _says_something(script):
        yield (
            script.path,
            "",
            "empty: no command in it, so nothing is checked; wanted one that checks and writes the reward",
        )
        return
    if not any(writes_reward(source) for source in tests.values()):
        message = "nothing in the tests writes /logs/verifier/reward.txt or reward.json, so no run can have a reward"
        yield script.path, "", f"{message}; wanted a line that writes 1 where the checks hold, and 0 where not"
    for source in reached.run:
        if source.shell.whole:
            yield from _after_exit(source)
    yield from _always_one(script, tests)


def _says_something(script: Source) -> bool:
    if script.kind == "shell":
        return bool(script.shell.commands) or not script.shell.whole or not script.whole
    if script.kind == "python":
        return script.python.tree is None or bool(script.python.tree.body)
    return any(
        line.strip() and not line.lstrip().startswith(("#", "//", "::", "rem ")) for line in script.text.splitlines()
    )


def writes_reward(source: Source) -> bool:
    """False where the file surely never writes a reward."""
    if source.kind != "shell" or not source.shell.whole or not source.whole:
        return bool(_NAMED.search(source.data)) or (b"reward" in source.data and b"verifier" in source.data)
    for command in source.commands:
        if any(_REWARD.search(text) for text in command.texts):
            return True
        ran = program(command.words)
        if ran and ran[0] not in _NO_WRITER and any(_FOLDER.fullmatch(word) for word in ran[1:]):
            return True
    return False


def _after_exit(source: Source) -> Iterator[Fault]:
    commands = source.shell.commands
    for index, command in enumerate(commands):
        if not (_ends_script(command) and command.then not in ("|", "|&", "&", "||", "&&")):
            continue
        after = next((later for later in commands[index + 1 :] if later.words and later.line > command.line), None)
        reads_itself = any(_SELF_READING.search(word) for earlier in commands[:index] for word in earlier.words)
        if after is not None and not after.nested and not reads_itself:
            what = f"never runs: the script ends at the {command.words[0]} in line {command.line}"
            yield source.fault(after.line, f"{what}; wanted that line after the checks, or these removed")
        return


def _ends_script(command: Command) -> bool:
    if not command.always or command.joined == "|" or not command.words:
        return False
    return command.words[0] == "exit" or (command.words[0] == "exec" and len(command.words) > 1)


def _always_one(script: Source, tests: Mapping[str, Source]) -> Iterator[Fault]:
    """A reward of 1 that is written at the end whatever happened before it."""
    if script.kind != "shell" or not script.shell.whole:
        return
    commands = script.commands
    writes = [
        (index, command)
        for index, command in enumerate(commands)
        if any(_REWARD.search(target) for target in command.writes)
    ]
    if not writes or _may_stop(commands):
        return
    index, last = writes[-1]
    others = [source for source in tests.values() if source is not script and b"reward" in source.data]
    later = commands[index + 1 :]
    if others or not last.always or last.joined == "|" or not _writes_one(last):
        return
    if any("reward" in text for command in later for text in command.texts):
        return
    if any(program(command.words)[:1] in (["cp"], ["mv"], ["tee"]) for command in commands):
        return
    message = "writes 1 whatever was found before it, so that everything passes"
    yield script.fault(last.line, f"{message}; wanted 1 only where every check holds, and 0 otherwise")


def _may_stop(commands: Iterable[Command]) -> bool:
    """True where something could end the script before its end."""
    for command in commands:
        if not command.words:
            continue
        if command.words[0] in _LEAVES and not (command.words[0] == "exec" and len(command.words) == 1):
            return True
        if command.words[0] == "set" and any(
            word == "errexit" or (word.startswith("-") and "e" in word) for word in command.words[1:]
        ):
            return True
    return False


def _writes_one(command: Command) -> bool:
    if command.words[:1] not in (("echo",), ("printf",)):
        return False
    said = [word for word in command.words[1:] if not re.fullmatch(r"-[neE]+", word)]
    if command.words[0] == "printf" and said[:1] in (["%s"], ["%s\\n"]):
        said = said[1:]
    return bool(_ONE.fullmatch(" ".join(said)))
