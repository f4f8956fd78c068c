# Wrong: names are taken as they stand in the address, percent signs and all.
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PRICES = Path("/app/prices.json")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        prices = json.loads(PRICES.read_text(encoding="utf-8"))
        folder, _, name = self.path.lstrip("/").partition("/")
        if folder == "prices" and name in prices:
            self.answer(200, {"name": name, "cents": prices[name]})
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
