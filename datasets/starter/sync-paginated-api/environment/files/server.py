"""A stand-in for the records API, to try things on: python3 server.py --port 8090 [--calm]

Beside what API.md describes, without a token:
  GET  /debug/records         what a mirror should have as "records" now
  GET  /debug/stats           what was asked for, and how often too early after a 429
  POST /debug/change          change, create and delete some records
  POST /debug/forget          throw the feed away and make a new one: old cursors give 410
"""

from __future__ import annotations

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CREDENTIALS = {"client": "workshop", "secret": "fictitious-demo-secret"}
TOKEN_LASTS = 6
RETRY_AFTER = 0.15


class State:
    """All that the server knows."""

    def __init__(self, calm: bool) -> None:
        self.calm = calm
        self.records: dict[str, dict[str, object]] = {}
        self.feed: list[dict[str, object]] = []
        self.rev = 0
        self.generation = 1
        self.token_left = 0
        self.tokens = 0
        self.closed_until = 0.0
        self.stats = {"requests": 0, "early": 0, "pages": 0, "tokens": 0}
        for number in range(730):
            self.put(f"r-{number:04}", {"name": f"Part {number}", "weight": number / 8})

    def put(self, name: str, data: object) -> None:
        self.rev += 1
        self.records[name] = {"rev": self.rev, "data": data}
        self.feed.append({"id": name, "rev": self.rev, "data": data})

    def delete(self, name: str) -> None:
        self.rev += 1
        self.records.pop(name, None)
        self.feed.append({"id": name, "rev": self.rev, "deleted": True})

    def change(self) -> None:
        names = sorted(self.records)
        late = {"id": names[0], **self.records[names[0]]}
        for name in names[5:8]:
            self.put(name, {"name": f"Part {name}, changed", "at": self.rev})
        self.delete(names[0])
        self.feed.append(late)
        self.put(f"n-{self.rev}", {"name": "new"})

    def forget(self) -> None:
        self.generation += 1
        self.delete(sorted(self.records)[-1])
        self.feed = [{"id": name, **record} for name, record in self.records.items()]


class Handler(BaseHTTPRequestHandler):
    state: State

    def do_POST(self) -> None:
        state = self.state
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/debug/change":
            state.change()
            self.answer(200, {})
        elif self.path == "/debug/forget":
            state.forget()
            self.answer(200, {})
        elif self.path != "/token":
            self.answer(404, {})
        elif self.welcome():
            try:
                right = json.loads(body) == CREDENTIALS
            except ValueError:
                right = False
            if right:
                state.stats["tokens"] += 1
                state.token_left = TOKEN_LASTS
                self.answer(200, {"token": f"token-{state.stats['tokens']}"})
            else:
                self.answer(403, {"error": "wrong credentials"})

    def do_GET(self) -> None:
        state = self.state
        url = urlsplit(self.path)
        if url.path == "/debug/records":
            self.answer(200, state.records)
        elif url.path == "/debug/stats":
            self.answer(200, state.stats)
        elif url.path != "/changes":
            self.answer(404, {})
        elif self.welcome():
            state.token_left -= 1
            wanted = f"Bearer token-{state.stats['tokens']}"
            if state.token_left < 0 or self.headers.get("Authorization") != wanted:
                self.answer(401, {"error": "no such token, or it has ended"})
            else:
                self.page({key: values[0] for key, values in parse_qs(url.query).items()})

    def page(self, query: dict[str, str]) -> None:
        state = self.state
        generation, _, start = query.get("cursor", f"{state.generation}/0&").rstrip("&").partition("/")
        if generation != str(state.generation):
            self.answer(410, {"error": "that cursor is of an earlier feed"})
            return
        first = int(start)
        last = first + min(100, max(1, int(query.get("limit", "20"))))
        state.stats["pages"] += 1
        cut = not state.calm and state.stats["pages"] % 6 == 3
        page = {"entries": state.feed[first:last], "cursor": f"{generation}/{min(last, len(state.feed))}&"}
        self.answer(200, {**page, "more": last < len(state.feed)}, cut=cut)

    def welcome(self) -> bool:
        """Whether the request is to be answered as it should; else it has been answered otherwise."""
        state = self.state
        now = time.monotonic()
        state.stats["requests"] += 1
        if now < state.closed_until:
            state.stats["early"] += 1
            self.answer(429, {}, {"Retry-After": f"{state.closed_until - now:.3f}"})
            return False
        if not state.calm and state.stats["requests"] % 7 == 4:
            state.closed_until = now + RETRY_AFTER
            self.answer(429, {}, {"Retry-After": str(RETRY_AFTER)})
            return False
        if not state.calm and state.stats["requests"] % 7 == 2:
            self.answer(500, {})
            return False
        return True

    def answer(self, status: int, body: object, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--calm", action="store_true", help="without faults")
    arguments = parser.parse_args()
    Handler.state = State(arguments.calm)
    ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
