"""The [[authenticator]] tables: each kind is built of its keys, in order, and what is wrong is one line."""

from __future__ import annotations

import base64
import json
import sqlite3
import sys
import types
import warnings
from contextlib import closing

import pytest
import required

from geventpop3.auth.chain import Chain
from geventpop3.auth.oauth import IntrospectionVerifier, JwtVerifier
from geventpop3.auth.pam import PamAuthenticator, _library
from geventpop3.auth.passwd import PasswordFile
from geventpop3.auth.sql import SqlAuthenticator
from geventpop3.cli.build_authenticators import KINDS, make_authenticator
from geventpop3.cli.settings import load_settings
from geventpop3.errors import ConfigError, StoreUnavailable

with warnings.catch_warnings():
    # ldap3 uses names that pyasn1 has deprecated: it is imported here, once, in peace.
    warnings.simplefilter("ignore", DeprecationWarning)
    ldap3 = required.module("ldap3")

# Nobody listens on port 1 of loopback, and building asks nobody.
SEARCH = """
kind = "ldap"
urls = ["ldap://127.0.0.1:1", "ldap://[::1]:1"]
base = "ou=people,dc=example,dc=org"
filter = "(mail={name})"
bind-dn = "cn=pop3,dc=example,dc=org"
bind-password-file = "FOLDER/secret"
"""
SQL = """
kind = "sql"
module = "sqlite3"
connect = { database = "file:FOLDER/users.db?mode=ro", uri = true }
query = "SELECT secret, owner FROM users WHERE name = :name"
survey = "SELECT DISTINCT secret FROM users"
"""
JWT = """
kind = "oauth"
issuer = "https://issuer.example.org"
audience = "pop3"
keys = "https://issuer.example.org/jwks"
algorithms = "ES256"
leeway = 0
seconds = 2.5
"""
INTROSPECTION = """
kind = "oauth"
url = "https://issuer.example.org/introspect"
client-id = "pop3"
client-secret-file = "FOLDER/secret"
cache-seconds = 5
"""


@pytest.fixture
def folder(tmp_path):
    """The files that the tables name."""
    (tmp_path / "secret").write_text("canary\n")
    (tmp_path / "users").write_text("alice:{PLAIN}sesame\n")
    with closing(sqlite3.connect(tmp_path / "users.db")) as database, database:
        database.execute("CREATE TABLE users (name, secret, owner)")
        database.execute("INSERT INTO users VALUES ('bob', '{PLAIN}open', 'robert')")
    return tmp_path


@pytest.fixture
def make(folder):
    """Makes what the tables say, and what else is in the file before them."""

    def make(*tables, head=""):
        path = folder / "geventpop3.toml"
        text = f'maildir = "/m/{{user}}"\n{head}\n' + "".join(f"[[authenticator]]\n{table}\n" for table in tables)
        path.write_text(text.replace("FOLDER", str(folder)))
        return make_authenticator(load_settings({}, {}, str(path)))

    return make


@pytest.fixture
def fails(make):
    """What is said of tables that are wrong: one line that ends with where they are, and tells no secret."""

    def fails(*tables):
        with pytest.raises(ConfigError) as caught:
            make(*tables)
        words = str(caught.value)
        assert words.startswith("authenticator: number ")
        assert words.endswith("/geventpop3.toml)")
        assert "\n" not in words
        assert "canary" not in words
        return words

    return fails


def test_one_back_end_needs_no_chain(make):
    assert isinstance(make(head='passwords = "FOLDER/users"'), PasswordFile)
    only = make('kind = "passwords"\npath = "FOLDER/users"')
    assert isinstance(only, PasswordFile)
    assert only.authenticate("alice", "sesame") == "alice"


def test_several_are_asked_in_order_after_the_password_file(make):
    chain = make(SQL, SEARCH, JWT, head='passwords = "FOLDER/users"')
    assert isinstance(chain, Chain)
    names = [type(member).__name__ for member in chain.members]
    assert names == ["PasswordFile", "SqlAuthenticator", "LdapAuthenticator", "JwtVerifier"]
    assert chain.members[1].authenticate("bob", "open") == "robert"


def test_a_database_is_asked_over_what_its_module_connects(make):
    bob = make(SQL)
    assert isinstance(bob, SqlAuthenticator)
    assert bob.authenticate("bob", "open") == "robert"
    assert bob.has_clear_secrets()


def test_the_password_of_a_database_is_an_argument_of_connect(make, monkeypatch):
    seen = []

    def connect(**arguments):
        seen.append(arguments)
        return sqlite3.connect(":memory:")

    monkeypatch.setitem(sys.modules, "pigeonsql", types.SimpleNamespace(connect=connect, paramstyle="named"))
    table = 'kind = "sql"\nmodule = "pigeonsql"\nquery = "SELECT 1 WHERE :name"\npassword-file = "FOLDER/secret"\n'
    with pytest.raises(StoreUnavailable):
        make(table.replace("SELECT 1", "SELECT x")).authenticate("alice", "x")
    make(table + 'connect = { host = "db" }').knows("alice")
    assert seen == [{"password": "canary"}, {"host": "db", "password": "canary"}]


@pytest.mark.parametrize("more", ["owner-attribute = false", 'owner-attribute = "mail"', "allow-plaintext = true"])
def test_a_directory_is_searched_or_bound_to(make, more):
    for table in (SEARCH, 'kind = "ldap"\nurls = "ldap://127.0.0.1:1"\ntemplate = "uid={name},dc=example"\n'):
        with pytest.raises(StoreUnavailable):
            make(f"{table}{more}\nseconds = 1").authenticate("alice", "sesame")


def test_tokens_are_checked_by_keys_or_by_asking(make, folder):
    required.module("cryptography")
    assert isinstance(make(JWT), JwtVerifier)
    for table in (INTROSPECTION, INTROSPECTION.replace("secret-file", "secret")):
        assert isinstance(make(table), IntrospectionVerifier)
    modulus = base64.urlsafe_b64encode(b"\xc1" * 256).decode().rstrip("=")
    (folder / "keys.json").write_text(json.dumps({"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB"}]}))
    table = 'kind = "oauth"\nissuer = "https://x"\naudience = "pop3"\njwks = "FOLDER/keys.json"\n'
    assert isinstance(make(table), JwtVerifier)
    (folder / "keys.json").write_bytes(b"\xef\xbb\xbf" + (folder / "keys.json").read_bytes())
    assert isinstance(make(table), JwtVerifier)


def test_pam_is_a_service(make, folder):
    try:
        _library()
    except ConfigError:
        required.missing("Linux-PAM (Debian: libpam0g, libpam-modules)")
    (folder / "pop3").write_text("auth required pam_deny.so\naccount required pam_permit.so\n")
    pam = make('kind = "pam"\nservice = "pop3"\nfolder = "FOLDER"\nrefusal-seconds = 0')
    assert isinstance(pam, PamAuthenticator)
    assert pam.authenticate("alice", "x") is None


def test_an_authority_is_trusted_that_the_system_does_not_know(make, folder):
    trustme = required.module("trustme")
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(folder / "ca.pem")
    for table in (SEARCH, INTROSPECTION):
        make(f'{table}ca = "FOLDER/ca.pem"')


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", f"number 1: its kind must be one of {', '.join(KINDS)}"),
        ('kind = "lpad"', "number 1: its kind must be one of passwords,"),
        ('kind = "oauth2"', ", not 'oauth2': did you mean oauth?"),
        (SEARCH + 'maildir = "/m"', "'maildir': unknown key in a table: move it above the first table"),
        ("kind = ['ldap']", "number 1: its kind must be one of passwords,"),
        ('kind = "passwords"', "number 1 (passwords): path must be given"),
        ('kind = "passwords"\nfile = "x"', "'file': unknown key"),
        (
            'kind = "passwords"\npath = "/nonexistent"',
            "No such file or directory; create it with: geventpop3 passwd /nonexistent USER",
        ),
        (SEARCH + 'bind-dm = "x"', "(ldap): 'bind-dm': unknown key: did you mean bind-dn?"),
        (SEARCH.replace("secret", "nothing"), "/nothing: No such file or directory"),
        (SEARCH.replace("{name}", "x"), "the filter must contain the placeholder {name}"),
        (SEARCH.replace("bind-password-file", "bind-dn-file"), "'bind-dn-file': unknown key"),
        (SEARCH + "owner-attribute = true", "owner-attribute: true is not a string"),
        (SEARCH + "seconds = 0", "seconds: 0 is not a number of seconds, more than 0"),
        (SEARCH + 'ca = "/nonexistent"', "(ldap): ca: /nonexistent: No such file or directory"),
        (SEARCH + 'ca = "FOLDER/secret"', "/secret: contains no certificate in PEM form"),
        ('kind = "ldap"\nurls = "http://x"\ntemplate = "uid={name}"', "LDAP: http://x is not ldaps://host"),
        (SQL.replace('"sqlite3"', '"no_such_module"'), "the module no_such_module cannot be imported: install it"),
        (
            SQL.replace('"sqlite3"', '"json"'),
            "the module json has no function connect: give a database module of PEP 249",
        ),
        (SQL.replace('"sqlite3"', '".json"'), "module: '.json' is not the name of a module"),
        (SQL.replace(":name", "'alice'"), "the query must contain the placeholder :name"),
        (SQL.replace("DISTINCT secret", "nothing"), "the query of all secrets failed: OperationalError"),
        (SQL + 'paramstyle = "odd"', "paramstyle: the string 'odd' is not one of qmark"),
        (SQL.replace("{ database", '{ pigeon = "x", database'), "the query of all secrets failed: TypeError"),
        ('kind = "sql"\nconnect = 3', "connect: is not a table"),
        (JWT + 'client-id = "x"', "'client-id': unknown key"),
        (JWT.replace("ES256", "HS256"), "algorithms: the string 'HS256' is not one of RS256,"),
        (
            JWT.replace("https://issuer.example.org/jwks", "http://issuer.example.org/jwks"),
            "does not begin with https://, which is required except for this machine",
        ),
        ('kind = "oauth"\njwks = "FOLDER/secret"\nissuer = "x"\naudience = "x"', "/secret: not JSON"),
        ('kind = "oauth"\njwks = "FOLDER/list"\nissuer = "x"\naudience = "x"', "/list: not a JWK Set"),
        ('kind = "oauth"\njwks = "FOLDER/object"\nissuer = "x"\naudience = "x"', "OAuth: the JWK Set: "),
        ('kind = "pam"\nservice = "no-such-service"\nfolder = "FOLDER"', "(pam): PAM"),
        ('kind = "pam"\nservices = "pop3"', "(pam): 'services': unknown key: did you mean service?"),
    ],
)
def test_what_is_wrong_is_told_with_the_table_it_is_in(fails, folder, table, words):
    required.module("cryptography")
    (folder / "list").write_text("[]")
    (folder / "object").write_text("{}")
    assert words in fails(table)


def test_the_number_tells_which_table_it_is(fails):
    assert fails(SEARCH, 'kind = "passwords"\npth = "x"').startswith("authenticator: number 2 (passwords): 'pth'")


@pytest.mark.parametrize(
    ("module", "table", "extra"), [("ldap3", SEARCH, "geventpop3[ldap]"), ("jwt", JWT, "geventpop3[oauth]")]
)
def test_a_missing_extra_is_told_by_its_name(fails, monkeypatch, module, table, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert extra in fails(table)


@pytest.mark.parametrize(("case", "owner"), [("domain", "alice@x.org"), ("keep", "alice@X.org")])
def test_back_ends_that_compare_names_do_so_as_the_setting_says(make, folder, case, owner):
    (folder / "users").write_text("alice@X.org:{PLAIN}sesame\n")
    head = f'username-case = "{case}"\npasswords = "FOLDER/users"'
    assert make(head=head).authenticate("alice@X.org", "sesame") == owner
    chain = make('kind = "passwords"\npath = "FOLDER/users"', SEARCH, JWT, INTROSPECTION, head=head)
    assert chain.members[1].authenticate("alice@X.org", "sesame") == owner
    assert chain.members[2]._users.username_case == case
    for verifier in chain.members[3:]:
        assert verifier._policy("alice@X.org", "alice@x.org") == (None if case == "keep" else "alice@X.org")
