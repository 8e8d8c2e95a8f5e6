"""Real mail clients fetch the awkward messages octet by octet, delete them, and find the maildrop empty.

``test_the_octets_on_the_wire`` shows that what the server sends is right also where a client has its own ways.
"""

from __future__ import annotations

import poplib
import socket

import clients_programs
import pytest
from clients_fetched import OWN_WAYS, check, contents
from clients_maildrop import SECONDS, make_maildir

from geventpop3.testing.mail import awkward_messages

pytestmark = pytest.mark.client


def test_every_own_way_is_of_a_client_and_a_message_that_are_tested():
    names = {message.name for message in awkward_messages()}
    assert all(f"test_{client}" in globals() and name in names and why for (client, name), (why, _) in OWN_WAYS.items())


def test_the_octets_on_the_wire(maildrop):
    """No client: whatever a client makes of it, this is what it was sent."""
    with socket.create_connection(maildrop.address, SECONDS) as sock, sock.makefile("rb") as file:
        sock.sendall(b"USER %s\r\nPASS %s\r\nSTAT\r\nLIST\r\n" % (maildrop.user.encode(), maildrop.password.encode()))
        assert [file.readline()[:3] for _ in range(3)] == [b"+OK"] * 3
        assert file.readline() == b"+OK %d %d\r\n" % (25, sum(message.octets for message in maildrop.messages))
        assert file.readline().startswith(b"+OK")
        for number, message in enumerate(maildrop.messages, 1):
            assert file.readline() == b"%d %d\r\n" % (number, message.octets)
        assert file.readline() == b".\r\n"
        for number, message in enumerate(maildrop.messages, 1):
            sock.sendall(b"RETR %d\r\nDELE %d\r\n" % (number, number))
            assert file.readline() == b"+OK %d octets\r\n" % message.octets
            assert file.read(len(message.stuffed)) == message.stuffed, message.name
            assert file.readline().startswith(b"+OK")
        sock.sendall(b"QUIT\r\n")
        assert file.readline().startswith(b"+OK")
        assert file.read() == b""
    assert maildrop.is_empty()


def test_poplib(maildrop, monkeypatch):
    monkeypatch.setattr(poplib, "_MAXLINE", 1 << 20)  # as its users do: 2048 would be the longest line of a message
    box = poplib.POP3(*maildrop.address, timeout=SECONDS)
    box.user(maildrop.user)
    box.pass_(maildrop.password)
    count, octets = box.stat()
    assert (count, octets) == (25, sum(message.octets for message in maildrop.messages))
    fetched = []
    for number in range(1, count + 1):
        _, lines, size = box.retr(number)
        fetched.append(b"".join(line + b"\r\n" for line in lines))
        assert size == len(fetched[-1])
        box.dele(number)
    assert box.quit().startswith(b"+OK")
    check("poplib", maildrop.messages, fetched)
    assert maildrop.is_empty()


def test_curl(maildrop, program):
    command = [program, "--silent", "--show-error", "--user", f"{maildrop.user}:{maildrop.password}"]
    url = f"{maildrop.address.url}/"
    count = len(maildrop.run(*command, url).splitlines())
    assert count == 25
    maildrop.fetched.mkdir()
    maildrop.run(*command, "--output", maildrop.fetched / "#1", f"{url}[1-{count}]")
    check("curl", maildrop.messages, contents(maildrop.fetched))
    # --list-only is what keeps curl from waiting for a multi-line response
    delete = [*command, "--list-only", "--request", "DELE"]
    maildrop.run(*delete, f"{url}[1-{count}]")
    assert maildrop.is_empty()


def test_fetchmail(maildrop, program):
    check("fetchmail", maildrop.messages, clients_programs.fetchmail(maildrop, program, 'sslproto ""'))
    assert maildrop.is_empty()


def test_mpop(maildrop, program):
    check("mpop", maildrop.messages, clients_programs.mpop(maildrop, program, "tls off", auth="user"))
    assert maildrop.is_empty()


def test_getmail(maildrop, program):
    check("getmail", maildrop.messages, clients_programs.getmail(maildrop, program))
    assert maildrop.is_empty()


def test_mutt(maildrop, program):
    make_maildir(maildrop.fetched)
    configuration = maildrop.configure(
        "muttrc",
        f"""
        set mbox_type=Maildir
        set folder="{maildrop.home}"
        set spoolfile="{maildrop.fetched}"
        set mbox="{maildrop.fetched}"
        set pop_host="pop://{maildrop.address.host}:{maildrop.address.port}"
        set pop_user="{maildrop.user}"
        set pop_pass="{maildrop.password}"
        set pop_authenticators="user"
        set pop_delete=yes
        set ssl_starttls=no
        set ssl_force_tls=no
        set move=no
        set quit=yes
        push "<fetch-mail><quit>"
        """,
    )
    maildrop.run_in_terminal(program, "-n", "-F", configuration)
    check("mutt", maildrop.messages, contents(maildrop.fetched / "new") + contents(maildrop.fetched / "cur"))
    assert maildrop.is_empty()
