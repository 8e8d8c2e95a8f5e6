"""Real mail clients fetch the awkward messages over STLS and over TLS from the start, and check the certificate.

fetchmail looks for a common name, too, so the certificate has one.
"""

from __future__ import annotations

import pytest
from clients_fetched import check, contents
from clients_maildrop import Maildrop, make_maildir
from clients_tls import HOST, Authority, Wire, WireServer

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing import serve

pytestmark = pytest.mark.client


class SecureMaildrop(Maildrop):
    """Alice's maildrop behind TLS."""

    def __init__(self, folder, wire: Wire, authority: Authority) -> None:
        super().__init__(folder)
        self.wire, self.authority = wire, authority
        self.servers: list[WireServer] = []

    def app(self) -> POP3Server:
        pop3d = WireServer(self.wire, self.authority)
        pop3d.register(MaildropService(MaildirStore(str(self._template)), PasswordFile(self._passwords)))
        self.servers.append(pop3d)
        return pop3d

    def was_fetched_by_tls(self) -> bool:
        """Whether somebody logged in, nobody without TLS, and nothing is left on disk."""
        secure = [secure for _, secure in self.servers[0].logins]
        left = [path for folder in ("new", "cur", "tmp") for path in (self._maildir / folder).iterdir()]
        return bool(secure) and all(secure) and left == []


@pytest.fixture(params=["stls", "pop3s"])
def secure_maildrop(request, tmp_path, authority):
    maildrop = SecureMaildrop(tmp_path, request.param, authority)
    with serve(maildrop.app) as address:
        maildrop.address = address
        yield maildrop


def test_fetchmail_fetches(secure_maildrop, program):
    maildrop = secure_maildrop
    configuration = maildrop.configure(
        "fetchmailrc",
        f"""
        set invisible
        set no bouncemail
        set pidfile "{maildrop.home}/fetchmail.pid"
        set idfile "{maildrop.home}/fetchids"
        poll {HOST} service {maildrop.address.port} protocol POP3 auth password no uidl
          user "{maildrop.user}" password "{maildrop.password}"
          {"ssl" if maildrop.wire == "pop3s" else "sslproto TLS1.2+"}
          sslcertck sslcertfile "{maildrop.authority.certificate}"
          fetchall no keep no rewrite no dropstatus no dropdelivered no stripcr no forcecr no mimedecode pass8bits
          mda "{maildrop.delivery_agent()}"
        """,
    )
    maildrop.run(program, "--fetchmailrc", configuration, "--nodetach", "--silent")
    check("fetchmail", maildrop.messages, contents(maildrop.fetched))
    assert maildrop.was_fetched_by_tls()


def test_mpop_fetches(secure_maildrop, program):
    maildrop = secure_maildrop
    make_maildir(maildrop.fetched)
    configuration = maildrop.configure(
        "mpoprc",
        f"""
        account default
        host {HOST}
        port {maildrop.address.port}
        auth on
        user {maildrop.user}
        password {maildrop.password}
        tls on
        tls_starttls {"off" if maildrop.wire == "pop3s" else "on"}
        tls_trust_file {maildrop.authority.certificate}
        keep off
        received_header off
        uidls_file {maildrop.home}/uidls
        delivery maildir {maildrop.fetched}
        """,
    )
    maildrop.run(program, "--file", configuration, "--quiet")
    check("mpop", maildrop.messages, contents(maildrop.fetched / "new"))
    assert maildrop.was_fetched_by_tls()


@pytest.mark.parametrize("secure_maildrop", ["pop3s"], indirect=True)
def test_getmail_fetches(secure_maildrop, program):
    # It has no STLS for POP3.
    maildrop = secure_maildrop
    added = b"Return-Path: <unknown>\n"
    configuration = maildrop.configure(
        "getmailrc",
        f"""
[retriever]
type = SimplePOP3SSLRetriever
server = {HOST}
port = {maildrop.address.port}
username = {maildrop.user}
password = {maildrop.password}
ca_certs = {maildrop.authority.certificate}
ssl_cert_hostname = {HOST}
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
    check("getmail", maildrop.messages, [octets.removeprefix(added) for octets in contents(maildrop.fetched)])
    assert maildrop.was_fetched_by_tls()
