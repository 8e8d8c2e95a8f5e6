"""How mail clients are told to fetch everything and to leave nothing, and what they fetched.

*tls* is what the client's configuration says of it. A client goes to ``maildrop.host``.
"""

from __future__ import annotations

from clients_fetched import contents
from clients_maildrop import Home, Maildrop, make_maildir

Command = list[object]
GETMAIL_ADDS = b"Return-Path: <unknown>\n"


def fetchmail(maildrop: Maildrop, program: str, tls: str) -> list[bytes]:
    maildrop.run(*fetchmail_command(maildrop, program, tls))
    return contents(maildrop.fetched)


def fetchmail_command(home: Home, program: str, tls: str, server: str = "no uidl", which: str = "fetchall") -> Command:
    """The command that fetches and deletes; *server* and *which* are options of the server and of the user."""
    configuration = home.configure(
        "fetchmailrc",
        f"""
        set invisible
        set no bouncemail
        set pidfile "{home.home}/fetchmail.pid"
        set idfile "{home.home}/fetchids"
        poll {home.host} service {home.address.port} protocol POP3 auth password {server}
          user "{home.user}" password "{home.password}" {tls}
          {which} no keep no rewrite no dropstatus no dropdelivered no stripcr no forcecr no mimedecode pass8bits
          mda "{home.delivery_agent()}"
        """,
    )
    return [program, "--fetchmailrc", configuration, "--nodetach", "--silent"]


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
    maildrop.run(*getmail_command(maildrop, program, retriever, tls))
    fetched = contents(maildrop.fetched)
    assert all(octets.startswith(GETMAIL_ADDS) for octets in fetched)
    return [octets.removeprefix(GETMAIL_ADDS) for octets in fetched]


def getmail_command(
    home: Home, program: str, retriever: str = "SimplePOP3Retriever", more: str = "", read_all: str = "true"
) -> Command:
    """The command that fetches and deletes; *more* are lines of the retriever."""
    # As root it delivers into no Maildir, but through a program; then it adds a line that no option leaves out.
    configuration = home.configure(
        "getmailrc",
        f"""
[retriever]
type = {retriever}
server = {home.host}
port = {home.address.port}
username = {home.user}
password = {home.password}
{more}
[destination]
type = MDA_external
path = {home.delivery_agent()}
allow_root_commands = true
[options]
delete = true
read_all = {read_all}
delivered_to = false
received = false
verbose = 0
""",
    )
    return [program, "--getmaildir", home.home, "--rcfile", configuration]
