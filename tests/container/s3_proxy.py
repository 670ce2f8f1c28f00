"""A proxy in front of a local S3 server that counts what passes and, on request, breaks bodies off or holds them."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class S3Proxy(ThreadingHTTPServer):
    """Forwards GETs. Of object bodies it can `break_off` some half-way, `corrupt` some, or answer only `hold_after`."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = urlsplit(endpoint).netloc
        self.object_requests = 0
        self.break_off = 0
        self.corrupt = 0
        self.hold_after: int | None = None
        self.held = threading.Event()
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Return the address to give to boto3."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Proxy

    def do_GET(self) -> None:
        is_object = "list-type" not in self.path
        if is_object:
            self.server.object_requests += 1
            if self.server.hold_after is not None and self.server.object_requests > self.server.hold_after:
                self.server.held.set()
                self.server.released.wait(30)
        upstream = http.client.HTTPConnection(self.server.upstream)
        upstream.request("GET", self.path, headers=dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if is_object and self.server.break_off:
            self.server.break_off -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        if is_object and self.server.corrupt and len(body) > 1000:
            self.server.corrupt -= 1
            body = b"!" + body[1:]
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 the name is http.server's
        """Keep the tests' output clean."""
