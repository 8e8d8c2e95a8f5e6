"""Calls to a control without a socket; each response is compared with what openapi.json says of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from geventpop3.testing import Double
from geventpop3.testing.double.control import Control
from geventpop3.testing.double.control.core import document
from geventpop3.testing.double.control.exchange import HttpRequest, HttpResponse
from geventpop3.testing.double.control.schema import Schemas

TOKEN = "0123456789-token"
HEADERS = [("Host", "127.0.0.1:8025"), ("Authorization", f"Bearer {TOKEN}")]


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Free ports that nobody else gets: each is bound, and a server may listen there although it is."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            ports.append(sock.getsockname()[1])
        yield ports


class Answer(NamedTuple):
    status: int
    content: Any
    response: HttpResponse


class Calls:
    """``calls("POST", "/maildrops", {"name": "alice"})``: a call with JSON, or with octets as a message."""

    def __init__(self, double: Double) -> None:
        self.double = double
        self.stopped = 0
        self.control = Control(double, TOKEN, ["127.0.0.1", "localhost", "[::1]"], 8025, self.stop)
        self.schemas = Schemas(document())

    def stop(self) -> None:
        self.stopped += 1

    def __call__(self, method: str, target: str, body: object = None, *more: tuple[str, str]) -> Answer:
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "message/rfc822" if isinstance(body, bytes) else "application/json"
        return self.send(HttpRequest(method, target, [*HEADERS, ("Content-Type", kind), *more], lambda: octets))

    def send(self, request: HttpRequest) -> Answer:
        response = self.control.respond(request)
        is_json = response.content_type == "application/json"
        content = json.loads(response.body) if is_json else response.body
        self.compare(request, response, content)
        return Answer(response.status, content, response)

    def compare(self, request: HttpRequest, response: HttpResponse, content: object) -> None:
        """Fail if openapi.json does not know this response, or describes another one."""
        operation = self.operation(request)
        if operation is None:
            assert response.status in (400, 401, 403, 404, 405, 421)
            described = self.schemas.resolved({"$ref": "#/components/responses/Wrong"})
        else:
            assert str(response.status) in operation["responses"], (request.method, request.target, response.status)
            described = self.schemas.resolved(operation["responses"][str(response.status)])
        kind = response.content_type.partition(";")[0]
        assert kind in described["content"], kind
        if kind == "application/json":
            schema = described["content"][kind]["schema"]
            assert list(self.schemas.complaints(content, schema, "the response")) == []

    def operation(self, request: HttpRequest) -> Any:
        parts = request.target.partition("?")[0].split("/")
        for path, item in document()["paths"].items():
            template = path.split("/")
            if len(template) == len(parts) and all(
                each == part or (each.startswith("{") and part) for each, part in zip(template, parts, strict=True)
            ):
                return item.get(request.method.lower()) if request.method.isupper() else None
        return None
