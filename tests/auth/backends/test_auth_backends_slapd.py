"""LDAP against OpenLDAP's own server, on a unix socket and on loopback with its own TLS."""

import contextlib
import os
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import required
import trustme

from geventpop3.auth.ldap import LdapAuthenticator, UserDn, UserSearch
from geventpop3.errors import ConfigError, StoreUnavailable

SCHEMAS = Path("/etc/ldap/schema")

pytestmark = pytest.mark.service


BASE = "ou=people,dc=example,dc=org"
SERVICE = "cn=pop3,dc=example,dc=org"
DN = UserDn("uid={name}," + BASE)
SEARCH = UserSearch(BASE, "(&(objectClass=inetOrgPerson)(mail={name}))", SERVICE, "service")

CONFIGURATION = """
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
allow bind_v2 bind_anon_cred bind_anon_dn
database mdb
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by self read by * none
"""

ENTRIES = f"""
dn: dc=example,dc=org
objectClass: domain
dc: example

dn: {BASE}
objectClass: organizationalUnit
ou: people

dn: {SERVICE}
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: pop3
userPassword: service

dn: uid=alice,{BASE}
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
mail: alice@example.org
userPassword: sécret

dn: uid=o\\,dd\\+,{BASE}
objectClass: inetOrgPerson
uid: o,dd+
cn: Odd
sn: O
mail: (*)>=\\x@example.org
mail: (*)@example.org
userPassword: secret
"""


class Slapd:
    def __init__(self, folder, authority):
        self.folder = folder
        self.path = f"{folder}/ldapi"
        self.port = free_port()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        (folder / "data").mkdir()
        self.program = required.program("slapd")
        if not SCHEMAS.is_dir():
            required.missing("slapd's schemas")
        self.configuration = folder / "slapd.conf"
        text = CONFIGURATION.format(schemas=SCHEMAS, folder=folder, service=SERVICE)
        self.configuration.write_text(text)
        arguments = [self.program, "-T", "add", "-f", str(self.configuration)]
        subprocess.run(arguments, input=ENTRIES.encode(), check=True, capture_output=True, timeout=60)
        self.process = None

    @property
    def ldapi(self):
        return f"ldapi://{quote(self.path, safe='')}"

    @property
    def ldap(self):
        return f"ldap://127.0.0.1:{self.port}"

    def start(self):
        arguments = [self.program, "-d", "0", "-f", str(self.configuration), "-h", f"{self.ldapi} {self.ldap}"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.01)
        pytest.fail(f"slapd does not start: {(self.folder / 'log').read_text()}")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def slapd(tmp_path_factory, authority):
    slapd = Slapd(tmp_path_factory.mktemp("slapd"), authority)
    slapd.start()
    yield slapd
    slapd.stop()


@pytest.fixture
def make(authority):
    """Makes authenticators whose connections, of this thread, are closed at the end."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    made = []

    def make(url, users=SEARCH):
        made.append(LdapAuthenticator(url, users, context=context))
        return made[-1]

    yield make
    for users in made:
        users.close()


@pytest.mark.parametrize("scheme", ["ldapi", "ldap"])
def test_slapd_lets_the_right_password_in_and_no_other(slapd, make, scheme):
    users = make(getattr(slapd, scheme))
    assert users.authenticate("alice@example.org", "sécret") == "alice"
    assert users.authenticate("ALICE@example.org", "sécret") == "alice"
    assert users.authenticate("alice@example.org", "secret") is None
    assert users.authenticate("alice@example.org", "\udce9") is None
    assert users.authenticate("nobody@example.org", "sécret") is None


@pytest.mark.parametrize("scheme", ["ldapi", "ldap"])
def test_slapd_binds_a_dn_of_the_template(slapd, make, scheme):
    users = make(getattr(slapd, scheme), DN)
    assert users.authenticate("alice", "sécret") == "alice"
    assert users.authenticate("  Alice ", "sécret") == "alice"
    assert users.authenticate("alice", "secret") is None
    assert users.authenticate("nobody", "sécret") is None


@pytest.mark.parametrize("users", [SEARCH, DN])
def test_slapd_passes_a_check_that_a_mistake_does_not(slapd, make, users):
    make(slapd.ldap, users).check()
    for mistake, words in [
        (replace(SEARCH, base="ou=nobody,dc=nowhere"), "the search below ou=nobody,dc=nowhere returned the result"),
        (replace(SEARCH, bind_password="wrong"), f"the bind of the service account {SEARCH.bind_dn} was refused"),
        (UserDn("uid {name}"), "malformed bind DN"),
    ]:
        with pytest.raises(ConfigError, match=words):
            make(slapd.ldap, mistake).check()


def test_slapd_would_take_an_empty_password_for_an_anonymous_login_but_is_not_asked(slapd, make):
    import ldap3

    dn = f"uid=alice,{BASE}"
    server = ldap3.Server(slapd.ldap, get_info=ldap3.NONE)
    connection = ldap3.Connection(server, dn, "x", auto_bind=ldap3.AUTO_BIND_NONE)
    connection.open(read_server_info=False)
    # ldap3 would not send that either: the password is taken out of what is on its way.
    from ldap3.protocol.rfc4511 import AuthenticationChoice, BindRequest, Simple, Version

    request = BindRequest()
    request["version"], request["name"] = Version(3), dn
    request["authentication"] = AuthenticationChoice().setComponentByName("simple", Simple(""))
    connection.post_send_single_response(connection.send("bindRequest", request))
    assert connection.result["description"] == "success"
    connection.strategy.close()
    assert make(slapd.ldap, DN).authenticate("alice", "") is None


@pytest.mark.parametrize("name", ["*", "a*", "alice@example.org)(uid=*", "*)(uid=*))(|(uid=*", "\\2a", "alice\\40x"])
def test_slapd_finds_nobody_by_signs_of_a_filter(slapd, make, name):
    assert make(slapd.ldapi).knows(name) is False


def test_slapd_knows_users_by_their_odd_names(slapd, make):
    assert make(slapd.ldapi).authenticate("(*)@example.org", "secret") == "o,dd+"
    assert make(slapd.ldapi).authenticate("(*)>=\\x@example.org", "secret") == "o,dd+"
    assert make(slapd.ldapi, DN).authenticate("o,dd+", "secret") == "o,dd+"
    assert make(slapd.ldapi, DN).authenticate("o,dd+,ou=people", "secret") is None


def test_slapd_with_a_certificate_that_nobody_vouches_for_gets_no_password(slapd):
    users = LdapAuthenticator(slapd.ldap, DN)
    with pytest.raises(StoreUnavailable) as caught:
        users.authenticate("alice", "sécret")
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.detail


def test_slapd_that_goes_away_and_comes_back_is_an_outage_between(tmp_path_factory, authority, make):
    slapd = Slapd(tmp_path_factory.mktemp("slapd"), authority)
    slapd.start()
    users = make(slapd.ldap)
    try:
        assert users.authenticate("alice@example.org", "sécret") == "alice"
    finally:
        slapd.stop()
    with pytest.raises(StoreUnavailable):
        users.authenticate("alice@example.org", "sécret")
    slapd.start()
    try:
        assert users.authenticate("alice@example.org", "sécret") == "alice"
    finally:
        slapd.stop()
    assert not os.path.exists(f"/proc/{slapd.process.pid}")
