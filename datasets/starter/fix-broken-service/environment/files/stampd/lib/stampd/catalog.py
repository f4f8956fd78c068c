"""The catalogue: which items there are."""

from __future__ import annotations

import json
from urllib.parse import unquote

from stampd.http import Handler, Server
from stampd.settings import Refused, Settings

PREFIX = "/v1/items/"


def main(settings: Settings) -> int:
    try:
        items = json.loads(settings.items.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"{settings.items}: {error}") from None

    class Catalog(Handler):
        def do_GET(self) -> None:
            name = items.get(unquote(self.path[len(PREFIX) :])) if self.path.startswith(PREFIX) else None
            if self.path == "/health":
                self.answer(200, {"status": "ok", "items": len(items)})
            elif name is None:
                self.answer(404, {"error": "not found"})
            else:
                self.answer(200, {"name": name})

    try:
        server = Server((settings.catalog_bind, settings.catalog_port), Catalog)
    except OSError as error:
        raise Refused(f"cannot listen on {settings.catalog_bind}:{settings.catalog_port}: {error}") from None
    server.serve_forever()
    return 0
