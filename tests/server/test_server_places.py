"""A place that cannot be listened at is named by what is raised, and one that cannot be meant is refused first."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from gevent import socket

from geventpop3 import POP3Server
from geventpop3.errors import ConfigError
from geventpop3.server import acceptor
from geventpop3.server.acceptor import listening_socket
from geventpop3.server.addresses import check_address


def test_a_port_in_use_is_named_by_an_application_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            POP3Server(port=port).serve_forever()
    assert caught.value.__notes__ == [
        f"Another program listens at 127.0.0.1:{port}: stop it, or choose another address or port."
    ]
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.filename == f"127.0.0.1:{port}"
    assert str(caught.value) == f"[Errno {errno.EADDRINUSE}] Address already in use: '127.0.0.1:{port}'"


def test_an_error_keeps_its_type_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_asked: Any, **_how: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(acceptor.socket, "getaddrinfo", unknown)
    for host, shown in (("pop.invalid", "pop.invalid:110"), ("::1%none", "[::1%none]:110"), ("", ":110")):
        with pytest.raises(OSError, match="not known") as caught:
            listening_socket((host, 110))
        assert type(caught.value).__name__ == "gaierror"
        assert (caught.value.errno, caught.value.filename) == (socket.EAI_NONAME, shown)
    with pytest.raises(FileNotFoundError) as missing:
        listening_socket(("unix", "/nonexistent/pop3"))
    assert missing.value.filename == "unix:/nonexistent/pop3"


def test_places_without_a_descriptor_left_for_their_acceptors_are_all_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = tmp_path / "first", tmp_path / "second"
    opened = os.open
    opens = iter([opened])

    def one_left(*arguments: Any) -> int:
        for function in opens:
            return function(*arguments)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), arguments[0])

    pop3d = POP3Server(listen=[f"unix:{path}" for path in given])
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", one_left)
        with pytest.raises(OSError, match="Too many open files") as caught:
            pop3d.start()
    assert caught.value.filename == f"unix:{given[1]}"
    assert not any(path.exists() for path in given)
    assert pop3d.getsocknames() == []
    pop3d.start()
    assert pop3d.getsocknames() == [str(path) for path in given]
    pop3d.shutdown()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"port": 65536}, "65536: the port must be a number from 0 to 65535"),
        ({"port": -1}, "-1: the port must be a number from 0 to 65535"),
        ({"address": "127.0.0.1:1110"}, "'127.0.0.1:1110' is not a host alone: give listen strings, such as"),
        ({"address": "[::1]"}, "'[::1]' is not a host alone"),
        ({"address": "pop3://localhost"}, "is not a host alone"),
        ({"listen": [("127.0.0.1", 65537)]}, "65537: the port must be a number"),
        ({"listen": "127.0.0.1:1110"}, "'127.0.0.1:1110' is a string: give a list of addresses, ['127.0.0.1:1110']"),
        ({"listen": [":1110"]}, "':1110': the host is missing"),
        ({"listen": [("127.0.0.1", 1110.0)]}, "and the port an int"),
        ({"listen": [(1110, "127.0.0.1")]}, "the host must be a str, a name or an address"),
        ({"listen": ["127.0.0.1:1110", ("127.0.0.1", 1110)]}, "127.0.0.1:1110 is given twice"),
        ({"listen": ["[::]:1110", "[::1]:1110"]}, "[::]:1110 and [::1]:1110 overlap"),
        ({"listen": ["unix:/s", "unix:/s"]}, "unix:/s is given twice"),
    ],
)
def test_what_cannot_be_meant_is_not_bound(place: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        POP3Server(**place)
    assert words in str(caught.value)


def test_places_given_at_the_start_are_looked_at_too() -> None:
    with pytest.raises(ConfigError, match=r"127.0.0.1:1110 is given twice"):
        POP3Server().start(["127.0.0.1:1110", "127.0.0.1:1110"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (2111, r"not int: give the port as a keyword, POP3Server\(port=2111\)"),
        (("127.0.0.1", 2111), "address must be the host to listen at, a str, not tuple$"),
    ],
)
def test_an_address_is_a_text(address: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        POP3Server(address)


def test_pairs_are_as_sockets_have_them() -> None:
    for host, port in (("", 0), ("::", 110), ("fe80::1%eth0", 65535), ("localhost", 110), ("unix", "a:b/c")):
        check_address(host, port)
    with listening_socket(("", 0)) as every:
        assert every.getsockname()[0] in ("0.0.0.0", "::")


def test_a_client_that_has_vanished_is_noticed_within_four_minutes(pop3d: POP3Server, login: Any) -> None:
    login(pop3d)
    (client,) = pop3d.clients.values()
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    idle, interval, probes = (
        client.sock.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )
    assert idle + interval * probes == 240
