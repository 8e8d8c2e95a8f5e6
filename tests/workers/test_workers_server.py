"""What a server offers to workers: foreign sockets with TLS where its own places have it, and an end without haste."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from authority import NAME, Authority
from gevent import socket

from geventpop3 import POP3Server
from geventpop3.server.tls import Certificates


@contextmanager
def started(pop3d: POP3Server, listen: list[Any]) -> Iterator[POP3Server]:
    pop3d.start(listen, shared=True)
    try:
        yield pop3d
    finally:
        pop3d.shutdown(0)


def dial(port: int) -> Any:
    sock = socket.create_connection(("127.0.0.1", port), 30)
    assert sock.recv(100).startswith(b"+OK")
    return sock


def test_a_drained_server_waits_for_its_sessions_and_leaves_who_comes_to_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, started(POP3Server(), [ours.dup()]) as pop3d:
        port = ours.getsockname()[1]
        client = dial(port)
        draining = gevent.spawn(pop3d.drain, 60)
        gevent.sleep(0)
        with socket.create_connection(("127.0.0.1", port), 30) as late:
            heir, peer = ours.accept()  # another process that has the same socket
            assert peer == late.getsockname()
            heir.close()
        assert not draining.ready()
        client.sendall(b"QUIT\r\n")
        assert client.recv(100).startswith(b"+OK")  # the framework answers it, and the session ends
        assert draining.get(timeout=30) is True
        client.close()


def test_draining_ends_with_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, started(POP3Server(), [ours.dup()]) as pop3d:
        client = dial(ours.getsockname()[1])
        assert pop3d.drain(0.01) is False
        client.sendall(b"NOOP\r\n")
        assert client.recv(100).startswith(b"-ERR")  # not before login; but it is answered
        client.close()
        assert pop3d.drain(60) is True


def test_who_was_accepted_before_draining_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, started(POP3Server(), [ours.dup()]) as pop3d:
        sock = socket.create_connection(("127.0.0.1", ours.getsockname()[1]), 30)
        acceptor = pop3d._listening.acceptors[0]
        acceptor.do_handle(*acceptor.do_read())  # in the same turn of the loop
        draining = gevent.spawn(pop3d.drain, 60)
        assert sock.recv(100).startswith(b"+OK")
        sock.close()
        assert draining.get(timeout=30) is True


def test_foreign_sockets_have_tls_at_the_port_or_the_path_of_a_place_with_tls(tmp_path: Path) -> None:
    authority = Authority()
    certificates = Certificates([authority.pair(tmp_path)])
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.bind(f"{tmp_path}/secured")
    unix.listen()
    clear, secured, other = (sock.getsockname()[1] for sock in sockets)
    places = [f"192.0.2.1:{secured}", "192.0.2.1:0", f"unix:{tmp_path}/secured"]
    pop3d = POP3Server(tls=certificates, tls_listen=places, listen=[f"192.0.2.1:{other}"])
    with started(pop3d, [*sockets, unix]):
        dial(clear).close()
        dial(other).close()
        context = authority.context()
        with context.wrap_socket(socket.create_connection(("127.0.0.1", secured), 30), server_hostname=NAME) as sock:
            assert sock.recv(100).startswith(b"+OK")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
            plain.connect(f"{tmp_path}/secured")
            with context.wrap_socket(plain, server_hostname=NAME) as sock:
                assert sock.recv(100).startswith(b"+OK")
    assert (tmp_path / "secured").is_socket()  # who made it removes it


def test_connections_inherit_options_that_whoever_bound_did_not_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, started(POP3Server(), [ours.dup()]) as pop3d:
        client = dial(ours.getsockname()[1])
        (session,) = pop3d.clients.values()
        assert session.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert session.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        client.close()
