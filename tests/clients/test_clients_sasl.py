"""Real clients log in with every mechanism they have: in clear text on loopback, after STLS, with TLS from the start.

Certificates are checked. The server's own account says which mechanism it was, and whether TLS was there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from clients_maildrop import SECONDS, make_maildir
from clients_tls import HOST, WIRES, Authority, Wire, WireServer

from geventpop3.auth import ClearSecret, SecretAuthenticator
from geventpop3.auth.authenticator import TokenAuthenticator
from geventpop3.auth.mechanisms import MECHANISMS
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing import serve

pytestmark = pytest.mark.client

MESSAGE = b"Subject: one\r\n\r\nhello\r\n"
TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "x" * 1500
"""Longer than a command line, as tokens are."""


class Everything(SecretAuthenticator, TokenAuthenticator):
    """Alice may come with a password or a token."""

    def authenticate(self, name: str, password: str) -> str | None:
        return name if (name, password) == ("alice", "sesame") else None

    def secret(self, name: str) -> ClearSecret | None:
        return ClearSecret(b"sesame") if name == "alice" else None

    def knows(self, name: str) -> bool:
        return name == "alice"

    def check_token(self, name: str | None, token: str) -> str | None:
        return "alice" if name in (None, "alice") and token == TOKEN else None


class Site:
    """A server that a wire leads to."""

    def __init__(self, wire: Wire, authority: Authority, home) -> None:
        self.wire, self.authority, self.home = wire, authority, home
        self.port = 0
        self.servers: list[WireServer] = []
        self.mechanisms = dict(MECHANISMS)

    def app(self) -> WireServer:
        pop3d = WireServer(self.wire, self.authority)
        service = MaildropService(MemoryStore({"alice": [MESSAGE]}), Everything(), mechanisms=self.mechanisms)
        pop3d.register(service)
        self.servers.append(pop3d)
        return pop3d

    @property
    def logins(self) -> list[tuple[str, bool]]:
        return self.servers[0].logins

    def run(self, *command: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(word) for word in command],
            env={"HOME": str(self.home), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture(params=WIRES)
def site(request, authority, tmp_path) -> Iterator[Site]:
    site = Site(request.param, authority, tmp_path)
    with serve(site.app) as address:
        site.port = address.port
        yield site


def curl(site: Site, program: str, *options: object) -> subprocess.CompletedProcess[bytes]:
    """What curl says to its first message."""
    trust = {
        "clear": [],
        "stls": ["--ssl-reqd", "--cacert", site.authority.certificate],
        "pop3s": ["--cacert", site.authority.certificate],
    }[site.wire]
    scheme = "pop3s" if site.wire == "pop3s" else "pop3"
    url = f"{scheme}://127.0.0.1:{site.port}/1"
    return site.run(program, "--silent", "--show-error", "--max-time", SECONDS, *trust, *options, url)


PASSWORD = ["--user", "alice:sesame"]
BEARER = ["--user", "alice:", "--oauth2-bearer", TOKEN]
CURL = {
    "APOP": [*PASSWORD, "--login-options", "AUTH=+APOP"],
    "PLAIN": [*PASSWORD, "--login-options", "AUTH=PLAIN"],
    "LOGIN": [*PASSWORD, "--login-options", "AUTH=LOGIN"],
    "CRAM-MD5": [*PASSWORD, "--login-options", "AUTH=CRAM-MD5"],
    "SCRAM-SHA-1": [*PASSWORD, "--login-options", "AUTH=SCRAM-SHA-1"],
    "SCRAM-SHA-256": [*PASSWORD, "--login-options", "AUTH=SCRAM-SHA-256"],
    "XOAUTH2": [*BEARER, "--login-options", "AUTH=XOAUTH2"],  # as far as curl has a choice: it prefers the other
    "OAUTHBEARER": [*BEARER, "--login-options", "AUTH=OAUTHBEARER"],
}


@pytest.mark.parametrize("sasl_ir", [False, True], ids=["challenged", "initial"])
@pytest.mark.parametrize("mechanism", CURL)
def test_curl_logs_in_with(site, program, mechanism, sasl_ir):
    if mechanism.startswith("SCRAM") and b"gsasl" not in site.run(program, "--version").stdout:
        pytest.skip("this curl was built without gsasl, and so has no SCRAM")
    if mechanism == "XOAUTH2":
        del site.mechanisms["OAUTHBEARER"]
    done = curl(site, program, *CURL[mechanism], *(["--sasl-ir"] if sasl_ir else []))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == MESSAGE
    assert site.logins == [(mechanism, site.wire != "clear")]


def test_curl_logs_in_with_the_best_that_it_has(site, program):
    done = curl(site, program, *PASSWORD)
    assert (done.returncode, done.stdout) == (0, MESSAGE)
    ((mechanism, secure),) = site.logins
    assert mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5")
    assert secure is (site.wire != "clear")


@pytest.mark.parametrize("mechanism", CURL)
def test_curl_hears_that_a_login_failed(site, program, mechanism):
    if mechanism.startswith("SCRAM") and b"gsasl" not in site.run(program, "--version").stdout:
        pytest.skip("this curl was built without gsasl, and so has no SCRAM")
    wrong = [
        "wrong" if word == TOKEN else "alice:wrong" if word == "alice:sesame" else word for word in CURL[mechanism]
    ]
    done = curl(site, program, *wrong)
    assert done.returncode == 67, done.stderr  # login denied
    assert site.logins == []


@pytest.mark.parametrize("wire", ["stls", "pop3s"])
def test_curl_logs_in_with_a_certificate(wire, authority, tmp_path, program):
    site = Site(wire, authority, tmp_path)
    with serve(site.app) as address:
        site.port = address.port
        external = ["--user", "alice:", "--cert", authority.alice, "--login-options", "AUTH=EXTERNAL"]
        done = curl(site, program, *external)
        assert (done.returncode, done.stdout) == (0, MESSAGE), done.stderr
        assert site.logins == [("EXTERNAL", True)]


def test_curl_trusts_no_other_authority(authority, tmp_path, program):
    for wire in ("stls", "pop3s"):
        site = Site(wire, authority, tmp_path)
        with serve(site.app) as address:
            site.port = address.port
            done = curl(site, program, "--cacert", "/etc/ssl/certs/ca-certificates.crt", *PASSWORD)
            assert done.returncode == 60  # the server's certificate is not trusted
            assert site.logins == []


MPOP = {
    "user": "USER",
    "apop": "APOP",
    "plain": "PLAIN",
    "login": "LOGIN",
    "cram-md5": "CRAM-MD5",
    "scram-sha-1": "SCRAM-SHA-1",
    "scram-sha-256": "SCRAM-SHA-256",
    "xoauth2": "XOAUTH2",
    "oauthbearer": "OAUTHBEARER",
}


@pytest.mark.parametrize("method", MPOP)
def test_mpop_logs_in_with(site, program, method):
    known = site.run(program, "--version").stdout.split()
    if method.encode() not in known:
        pytest.skip(f"this mpop was built without {method}")
    fetched = site.home / "fetched"
    make_maildir(fetched)
    tls = {"clear": "tls off", "stls": "tls on\ntls_starttls on", "pop3s": "tls on\ntls_starttls off"}[site.wire]
    trust = "" if site.wire == "clear" else f"tls_trust_file {site.authority.certificate}"
    secret = site.home / "secret"  # a token is longer than mpop's longest line of configuration
    secret.write_text(TOKEN if MPOP[method] in ("XOAUTH2", "OAUTHBEARER") else "sesame")
    configuration = site.home / "mpoprc"
    configuration.write_text(
        f"account default\nhost {HOST}\nport {site.port}\n{tls}\n{trust}\nauth {method}\nuser alice\n"
        f"passwordeval cat {secret}\nkeep on\n"
        f"received_header off\nuidls_file {site.home}/uidls\ndelivery maildir {fetched}\n"
    )
    configuration.chmod(0o600)
    done = site.run(program, "--file", configuration, "--quiet")
    assert done.returncode == 0, done.stderr.decode()
    assert [path.read_bytes() for path in (fetched / "new").iterdir()] == [MESSAGE.replace(b"\r\n", b"\n")]
    assert site.logins == [(MPOP[method], site.wire != "clear")]
