"""The control of a double over HTTP: limits, time, what is no proper request, and that nothing is left behind."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from geventpop3.testing import Double
from geventpop3.testing.double.control import ControlServer
from geventpop3.testing.double.control import server as control_server
from geventpop3.testing.double.control.exchange import MAX_BODY

TOKEN = "0123456789-token"
SECONDS = 60


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    double = Double(tls="off").start()
    yield double
    double.stop()


@pytest.fixture
def control(double: Double) -> Iterator[ControlServer]:
    control = ControlServer(double, TOKEN)
    control.start()
    yield control
    control.stop()


def call(control: ControlServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Call with the token; return the status and what the JSON of the answer says."""
    connection = HTTPConnection(control.server_name, control.server_port, timeout=SECONDS)
    given = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        connection.request(method, path, body, given)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def say(control: ControlServer, octets: bytes, *, ends: bool = False) -> tuple[int, dict[str, str], Any]:
    """Send *octets* and return the status, the headers and the JSON of the answer."""
    with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock:
        sock.sendall(octets)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        response = HTTPResponse(sock)
        response.begin()
        content = response.read()
        assert sock.recv(1) == b""
        return response.status, {name.lower(): value for name, value in response.getheaders()}, json.loads(content)


def head(control: ControlServer, line: str, *fields: str) -> bytes:
    fields = (f"Host: 127.0.0.1:{control.server_port}", f"Authorization: Bearer {TOKEN}", *fields)
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def test_a_call(control: ControlServer, double: Double) -> None:
    status, headers, content = say(control, head(control, "GET / HTTP/1.1"))
    assert (status, content["port"]) == (200, double.port)
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert headers["cache-control"] == "no-store"
    assert headers["server"] == "geventpop3"
    assert not [name for name in headers if name.startswith("access-control")]
    assert control.url == f"http://127.0.0.1:{control.server_port}"


def test_it_listens_at_the_loopback_address_alone(control: ControlServer) -> None:
    assert control.server_address[0] == "127.0.0.1"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6(double: Double) -> None:
    control = ControlServer(double, TOKEN, host="::1")
    control.start()
    try:
        assert control.url.startswith("http://[::1]:")
        connection = HTTPConnection("::1", control.server_port, timeout=SECONDS)
        connection.request("GET", "/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        control.stop()


@pytest.mark.parametrize(
    ("host", "others"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("192.0.2.1", True)],
)
def test_what_others_can_reach(host: str, others: bool) -> None:
    assert control_server.listens_to_others(host) is others


def test_a_port_that_is_taken(control: ControlServer, double: Double) -> None:
    with pytest.raises(OSError, match="in use"):
        ControlServer(double, TOKEN, port=control.server_port)


def test_a_large_message_and_one_of_all_octets(control: ControlServer, double: Double) -> None:
    name = double.maildrop("large").name
    for content in (bytes(range(256)), b"x" * 5_000_000):
        status, _ = call(control, "POST", f"/maildrops/{name}/messages", content, Content_Type="message/rfc822")
        assert status == 201
        assert double.maildrop(name).messages[-1] == content


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Length: x"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: +1"], 400),
        (["Content-Length: 1", "Content-Length: 1"], 400),
        ([f"Content-Length: {MAX_BODY + 1}"], 413),
        (["Content-Length: " + "9" * 5000], 413),
        (["Transfer-Encoding: chunked"], 411),
        (["Transfer-Encoding: chunked", "Content-Length: 3"], 411),
        ([], 400),
    ],
)
def test_bodies_without_a_usable_length(control: ControlServer, fields: list[str], status: int) -> None:
    octets = head(control, "POST /maildrops HTTP/1.1", "Content-Type: application/json", *fields)
    answered, _, content = say(control, octets + b"{}")
    assert answered == status
    assert content.keys() == {"error", "hint"}


def test_a_body_that_ends_too_early(control: ControlServer) -> None:
    octets = head(control, "POST /maildrops HTTP/1.1", "Content-Type: application/json", "Content-Length: 9")
    status, _, content = say(control, octets + b"{", ends=True)
    assert (status, content["error"]) == (400, "the body ended after 1 of 9 octets")


def test_nothing_is_asked_for_before_the_token(control: ControlServer) -> None:
    octets = head(control, "POST /maildrops HTTP/1.1", "Expect: 100-continue", "Content-Length: 9")
    assert say(control, octets.replace(TOKEN.encode(), b"another-token-here"))[0] == 401


def test_a_client_that_waits_to_be_asked_for_the_body(control: ControlServer) -> None:
    body = b'{"sessions": 0}'
    fields = ["Content-Type: application/json", "Expect: 100-continue", f"Content-Length: {len(body)}"]
    with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock, sock.makefile("rb") as file:
        sock.sendall(head(control, "POST /wait HTTP/1.1", *fields))
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        sock.sendall(body)
        assert file.readline() == b"\r\n"
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        file.read()


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET /" + b"x" * control_server.MAX_LINE + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * control_server.MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: yyyyyyyyy\r\n" * 90 * 30 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    ],
    ids=range(8),
)
def test_what_is_no_request_gets_json_too(control: ControlServer, octets: bytes, status: int) -> None:
    answered, headers, content = say(control, octets, ends=True)
    assert answered == status
    assert headers["content-type"] == "application/json"
    assert content.keys() == {"error", "hint"}
    assert "Traceback" not in str(content)


def test_an_empty_line_gets_no_answer(control: ControlServer) -> None:
    with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock:
        sock.sendall(b"\r\n")
        assert sock.recv(1) == b""


@pytest.mark.parametrize("method", ["PUT", "FOO", "OPTIONS"])
def test_other_methods(control: ControlServer, method: str) -> None:
    status, headers, _ = say(control, head(control, f"{method} /maildrops HTTP/1.1"))
    assert (status, headers["allow"]) == (405, "GET, POST")


def test_head_has_no_body(control: ControlServer) -> None:
    with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock, sock.makefile("rb") as file:
        sock.sendall(head(control, "HEAD /maildrops HTTP/1.1"))
        answer = file.read()
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_refused_caller_reads_the_answer_although_it_still_sends(control: ControlServer) -> None:
    octets = head(control, "POST /maildrops HTTP/1.1", "Content-Length: 3000000").replace(
        TOKEN.encode(), b"wrong-token"
    )
    assert say(control, octets + b"x" * 3_000_000)[0] == 401


def test_a_request_that_drips_ends(control: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "SECONDS", 0.2)
    with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock, sock.makefile("rb") as file:
        sock.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert file.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
        assert b"the request took more than" in file.read()


def test_a_body_that_drips_ends(
    control: ControlServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control_server, "SECONDS", 0.2)
    octets = head(control, "POST /maildrops HTTP/1.1", "Content-Type: application/json", "Content-Length: 9")
    status, _, content = say(control, octets + b"{")
    assert (status, content["hint"]) == (408, "send it at once")
    assert capfd.readouterr().err == ""


def test_a_body_that_a_reset_ends(control: ControlServer, capfd: pytest.CaptureFixture[str]) -> None:
    octets = head(control, "POST /maildrops HTTP/1.1", "Content-Type: application/json", "Content-Length: 9")
    with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(octets)
    assert call(control, "GET", "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_there_are_not_too_many_requests_at_a_time(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "MAX_REQUESTS", 1)
    control = ControlServer(double, TOKEN)
    control.start()
    try:
        with socket.create_connection(control.server_address[:2], timeout=SECONDS) as first:
            first.sendall(b"GET")
            with socket.create_connection(control.server_address[:2], timeout=SECONDS) as second:
                assert second.recv(1) == b""
            first.sendall(head(control, " / HTTP/1.1"))
            response = HTTPResponse(first)
            response.begin()
            assert response.status == 200
            response.read()
    finally:
        control.stop()


def test_a_caller_that_leaves_is_no_error(control: ControlServer, capfd: pytest.CaptureFixture[str]) -> None:
    for octets in (b"", b"GET / HT", head(control, "GET / HTTP/1.1")):
        with socket.create_connection(control.server_address[:2], timeout=SECONDS) as sock:
            sock.sendall(octets)
    assert call(control, "GET", "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_others_are_served_while_one_waits(control: ControlServer, double: Double) -> None:
    wanted = json.dumps({"moment": "connect", "count": 1, "timeout": SECONDS})
    answers: list[tuple[int, Any]] = []
    waiting = threading.Thread(
        target=lambda: answers.append(call(control, "POST", "/wait", wanted, Content_Type="application/json"))
    )
    waiting.start()
    assert call(control, "GET", "/check")[0] == 200
    with socket.create_connection((double.host, double.port), timeout=SECONDS) as sock:
        sock.recv(1)
    waiting.join()
    assert answers == [(200, {"ok": True})]


def test_stop_is_called_after_the_answer(double: Double) -> None:
    stopped = threading.Event()
    control = ControlServer(double, TOKEN, stop=stopped.set)
    control.start()
    try:
        assert call(control, "POST", "/stop")[0] == 200
        assert stopped.wait(SECONDS)
    finally:
        control.stop()


def test_a_control_that_was_not_started_can_be_stopped(double: Double) -> None:
    ControlServer(double, TOKEN).stop()


def test_calls_during_the_end_are_refused(double: Double) -> None:
    control = ControlServer(double, TOKEN)
    control.control.end()
    control.start()
    try:
        assert call(control, "GET", "/check") == (503, {"error": "the double has stopped", "hint": "start another one"})
    finally:
        control.stop()
