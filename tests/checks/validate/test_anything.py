"""Whatever bytes a task's files hold, looking at them ends, soon, and without an error."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakeoff.checks.validate import validate
from bakeoff.checks.validate.python_code import parse_python
from bakeoff.checks.validate.shell import parse_shell
from bakeoff.checks.validate.shell_values import resolved, variables
from bakeoff.checks.validate.texts import glob_matches
from bakeoff.tasks.folder import in_memory
from bakeoff.tasks.model import Environment, Step, Task, Visibility

PLACES = (
    "tests/test.sh",
    "tests/check.py",
    "tests/data.json",
    "solution/solve.sh",
    "environment/Dockerfile",
    "environment/setup.sh",
)
SECONDS = 10.0


def task(contents: dict[str, bytes], root: str = "host") -> Task:
    files = in_memory({path: (data, Visibility.VERIFIER, 0o644) for path, data in contents.items()})
    environment = Environment(
        root="host" if root == "host" else "image", setup="environment/setup.sh", dockerfile="environment/Dockerfile"
    )
    return Task(
        dataset="d", name="t", digest="", steps=(Step("", "Do /app/x."),), environment=environment, verifier=Step("", "").verifier,
        files=files,
    )  # fmt: skip


SHELL = st.lists(
    st.sampled_from(
        ["$(", "`", "(", ")", "{", "}", "if ", "fi", "case ", "esac", " in ", ";;", ";", "\n", '"', "'", "<<E\n", "E\n", "[[ ", " ]]",
         "a", "=", "a=(", "\\", "#", " ", "$((", "))", "${", ">", "<(", "&&", "|", "for ", "do ", "done ", "f() ", "function ", "exit 0",
         "echo 1 >/logs/verifier/reward.txt", "python3 /tests/check.py", "$a", "a=$a$a", "curl http://x.org", "sh -c ", "\0", "\u2028"]
    )
).map("".join)  # fmt: skip
PYTHON = st.lists(
    st.sampled_from(
        ["def test_a():\n", " ", "    ", "assert ", "(", ")", "[", "]", "{", "}", "x", "=", ",", ":", "\n", "'", '"""', "f'{", "try:\n",
         "except:\n", "pass\n", "if 0:\n", "open(", "'/app/x'", "/", "+", "%", "import ", "\\\n", "#", "\0", "lambda ", "return\n"]
    )
).map("".join)  # fmt: skip
ANY = st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
FILE = st.one_of(
    ANY, SHELL.map(str.encode), PYTHON.map(str.encode), SHELL.map(lambda text: b"#!/bin/sh\n" + text.encode())
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries(dict.fromkeys(PLACES, FILE)), st.sampled_from(["host", "image"]))
def test_any_files_can_be_looked_at(contents: dict[str, bytes], root: str) -> None:
    looked = validate(task(contents, root))
    for finding in (*looked.findings, *looked.notes):
        assert finding.message and finding.task == "t" and "\n" not in finding.message + finding.field


@settings(max_examples=300, deadline=None)
@given(SHELL)
def test_any_script_is_read_to_its_end(text: str) -> None:
    shell = parse_shell(text)
    known = variables(shell.commands)
    lines = text.count("\n") + 1
    for command in shell.commands:
        assert 1 <= command.line <= lines
        assert all(len(resolved(word, known)) <= max(1024, len(word)) for word in command.words)


@given(st.lists(st.from_regex(r"[a-z0-9./_-]{1,8}", fullmatch=True), min_size=1, max_size=5))
def test_plain_words_come_out_as_they_are(words: list[str]) -> None:
    shell = parse_shell("echo " + " ".join(f"'{word}'" for word in words) + " > /tmp/x # comment\n")
    (command,) = shell.commands
    assert command.words == ("echo", *words) and command.writes == ("/tmp/x",) and shell.whole


def test_settings_and_lists_before_a_command_are_no_words_of_it() -> None:
    (command,) = parse_shell("a=1 b=(x 'y z' # no word\n w) c=$a run -x\n").commands
    assert command.words == ("run", "-x")
    assert command.assigns == (("a", "1"), ("b", "x"), ("b", "y z"), ("b", "w"), ("c", "$a"))


@given(
    st.text(alphabet="ab*", max_size=12).map(lambda text: text.replace("**", "*")), st.text(alphabet="ab", max_size=12)
)
def test_patterns_match_as_those_of_a_shell(pattern: str, name: str) -> None:
    from fnmatch import fnmatchcase

    assert glob_matches(pattern, name) is fnmatchcase(name, pattern)


BOMBS = {
    "substitutions": ("sh", "$(" * 100_000),
    "backquotes": ("sh", "`" * 100_001),
    "escaped backquotes": ("sh", "`\\`" * 30_000),
    "subshells": ("sh", "(" * 100_000),
    "braces": ("sh", "{ " * 100_000),
    "cases": ("sh", "case x in " * 30_000),
    "here-documents": ("sh", "cat <<A <<B\n" * 5_000),
    "one line": ("sh", "a " * 50_000),
    "doubling variables": ("sh", "".join(f"v{n}=$v{n - 1}$v{n - 1}\n" for n in range(1, 500)) + "cat $v499" * 500),
    "stars": ("sh", "cat /tests/" + "*a" * 10_000 + "\n"),
    "NULs": ("sh", "a" + "\0" * 100_000),
    "nested shells": ("sh", "sh -c 'sh -c \"sh -c eval\"'\n" * 1_000),
    "parentheses": ("py", "(" * 100_000),
    "closed parentheses": ("py", "(" * 190 + "1" + ")" * 190),
    "a sum": ("py", "x = " + "1 + " * 60_000 + "1"),
    "attributes": ("py", "x = a" + ".a" * 60_000),
    "minuses": ("py", "-" * 100_000 + "1"),
    "elifs": ("py", "if a: pass\n" + "elif a: pass\n" * 2_000),
    "indents": ("py", "".join(" " * n + "if 1:\n" for n in range(99)) + " " * 99 + "pass\n"),
    "digits": ("py", "9" * 100_000),
    "doubling names": ("py", "".join(f"v{n} = v{n - 1} + v{n - 1}\n" for n in range(1, 500)) + "open(v499)\n" * 500),
    "itself": ("py", "a = b + a\nb = a / b\nopen(a / b)\n"),
    "formats": ("py", "x = '" + "%s{" * 10_000 + "' % y\n"),
    "tries": ("py", "".join(" " * n + "try:\n" for n in range(90)) + " " * 90 + "assert x\n"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_looked_at_in_bounded_time(name: str) -> None:
    kind, text = BOMBS[name]
    script = b"#!/bin/sh\npython3 /tests/check.py >/logs/verifier/reward.txt\n" + (
        text.encode() if kind == "sh" else b""
    )
    started = time.process_time()
    validate(
        task({"tests/test.sh": script, "tests/check.py": text.encode() if kind == "py" else b"assert open('/app/x')\n"})
    )
    assert time.process_time() - started < SECONDS


def test_many_files_that_name_each_other_take_bounded_time() -> None:
    names = [f"f{n}.py" for n in range(200)]
    body = "\n".join(f"import {name[:-3]}" for name in names).encode()
    contents = {f"tests/{name}": body for name in names} | {"tests/test.sh": b"#!/bin/sh\npython3 /tests/f0.py\n"}
    started = time.process_time()
    validate(task(contents))
    assert time.process_time() - started < SECONDS


def test_text_that_is_no_python_has_no_tree() -> None:
    def ended(text: str) -> bool:
        return parse_python(text, "/tests/x.py").tree is None

    assert ended("def (") and ended("\0") and ended("(" * 1000) and not ended("") and not ended("x = 1")
