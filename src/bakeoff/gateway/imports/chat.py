"""Messages of an imported turn as a request of chat completions: the form in which a fixture without raw bytes holds them."""

from __future__ import annotations

from typing import Any

from bakeoff.gateway.shapes.base import Ask, Call, Message, Tool
from bakeoff.gateway.shapes.reading import dump_bytes

PATH = "/v1/chat/completions"


def request(ask: Ask) -> bytes:
    """The body; ``parse_request`` of chat completions gives the same messages and tools again."""
    body: dict[str, Any] = {"model": ask.model or "", "messages": [_message(message) for message in ask.messages]}
    if ask.tools:
        body["tools"] = [_tool(tool) for tool in ask.tools]
    return dump_bytes(body)


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        made["tool_call_id"] = message.call_id or ""
    if message.reasoning:
        made["reasoning_content"] = message.reasoning
    if message.calls:
        made["tool_calls"] = [_call(call) for call in message.calls]
    return made


def _call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}
