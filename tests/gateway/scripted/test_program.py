"""Scripts in Python."""

from __future__ import annotations

import pytest

from bakeoff.errors import InputError
from bakeoff.gateway.scripted.source import Scripted
from bakeoff.gateway.traffic import Refused

from .conftest import Make, ask, chat, result, said, user

LOOKS = '''
from dataclasses import dataclass

def reply(request):
    """Read what came, and act on it."""
    if request.turn == 0:
        return {"text": request.task, "shell": "ls"}
    names = request.messages[-1].text.split()
    return {"shell": f"cat {names[0]}"} if request.turn == 1 else None
'''


def program(make: Make, text: str) -> Scripted:
    return make(text, name="program.py", task="HumanEval/3")


async def test_a_program_decides_by_what_came(make: Make) -> None:
    script = program(make, LOOKS)
    first = await ask(script, chat(user()))
    assert (first.turn.text, first.command) == ("HumanEval/3", "ls")
    history = [user(), said("a"), result("b.txt c.txt", "a")]
    assert (await ask(script, chat(*history))).command == "cat b.txt"
    assert (await ask(script, chat(*history, said("b"), result("", "b")))).turn.text == "Done."


async def test_side_calls_are_answered_for_a_program_that_does_not_look(make: Make) -> None:
    assert (await ask(program(make, LOOKS), chat(user("a title"), tools=()))).turn.text == "program"


async def test_a_program_may_give_a_turn_itself(make: Make) -> None:
    text = """
from bakeoff.gateway.shapes.base import Call, Turn

def reply(request):
    return Turn(text="so", calls=(Call("mine", "bash", '{"command": "tru'),))
"""
    (call,) = (await ask(program(make, text), chat(user()))).turn.calls
    assert (call.id, call.arguments) == ("mine", '{"command": "tru')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "def reply(request):\n    x = 1\n    return 1 / 0\n",
            "program.py:3: reply() raises ZeroDivisionError: division by",
        ),
        ("def reply(request):\n    return 3\n", "reply() gives int, wanted a dict"),
        ("def reply(request):\n    return {'shel': 'x'}\n", "reply().shel: unknown key (did you mean 'shell'?)"),
        ("def reply(request):\n    return {'text': object()}\n", "cannot be written as JSON"),
        ("def reply(request):\n    return {'text': '\\ud800'}\n", "cannot be written as JSON"),
        ("def reply(request):\n    return {}\n", "reply(): a turn that says nothing"),
    ],
)
async def test_a_program_that_fails_ends_the_run_with_its_place(make: Make, text: str, told: str) -> None:
    with pytest.raises(Refused) as caught:
        await ask(program(make, text), chat(user()))
    assert (caught.value.status, caught.value.kind, caught.value.final) == (400, "script_error", True)
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def reply(\n", "program.py:1: not Python"),
        ("import math\nmath.sqrt(-1)\n", "program.py:2: raises ValueError"),
        ("replay = 1\n", "program.py: reply: missing (wanted a function reply(request)"),
        ("reply = 3\n", "reply: missing"),
        ("x = '\0'\n", "program.py"),
    ],
)
def test_a_file_that_is_no_program_is_refused_before_anything_runs(make: Make, text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        program(make, text)
    assert told in str(caught.value)
