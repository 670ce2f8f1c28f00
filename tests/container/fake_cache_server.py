"""Stands in for `lmcache server`: answers GET /healthcheck on a port, messages on another, and misbehaves as told.

`fake_cache_server.py HTTP_PORT PORT [slow SECONDS | fails REASON | fails-after FILE | mute]`
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import zmq


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthcheck" else 404)
        self.end_headers()


def answer_messages(port: str) -> None:
    """As LMCache's does, this thread dies of a message that is too short."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(f"tcp://127.0.0.1:{port}")
        while True:
            caller, number, operation, *_ = socket.recv_multipart()
            socket.send_multipart((caller, number, operation, b"\xa2OK"))


http_port, port, *how = sys.argv[1:]
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
Thread(target=answer_messages, args=(port,), daemon=True).start()
HTTPServer(("127.0.0.1", int(http_port)), Handler).serve_forever()
