"""A small agent for tests: it talks to its model through chat completions, and runs the commands that it is told to.

``walker.py [--tries N] [--pause S] [--stream] [--then COMMAND]``: N tries of a request that fails, S seconds between them;
COMMAND is run at the end.
Needs the standard library alone. It prints what it is told and what it gets.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

TOOL = {
    "type": "function",
    "function": {
        "name": "shell",
        "description": "Run a command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    },
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--then", default="")
    options = parser.parse_args()
    with open(os.environ["BAKEOFF_INSTRUCTION_FILE"]) as file:
        instruction = file.read()
    messages = [
        {"role": "system", "content": f"You work in {os.getcwd()}. Your trial is {os.environ['BAKEOFF_RUN_ID']}."},
        {"role": "user", "content": instruction},
    ]
    if skills := os.environ.get("BAKEOFF_SKILLS_DIR"):
        messages[0]["content"] += f" Skills are in {skills}."
    while True:
        message = ask(messages, options)
        messages.append(message)
        print("said:", message.get("content"))
        calls = message.get("tool_calls") or []
        for call in calls:
            command = json.loads(call["function"]["arguments"])["command"]
            ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            print("ran:", command, "->", ran.stdout + ran.stderr)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": ran.stdout + ran.stderr})
        if not calls:
            break
    if options.then:
        subprocess.run(["sh", "-c", options.then], check=False)
    return 0


def ask(messages: list[dict], options: argparse.Namespace) -> dict:
    body = {"model": os.environ["BAKEOFF_MODEL"], "messages": messages, "tools": [TOOL]}
    if options.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if options.search:
        body["web_search_options"] = {}
    for number in range(1, options.tries + 1):
        request = urllib.request.Request(
            os.environ["OPENAI_BASE_URL"] + "/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return read_stream(answer) if options.stream else json.load(answer)["choices"][0]["message"]
        except urllib.error.HTTPError as error:
            print("refused:", error.code, error.read().decode(), flush=True)
        except OSError as error:
            print("broken:", error, flush=True)
        if number < options.tries:
            time.sleep(options.pause)
    sys.exit(7)


def read_stream(answer) -> dict:
    """The message that the events of a stream come to."""
    message: dict = {"role": "assistant", "content": ""}
    calls: dict[int, dict] = {}
    ended = False
    for line in answer:
        if not line.startswith(b"data: "):
            continue
        if line.strip() == b"data: [DONE]":
            ended = True
            break
        for choice in json.loads(line[6:])["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            for part in delta.get("tool_calls") or []:
                call = calls.setdefault(part["index"], {"type": "function", "function": {"name": "", "arguments": ""}})
                call["id"] = part.get("id") or call["id"]
                call["function"]["name"] += part["function"].get("name") or ""
                call["function"]["arguments"] += part["function"].get("arguments") or ""
    if not ended:
        raise OSError("the stream was cut")
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


sys.exit(main())
