"""A model's API with canned answers, on a socket that listens inside a sandbox: first a shell command, then the end."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from bakeoff.sandboxes.base import Sandbox

Asked = list[tuple[str, str, dict[str, Any]]]
"""Requests in order: method, path, body."""


class Canned:
    """Answers ``line`` as the agent's only command, whichever tool it offers for that; ``asked`` has every request with a body.

    With ``refuse`` each of them gets that status instead.
    """

    def __init__(self, line: str) -> None:
        self.line = line
        self.asked: Asked = []
        self.keys: set[str] = set()
        self.refuse = 0

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The bodies that asked for an answer with tools."""
        return [body for _, _, body in self.asked if body.get("tools")]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.keys |= {
            request.headers[name]
            for name in ("Authorization", "x-api-key", "x-goog-api-key")
            if name in request.headers
        }
        if request.method != "POST":
            return web.json_response({"object": "list", "data": []})
        body = await request.json()
        self.asked.append((request.method, request.path, body))
        if self.refuse:
            error = {"type": "replay_diverged", "message": "not what was recorded"}
            headers = {"x-should-retry": "false"}
            return web.json_response({"type": "error", "error": error}, status=self.refuse, headers=headers)
        done = _results(body) > 0 or not body.get("tools")
        if request.path.endswith("/responses"):
            return await _stream(request, _responses(self.line, done, body))
        if request.path.endswith("/messages"):
            return await _stream(request, _messages(self.line, done, body))
        if request.path.endswith("/chat/completions"):
            whole = _completion(self.line, done, body)
            return await _stream(request, _chunks(whole)) if body.get("stream") else web.json_response(whole)
        if "streamGenerateContent" in request.path or "generateContent" in request.path:
            whole = _gemini(self.line, done, body)
            return await _stream(request, [whole]) if "stream" in request.path else web.json_response(whole)
        return web.json_response({"error": {"message": "no such path"}}, status=404)


@asynccontextmanager
async def served(sandbox: Sandbox, canned: Canned) -> AsyncIterator[str]:
    """The address of ``canned`` inside ``sandbox``, without a path."""
    door = await sandbox.listen(0)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", canned.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        assert isinstance(door.socket, socket.socket)
        await web.SockSite(runner, door.socket).start()
        yield f"http://{door.address}"
    finally:
        await runner.cleanup()
        await door.close()


def _results(body: dict[str, Any]) -> int:
    """How many results of tools the conversation has, in whichever shape."""
    text = json.dumps(body.get("input") or body.get("messages") or body.get("contents") or [])
    marks = (
        '"type": "function_call_output"',
        '"type": "tool_result"',
        '"role": "tool"',
        '"functionResponse"',
        "custom_tool_call_output",
    )
    return sum(text.count(mark) for mark in marks)


def shell_tool(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the parameters of the tool that runs a command."""
    found: list[tuple[str, dict[str, Any]]] = []
    for tool in body.get("tools", []):
        for each in [tool.get("function", tool), *tool.get("functionDeclarations", [])]:
            schema = each.get("parameters") or each.get("input_schema") or each.get("parametersJsonSchema") or {}
            found.append((each.get("name", ""), schema.get("properties", {})))
    for wanted in ("cmd", "command"):
        for name, properties in found:
            if wanted in properties and any(part in name.lower() for part in ("bash", "shell", "exec", "terminal")):
                return name, properties
    raise AssertionError(f"no tool for commands among {[name for name, _ in found]}")


def _call(line: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name, properties = shell_tool(body)
    key = "cmd" if "cmd" in properties else "command"
    value: Any = ["sh", "-c", line] if properties[key].get("type") == "array" else line
    extra = {"description": "as told"} if "description" in properties else {}
    return name, {key: value, **extra}


async def _stream(request: web.Request, events: list[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        head = f"event: {event['type']}\n" if "type" in event else ""
        await response.write(f"{head}data: {json.dumps(event)}\n\n".encode())
    if request.path.endswith("/chat/completions"):
        await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _responses(line: str, done: bool, body: dict[str, Any]) -> list[dict[str, Any]]:
    if done:
        text = [{"type": "output_text", "text": "Done.", "annotations": []}]
        item: dict[str, Any] = {"type": "message", "role": "assistant", "id": "m1", "content": text}
    else:
        name, arguments = _call(line, body)
        item = {"type": "function_call", "id": "f1", "call_id": "c1", "name": name, "arguments": json.dumps(arguments)}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    return [
        {"type": "response.created", "response": {"id": "r1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "r1", "usage": usage}},
    ]


def _messages(line: str, done: bool, body: dict[str, Any]) -> list[dict[str, Any]]:
    block: dict[str, Any] = {"type": "text", "text": ""}
    delta: dict[str, Any] = {"type": "text_delta", "text": "Done."}
    if not done:
        name, arguments = _call(line, body)
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "usage": usage,
    }
    return [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn" if done else "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


def _completion(line: str, done: bool, body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "Done."}
    if done and [tool["function"]["name"] for tool in body.get("tools", [])] == ["bash"]:
        line, done = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", False  # mini-swe-agent ends by this alone
    if not done:
        name, arguments = _call(line, body)
        call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "stop" if done else "tool_calls"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {
        "id": "x1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


def _chunks(whole: dict[str, Any]) -> list[dict[str, Any]]:
    choice = whole["choices"][0]
    delta = dict(choice["message"])
    if delta.get("tool_calls"):
        delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(delta["tool_calls"])]
    head = {**whole, "object": "chat.completion.chunk"}
    return [
        {**head, "usage": None, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
    ]


def _gemini(line: str, done: bool, body: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = {"text": "Done."}
    if not done:
        name, arguments = _call(line, body)
        part = {"functionCall": {"name": name, "args": arguments}}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"}
