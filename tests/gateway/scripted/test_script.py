"""Scripts in files and folders, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import InputError
from bakeoff.gateway.scripted import script
from bakeoff.gateway.scripted.source import Scripted


def load(text: str, task: str = "demo") -> script.Script:
    return script.for_task(script.parse(text.encode(), "s.toml"), task, "s.toml")


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(text)
    return str(caught.value)


def test_turns_have_their_keys() -> None:
    found = load("""
        name = "demo"
        [[turn]]
        text = "first"
        reasoning = "why"
        shell = "true"
        delay_sec = 0.5
        tool_calls = [{ name = "Read", arguments = { path = "/x", lines = [1, 2] } }]
        [[turn]]
        expect = "ok$"
        status = 529
        message = "busy"
    """)
    assert (found.name, found.final, len(found.turns)) == ("demo", "Done.", 2)
    assert found.turns[0].tool_calls[0].arguments == {"path": "/x", "lines": [1, 2]}
    assert (found.turns[1].status, found.turns[1].expect) == (529, "ok$")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[turn]]\nshel = 'x'", "s.toml: turn[0].shel: unknown key (did you mean 'shell'?)"),
        ("[[turn]]\nshell = 3", "s.toml: turn[0].shell: wrong value (found 3; wanted a string"),
        ("[[turn]]\nshell = ''", "turn[0].shell: wrong value (found ''"),
        ("[[turn]]", "s.toml: turn[0]: a turn that says nothing (wanted text, shell, tool_calls or status)"),
        ("[[turn]]\nstatus = 200", "turn[0].status: wrong value (found 200; wanted the status of an HTTP error"),
        ("[[turn]]\ntext = 'x'\nmessage = 'y'", "turn[0].message: a message without a status"),
        ("[[turn]]\ntext = 'x'\nexpect = '('", "turn[0].expect: not a regular expression"),
        (
            "[[turn]]\ntext = 'x'\ndelay_sec = -1",
            "turn[0].delay_sec: wrong value (found -1; wanted a number of at least 0",
        ),
        ("[[turn]]\ntool_calls = [{}]", "turn[0].tool_calls[0].name: missing"),
        ("[task.a]\n[[task.a.turn]]\nx = 1", "task.a.turn[0].x: unknown key"),
        ("name = 'x'", "s.toml: turn: missing (wanted at least one [[turn]])"),
        ("", "turn: missing"),
        ("turn = ", "s.toml: not TOML"),
        ("turn = 'x'", "turn: wrong value"),
        ('[[turn]]\ntext = "\\u0000"', "a NUL character"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    assert said in refused(text)


def test_everything_wrong_is_said_at_once() -> None:
    message = refused("nam = 'x'\n[[turn]]\nshell = 3\n[[turn]]\nstatus = 1")
    assert all(part in message for part in ("nam:", "turn[0].shell", "turn[1].status"))


def test_a_script_of_no_turns_says_its_last_word() -> None:
    assert load("final = 'Nothing to do.'").turns == ()


TASKS = """
final = "Over."
[task.one]
[[task.one.turn]]
text = "for one"
[task."two@b"]
final = "Mine."
"""


def test_a_task_has_its_own_turns() -> None:
    assert load(TASKS, "one").turns[0].text == "for one"
    assert load(TASKS, "one@case").turns[0].text == "for one"
    assert (load(TASKS, "one").final, load(TASKS, "two@b").final) == ("Over.", "Mine.")


def test_a_task_without_turns_of_its_own_gets_those_of_all_or_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match=r"no script for this task \(found ones; wanted one, two@b; did you mean 'one'"
    ):
        load(TASKS, "ones")
    assert load("[[turn]]\ntext = 'all'\n" + TASKS.replace('final = "Over."', ""), "other").turns[0].text == "all"


def folder(tmp_path: Path) -> Path:
    (tmp_path / "count-words.toml").write_text("[[turn]]\ntext = 'toml'")
    (tmp_path / "HumanEval-3.py").write_text("def reply(request):\n    return {'text': 'py'}\n")
    (tmp_path / "notes.md").write_text("not a script")
    return tmp_path


def test_a_folder_has_a_script_for_each_task(tmp_path: Path) -> None:
    there = folder(tmp_path)
    assert Scripted.load(there, task="count-words").path == there / "count-words.toml"
    assert Scripted.load(there, task="count-words@hard").path == there / "count-words.toml"
    assert Scripted.load(there, task="HumanEval/3").path == there / "HumanEval-3.py"


def test_a_folder_without_the_tasks_script_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Scripted.load(folder(tmp_path), task="count-word")
    message = str(caught.value)
    assert all(part in message for part in (str(tmp_path), "HumanEval-3.py, count-words.toml", "count-word.toml or"))
    assert "did you mean 'count-words'?" in message


def test_two_scripts_for_one_task_are_refused(tmp_path: Path) -> None:
    (folder(tmp_path) / "count-words.py").write_text("def reply(request): ...")
    with pytest.raises(InputError, match=r"two scripts for one task \(found count-words.py, count-words.toml\)"):
        Scripted.load(tmp_path, task="count-words")


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.toml: cannot be read"):
        Scripted.load(tmp_path / "missing.toml", task="demo")
    with pytest.raises(InputError, match=r"not a script \(found \.md; wanted a file \.toml or \.py, or a folder\)"):
        Scripted.load(folder(tmp_path) / "notes.md", task="demo")


def test_the_digest_is_the_bytes(tmp_path: Path) -> None:
    there = folder(tmp_path)
    first = Scripted.load(there, task="count-words").digest
    assert first == Scripted.load(there / "count-words.toml", task="other").digest
    (there / "count-words.toml").write_text("[[turn]]\ntext = 'changed'")
    assert Scripted.load(there, task="count-words").digest != first


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="[]turn=\"'\n01.task{},x ", max_size=60))
def test_any_text_is_a_script_or_an_input_error(text: str) -> None:
    try:
        assert isinstance(script.parse(text.encode("utf-8", "replace"), "s.toml"), script.ScriptFile)
    except InputError as error:
        assert "s.toml" in str(error)
