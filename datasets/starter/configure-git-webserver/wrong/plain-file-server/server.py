"""Wrong: the file server as it comes: it lists folders and shows hidden files."""

import functools
import http.server

handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/srv/www")
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), handler).serve_forever()
