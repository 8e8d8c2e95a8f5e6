"""Real mail clients fetch the awkward messages over STLS and over TLS from the start, and check the certificate.

fetchmail looks for a common name, too, so the certificate has one.
"""

from __future__ import annotations

import clients_programs
import pytest
from clients_fetched import check
from clients_maildrop import Maildrop
from clients_tls import HOST, Authority, Wire, WireServer

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing import serve

pytestmark = pytest.mark.client


class SecureMaildrop(Maildrop):
    """Alice's maildrop behind TLS."""

    host = HOST

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
    how = "ssl" if maildrop.wire == "pop3s" else "sslproto TLS1.2+"
    tls = f'{how} sslcertck sslcertfile "{maildrop.authority.certificate}"'
    check("fetchmail", maildrop.messages, clients_programs.fetchmail(maildrop, program, tls))
    assert maildrop.was_fetched_by_tls()


def test_mpop_fetches(secure_maildrop, program):
    maildrop = secure_maildrop
    starttls = "off" if maildrop.wire == "pop3s" else "on"
    tls = f"tls on\ntls_starttls {starttls}\ntls_trust_file {maildrop.authority.certificate}"
    check("mpop", maildrop.messages, clients_programs.mpop(maildrop, program, tls))
    assert maildrop.was_fetched_by_tls()


@pytest.mark.parametrize("secure_maildrop", ["pop3s"], indirect=True)
def test_getmail_fetches(secure_maildrop, program):
    # It has no STLS for POP3.
    maildrop = secure_maildrop
    tls = f"ca_certs = {maildrop.authority.certificate}\nssl_cert_hostname = {HOST}"
    fetched = clients_programs.getmail(maildrop, program, "SimplePOP3SSLRetriever", tls)
    check("getmail", maildrop.messages, fetched)
    assert maildrop.was_fetched_by_tls()
