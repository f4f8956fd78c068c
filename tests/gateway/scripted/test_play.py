"""Which turn is played, with what tool, and how a run ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.gateway.scripted import shells
from bakeoff.gateway.scripted.play import number
from bakeoff.gateway.shapes.all import parse_request
from bakeoff.gateway.shapes.base import Tool
from bakeoff.gateway.traffic import Refused
from bakeoff.records.exchanges import Api

from .conftest import BASH, Make, ask, chat, result, said, tool, user

SAMPLES = Path(__file__).parent.parent / "shapes" / "samples"
TWO = """
name = "two turns"
final = "All done."
[[turn]]
text = "One."
shell = "echo one"
[[turn]]
expect = "o+ne"
shell = "echo two"
"""


async def test_the_number_of_answers_decides_the_turn(make: Make) -> None:
    script = make(TWO)
    first = await ask(script, chat(user()))
    assert (first.turn.text, first.command) == ("One.", "echo one")
    ident = first.turn.calls[0].id
    history = [user(), said(ident), result("one", ident)]
    assert (await ask(script, chat(*history))).command == "echo two"
    last = await ask(script, chat(*history, said("x"), result("two", "x")))
    assert (last.turn.text, last.turn.calls, last.turn.stop) == ("All done.", (), "end")


async def test_a_retry_gets_the_same_turn_and_a_sub_agent_the_first(make: Make) -> None:
    script = make(TWO)
    history = [user(), said("a"), result("one", "a")]
    again = [await ask(script, chat(*history), seq=seq) for seq in (2, 3)]
    assert again[0].turn.calls == again[1].turn.calls
    assert (await ask(script, chat(user("You are a sub-agent")), seq=4)).command == "echo one"


async def test_a_request_without_tools_gets_a_short_text_and_takes_no_turn(make: Make) -> None:
    got = await ask(make(TWO), chat(user("Give a title"), tools=()))
    assert (got.turn.text, got.turn.calls) == ("two turns", ())


async def test_a_script_of_texts_is_played_to_agents_that_offer_no_tools(make: Make) -> None:
    script = make("[[turn]]\ntext = 'edit this'\n[[turn]]\ntext = 'and that'")
    assert (await ask(script, chat(user(), tools=()))).turn.text == "edit this"
    assert (await ask(script, chat(user(), said(text="edit this"), user("more"), tools=()))).turn.text == "and that"


@pytest.mark.parametrize(
    ("name", "api", "played"),
    [
        ("codex", "openai-responses", 1),
        ("claude-code", "anthropic-messages", 1),
        ("mini-swe-agent", "openai-chat", 1),
        ("gemini-cli", "gemini", 1),
        ("qwen-code", "openai-chat", 1),
        ("opencode", "openai-chat", 1),
        ("opencode-title", "openai-chat", 0),
    ],
)
def test_the_answers_in_real_requests_are_counted(name: str, api: Api, played: int) -> None:
    """qwen-code puts a greeting into the model's mouth, which is none of its answers."""
    path = "/v1beta/models/m:streamGenerateContent"
    assert number(parse_request(api, path, (SAMPLES / f"{name}.json").read_bytes())) == played


def test_calls_of_one_turn_count_once_though_results_stand_between() -> None:
    history = [user(), said("call_001_1"), result("x", "call_001_1"), said("call_001_2"), result("y", "call_001_2")]
    assert number(parse_request("openai-chat", "/", chat(*history))) == 1
    assert number(parse_request("openai-chat", "/", chat(*history, said("call_002_1")))) == 2


async def test_an_unexpected_result_ends_the_run_for_good(make: Make) -> None:
    script = make(TWO)
    history = [user(), said("a"), result("something else", "a")]
    got = await ask(script, chat(*history))
    assert got.turn.text.startswith(
        "The script stops here: the last tool result does not contain /o+ne/. It is:\nsomething"
    )
    assert got.turn.calls == ()
    again = await ask(script, chat(*history, said(text=got.turn.text), user("Go on: one")))
    assert (again.turn.text, again.turn.calls) == (got.turn.text, ())


async def test_before_the_first_turn_the_instruction_is_expected(make: Make) -> None:
    script = make("[[turn]]\nexpect = 'configure the git'\nshell = 'true'")
    assert (await ask(script, chat(user("Please configure the git server")))).command == "true"
    assert (await ask(script, chat(user("Please configure the svn server")))).turn.calls == ()


async def test_all_results_of_calls_at_once_are_looked_at_in_the_order_of_the_calls(make: Make) -> None:
    script = make("[[turn]]\nshell = 'x'\n[[turn]]\nexpect = 'one\\ntwo'\nshell = 'good'")
    history = [user(), said("a", "b"), result("two", "b"), result("one", "a")]
    assert (await ask(script, chat(*history))).command == "good"


async def test_mini_swe_agent_is_ended_by_its_command(make: Make) -> None:
    prompt = user("Finish with: echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
    history = [prompt, said("a"), result("one", "a")]
    script = make(TWO)
    assert (await ask(script, chat(*history))).command == "echo two"
    done = await ask(script, chat(*history, said("b"), result("two", "b")))
    assert (done.turn.text, done.command) == ("All done.", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
    stopped = await ask(script, chat(prompt, said("a"), result("no", "a")))
    assert stopped.command == "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


async def test_an_agent_with_a_tool_to_finish_is_ended_by_it(make: Make) -> None:
    body = chat(user(), said("a"), said("call_002_1"), tools=(BASH, tool("finish", "message")))
    (call,) = (await ask(make("final = 'Bye.'"), body)).turn.calls
    assert (call.name, json.loads(call.arguments)) == ("finish", {"message": "Bye."})


async def test_calls_by_name_are_made_as_written_and_at_once(make: Make) -> None:
    script = make("""
        [[turn]]
        shell = "true"
        tool_calls = [{ name = "Read", arguments = { path = "/x" } }, { name = "Read" }]
    """)
    calls = (await ask(script, chat(user()))).turn.calls
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("bash", {"command": "true"}),
        ("Read", {"path": "/x"}),
        ("Read", {}),
    ]
    assert len({call.id for call in calls}) == 3


async def test_an_agent_without_a_shell_is_told_so_and_its_run_ends(make: Make) -> None:
    with pytest.raises(Refused) as caught:
        await ask(make(TWO), chat(user(), tools=(tool("look", "path"),)))
    assert (caught.value.status, caught.value.kind, caught.value.final) == (400, "script_error", True)
    assert "no tool that runs a command is on offer" in caught.value.message
    assert "(there are: look)" in caught.value.message


ARGV: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
TEXT = {"type": "string"}


def offered(name: str, *required: str, kind: str = "function", **properties: Any) -> Tool:
    return Tool(name, schema={"type": "object", "properties": properties, "required": list(required)}, kind=kind)


FLAG = {"type": "boolean"}
SHELLS = [
    (offered("exec_command", cmd=TEXT, login=FLAG), {"cmd": "ls", "login": False}),
    (offered("shell", "command", command=ARGV), {"command": ["sh", "-c", "ls"]}),
    (Tool("local_shell", kind="local_shell"), {"type": "exec", "command": ["sh", "-c", "ls"], "env": {}}),
    (offered("Bash", command=TEXT), {"command": "ls"}),
    (offered("developer__shell", "command", command=TEXT), {"command": "ls"}),
    (
        offered("run_shell_command", "is_background", command={"type": "STRING"}, is_background=FLAG),
        {"command": "ls", "is_background": False},
    ),
    (
        offered(
            "execute_bash", "security_risk", command=TEXT, security_risk={"type": "string", "enum": ["LOW", "HIGH"]}
        ),
        {"command": "ls", "security_risk": "LOW"},
    ),
    (
        offered("my_runner", "cmd", "n", cmd={"anyOf": [TEXT, {"type": "null"}]}, n={"type": "integer"}),
        {"cmd": "ls", "n": 60},
    ),
]


@pytest.mark.parametrize(("shell", "wanted"), SHELLS, ids=lambda value: value.name if isinstance(value, Tool) else "")
def test_each_agents_shell_is_found_and_called_as_it_wants(shell: Tool, wanted: dict[str, Any]) -> None:
    found = shells.find((offered("look", path=TEXT), shell))
    assert found is not None
    assert json.loads(shells.arguments(*found, "ls")) == wanted


def test_a_known_shell_goes_before_another_tool_with_a_command() -> None:
    found = shells.find((offered("monitor", command=TEXT), offered("Bash", command=TEXT)))
    assert found is not None
    assert found[0].name == "Bash"
