"""Sends one image as the old generators do, and says what became of it."""

from __future__ import annotations

import http.client
import random
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult

from dunlin_workload.answers import Expected, WrongAnswer, label
from dunlin_workload.outcome import Kind, Outcome

# An answer is a line; more is read of no server.
_BODY_BYTES_MAX = 1024 * 1024
# Statuses after which the same request may work: too many, stopping, a proxy without its server.
_AGAIN = (429, 502, 503)
_PAUSE_FIRST, _PAUSE_MAX = 0.2, 10.0


@dataclass(frozen=True)
class Server:
    """Where and how images are sent."""

    url: SplitResult
    #: The form's field.
    form_field: str
    timeout: float
    attempts_max: int
    key: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    keep_alive: bool = True

    @property
    def target(self) -> str:
        """Path and query."""
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is opened with the first request."""
        host, port = self.url.hostname or "", self.url.port
        if self.url.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=self.timeout)


class _Failure(Exception):  # noqa: N818
    """One attempt failed."""

    def __init__(self, reason: str, told: str = "", again: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.told, self.again, self.pause = reason, told, again, pause


class Sender:
    """Sends images, each from any thread; a thread keeps its connection."""

    def __init__(self, server: Server, expected: Expected | None, stop: threading.Event) -> None:
        self._server = server
        self._expected = expected
        self._stop = stop
        self._own = threading.local()

    def send(self, path: Path, at: float, since: float) -> Outcome:
        """The image's one outcome. `at`: for the report; `since`: when its time begins, by the monotonic clock."""
        until = since + self._server.timeout
        # The server, if it knows it, answers a repetition from the first attempt's work.
        request_key = secrets.token_hex(16)
        attempt = 0
        while True:
            attempt += 1
            try:
                body, content_type = self._attempt(path, request_key, until)
                found = label(body, content_type, path.name)
                return self._judged(path, found, at, time.monotonic() - since, attempt)
            except WrongAnswer as error:
                failure = _Failure("wrong answer", str(error))
            except _Failure as error:
                failure = error
            pause = self._pause(failure, attempt)
            if pause is None or time.monotonic() + pause >= until or self._stop.wait(pause):
                took = time.monotonic() - since
                return Outcome(path.name, Kind.FAILED, at, took, attempt, reason=failure.reason, told=failure.told)

    def _pause(self, failure: _Failure, attempt: int) -> float | None:
        if not failure.again or attempt >= self._server.attempts_max:
            return None
        if failure.pause is not None:
            # Never sooner than asked, and not all at once.
            return failure.pause * random.uniform(1.0, 1.2)  # noqa: S311
        return min(_PAUSE_MAX, _PAUSE_FIRST * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311

    def _judged(self, path: Path, found: str, at: float, took: float, attempts: int) -> Outcome:
        right = self._expected.of(path.name) if self._expected is not None else None
        kind = Kind.ANSWERED if right is None else Kind.RIGHT if found == right else Kind.WRONG
        return Outcome(path.name, kind, at, took, attempts, label=found, expected=right or "")

    def _attempt(self, path: Path, request_key: str, until: float) -> tuple[str, str]:
        """Body and content type of an answer with status 200, which alone is success to the old generators."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _Failure("unreadable file", str(error)) from error
        left = until - time.monotonic()
        if left <= 0:
            raise _Failure("timeout")
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        fresh = connection is None
        connection = connection or self._server.connect()
        self._own.connection = None
        connection.timeout = left
        if connection.sock is not None:
            connection.sock.settimeout(left)
        try:
            form, form_type = _form(self._server.form_field, path.name, content)
            headers = {"content-type": form_type, "idempotency-key": request_key, "accept": "*/*"}
            if self._server.key:
                headers["authorization"] = f"Bearer {self._server.key}"
            connection.request("POST", self._server.target, form, headers)
            response = connection.getresponse()
            body = _body(response, until).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if not fresh and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                # It was closed while it lay idle; that is no failure of the server's.
                return self._attempt(path, request_key, until)
            raise _reason(error) from error
        if self._server.keep_alive and not response.will_close and response.isclosed():
            self._own.connection = connection
        else:
            connection.close()
        if response.status != 200:
            raise _Failure(f"HTTP {response.status}", body.strip()[:300], response.status in _AGAIN, _seconds(response))
        return body, response.headers.get("content-type", "")


def _body(response: http.client.HTTPResponse, until: float) -> bytes:
    """The body, of a server that may send it byte by byte for ever."""
    body = bytearray()
    while len(body) < _BODY_BYTES_MAX:
        chunk = response.read1(64 * 1024)
        if not chunk:
            break
        body += chunk
        if time.monotonic() > until:
            raise TimeoutError("the answer did not end")
    if response.length == 0:
        # All was read, which `read1` does not notice; the connection can be used again.
        response.close()
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and len(body) < min(int(announced), _BODY_BYTES_MAX):
        raise http.client.IncompleteRead(bytes(body), int(announced) - len(body))
    return bytes(body)


def _form(name: str, file_name: str, content: bytes) -> tuple[bytes, str]:
    """A form with one file, byte for byte as requests writes it: no type on the part."""
    boundary = secrets.token_hex(16)
    shown = file_name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{shown}"\r\n\r\n'
    form = head.encode("utf-8", "surrogateescape") + content + f"\r\n--{boundary}--\r\n".encode()
    return form, f"multipart/form-data; boundary={boundary}"


def _reason(error: Exception) -> _Failure:
    """In words that many failures share, so that they can be counted."""
    if isinstance(error, TimeoutError) or isinstance(error, socket.timeout):  # noqa: SIM101 (two classes before 3.10)
        return _Failure("timeout", str(error))
    if isinstance(error, ConnectionRefusedError):
        return _Failure("connection refused", str(error), again=True)
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
        return _Failure("closed without an answer", str(error), again=True)
    if isinstance(error, http.client.IncompleteRead):
        return _Failure("answer broke off", str(error), again=True)
    if isinstance(error, socket.gaierror):
        return _Failure("unknown host", str(error))
    return _Failure(type(error).__name__, str(error))


def _seconds(response: http.client.HTTPResponse) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
