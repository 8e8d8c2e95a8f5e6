"""JSON by HTTP within bounds: what a server may send, may not send, and what is never asked."""

import itertools
import ssl
import threading
import types

import pytest
import trustme
from backends_issuer import Issuer

from geventpop3.auth.oauth import json_endpoint
from geventpop3.auth.oauth.json_endpoint import Endpoint, EndpointError
from geventpop3.errors import ConfigError

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(autouse=True)
def good(issuer):
    issuer.answer = None
    issuer.asked.clear()


@pytest.fixture
def jwks(issuer):
    return Endpoint(f"{issuer.url}/jwks")


def test_a_json_object_is_what_comes(jwks):
    assert jwks.get() == {"keys": []}
    assert jwks.get() == {"keys": []}


def test_the_query_of_a_url_is_part_of_what_is_asked(issuer):
    with pytest.raises(EndpointError):
        Endpoint(f"{issuer.url}?version=2").get()
    assert issuer.asked == [("GET", "/?version=2")]


def test_a_form_is_posted(issuer):
    issuer.answer = OK + b"\r\n{}"
    assert Endpoint(f"{issuer.url}/x").post({"a": "&="}, {"X-Y": "z"}) == {}
    assert issuer.asked == [("POST", "/x")]


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 8\r\n\r\n" + b'{"a": 1}',
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n" + b'{"a' + b"\r\n5\r\n" + b'": 1}' + b"\r\n0\r\n\r\n",
        OK + b'\r\n{"a": 1}',
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b'\r\n{"a": 1}',
    ],
)
def test_an_answer_may_end_in_every_way_of_http(issuer, jwks, answer):
    issuer.answer = answer
    assert jwks.get() == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "RemoteDisconnected"),
        (b"\x15\x03\x01garbage\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 000 \r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 500 oops\r\n\r\n{}", "status 500"),
        (b"HTTP/1.1 204 none\r\n\r\n", "status 204"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n{}", "status 302"),
        (OK + b"Content-Length: 9\r\n\r\n{}", "IncompleteRead"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", "IncompleteRead"),
        (OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n{}", "LineTooLong"),
        (OK + b"X: y\r\n" * 200 + b"\r\n{}", "HTTPException"),
        (OK + b"\r\n", "not JSON"),
        (OK + b"\r\n{", "not JSON"),
        (OK + b"\r\n\xff\xfe\xff", "not JSON"),
        (OK + b"\r\n" + b"[" * 200_000, "not JSON"),
        (OK + b"\r\n[]", "not a JSON object"),
        (OK + b"\r\nnull", "not a JSON object"),
        (OK + b"\r\n" + b"x" * json_endpoint.RESPONSE_OCTETS, "more than 262144 octets"),
    ],
)
def test_whatever_else_comes_is_one_error(issuer, jwks, answer, complaint):
    issuer.answer = answer
    with pytest.raises(EndpointError, match=complaint) as caught:
        jwks.get()
    assert str(caught.value).startswith(jwks.url)


def test_an_answer_that_never_ends_in_octets_is_cut(issuer, jwks):
    issuer.answer = itertools.repeat(b"x" * 65536)
    with pytest.raises(EndpointError, match="more than 262144 octets"):
        jwks.get()


@pytest.mark.parametrize("begin", [b"", OK, OK + b"\r\n{"])
def test_an_answer_that_drips_or_stalls_is_cut_in_time(issuer, begin):
    given_up = threading.Event()

    def drip():
        yield begin
        while not given_up.wait(0.02):
            yield b" "

    issuer.answer = drip()
    try:
        with pytest.raises(EndpointError, match=r"no complete response within 0\.1 s|TimeoutError"):
            Endpoint(issuer.url, seconds=0.1).get()
    finally:
        given_up.set()


def test_an_answer_whose_pieces_come_in_time_is_cut_all_the_same(issuer, jwks, monkeypatch):
    clock = iter([0.0, 0.0, 5.0])
    monkeypatch.setattr(json_endpoint, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    given_up = threading.Event()
    issuer.answer = (piece for piece in (b"x", given_up.wait) if isinstance(piece, bytes) or piece() is None)
    try:
        with pytest.raises(EndpointError, match=r"no complete response within 5 s"):
            jwks.get()
    finally:
        given_up.set()


def test_a_server_that_is_silent_is_left_in_time(issuer):
    given_up = threading.Event()
    issuer.answer = (given_up.wait() or b"" for _ in range(1))
    try:
        with pytest.raises(EndpointError, match="TimeoutError"):
            Endpoint(issuer.url, seconds=0.05).get()
    finally:
        given_up.set()


def test_a_server_that_is_not_there_is_an_error():
    gone = Issuer()
    gone.close()
    with pytest.raises(EndpointError, match="Connection refused"):
        Endpoint(gone.url).get()


def test_tls_is_verified():
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    issuer = Issuer(context)
    try:
        with pytest.raises(EndpointError, match="CERTIFICATE_VERIFY_FAILED"):
            Endpoint(f"{issuer.url}/jwks").get()
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        assert Endpoint(f"{issuer.url}/jwks", context=trusting).get() == {"keys": []}
        with pytest.raises(EndpointError, match="CERTIFICATE_VERIFY_FAILED"):
            Endpoint(issuer.url.replace("127.0.0.1", "localhost"), context=trusting).get()
    finally:
        issuer.close()


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [
        ("localhost", "localhost", 80),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("127.1.2.3", "127.1.2.3", 80),
        ("[::1]", "::1", 80),
        ("[::1]:8080", "::1", 8080),
    ],
)
def test_clear_text_is_for_this_machine(place, host, port):
    connection = Endpoint(f"http://{place}/")._connection()
    assert (connection.host, connection.port) == (host, port)


def test_https_has_its_own_port():
    assert Endpoint("https://[2001:db8::1]/")._connection().port == 443


def test_clear_text_elsewhere_needs_to_be_allowed():
    with pytest.raises(
        ConfigError,
        match=r"http://idp\.example\.org/ does not begin with https://, which is required except for this machine",
    ):
        Endpoint("http://idp.example.org/")
    with pytest.raises(ConfigError, match=r"http://127\.example\.org/ does not begin with https://"):
        Endpoint("http://127.example.org/")  # a name, which any machine may have
    assert Endpoint("http://idp.example.org/", allow_plaintext=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "idp.example.org",
        "ftp://idp.example.org/",
        "https://",
        "https://user:password@idp.example.org/",
        "https://idp.example.org:port/",
        "https://idp.example.org/é",
        "http://[::1",
    ],
)
def test_a_url_that_is_no_endpoint_is_refused(url):
    with pytest.raises(ConfigError):
        Endpoint(url)
