"""Serves the published tree: no listings, nothing hidden, each client in a thread of its own."""

import http.server
import urllib.parse

ROOT = "/srv/www"


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, directory=ROOT, **kwargs)

    def send_head(self):
        path = urllib.parse.unquote(self.path.partition("?")[0].partition("#")[0])
        if any(part.startswith(".") for part in path.split("/")):
            self.send_error(404)
            return None
        return super().send_head()

    def list_directory(self, path):
        self.send_error(404)


http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
