"""An HTTP server that answers each image as its name says, and remembers what came."""

from __future__ import annotations

import http.server
import re
import socket
import struct
import threading
import time
from collections import Counter

STEM = re.compile(rb'name="(?P<field>[^"]*)"; filename="(?P<name>[^"]*)"')


class Server(http.server.ThreadingHTTPServer):
    """Bound to a free port of this machine."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.came: Counter[str] = Counter()
        self.keys: dict[str, set[str]] = {}
        self.fields: set[str] = set()
        self.connections = 0
        self.times: dict[str, list[float]] = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/upload"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    """`busy_1.jpg` is busy once and then answered; `slow_0.jpg` takes a second; and so on."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        found = STEM.search(body)
        assert found is not None
        name = found["name"].decode()
        with self.server.lock:
            self.server.came[name] += 1
            self.server.fields.add(found["field"].decode())
            self.server.keys.setdefault(name, set()).add(self.headers["idempotency-key"])
            self.server.times.setdefault(name, []).append(time.monotonic())
            count = self.server.came[name]
        stem = name.split(".")[0]
        getattr(self, stem.rsplit("_", 1)[0].replace("-", "_"), self.test)(stem, count)

    def test(self, stem: str, count: int) -> None:
        self.answer(200, f"{stem}:label {stem[-1]}")

    def alone(self, stem: str, count: int) -> None:
        self.answer(200, "Paul\n")

    def tuple(self, stem: str, count: int) -> None:
        self.answer(200, f"({stem}.jpg,Paul)")

    def json(self, stem: str, count: int) -> None:
        self.answer(200, '{"classifications": [{"label": "Paul"}]}', ("content-type", "application/json"))

    def busy(self, stem: str, count: int) -> None:
        if count <= int(stem.rsplit("_", 1)[1]):
            self.answer(503, "come back", ("retry-after", "1"))
        else:
            self.test(stem, count)

    def refused(self, stem: str, count: int) -> None:
        self.answer(400, "not an image")

    def created(self, stem: str, count: int) -> None:
        self.answer(201, f"{stem}:Paul")

    def moved(self, stem: str, count: int) -> None:
        self.answer(302, "", ("location", "/elsewhere"))

    def empty(self, stem: str, count: int) -> None:
        self.answer(200, "")

    def other(self, stem: str, count: int) -> None:
        self.answer(200, "test_99:Paul")

    def slow(self, stem: str, count: int) -> None:
        time.sleep(1)
        self.test(stem, count)

    def hangs(self, stem: str, count: int) -> None:
        time.sleep(10)

    def drips(self, stem: str, count: int) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def short(self, stem: str, count: int) -> None:
        self.send_response(200)
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b"test")
        self.close_connection = True

    def closes(self, stem: str, count: int) -> None:
        if count <= int(stem.rsplit("_", 1)[1]):
            self.close_connection = True
        else:
            self.test(stem, count)

    def resets(self, stem: str, count: int) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def garbage(self, stem: str, count: int) -> None:
        self.wfile.write(b"\x00\xff not HTTP \r\n\r\n")
        self.close_connection = True

    def escape(self, stem: str, count: int) -> None:
        self.answer(500, "<script>alert(1)</script>\x1b[2J")

    def answer(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        body = text.encode()
        self.send_response(status)
        if not any(name == "content-type" for name, _ in headers):
            self.send_header("content-type", "text/plain; charset=utf-8")
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass
