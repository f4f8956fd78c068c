"""Jobs whose agent is ``walker.py``, and a provider of models on loopback for them to talk to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from bakeoff.records.exchanges import Exchange
from bakeoff.records.fixture_lines import exchanges_file, read_lines
from bakeoff.records.fixtures import read_fixture
from bakeoff.records.journal import read_results
from bakeoff.records.results import TrialResult

WALKER = Path(__file__).parent / "walker.py"
AGENT = ("--agent-cmd", 'python3 "$BAKEOFF_AGENT_FILES/walker.py"', "--agent-files", WALKER)
SOLVE = "echo done > answer.txt"


def walker(options: str) -> tuple[str | Path, ...]:
    """The options of a run whose agent is the walker with ``options``."""
    return ("--agent-cmd", f'python3 "$BAKEOFF_AGENT_FILES/walker.py" {options}', "--agent-files", WALKER)


def script(path: Path, *commands: str, final: str = "Done.", more: str = "") -> str:
    """A scripted model that runs ``commands``, one a turn, as ``-m`` takes it."""
    turns = "".join(f"[[turn]]\nshell = {json.dumps(command)}\n{more}" for command in commands)
    path.write_text(f"final = {json.dumps(final)}\n{turns}")
    return f"scripted:{path}"


def the_result(tmp_path: Path, job: str) -> TrialResult:
    """Of the only trial of a job."""
    (result,) = read_results(tmp_path / "jobs" / job)
    return result


def told(tmp_path: Path, job: str, *below: str) -> str:
    """The text of a file of the job's only trial."""
    return Path(tmp_path, "jobs", job, the_result(tmp_path, job).path, *below).read_text()


def recording(job: Path) -> Path:
    """The fixture of a job's only trial."""
    (found,) = read_results(job)
    return job / found.path / "fixture"


def exchanges(folder: Path) -> list[Exchange]:
    """The exchanges of a fixture, or of a job's only trial."""
    return list(read_fixture(recording(folder) if (folder / "job.json").exists() else folder).exchanges)


def bodies(folder: Path, side: Literal["request", "response"]) -> list[Any]:
    """What was asked or answered in a fixture, or in a job's only trial, as JSON."""
    fixture = read_fixture(recording(folder) if (folder / "job.json").exists() else folder)
    return [json.loads(fixture.body(exchange, side)) for exchange in fixture.exchanges]


def edit_lines(fixture: Path, change: Callable[[list[Any]], object]) -> None:
    """Change the lines of a recording by hand."""
    file = exchanges_file(fixture)
    lines = [json.loads(line) for line in read_lines(file)]
    change(lines)
    file.unlink()
    (fixture / "exchanges.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def edit_json(file: Path, **fields: object) -> None:
    """Change fields of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


Play = Callable[["Asked"], None]


class Asked:
    """One request that the provider has, and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.handler = handler
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = body
        self.at = time.monotonic()

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    def answer(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(data)))
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def chunks(self, *parts: bytes, whole: bool = True) -> None:
        """A stream of events; without ``whole`` it is cut off."""
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", "text/event-stream")
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()
        for part in parts:
            self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.handler.wfile.flush()
        if whole:
            self.handler.wfile.write(b"0\r\n\r\n")
        else:
            self.handler.close_connection = True


def message(text: str = "", *commands: str, model: str = "tiny-1", usage: tuple[int, int] = (100, 20)) -> bytes:
    """A whole answer of chat completions."""
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "shell", "arguments": json.dumps({"command": one})},
        }
        for number, one in enumerate(commands)
    ]
    said = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if calls else "stop"}
    used = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "model": model, "choices": [choice], "usage": used}
    ).encode()


def events(*pieces: str) -> list[bytes]:
    """A stream of chat completions that says ``pieces``, an event each, without its end."""
    deltas = [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces]
    return [
        b"data: "
        + json.dumps({"id": "x", "object": "chat.completion.chunk", "model": "tiny-1", "choices": [one]}).encode()
        + b"\n\n"
        for one in deltas
    ]


class Provider:
    """Answers the n-th request with the n-th of ``plays``, and all after the last with the last. ``asked`` has every request."""

    def __init__(self) -> None:
        self.plays: list[Play] = []
        self.asked: list[Asked] = []
        self.url = ""

    def take(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.plays[min(len(self.asked), len(self.plays)) - 1](asked)


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that listens on loopback while the context lasts."""
    told = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            told.take(Asked(self, self.rfile.read(int(self.headers.get("Content-Length") or 0))))

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Tests print what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
