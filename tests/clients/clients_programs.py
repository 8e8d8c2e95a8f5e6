"""How mail clients are told to fetch everything and to leave nothing, and what they fetched.

*tls* is what the client's configuration says of it. A client goes to ``maildrop.host``.
"""

from __future__ import annotations

from clients_fetched import contents
from clients_maildrop import Maildrop, make_maildir


def fetchmail(maildrop: Maildrop, program: str, tls: str) -> list[bytes]:
    configuration = maildrop.configure(
        "fetchmailrc",
        f"""
        set invisible
        set no bouncemail
        set pidfile "{maildrop.home}/fetchmail.pid"
        set idfile "{maildrop.home}/fetchids"
        poll {maildrop.host} service {maildrop.address.port} protocol POP3 auth password no uidl
          user "{maildrop.user}" password "{maildrop.password}" {tls}
          fetchall no keep no rewrite no dropstatus no dropdelivered no stripcr no forcecr no mimedecode pass8bits
          mda "{maildrop.delivery_agent()}"
        """,
    )
    maildrop.run(program, "--fetchmailrc", configuration, "--nodetach", "--silent")
    return contents(maildrop.fetched)


def mpop(maildrop: Maildrop, program: str, tls: str, auth: str = "on") -> list[bytes]:
    make_maildir(maildrop.fetched)
    configuration = maildrop.configure(
        "mpoprc",
        f"""
        account default
        host {maildrop.host}
        port {maildrop.address.port}
        auth {auth}
        user {maildrop.user}
        password {maildrop.password}
        {tls}
        keep off
        received_header off
        uidls_file {maildrop.home}/uidls
        delivery maildir {maildrop.fetched}
        """,
    )
    maildrop.run(program, "--file", configuration, "--quiet")
    return contents(maildrop.fetched / "new")


def getmail(maildrop: Maildrop, program: str, retriever: str = "SimplePOP3Retriever", tls: str = "") -> list[bytes]:
    # As root it delivers into no Maildir, but through a program; then it adds a line that no option leaves out.
    added = b"Return-Path: <unknown>\n"
    configuration = maildrop.configure(
        "getmailrc",
        f"""
[retriever]
type = {retriever}
server = {maildrop.host}
port = {maildrop.address.port}
username = {maildrop.user}
password = {maildrop.password}
{tls}
[destination]
type = MDA_external
path = {maildrop.delivery_agent()}
allow_root_commands = true
[options]
delete = true
read_all = true
delivered_to = false
received = false
verbose = 0
""",
    )
    maildrop.run(program, "--getmaildir", maildrop.home, "--rcfile", configuration)
    fetched = contents(maildrop.fetched)
    assert all(octets.startswith(added) for octets in fetched)
    return [octets.removeprefix(added) for octets in fetched]
