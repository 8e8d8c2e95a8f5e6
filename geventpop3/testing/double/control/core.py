"""The way from a request to a response, without a socket: who may call, the table of routes, the check of bodies."""

from __future__ import annotations

import difflib
import hmac
import json
import re
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib.resources import files
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from geventpop3.testing.double.control.api import Api
from geventpop3.testing.double.control.exchange import (
    JSON,
    MESSAGE,
    CallFailed,
    HttpCall,
    HttpRequest,
    HttpResponse,
    json_response,
)
from geventpop3.testing.double.control.schema import Schemas
from geventpop3.testing.double.double import Double

MIN_TOKEN: Final = 8
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""Tokens that a header can have (RFC 6750 section 2.1)."""

NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
"""Hosts in requests that are never those of another web site."""


ENDED: Final = CallFailed(503, "the double has stopped", "start another one")


class HttpRoute(NamedTuple):
    """A method and a path with parameters in braces, and the function for it.

    *in_turn*: one such call at a time; false for those that wait.
    """

    method: str
    path: str
    function: Callable[[Api, HttpCall], object]
    in_turn: bool = True


ROUTES: Final = (
    HttpRoute("GET", "/", Api.show),
    HttpRoute("GET", "/openapi.json", Api.describe),
    HttpRoute("GET", "/kinds", Api.kinds),
    HttpRoute("GET", "/maildrops", Api.list_maildrops),
    HttpRoute("POST", "/maildrops", Api.add_maildrop),
    HttpRoute("GET", "/maildrops/{name}", Api.show_maildrop),
    HttpRoute("DELETE", "/maildrops/{name}", Api.remove_maildrop),
    HttpRoute("GET", "/maildrops/{name}/messages", Api.list_messages),
    HttpRoute("POST", "/maildrops/{name}/messages", Api.deliver),
    HttpRoute("DELETE", "/maildrops/{name}/messages", Api.clear),
    HttpRoute("GET", "/maildrops/{name}/messages/{unique_id}", Api.show_message),
    HttpRoute("GET", "/faults", Api.list_faults),
    HttpRoute("POST", "/faults", Api.add_fault),
    HttpRoute("GET", "/faults/{number}", Api.show_fault),
    HttpRoute("DELETE", "/faults/{number}", Api.remove_fault),
    HttpRoute("GET", "/sessions", Api.list_sessions),
    HttpRoute("GET", "/sessions/{number}", Api.show_session),
    HttpRoute("GET", "/sessions/{number}/transcript", Api.show_transcript_of_session),
    HttpRoute("GET", "/transcript", Api.show_transcript),
    HttpRoute("POST", "/wait", Api.wait, in_turn=False),
    HttpRoute("POST", "/reset", Api.reset),
    HttpRoute("GET", "/check", Api.check),
    HttpRoute("POST", "/stop", Api.stop),
)


@cache
def document() -> Mapping[str, Any]:
    """Return the OpenAPI document, which describes every route."""
    text = files("geventpop3.testing.double.control").joinpath("openapi.json").read_text("utf-8")
    parsed: Mapping[str, Any] = json.loads(text)
    return parsed


def check_token(token: str) -> str:
    """Return *token* if a request can have it. Raises ValueError with what is wrong."""
    if len(token) < MIN_TOKEN:
        raise ValueError(f"a token has at least {MIN_TOKEN} characters, not {len(token)}")
    if not _TOKEN.fullmatch(token):
        raise ValueError("a token has only letters, digits and - . _ ~ + /, because it is sent in a header")
    return token


class Control:
    """The control of a started *double*: ``respond`` answers a request; it may be called from several threads.

    A request needs *token*, and a Host header with one of *hosts* and *port*. Under the host ``*`` that may also be
    any address, but no name. *stop* asks the process to end; it must return at once.
    """

    def __init__(
        self, double: Double, token: str, hosts: Collection[str], port: int, stop: Callable[[], object]
    ) -> None:
        self._api = Api(double, document(), stop)
        self._schemas = Schemas(document())
        self._token = check_token(token).encode("ascii")
        self._hosts = {host.lower() for host in hosts}
        self._port = port
        self._turn = threading.Lock()
        self._has_ended = False

    def end(self) -> None:
        """Refuse all further calls: the double is about to stop."""
        self._has_ended = True

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the response. The body is not read before the request has proved that it may call."""
        try:
            self._admit(request)
            if self._has_ended:
                raise ENDED
            return self._called(request)
        except CallFailed as error:
            return error.response()
        except Exception:  # noqa: BLE001  # a caller gets JSON whatever happens
            if self._has_ended:
                return ENDED.response()
            sys.stderr.write(f"geventpop3: error in the control of a double:\n{traceback.format_exc()}")
            return CallFailed(
                500, "the control failed", "this is a mistake of geventpop3: its standard error has the details"
            ).response()

    # Who may call

    def _admit(self, request: HttpRequest) -> None:
        hosts = request.all("Host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise CallFailed(
                421,
                f"the Host header is {', '.join(hosts) or 'missing'}: no request for this double",
                "call the URL that the double printed as 'control'; other names: geventpop3 double --control-name",
            )
        if request.all("Origin"):
            raise CallFailed(403, "a web page sent this request", "call from a program, without an Origin header")
        given = request.all("Authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        is_right = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), self._token)
        if scheme.lower() != "bearer" or not is_right:
            raise CallFailed(
                401,
                "the token is wrong" if scheme.lower() == "bearer" else "the token is missing",
                "send the header 'Authorization: Bearer TOKEN' with the token that the double printed",
                headers=[("WWW-Authenticate", "Bearer")],
            )

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.lower().rpartition(":")
        if not colon or port.endswith("]"):
            name, port = host.lower(), "80"
        if port != str(self._port):
            return False
        return name in self._hosts or ("*" in self._hosts and _is_address(name.strip("[]")))

    # What is called

    def _called(self, request: HttpRequest) -> HttpResponse:
        path, _, query = request.target.partition("?")
        route, parameters = _found(request.method, path)
        call = HttpCall(parameters, self._query(route, query), *self._body(route, request))
        try:
            if route.in_turn:
                with self._turn:
                    content = route.function(self._api, call)
            else:
                content = route.function(self._api, call)
        except (ValueError, TypeError) as error:  # of the double, whose texts are written for its users
            raise CallFailed(400, str(error), _hint(route)) from None
        return content if isinstance(content, HttpResponse) else json_response(content)

    def _operation(self, route: HttpRoute) -> Mapping[str, Any]:
        operation: Mapping[str, Any] = document()["paths"][route.path][route.method.lower()]
        return operation

    def _query(self, route: HttpRoute, query: str) -> dict[str, str]:
        parameters = map(self._schemas.resolved, self._operation(route).get("parameters", ()))
        known = [each["name"] for each in parameters if each["in"] == "query"]
        given = parse_qsl(query, keep_blank_values=True)
        for name, _ in given:
            if name not in known:
                allowed = f"its query may have {', '.join(known)}" if known else "it has no query"
                raise CallFailed(400, f"{route.method} {route.path} knows no {name!r} in the query", allowed)
        return dict(given)

    def _body(self, route: HttpRoute, request: HttpRequest) -> tuple[str, Any]:
        """Return the content type and the checked content of the body."""
        body = self._operation(route).get("requestBody")
        if body is None:
            return JSON, None
        kinds = body["content"]
        given = (request.all("Content-Type") or [""])[0]
        kind = given.partition(";")[0].strip().lower()
        octets = request.read()
        if kind not in kinds:
            raise CallFailed(
                415,
                f"the Content-Type is {given or 'missing'}",
                f"send the header 'Content-Type: {' or '.join(kinds)}'",
            )
        if kind == MESSAGE:
            if not octets:
                raise CallFailed(400, "the message is empty", "send the message, header and all, as the body")
            return kind, octets
        try:
            content = json.loads(octets, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise CallFailed(400, f"the body is no JSON: {error}", "send a JSON object in UTF-8") from None
        complaints = list(self._schemas.complaints(content, kinds[kind]["schema"]))
        if complaints:
            raise CallFailed(400, "; ".join(complaints), f"GET /openapi.json describes {route.method} {route.path}")
        return kind, content


def _found(method: str, path: str) -> tuple[HttpRoute, dict[str, str]]:
    """Return the route and the parameters in its path. Raises CallFailed if there is none."""
    try:
        parts = [unquote(part, errors="strict") for part in path.split("/")]
    except UnicodeDecodeError:
        raise CallFailed(400, "the path is not UTF-8", "percent-encode names as UTF-8 (RFC 3986)") from None
    methods = []
    for route in ROUTES:
        parameters = _matched(route.path.split("/"), parts)
        if parameters is None:
            continue
        if route.method == method:
            return route, parameters
        methods.append(route.method)
    if methods:
        allowed = ", ".join(methods)
        raise CallFailed(405, f"{path} has no {method}", f"its methods: {allowed}", headers=[("Allow", allowed)])
    known = dict.fromkeys(route.path for route in ROUTES)
    near = difflib.get_close_matches(path, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise CallFailed(404, f"there is no {path}", f"{hint}GET /openapi.json describes every path")


def _matched(template: list[str], parts: list[str]) -> dict[str, str] | None:
    if len(template) != len(parts):
        return None
    parameters = {}
    for wanted, part in zip(template, parts, strict=True):
        if wanted.startswith("{") and part:
            parameters[wanted.strip("{}")] = part
        elif wanted != part:
            return None
    return parameters


def _hint(route: HttpRoute) -> str:
    if route.path == "/faults":
        return "GET /kinds lists every fault, where it can happen, and its options"
    return f"GET /openapi.json describes {route.method} {route.path}"


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
