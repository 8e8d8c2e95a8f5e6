"""Listeners as people write them."""

import pytest

from geventpop3.errors import ConfigError
from geventpop3.server.addresses import UNIX_PATH_OCTETS, check_address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:110", ("127.0.0.1", 110)),
        ("localhost:0", ("localhost", 0)),
        ("pop.example.org.:65535", ("pop.example.org.", 65535)),
        ("[::1]:110", ("::1", 110)),
        ("[::]:00110", ("::", 110)),
        ("[fe80::1%eth0]:110", ("fe80::1%eth0", 110)),
        ("unix:/run/pop3.sock", ("unix", "/run/pop3.sock")),
        ("unix:relative:110", ("unix", "relative:110")),
    ],
)
def test_listener_is_an_address(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "HOST:PORT"),
        ("110", "HOST:PORT"),
        ("127.0.0.1", "HOST:PORT"),
        ("127.0.0.1:", "HOST:PORT"),
        ("[::1]", "HOST:PORT"),
        ("127.0.0.1:pop3", "from 0 to 65535"),
        ("127.0.0.1:65536", "from 0 to 65535"),
        ("127.0.0.1:-1", "from 0 to 65535"),
        ("127.0.0.1: 110", "from 0 to 65535"),
        ("127.0.0.1:\u0661", "from 0 to 65535"),
        ("127.0.0.1:" + "9" * 5000, "from 0 to 65535"),
        ("::1:110", "in brackets, [::1]:110"),
        ("[::g]:110", "not an IPv6 address"),
        ("[127.0.0.1]:110", "not an IPv6 address"),
        ("[]:110", "not an IPv6 address"),
        ("a b:110", "neither"),
        ("a..b:110", "neither"),
        (".:110", "neither"),
        ("a\0b:110", "neither"),
        ("é:110", "neither"),
        ("a" * 64 + ":110", "neither"),
        ("a." * 200 + "b:110", "neither"),
        ("pop3://localhost:110", "without a scheme, localhost:110"),
        (":110", "127.0.0.1:110 is this machine alone, 0.0.0.0:110 every address"),
        ("*:110", "the host is missing"),
        (":x", "from 0 to 65535"),
        ("unix:", "path of the socket"),
        ("unix:a\0b", "path of the socket"),
        ("unix:/" + "a" * 103, "at most 103 octets"),
        ("unix:" + "é" * 52, "at most 103 octets"),
    ],
)
def test_anything_else_is_a_config_error_of_one_line(text, words):
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["/" + "a" * 102, "a" + "é" * 51])
def test_the_longest_path_of_a_socket_is_an_address(path):
    assert len(path.encode()) == UNIX_PATH_OCTETS
    assert parse_address(f"unix:{path}") == ("unix", path)


def test_the_longest_name_of_a_host_is_an_address():
    host = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert parse_address(f"{host}:110") == (host, 110)
    with pytest.raises(ConfigError, match="neither"):
        parse_address(f"{host}a:110")


@pytest.mark.parametrize(("host", "port"), [("", 0), ("127.0.0.1", 65535), ("::1", 110), ("unix", "/run/pop3.sock")])
def test_what_can_be_bound_is_a_place(host, port):
    check_address(host, port)


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", 65536, "65536: the port must be a number from 0 to 65535"),
        ("127.0.0.1", -1, "-1: the port must be a number from 0 to 65535"),
        ("127.0.0.1:110", 110, "is not a host alone"),
        ("[::1]", 110, "is not a host alone"),
        ("a/b", 110, "is not a host alone"),
    ],
)
def test_what_the_system_would_take_for_another_place_is_refused(host, port, words):
    with pytest.raises(ConfigError, match=words):
        check_address(host, port)
