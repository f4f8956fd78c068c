"""The records API as the judge plays it: with a script of faults, and with an eye on every request."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CREDENTIALS = {"client": "judge", "secret": "not-the-demo-secret"}
SLACK = 0.003  # seconds that clocks may differ
PATIENCE = 30  # seconds for which a held request is held at most

Entry = dict[str, object]


class Data:
    """Records, and the feed of what happened to them."""

    def __init__(self) -> None:
        self.rev = 100
        self.records: dict[str, Entry] = {}
        self.feed: list[Entry] = []
        self.generation = 0

    def put(self, name: str, data: object) -> None:
        self.rev += 3
        self.records[name] = {"rev": self.rev, "data": data}
        self.feed.append({"id": name, "rev": self.rev, "data": data})

    def delete(self, name: str) -> None:
        self.rev += 3
        del self.records[name]
        self.feed.append({"id": name, "rev": self.rev, "deleted": True})

    def late(self, entry: Entry) -> None:
        self.feed.append(dict(entry))

    def forget(self, also: list[Entry]) -> None:
        """A new feed: the records that there are, and some more entries in its midst."""
        self.generation += 1
        self.feed = [{"id": name, **record} for name, record in sorted(self.records.items(), reverse=True)]
        middle = len(self.feed) // 2
        self.feed[middle:middle] = also


class Run:
    """What the API saw during one run of the program."""

    def __init__(self) -> None:
        self.requests = self.early = self.pages = self.tokens = self.ended = 0
        self.odd: list[str] = []
        self.busy = 0
        self.together = 0
        self.tries: dict[str, int] = {}


class Api:
    """The API; ``data`` may be changed between runs, and by ``at_page`` during one."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.lock = threading.RLock()
        self.token_lasts = 1000
        self.short_pages: dict[int, int] = {}  # by the number of the page in its run: how many entries it has
        self.script: deque[str] = (
            deque()
        )  # a fault for each request to come; then "" for ever, or the last if it ends in "*"
        self.at_page: dict[int, Callable[[], None]] = {}
        self.watch: Callable[[], None] = lambda: None
        self.hold_at = 0
        self.holding = threading.Event()
        self.go_on = threading.Event()
        self.given: dict[tuple[int, int], int] = {}
        self.twice = 0
        self.serial = 0
        self.token = ""
        self.token_left = 0
        self.closed_until = 0.0
        self.run = Run()
        api = self

        class Bound(Handler):
            pass

        Bound.api = api
        self.server = Server(("127.0.0.1", 0), Bound)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def begin(self, script: list[str] | None = None, hold_at: int = 0) -> None:
        """What comes is another run."""
        self.run = Run()
        self.script = deque(script or [])
        self.hold_at = hold_at
        self.holding.clear()
        self.go_on.clear()
        self.at_page = {}
        self.short_pages = {}
        self.twice = 0
        self.token = ""

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()

    def next_fault(self) -> str:
        if not self.script:
            return ""
        if self.script[0].endswith("*"):
            return self.script[0][:-1]
        return self.script.popleft()

    def cursor(self, place: int) -> str:
        """Different each time, and full of characters that have to be escaped."""
        self.serial += 1
        hidden = base64.b64encode(f"{self.data.generation}:{place}:{self.serial}".encode()).decode()
        return f"{hidden}+/&limit=1%41#é ;"

    def place(self, cursor: str) -> tuple[int, int]:
        hidden, found, rest = cursor.partition("+/&")
        if not found or rest != "limit=1%41#é ;":
            raise ValueError("not one of our cursors")
        generation, place, _ = base64.b64decode(hidden, validate=True).decode().split(":")
        return int(generation), int(place)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no news."""


class Handler(BaseHTTPRequestHandler):
    api: Api
    timeout = PATIENCE

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.take(self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 16)))

    def do_GET(self) -> None:
        self.take(b"")

    def take(self, body: bytes) -> None:
        api = self.api
        with api.lock:
            run = api.run
            run.requests += 1
            run.busy += 1
            run.together = max(run.together, run.busy)
            run.tries[self.path] = run.tries.get(self.path, 0) + 1
            api.watch()
            now = time.monotonic()
            if now < api.closed_until - SLACK:
                run.early += 1
                fault = f"429:{api.closed_until - now:.3f}"
            else:
                fault = api.next_fault()
        if fault.startswith("429"):
            wait = fault.partition(":")[2]
            api.closed_until = time.monotonic() + float(wait)
            self.answer(run, 429, {"error": "slow down"}, retry_after=wait)
        elif fault == "drop":
            run.busy -= 1
            self.close_connection = True
        elif fault.isdecimal():
            self.answer(run, int(fault), {"error": "our fault", "entries": [], "cursor": "x", "more": False})
        else:
            url = urlsplit(self.path)
            if self.command == "POST" and url.path == "/token":
                self.give_token(run, body, fault)
            elif self.command == "GET" and url.path == "/changes":
                self.give_page(run, {key: values[-1] for key, values in parse_qs(url.query).items()}, fault)
            else:
                run.odd.append(f"{self.command} {url.path}")
                self.answer(run, 404, {"error": "no such thing"})

    def give_token(self, run: Run, body: bytes, fault: str) -> None:
        try:
            right = json.loads(body) == CREDENTIALS
        except ValueError:
            right = False
        if not right:
            self.answer(run, 403, {"error": "wrong credentials"})
            return
        with self.api.lock:
            if not fault:
                run.tokens += 1
            self.api.serial += 1
            self.api.token = f"t{self.api.serial}.x-y_z"
            self.api.token_left = self.api.token_lasts
        self.answer(run, 200, {"token": self.api.token}, fault)

    def give_page(self, run: Run, query: dict[str, str], fault: str) -> None:
        api = self.api
        with api.lock:
            ours = bool(api.token) and self.headers.get("Authorization") == f"Bearer {api.token}"
            if ours:
                api.token_left -= 1
            if not ours or api.token_left < 0:
                run.ended += ours
                self.answer(run, 401, {"error": "the token has ended"})
                return
            if query.get("limit") != "100":
                run.odd.append("a page that is not asked for with limit=100")
        if run.pages + 1 == api.hold_at:
            api.holding.set()
            api.go_on.wait(PATIENCE)
            run.busy -= 1
            self.close_connection = True
            return
        with api.lock:
            try:
                generation, first = api.place(query["cursor"]) if "cursor" in query else (api.data.generation, 0)
            except ValueError:
                run.odd.append("a cursor that is none")
                self.answer(run, 400, {"error": "not a cursor"})
                return
            if generation != api.data.generation:
                self.answer(run, 410, {"error": "an earlier feed"})
                return
            page = self.cut_out(run, first, counts=not fault)
        self.answer(run, 200, page, fault)

    def cut_out(self, run: Run, first: int, counts: bool) -> Entry:
        """The entries after a place; ``counts``: they arrive."""
        api = self.api
        number = run.pages + 1
        last = min(len(api.data.feed), first + api.short_pages.get(number, 100))
        entries = api.data.feed[first:last]
        page: Entry = {"entries": entries, "cursor": api.cursor(last), "more": last < len(api.data.feed)}
        if counts:
            run.pages = number
            for place in range(first, last):
                key = (api.data.generation, place)
                api.given[key] = api.given.get(key, 0) + 1
                api.twice += api.given[key] > 1
            change = api.at_page.pop(number, None)
            if change is not None:
                change()
                page["more"] = True
        return page

    def answer(self, run: Run, status: int, body: object, fault: str = "", retry_after: str = "") -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        head = [f"HTTP/1.0 {status} Whatever", "Content-Type: application/json; charset=utf-8"]
        if retry_after:
            head.append(f"Retry-After: {retry_after}")
        if fault != "bare":
            head.append(f"Content-Length: {len(data)}")
        whole = "\r\n".join(head).encode() + b"\r\n\r\n" + (data[: len(data) * 2 // 3] if fault else data)
        with self.api.lock:
            run.busy -= 1
        self.close_connection = True
        self.wfile.write(whole)
