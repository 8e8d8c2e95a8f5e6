"""The HTTP server of a control: ``http.server`` of the standard library, a native thread for each request.

The standard library's server is enough and fits best. All its errors go through ``send_error``, so they are JSON. It
needs no hub in the main thread, which only waits for a signal. A call that waits, ``POST /wait``, blocks its own thread
alone, by the same means as a test's thread. gevent.pywsgi has no public place for errors below the application. Each
connection carries one request, so no idle connection delays the end.

Each request has limits that hold before its token is known: octets of the head, seconds, requests at a time.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from time import monotonic
from typing import Any, Final

from geventpop3.hosts import is_loopback
from geventpop3.testing.double.control.core import NAMES, Control
from geventpop3.testing.double.control.exchange import MAX_BODY, CallFailed, HttpRequest, HttpResponse
from geventpop3.testing.double.double import Double

MAX_LINE: Final = 8 * 1024
MAX_HEAD: Final = 32 * 1024
SECONDS: Final = 30.0
"""Time for a whole request to arrive, and for its response to be sent."""
LINGER_SECONDS: Final = 2.0
"""Time to discard what a refused caller still sends, so that it reads the response instead of a reset."""
MAX_REQUESTS: Final = 64
_CHUNK: Final = 65536

_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared, not bound


class ControlServer(ThreadingHTTPServer):
    """The control of a started *double* at *host* and *port*; 0 is a free port. Raises OSError if it cannot bind.

    *names* are further hosts that requests may be for. *stop* is called for ``POST /stop``; it must return at once.
    """

    daemon_threads = True
    request_queue_size = MAX_REQUESTS

    def __init__(
        self,
        double: Double,
        token: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Collection[str] = (),
        stop: Callable[[], object] = lambda: None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        self._host = f"[{host}]" if ":" in host else host
        super().__init__((host, port), _Handler)
        hosts = {*NAMES, "*" if host in _WILDCARDS else self._host, *names}
        self.control = Control(double, token, hosts, self.server_address[1], stop)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="geventpop3.control", daemon=True)

    def server_bind(self) -> None:
        """Bind without looking the host's name up, which HTTPServer does and which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """The URL that routes are appended to, such as ``http://127.0.0.1:4711``."""
        return f"http://{self._host}:{self.server_port}"

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; a call that waits is given up with its connection when the process ends."""
        self.control.end()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, unless there are too many."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that broke; errors of the control itself have become responses."""


def listens_to_others(host: str) -> bool:
    """Return whether other machines could reach a control at *host*."""
    return not is_loopback(host)


class _Incoming(io.RawIOBase):
    """The octets of a connection until a deadline."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._end = monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(max(0.001, self._end - monotonic()))
        return self._sock.recv_into(buffer)


class _Head:
    """The reader of a request's head, which is bounded."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._left = MAX_HEAD

    def readline(self, limit: int) -> bytes:
        """Return the next line. Raises HTTPException, which becomes status 431."""
        line: bytes = self._reader.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise HTTPException(f"the head has more than {MAX_HEAD} octets")
        return line

    def close(self) -> None:
        """Close the reader below."""
        self._reader.close()


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    protocol_version = "HTTP/1.1"
    server: ControlServer
    rfile: Any

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = io.BufferedReader(_Incoming(self.connection, SECONDS), _CHUNK)
        self.rfile = _Head(self._reader)

    def handle(self) -> None:
        """Answer one request."""
        self.close_connection = True
        try:
            self.raw_requestline = self.rfile.readline(MAX_LINE + 1)
            if not self.raw_requestline:
                return
            if len(self.raw_requestline) > MAX_LINE:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
            elif self.parse_request():  # which has sent an error otherwise
                self._respond(self.server.control.respond(self._request()))
            self._linger()
        except TimeoutError:
            with suppress(OSError):
                self._respond(_TOO_SLOW.response())

    def _request(self) -> HttpRequest:
        return HttpRequest(self.command, self.path, list(self.headers.items()), self._body)

    def _body(self) -> bytes:
        """Return the body of the request. Raises CallFailed."""
        if self.headers.get("Transfer-Encoding") is not None:
            raise CallFailed(411, "the body comes in chunks", "send it whole, with a Content-Length header")
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths:
            return b""
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise CallFailed(400, "the Content-Length is no number of octets", "send one such header with a number")
        if len(lengths[0]) > 18 or int(lengths[0]) > MAX_BODY:
            raise CallFailed(413, f"the body has more than {MAX_BODY:,} octets", "send several requests, each smaller")
        length = int(lengths[0])
        try:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = self._reader.read(length)
        except TimeoutError:
            raise _TOO_SLOW from None
        except OSError as error:
            raise CallFailed(400, f"the connection broke: {error.strerror}", "send the body whole") from None
        if len(body) < length:
            raise CallFailed(400, f"the body ended after {len(body)} of {length} octets", "send it whole")
        return body

    def handle_expect_100(self) -> bool:
        """Leave the interim response to ``_body``: nothing is asked for before the token is known to be right."""
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no proper request, in JSON."""
        self.request_version = self.protocol_version  # else a reply to what was no request would have no head
        text = explain or message or self.responses.get(code, ("the request is wrong",))[0]
        self._respond(CallFailed(code, text, "send an HTTP/1.1 request; GET /openapi.json describes all").response())

    def _respond(self, response: HttpResponse) -> None:
        self.connection.settimeout(SECONDS)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in (*response.headers, *_ALWAYS):
            self.send_header(name, value)
        self.end_headers()
        if getattr(self, "command", None) != "HEAD":
            self.wfile.write(response.body)
        if response.then is not None:
            response.then()

    def _linger(self) -> None:
        """Discard what the caller still sends, for a short time."""
        rest = _Incoming(self.connection, LINGER_SECONDS)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while rest.read(_CHUNK):
                continue

    def version_string(self) -> str:
        """Return the name in the Server header."""
        return "geventpop3"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: standard error is the test's."""


_ALWAYS: Final = (
    ("Connection", "close"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)
_TOO_SLOW: Final = CallFailed(408, f"the request took more than {SECONDS:g} seconds", "send it at once")
