"""The service: takes orders for labels over HTTP."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from urllib.parse import quote

from stampd.http import Handler, Server
from stampd.labels import Spool
from stampd.settings import Refused, Settings

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(settings: Settings) -> int:
    spool = Spool(settings)
    try:
        log = open(settings.access_log, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as we run
    except OSError as error:
        raise Refused(f"{settings.access_log}: {error}") from None

    class Service(Handler):
        def log_request(self, code: object = "-", size: object = "-") -> None:
            log.write(f"{self.command} {self.path} {int(str(code))}\n")

        def do_GET(self) -> None:
            if self.path == "/health":
                self.answer(200, {"status": "ok"})
            elif self.path == "/labels":
                self.answer(200, {"labels": spool.ids()})
            elif self.path.startswith("/labels/") and (label := spool.get(self.path[len("/labels/") :])) is not None:
                self.answer(200, label)
            else:
                self.answer(404, {"error": "not found"})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/labels":
                self.answer(404, {"error": "not found"})
            elif not length.isdecimal():
                self.answer(411, {"error": "length required"})
            elif int(length) > settings.max_body:
                self.rfile.read(min(int(length), 1 << 20))
                self.close_connection = True
                self.answer(413, {"error": "too long"})
            else:
                self.answer(*self.order(self.rfile.read(int(length))))

        def order(self, body: bytes) -> tuple[int, object]:
            try:
                wanted = json.loads(body)
                item, to = wanted["item"], wanted["to"]
            except (ValueError, TypeError, KeyError):
                return 400, {"error": "not an order"}
            if not isinstance(item, str) or not isinstance(to, str):
                return 400, {"error": "not an order"}
            try:
                name = look_up(settings.catalog_url, item)
            except OSError as error:
                sys.stderr.write(f"{settings.catalog_url}: {error}\n")
                return 502, {"error": "the catalogue does not answer"}
            if name is None:
                return 422, {"error": "no such item"}
            try:
                return 201, spool.add(item, name, to)
            except OSError as error:
                sys.stderr.write(f"cannot store a label: {error}\n")
                return 500, {"error": "cannot store the label"}

    try:
        server = Server((settings.bind, settings.port), Service)
    except OSError as error:
        raise Refused(f"cannot listen on {settings.bind}:{settings.port}: {error}") from None
    server.serve_forever()
    return 0


def look_up(url: str, item: str) -> str | None:
    """The item's name, or None where the catalogue has no such item. Raises OSError where it does not answer."""
    try:
        with _OPENER.open(f"{url}/{quote(item, safe='')}", timeout=5) as answer:
            return json.load(answer)["name"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
