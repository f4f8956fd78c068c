"""Python tests that cannot fail, hide one another or are never reached are found; their mended twins are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakeoff.checks.base import Looked

Look = Callable[..., Looked]
READ = "def read():\n    return open('/app/sorted.txt').read()\n"

PYTEST = {
    "nothing but pass": ("def test_a():\n    '''It sorts.'''\n    pass\n", "cannot fail", "def test_a():\n    assert read()\n"),
    "assert True": ("def test_a():\n    assert True\n", "cannot fail", "def test_a():\n    assert read() is True\n"),
    "a print": ("def test_a():\n    print('fine')\n", "cannot fail", "def test_a():\n    print(read().index('a'))\n"),
    "a pair": ("def test_a():\n    assert (read(), 'wrong')\n", "a pair", "def test_a():\n    assert read(), ('wrong',)\n"),
    "or true": ("def test_a():\n    assert read() or True\n", "always true", "def test_a():\n    assert read() or False\n"),
    "a length": ("def test_a():\n    assert len(read()) >= 0\n", "always true", "def test_a():\n    assert len(read()) > 0\n"),
    "one name twice": (
        "def test_a():\n    assert read()\ndef test_a():\n    assert read() == 'b'\n",
        "a second test_a",
        "def test_a():\n    assert read()\ndef test_b():\n    assert read() == 'b'\n",
    ),
    "one method twice": (
        "class TestX:\n    def test_a(self):\n        assert read()\n    def test_a(self):\n        assert read() == 'b'\n",
        "a second test_a",
        "class TestX:\n    def test_a(self):\n        assert read()\nclass TestY:\n    def test_a(self):\n        assert read()\n",
    ),
    "after a return": (
        "def test_a():\n    x = read()\n    return\n    assert x\n",
        "after the return",
        "def test_a():\n    x = read()\n    if not x:\n        return\n    assert x\n",
    ),
    "after a skip": (
        "import pytest\ndef test_a():\n    pytest.skip('later')\n    assert read()\n",
        "after the pytest.skip",
        "import pytest\ndef test_a():\n    if not read():\n        pytest.skip('later')\n    assert read()\n",
    ),
    "if False": (
        "def test_a():\n    if False:\n        assert read()\n    read()\n",
        "never holds",
        "DEBUG = False\ndef test_a():\n    if not DEBUG:\n        assert read()\n",
    ),
    "except pass": (
        "def test_a():\n    try:\n        assert read()\n    except Exception:\n        pass\n",
        "dropped by the except",
        "def test_a():\n    try:\n        x = read()\n    except OSError:\n        x = ''\n    assert x\n",
    ),
    "a bare except in a loop": (
        "def test_a():\n    for c in read():\n        try:\n            assert c\n        except:\n            continue\n",
        "dropped by the except",
        "def test_a():\n    for _ in range(9):\n        try:\n            assert read()\n            break\n"
        "        except AssertionError:\n            pass\n    else:\n        raise AssertionError\n",
    ),
    "suppress": (
        "from contextlib import suppress\ndef test_a():\n    with suppress(Exception):\n        assert read()\n",
        "dropped by the suppress",
        "import contextlib\ndef test_a():\n    with contextlib.suppress(KeyError):\n        assert read()\n",
    ),
    "a skipped test": (
        "import pytest\n@pytest.mark.skip\ndef test_a():\n    assert read()\n",
        "always skipped",
        "import pytest\n@pytest.mark.skipif(not read(), reason='x')\ndef test_a():\n    assert read()\n",
    ),
    "no Python": ("def test_a(:\n    assert read()\n", "not valid Python", "def test_a():\n    assert read()\n"),
    "a NUL": ("def test_a():\n    assert read()\n" + "#" * 600 + "\0\n", "not valid Python", "def test_a():\n    assert read()\n"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PYTEST)
def test_a_test_that_checks_nothing_is_found(look: Look, kind: str) -> None:
    bad, words, good = PYTEST[kind]
    (finding,) = look(pytest_file=READ + bad).findings
    assert words in finding.message
    assert finding.file == "tests/test_outputs.py"
    assert finding.field.startswith("line ")
    assert look(pytest_file=READ + good).findings == ()


SCRIPT = "import sys\ndef check_lines():\n    assert open('/app/sorted.txt').read()\n"


def test_a_check_that_nothing_calls_is_found(look: Look) -> None:
    (finding,) = look(python=SCRIPT + "def check_more():\n    assert 0 < len(sys.argv)\ncheck_lines()\n").findings
    assert "check_more" in finding.message and finding.field == "line 4"


@pytest.mark.parametrize(
    "rest",
    [
        "check_lines()\n",
        "CHECKS = [check_lines]\nfor c in CHECKS:\n    c()\n",
        "for n, c in list(globals().items()):\n    if n.startswith('check_'):\n        c()\n",
        "getattr(sys.modules[__name__], 'check_' + 'lines')()\n",
    ],
)
def test_checks_that_are_called_in_some_way_are_not_found(look: Look, rest: str) -> None:
    assert look(python=SCRIPT + rest).findings == ()


def test_tests_that_no_runner_collects_are_found(look: Look) -> None:
    (finding,) = look(python="def test_a():\n    assert open('/app/sorted.txt').read()\nprint('ok')\n").findings
    assert "nothing calls it" in finding.message


def test_what_later_pythons_read_is_a_note_where_an_image_brings_its_own(look: Look) -> None:
    later = "type X = int\ndef test_a():\n    assert open('/app/sorted.txt').read()\n"
    toml = '[task]\nname = "sample"\n'
    assert [finding.field for finding in look({"task.toml": toml}, pytest_file=later).notes][:1] == ["line 1"]
    assert look({"task.toml": toml}, pytest_file=later).findings == ()


def test_data_that_is_no_python_is_no_fault(look: Look) -> None:
    python = "import ast\ntry:\n    ast.parse(open('/tests/broken.py').read())\nexcept SyntaxError:\n    assert open('/app/sorted.txt')\n"
    assert look({"tests/broken.py": "def (\n"}, python=python).findings == ()
