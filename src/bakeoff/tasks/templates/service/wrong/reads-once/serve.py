# Wrong: the prices are those of the file when the service started.
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PRICES = json.loads(Path("/app/prices.json").read_text(encoding="utf-8"))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        folder, _, name = unquote(self.path).lstrip("/").partition("/")
        if folder == "prices" and name in PRICES:
            self.answer(200, {"name": name, "cents": PRICES[name]})
        else:
            self.answer(404, {"error": "no such name"})

    def answer(self, status: int, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
