"""``bakeoff new`` at a real terminal, and away from one."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from bakeoff.cli.main import main
from bakeoff.tasks.datasets import load_task

EVERYTHING = [
    *("--kind", "program", "--description", "d", "--category", "c", "--difficulty", "hard", "--root", "host"),
    *("--need", "git", "--agent-timeout", "5", "--author", "me", "--license", "MIT"),
]


def _as_a_shell_would() -> None:
    """Make the terminal the process's own, and Ctrl-C a thing to be heard: who runs the tests in the background may have it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """``bakeoff ARGS`` with a terminal of its own for all three streams; ``said`` is what it has shown."""

    def __init__(self, *args: str) -> None:
        self.master, slave = os.openpty()
        self.seen = b""
        self.at = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bakeoff", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_as_a_shell_would,
        )
        os.close(slave)

    @property
    def said(self) -> str:
        return self.seen.decode(errors="replace")

    def until(self, words: str) -> None:
        """Read on until ``words`` were shown, behind those that were waited for before."""
        while words not in (new := self.said[self.at :]):
            assert self._read(), new
        self.at = self.said.index(words, self.at) + len(words)

    def answer(self, question: str, line: str) -> None:
        self.until(question)
        os.write(self.master, line.encode())

    def press(self, key: str) -> None:
        """Until it ends: a signal that comes right before it waits for input is noticed with the next one."""
        while self.process.poll() is None:
            os.write(self.master, key.encode())
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.3)

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait(30)

    def _read(self) -> bool:
        """False at the end."""
        assert select.select([self.master], [], [], 30)[0], self.said
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += piece
        return bool(piece)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def opened(terminals: list[Terminal], args: Sequence[str]) -> Terminal:
    terminals.append(Terminal(*args))
    return terminals[-1]


def test_enter_takes_each_default_that_is_shown(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, ["new", "task"])
    terminal.answer("Folder of the new task, named as it is to be called [my-task]: ", "\n")
    terminal.answer("Kind [file]: ", "\n")
    assert "program  the agent writes a program" in terminal.said
    terminal.answer("Description, one line [Count how often each word occurs]: ", "\n")
    terminal.answer("Category [text]: ", "\n")
    terminal.answer("Difficulty (easy, medium, hard) [easy]: ", "\n")
    terminal.answer("Root (host or image) [host]: ", "\n")
    terminal.answer("beyond sh, sort, uniq, head, cat [none]: ", "\n")
    terminal.answer("Time limit of the agent, in seconds [600]: ", "\n")
    terminal.answer("Author, a name or Name <address> [none]: ", "\n")
    terminal.answer("Licence [Apache-2.0]: ", "\n")
    assert terminal.end() == 0
    assert "bakeoff check my-task" in terminal.said
    assert main(["new", "task", "there/my-task"]) == 0
    assert Path("my-task/task.toml").read_text() == Path("there/my-task/task.toml").read_text()


def test_answers_are_taken_and_wrong_ones_are_asked_again(terminals: list[Terminal]) -> None:
    Path("taken").mkdir()
    terminal = opened(terminals, ["new", "task", "--category", "given"])
    terminal.answer("[my-task]: ", "taken\n")
    terminal.until("already")
    terminal.answer("[my-task]: ", "deep/mine\n")
    terminal.answer("Kind [file]: ", "servce\n")
    terminal.until("did you mean 'service'?")
    terminal.answer("Kind [file]: ", "service\n")
    terminal.answer("Description", 'Says "hé" \\o/\n')
    terminal.answer("Difficulty", "hard\n")
    terminal.answer("Root", "\n")
    terminal.answer("Commands", "git, jq>=1.6\n")
    terminal.answer("Time limit", "soon\n")
    terminal.until("not a number")
    terminal.answer("Time limit", "-1\n")
    terminal.until("not a time limit")
    terminal.answer("Time limit", "7.5\n")
    terminal.answer("Author", "Ada L <ada@example.org>\n")
    terminal.answer("Licence", "MIT\n")
    assert terminal.end() == 0
    assert "Category" not in terminal.said
    task = load_task("deep/mine")
    assert (task.category, task.description, task.difficulty) == ("given", 'Says "hé" \\o/', "hard")
    assert task.environment.needs[-2:] == ("git", "jq>=1.6")
    assert task.environment.live == ("python3",)
    assert task.steps[0].agent.timeout_sec == 7.5
    table = tomllib.loads(Path("deep/mine/task.toml").read_text())
    assert table["task"]["authors"] == [{"name": "Ada L", "email": "ada@example.org"}]


def test_an_image_is_asked_for_where_the_root_is_one(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, ["new", "task", "mine"])
    for question in ("Kind", "Description", "Category", "Difficulty"):
        terminal.answer(f"{question}", "\n")
    terminal.answer("Root", "image\n")
    terminal.answer("Image", "example.org/x:1\n")
    for question in ("Time limit", "Author", "Licence"):
        terminal.answer(question, "\n")
    assert terminal.end() == 0
    assert "Commands" not in terminal.said
    environment = load_task("mine").environment
    assert (environment.root, environment.image) == ("image", "example.org/x:1")


def test_a_dataset_is_asked_for_what_it_is_and_its_first_task(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, ["new", "dataset", "mine"])
    terminal.answer("Description of the dataset, one line [Tasks of our own]: ", "Shop\n")
    terminal.answer("Licence [Apache-2.0]: ", "MIT\n")
    terminal.answer("Kind of its first task [file]: ", "program\n")
    assert terminal.end() == 0
    assert "bakeoff check -d mine" in terminal.said
    assert tomllib.loads(Path("mine/dataset.toml").read_text())["description"] == "Shop"
    assert load_task("mine/total-hours").metadata["license"] == "MIT"


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "end"])
@pytest.mark.parametrize("args", [["new", "task"], ["new", "task", "deep/mine"], ["new", "dataset", "deep/mine"]])
def test_who_leaves_while_being_asked_leaves_nothing(terminals: list[Terminal], args: list[str], key: str) -> None:
    terminal = opened(terminals, args)
    if len(args) == 2:
        terminal.answer("[my-task]: ", "\n")
    terminal.answer("]: ", "\n")
    terminal.until("]: ")
    terminal.press(key)
    assert terminal.end() == 130
    assert "error: interrupted" in terminal.said
    assert "Traceback" not in terminal.said
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("args", [["new", "task", "mine", *EVERYTHING], ["new", "task", "mine", "--no-input"]])
def test_nothing_is_asked_where_everything_is_given_or_questions_are_forbidden(
    terminals: list[Terminal], args: list[str]
) -> None:
    terminal = opened(terminals, args)
    assert terminal.end() == 0
    assert "]: " not in terminal.said
    assert Path("mine/task.toml").is_file()


def test_a_path_that_is_taken_is_told_before_anything_is_asked(terminals: list[Terminal]) -> None:
    Path("mine").mkdir()
    terminal = opened(terminals, ["new", "task", "mine"])
    assert terminal.end() == 2
    assert "already" in terminal.said and "]: " not in terminal.said


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_nothing_is_asked_where_a_stream_is_no_terminal(stream: str) -> None:
    master, slave = os.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": subprocess.PIPE, stream: subprocess.DEVNULL}
    command = [sys.executable, "-m", "bakeoff", "new", "task"]
    ran = subprocess.run([*command, "mine"], **streams, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert Path("mine/task.toml").is_file()
    lacking = subprocess.run(command, **streams, timeout=60, check=False)
    assert lacking.returncode == 2
    assert lacking.stderr.decode().splitlines() == [
        "error: bakeoff new: PATH: is missing (wanted a folder for the task, not there yet)"
    ]
    os.close(master)
    os.close(slave)


def test_every_option_comes_into_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "task", "mine", *EVERYTHING, "--need", "jq"]) == 0
    said = capsys.readouterr()
    assert "mine/tests/check.py" in said.out.splitlines()
    assert "bakeoff check mine" in said.err
    task = load_task("mine")
    assert (task.description, task.category, task.difficulty) == ("d", "c", "hard")
    assert task.environment.needs[-2:] == ("git", "jq")
    assert task.steps[0].agent.timeout_sec == 5
    assert task.metadata["license"] == "MIT"


def test_everything_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["--kind", "fiel", "--difficulty", "hrad", "--need", "a b", "--agent-timeout", "0"]
    for what in ("task", "dataset"):
        assert main(["new", what, "mine", *wrong]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert [line.split(": ")[1] for line in said.err.splitlines()] == wrong[::2]
    assert list(Path().iterdir()) == []


def test_a_folder_that_may_not_be_written_to_is_told(ordinary_user, tmp_path: Path) -> None:
    locked = ordinary_user.home / "locked"
    assert ordinary_user.run(["mkdir", "-m", "555", locked]).returncode == 0
    for what in ("task", "dataset"):
        ran = ordinary_user.bakeoff("new", what, locked / "mine")
        assert ran.returncode == 2
        assert ran.stderr == f"error: {locked}/mine: cannot be written: Permission denied\n"
    assert list(locked.iterdir()) == []
