"""Tasks in the shapes of published benchmarks: what is told of them is true, and no more is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakeoff.checks.base import Looked

Look = Callable[..., Looked]
TOML = """version = "1.0"
[metadata]
category = "software-engineering"
difficulty = "medium"
[verifier]
timeout_sec = 900.0
[agent]
timeout_sec = 900.0
[environment]
docker_image = "example/sample:1"
cpus = 1
memory = "2G"
"""
INSTALLING = """#!/bin/bash

apt-get update
apt-get install -y curl
curl -LsSf https://astral.sh/uv/0.9.5/install.sh | sh
source $HOME/.local/bin/env

if [ "$PWD" = "/" ]; then
    echo "Error: no working directory."
    exit 1
fi

{run}

if [ $? -eq 0 ]; then
  echo 1 > /logs/verifier/reward.txt
else
  echo 0 > /logs/verifier/reward.txt
fi
"""
UVX = """uvx \\
  -p 3.13 \\
  --with pytest==8.4.1 \\
  --with pytest-json-ctrf==0.3.5 \\
  pytest --ctrf /logs/verifier/ctrf.json /tests/test_outputs.py -rA"""
OUTPUTS = '''"""Tests of the service."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path("/app")
RESULT = ROOT / "result.json"


@pytest.fixture(scope="module")
def result():
    return json.loads(RESULT.read_text())


def run(*arguments: str) -> str:
    return subprocess.run(["python3", str(ROOT / "tool.py"), *arguments], capture_output=True, text=True, check=True).stdout


def test_result_exists():
    """The file is there."""
    assert RESULT.exists(), f"{RESULT} does not exist"


@pytest.mark.parametrize("name", ["a", "b"])
def test_names(result, name):
    expected = json.loads((Path(__file__).parent / "expected" / f"{name}.json").read_text())
    assert result[name] == expected


def test_links(result):
    for item in result.values():
        try:
            number = int(item["count"])
        except (KeyError, ValueError):
            pytest.fail("no number")
        assert number > 0
        assert item["link"].startswith("https://example.org/")


class TestTool:
    def setup_method(self):
        Path("/app/fresh.txt").write_text("x")

    def test_runs(self):
        assert "ok" in run("/app/fresh.txt")

    def test_port_is_closed(self):
        if os.environ.get("NO_PORT"):
            pytest.skip("no network")
        assert run("--check")
'''
FILES = {
    "task.toml": TOML,
    "instruction.md": "Write /app/tool.py, a tool that checks a file, and put its counts into /app/result.json as JSON.\n",
    "environment/files/words.txt": None,
    "environment/Dockerfile": "FROM python:3.13-slim\nWORKDIR /app\nRUN pip install requests\nCOPY data/ ./data\n",
    "environment/data/a.csv": "1\n",
    "tests/expected.txt": None,
    "tests/test_outputs.py": OUTPUTS,
    "tests/expected/a.json": "1",
    "tests/expected/b.json": "2",
}


@pytest.mark.parametrize(
    ("run", "lines"),
    [(UVX, [3, 4, 5, 13]), ("uv init\nuv add pytest\nuv run pytest /tests/test_outputs.py", [3, 4, 5, 14])],
)
def test_installers_are_all_that_is_told_of_a_usual_task(look: Look, run: str, lines: list[int]) -> None:
    looked = look({**FILES, "tests/test.sh": INSTALLING.replace("{run}", run)})
    assert [finding.field for finding in looked.findings] == [f"line {line}" for line in lines]
    assert {finding.file for finding in looked.findings} == {"tests/test.sh"}


@pytest.mark.parametrize(
    "script",
    [
        "pytest /tests/test_outputs.py --ctrf /logs/verifier/ctrf.json\n"
        "if [ $? -eq 0 ]; then echo 1; else echo 0; fi >/logs/verifier/reward.txt",
        "mkdir -p /logs/verifier\necho 0 > /logs/verifier/reward.txt\nset -e\ncd /tests\n"
        'python -m pytest -q\necho 1 > "/logs/verifier/reward.txt"',
        'R=/logs/verifier/reward.txt\nfinish() { echo "$1" > "$R"; exit 0; }\n'
        'python3 -m pytest "${TEST_DIR:-/tests}/test_outputs.py" || finish 0\nfinish 1',
        "python3 -m pytest /tests -p no:cacheprovider || EXIT=$?\n"
        "echo $(( ${EXIT:-0} == 0 )) > /logs/verifier/reward.txt\nexit ${EXIT:-0}",
        "(cd /tests && pytest) && r=1.0 || r=0.0\nprintf '{\"reward\": %s}' $r > /logs/verifier/reward.json",
    ],
)  # fmt: skip
def test_nothing_is_told_of_tests_that_bring_what_they_need(look: Look, script: str) -> None:
    assert look({**FILES, "tests/test.sh": f"#!/bin/bash\n{script}\n"}).findings == ()
