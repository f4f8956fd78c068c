"""Tasks as folders: a sound one, and what each test changes in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bakeoff.checks.base import Looked
from bakeoff.checks.validate import validate
from bakeoff.tasks.harbor import load

TOML = """
[task]
name = "sample"
description = "Sort the words of a file"
[metadata]
category = "text"
difficulty = "easy"
license = "CC0-1.0"
[metadata.bakeoff]
root = "host"
needs = ["python3"]
files = "environment/files"
[agent]
timeout_sec = 60
[verifier]
timeout_sec = 60
"""
SOUND = {
    "task.toml": TOML,
    "instruction.md": "Sort the lines of /app/words.txt and write them to /app/sorted.txt.\n",
    "environment/Dockerfile": "FROM debian:stable-slim\nWORKDIR /app\nCOPY files/ /app/\n",
    "environment/files/words.txt": "b\na\n",
    "tests/expected.txt": "a\nb\n",
    "tests/test.sh": """#!/bin/sh
if cmp -s /app/sorted.txt /tests/expected.txt; then
    echo 1 >/logs/verifier/reward.txt
else
    echo 0 >/logs/verifier/reward.txt
fi
""",
    "solution/solve.sh": "#!/bin/sh\nsort /app/words.txt >/app/sorted.txt\n",
    "wrong/empty/solve.sh": "#!/bin/sh\n: >/app/sorted.txt\n",
    "wrong/same/solve.sh": "#!/bin/sh\ncp /app/words.txt /app/sorted.txt\n",
}
PYTHON_SH = """#!/bin/sh
python3 /tests/check.py
if [ $? -eq 0 ]; then echo 1 >/logs/verifier/reward.txt; else echo 0 >/logs/verifier/reward.txt; fi
"""
PYTEST_SH = PYTHON_SH.replace("python3 /tests/check.py", "python3 -m pytest /tests/test_outputs.py -rA")

Look = Callable[..., Looked]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Write the sound task with ``changes`` (None: without that file) and look at it. With ``python`` a test of that text judges."""

    def one(
        changes: Mapping[str, str | bytes | None] | None = None,
        *,
        python: str | None = None,
        pytest_file: str | None = None,
        sh: str | None = None,
    ) -> Looked:
        files: dict[str, str | bytes | None] = dict(SOUND)
        if python is not None:
            files |= {"tests/test.sh": PYTHON_SH, "tests/check.py": python, "tests/expected.txt": None}
        if pytest_file is not None:
            files |= {"tests/test.sh": PYTEST_SH, "tests/test_outputs.py": pytest_file, "tests/expected.txt": None}
        if sh is not None:
            files["tests/test.sh"] = sh
        files |= dict(changes or {})
        folder = tmp_path / f"t{len(list(tmp_path.iterdir()))}"
        for path, content in files.items():
            if content is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        return validate(load(folder))

    return one
