"""Stands in for `lmcache server`: answers GET /healthcheck on a port, and misbehaves as told.

`fake_cache_server.py PORT [slow SECONDS | fails REASON | fails-after FILE | mute]`
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthcheck" else 404)
        self.end_headers()


port, *how = sys.argv[1:]
match how:
    case ["slow", seconds]:
        time.sleep(float(seconds))
    case ["fails", reason]:
        raise RuntimeError(reason)
    case ["fails-after", file] if Path(file).exists():
        raise RuntimeError("not again")
    case ["fails-after", file]:
        Path(file).touch()
    case ["mute"]:
        time.sleep(60)
HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
