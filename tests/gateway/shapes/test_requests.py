"""What real agents ask, in the one form. The samples are their requests, with long texts cut and what names a machine replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.gateway.shapes.all import parse_request
from bakeoff.gateway.shapes.base import Ask
from bakeoff.gateway.shapes.reading import BadShape
from bakeoff.records.exchanges import Api

SAMPLES = Path(__file__).parent / "samples"
GEMINI = "/v1beta/models/demo:streamGenerateContent?alt=sse"
TASK = "Create hello.txt with the word hi"


def sample(name: str, api: Api, path: str = "/v1/x") -> Ask:
    return parse_request(api, path, (SAMPLES / f"{name}.json").read_bytes())


def roles(ask: Ask) -> list[str]:
    return [message.role for message in ask.messages]


def test_codex_has_its_system_texts_first_and_one_answer_with_two_calls() -> None:
    ask = sample("codex", "openai-responses")
    assert roles(ask) == ["system", "system", "user", "user", "assistant", "tool", "tool"]
    assert ask.messages[3].text == TASK
    answer = ask.messages[4]
    assert answer.text == "Two at once."
    assert [call.arguments for call in answer.calls] == ['{"cmd":"sleep 0.3; echo one"}', '{"cmd":"echo two"}']
    assert [call.id for call in answer.calls] == [message.call_id for message in ask.messages[5:]]
    assert ask.messages[5].text.endswith("one\n")
    assert (ask.model, ask.stream) == ("demo", True)


def test_tools_in_a_namespace_carry_its_name() -> None:
    tools = sample("codex", "openai-responses").tools
    assert [tool.name for tool in tools] == ["exec_command", "multi_agent_v1.close_agent"]
    assert tools[0].schema["required"] == ["cmd"]


def test_claude_code_has_results_in_the_order_of_the_calls_though_it_sends_them_as_they_end() -> None:
    ask = sample("claude-code", "anthropic-messages")
    assert b'"content": "two"' in (SAMPLES / "claude-code.json").read_bytes().split(b'"content": "one"')[0]
    assert roles(ask) == ["system", "user", "system", "assistant", "tool", "tool"]
    assert [message.text for message in ask.messages[4:]] == ["one", "two"]
    assert TASK in ask.messages[1].text
    assert [tool.name for tool in ask.tools] == ["Bash", "Read"]
    assert ask.messages[3].calls[0].arguments == '{"command":"sleep 0.3; echo one"}'


def test_mini_swe_agent_asks_for_no_stream() -> None:
    ask = sample("mini-swe-agent", "openai-chat")
    assert roles(ask) == ["system", "user", "assistant", "tool"]
    assert not ask.stream
    assert ask.messages[3].call_id == ask.messages[2].calls[0].id


def test_qwen_code_and_opencode_want_the_usage_of_their_streams() -> None:
    for name in ("qwen-code", "opencode"):
        ask = sample(name, "openai-chat")
        assert (ask.stream, ask.include_usage) == (True, True)
    assert sample("opencode-title", "openai-chat").tools == ()


def test_gemini_names_model_and_stream_in_its_path() -> None:
    ask = sample("gemini-cli", "gemini", GEMINI)
    assert (ask.model, ask.stream) == ("demo", True)
    assert roles(ask) == ["system", "user", "assistant", "tool", "tool"]
    assert "Output: one" in ask.messages[3].text
    assert ask.messages[3].text.startswith("<untrusted_context>"), "the object around a single text is taken off"
    assert [tool.name for tool in ask.tools] == ["run_shell_command"]
    assert not sample("gemini-cli", "gemini", "/v1beta/models/demo:generateContent").stream


def test_the_size_is_the_bodys() -> None:
    body = (SAMPLES / "codex.json").read_bytes()
    assert parse_request("openai-responses", "/v1/responses", body).size == len(body)


def test_plain_input_of_responses_is_the_users_word() -> None:
    ask = parse_request("openai-responses", "/", b'{"model":"m","instructions":"Be kind.","input":"hello"}')
    assert [(message.role, message.text) for message in ask.messages] == [("system", "Be kind."), ("user", "hello")]


def test_what_is_no_text_is_named() -> None:
    body = b'{"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":{}}]}]}'
    assert parse_request("anthropic-messages", "/", body).messages[0].text == "see\n[image]"


def test_reasoning_of_earlier_answers_is_kept() -> None:
    body = b"""{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},
        {"type":"text","text":"so"}]}]}"""
    assert parse_request("anthropic-messages", "/", body).messages[0].reasoning == "hm"
    body = b'{"messages":[{"role":"assistant","reasoning_content":"hm","content":"so"}]}'
    assert parse_request("openai-chat", "/", body).messages[0].reasoning == "hm"


def test_half_a_character_in_a_tools_output_does_not_stop_a_request() -> None:
    body = rb'{"messages":[{"role":"user","content":"cut \ud83d, whole \ud83d\ude00, spelled \\ud83d"}]}'
    text = parse_request("openai-chat", "/", body).messages[0].text
    assert text == "cut �, whole \U0001f600, spelled \\ud83d"


def test_invalid_utf8_is_replaced() -> None:
    body = b'{"messages":[{"role":"user","content":"\xff\xfe"}]}'
    assert parse_request("openai-chat", "/", body).messages[0].text == "��"


@pytest.mark.parametrize(
    ("api", "body", "said"),
    [
        ("openai-chat", b"", "not JSON"),
        ("openai-chat", b"[]", "not a JSON object, but an array"),
        ("openai-chat", b"{}", "messages: missing, wanted an array of objects"),
        ("openai-chat", b'{"messages": "x"}', "messages: a string"),
        ("anthropic-messages", b'{"messages": [1]}', "messages[0]: a number, wanted an object"),
        ("openai-responses", b'{"input": 3}', "input: a number, wanted a string or an array"),
        ("gemini", b'{"contents": [null]}', "contents[0]: null"),
        ("openai-embeddings", b"nope", "not JSON"),
        ("openai-chat", b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(api: Api, body: bytes, said: str) -> None:
    with pytest.raises(BadShape) as caught:
        parse_request(api, "/", body)
    assert said in str(caught.value)
