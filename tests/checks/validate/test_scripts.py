"""Test scripts and files that check nothing are found; their mended twins are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakeoff.checks.base import Looked

Look = Callable[..., Looked]
HEAD = "#!/bin/sh\n"
JUDGED = "if cmp -s /app/sorted.txt /tests/expected.txt; then r=1; else r=0; fi\n"

# Pairs of a bad script, words of the finding, and the good twin.
SCRIPTS = {
    "comments alone": (HEAD + "# later\n", "no command", HEAD + JUDGED + "echo $r >/logs/verifier/reward.txt\n"),
    "no reward": (HEAD + JUDGED + "echo $r\n", "nothing in the tests writes", HEAD + JUDGED + "echo $r >/logs/verifier/reward.txt\n"),
    "reward in a comment alone": (
        HEAD + JUDGED + "# echo $r >/logs/verifier/reward.txt\n",
        "nothing in the tests writes",
        HEAD + JUDGED + "D=/logs/verifier\nprintf '%s' $r | tee $D/reward.txt\n",
    ),
    "code after an exit": (
        HEAD + "exec 2>&1\n" + JUDGED + "echo $r >/logs/verifier/reward.txt\nexit 0\ncmp /app/words.txt /app/sorted.txt\n",
        "never runs",
        HEAD + "cmp -s /app/words.txt x || exit 0\n" + JUDGED + "echo $r >/logs/verifier/reward.txt\nexit 0\n",
    ),
    "always 1": (
        HEAD + "cmp /app/sorted.txt /tests/expected.txt\necho 1 >/logs/verifier/reward.txt\n",
        "whatever was found",
        HEAD + "set -e\ncmp /app/sorted.txt /tests/expected.txt\necho 1 >/logs/verifier/reward.txt\n",
    ),
    "1 after the condition": (
        HEAD + JUDGED + 'echo $r >/logs/verifier/reward.txt\nprintf "1\\n" > "/logs/verifier/reward.txt"\n',
        "whatever was found",
        HEAD + "echo 1 >/logs/verifier/reward.txt\ncmp /app/sorted.txt /tests/expected.txt || echo 0 >/logs/verifier/reward.txt\n",
    ),
    "a test that is not there": (
        HEAD + JUDGED + "python3 /tests/check.py >/logs/verifier/reward.txt\n",
        "not among the tests",
        HEAD + JUDGED + "echo $r >/logs/verifier/reward.txt\n",
    ),
}  # fmt: skip


def messages(looked: Looked) -> str:
    return "\n".join(f"{finding.file} {finding.field}: {finding.message}" for finding in looked.findings)


def test_a_sound_task_has_neither_findings_nor_notes(look: Look) -> None:
    assert look() == Looked()


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_that_checks_nothing_is_found(look: Look, kind: str) -> None:
    bad, words, good = SCRIPTS[kind]
    assert words in messages(look(sh=bad))
    assert look(sh=good).findings == ()


def test_the_place_is_told(look: Look) -> None:
    (finding,) = look(sh=SCRIPTS["code after an exit"][0]).findings
    assert (finding.task, finding.file, finding.field) == ("sample", "tests/test.sh", "line 6")


@pytest.mark.parametrize("name", ["other.txt", "check_more.py", "more/cases.json"])
def test_a_file_of_the_tests_that_nothing_refers_to_is_found(look: Look, name: str) -> None:
    (finding,) = look({f"tests/{name}": "{}"}).findings
    assert finding.file == f"tests/{name}"
    assert "nothing in the tests refers" in finding.message


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("for n in 1 2; do diff /tests/case_$n.txt /app/sorted.txt; done", ["case_1.txt", "case_2.txt"]),
        ("for f in /tests/cases/*; do diff $f /app/sorted.txt; done", ["cases/a", "cases/b"]),
        ("cd /tests; for f in *.txt; do diff $f /app/sorted.txt; done", ["a.txt"]),
        ('HERE="$(cd "$(dirname "$0")" && pwd)"\n. "$HERE/lib.sh"', ["lib.sh"]),
        ("cp -r /tests /tmp/t", ["a/b/c.bin"]),
        ("python3 -m unittest discover -s /tests", ["test_all.py"]),
        ("sh -c 'cat /tests/a.json | wc'", ["a.json"]),
        ("cat <<EOF | sh\ncmp /tests/a.json /app/sorted.txt\nEOF", ["a.json"]),
        ("true", ["README.md", ".gitkeep"]),
    ],
)
def test_files_that_are_reached_in_other_ways_are_not_found(look: Look, script: str, files: list[str]) -> None:
    sh = f"{HEAD}{script}\n{JUDGED}echo $r >/logs/verifier/reward.txt\n"
    added = {
        f"tests/{name}": "import os\nassert os.listdir('/app')\n" if name.endswith(".py") else "x=1\n" for name in files
    }
    assert look(added, sh=sh).findings == ()


@pytest.mark.parametrize(
    "python",
    [
        "from pathlib import Path\nH = Path(__file__).parent\nfor n in ('a', 'b'):\n    assert (H / f'{n}.in').read_text()\n",
        "import glob\nfor f in glob.glob('/tests/*.in'):\n    assert open(f).read()\n",
        "import os\nT = os.path.dirname(__file__)\nfor f in os.listdir(T):\n    assert f\n",
        "import json\nfor n in ['a.in', 'b.in']:\n    assert open('/tests/' + n).read()\n",
        "import os\nfor n in 'ab':\n    assert open(os.path.join('/tests', '%s.in' % n)).read()\n",
        "def load(n):\n    return open('/tests/' + n + '.in').read()\nassert load('a') + load('b')\n",
    ],
)
def test_names_that_python_puts_together_count_as_references(look: Look, python: str) -> None:
    assert look({"tests/a.in": "1", "tests/b.in": "2"}, python=python).findings == ()
    assert len(look({"tests/a.in": "1", "tests/c.out": "2"}, python=python + "\n# c.out\n").findings) == (
        0 if "listdir" in python else 1
    )


def test_the_tests_of_every_step_count(look: Look) -> None:
    steps = {
        "task.toml": '[task]\nname = "sample"\n[[steps]]\nname = "one"\n[[steps]]\nname = "two"\n',
        "instruction.md": None,
        "tests/test.sh": HEAD + "cmp /app/sorted.txt /tests/expected.txt && echo 1 >/logs/verifier/reward.txt\n",
        "steps/one/instruction.md": "Write the sorted lines to /app/sorted.txt please.\n",
        "steps/two/instruction.md": "Now sort them again, the other way round.\n",
        "steps/two/tests/expected.txt": "b\na\n",
        "steps/one/solution/solve.sh": HEAD + "true\n",
        "steps/two/solution/solve.sh": HEAD + "true\n",
    }
    assert look(steps).findings == ()
    without = steps | {
        "steps/two/solution/solve.sh": None,
        "steps/one/instruction.md": "Sort the lines of words, please.\n",
    }
    assert {finding.file for finding in look(without).findings} == {"steps/two/solution/solve.sh", "tests/test.sh"}


def test_a_compiled_judge_names_its_files_too(look: Look) -> None:
    sh = f"{HEAD}/tests/judge /app/sorted.txt >/logs/verifier/reward.txt\n"
    judge = b"\x7fELF\0\0/tests/expected.txt\0"
    assert look({"tests/judge": judge}, sh=sh).findings == ()
    assert [finding.file for finding in look({"tests/judge": judge, "tests/other.txt": "x"}, sh=sh).findings] == [
        "tests/other.txt"
    ]


def test_a_long_program_in_a_script_is_read_to_its_end(look: Look) -> None:
    program = "x = 0\n" * 300 + 'open("/logs/verifier/reward.txt", "w").write(str(x))\n'
    assert look(sh=f"{HEAD}cmp /app/sorted.txt /tests/expected.txt\npython3 -c '{program}'\n").findings == ()
