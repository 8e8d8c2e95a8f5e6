"""JSON from an HTTP endpoint that the operator named, with limits on total time and octets, and no redirects.

The calls block, for use in a native thread. TLS is verified; plain HTTP is used only to this machine, unless the
operator allows more.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BytesIO
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from geventpop3.errors import ConfigError
from geventpop3.hosts import is_loopback

RESPONSE_OCTETS = 256 << 10
"""Maximum octets of an answer, with its header."""


class EndpointError(Exception):
    """The error if there was no good answer; its text is for the log."""


class Endpoint:
    """An HTTP endpoint. Connecting and TLS may take *seconds*, and the answer may take as long again.

    *context* is an ``ssl.SSLContext`` for a certificate authority that the system does not know. Raises ConfigError.
    """

    def __init__(self, url: str, *, allow_plaintext: bool = False, context: Any = None, seconds: float = 5.0) -> None:
        try:
            parts = urlsplit(url)
            self._host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ConfigError(f"{url} is not a URL") from None
        if parts.scheme not in ("http", "https") or not self._host or "@" in parts.netloc or not url.isascii():
            raise ConfigError(f"{url} is not the URL of an endpoint: give https://host/path")
        if parts.scheme == "http" and not allow_plaintext and not is_loopback(self._host):
            raise ConfigError(f"{url} does not begin with https://, which is required except for this machine")
        self.url = url
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._is_https = parts.scheme == "https"
        self._port = port or (443 if self._is_https else 80)
        self._context = context
        self._seconds = seconds
        self._local = threading.local()

    def get(self) -> dict[str, Any]:
        """Return the JSON object that answers a GET. Raises EndpointError."""
        return self._ask("GET", None, {})

    def post(self, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON object that answers a POST of *form*. Raises EndpointError."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", urlencode(form).encode("ascii"), {**kind, **headers})

    def _ask(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        connection = self._connection()
        try:
            common = {"Accept": "application/json", "Connection": "close", "User-Agent": "geventpop3"}
            connection.request(method, self._target, body, {**common, **headers})
            response = HTTPResponse(cast(Any, _Received(self._read(connection.sock))), method=method)
            response.begin()
            text = response.read()
        except (OSError, HTTPException, ValueError) as error:
            # http.client raises ValueError for some malformed numbers.
            raise EndpointError(f"{self.url}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise EndpointError(f"{self.url}: status {response.status}")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            raise EndpointError(f"{self.url}: the response is not JSON") from None
        if not isinstance(answer, dict):
            raise EndpointError(f"{self.url}: the response is not a JSON object")
        return answer

    def _connection(self) -> HTTPConnection:
        """Return the thread's connection, which keeps its TLS context: making one takes tens of milliseconds."""
        connection: HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._is_https:
                connection = HTTPSConnection(self._host, self._port, timeout=self._seconds, context=self._context)
            else:
                connection = HTTPConnection(self._host, self._port, timeout=self._seconds)
            self._local.connection = connection
        return connection

    def _read(self, sock: Any) -> bytes:
        """Return all octets until the server closes the connection, as the request's header asks it to."""
        end = time.monotonic() + self._seconds
        pieces: list[bytes] = []
        count = 0
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            piece = sock.recv(65536)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            count += len(piece)
            if count > RESPONSE_OCTETS:
                raise EndpointError(f"{self.url}: the response has more than {RESPONSE_OCTETS} octets")
        raise EndpointError(f"{self.url}: no complete response within {self._seconds:g} s")


class _Received:
    """A replacement of the socket that HTTPResponse reads."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._octets)
