"""The request and the response of one call, and the error that a caller can mend."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
MESSAGE = "message/rfc822"

MAX_BODY = 64 * 1024 * 1024
"""Maximum octets of a request's body."""


class HttpResponse(NamedTuple):
    """A response: its status, its body with the content type, and further headers. *then* is called once it is sent."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()
    then: Callable[[], object] | None = None


class CallFailed(Exception):
    """An error of the caller's, which becomes the response: *error* says what is wrong, *hint* what to do."""

    def __init__(
        self, status: int, error: str, hint: str, *, headers: Sequence[tuple[str, str]] = (), **more: object
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = headers
        self.content = {"error": error, "hint": hint, **more}

    def response(self) -> HttpResponse:
        """Return the response for this error."""
        return json_response(self.content, self.status)._replace(headers=self.headers)


@dataclass(frozen=True)
class HttpRequest:
    """A request; *target* is its path and query as they came. *read* returns the body, and may raise CallFailed."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    read: Callable[[], bytes] = bytes

    def all(self, name: str) -> list[str]:
        """Return the values of a header, in any case of letters."""
        return [value.strip() for each, value in self.headers if each.lower() == name.lower()]


@dataclass(frozen=True)
class HttpCall:
    """A request that has found its route: *path* and *query* have its parameters, *body* is checked."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    body: Any = None
    """The parsed JSON, or octets if the content type is another."""


def json_response(content: object, status: int = 200) -> HttpResponse:
    """Return a response with *content* as JSON."""
    return HttpResponse(status, json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n")
