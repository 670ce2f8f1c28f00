"""Stands in for DJL Serving: starts a worker, opens its port once that has loaded, and starts another when it dies.

    python fake_java.py PORT WORKER

SIGTERM ends it at once, as it ends Java; the worker it has started lives on until somebody ends that too.
"""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS_TO_BIND = 0.5
port, worker = sys.argv[1:]


class Ping(BaseHTTPRequestHandler):
    """Answers as Java does, whatever the worker is doing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def listen() -> None:
    time.sleep(SECONDS_TO_BIND)
    print("the port is open", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(port)), Ping).serve_forever()


while True:
    with subprocess.Popen([sys.executable, worker], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line == "loaded\n":
                threading.Thread(target=listen, daemon=True).start()
    print("started again", flush=True)
    time.sleep(0.2)
