"""Faults that ``geventpop3 check`` finds before a login does: silent servers, and Maildirs that nobody reaches."""

from __future__ import annotations

import socket
import sqlite3
import sys
import threading
import types
import warnings
from contextlib import closing

import pytest
import required

from geventpop3.cli import check_back_ends
from geventpop3.cli.check import MAX_LISTED, unreachable_maildirs
from geventpop3.cli.check_back_ends import masked, run_with_timeout, secrets_of
from geventpop3.cli.main import main
from geventpop3.cli.settings import Settings
from geventpop3.cli.tables import KeptSecret
from geventpop3.errors import ConfigError

with warnings.catch_warnings():
    # ldap3 uses names that pyasn1 has deprecated: it is imported here, once, in peace.
    warnings.simplefilter("ignore", DeprecationWarning)
    required.module("ldap3")

CANARY = "c4n4ry"


@pytest.fixture
def site(tmp_path):
    """A folder for mail, a password file and a database."""
    (tmp_path / "mail").mkdir()
    (tmp_path / "users").write_text("alice:{PLAIN}sesame\n")
    (tmp_path / "secret").write_text(f"{CANARY}\n")
    with closing(sqlite3.connect(tmp_path / "users.db")) as database, database:
        database.execute("CREATE TABLE users (name, secret)")
    return tmp_path


@pytest.fixture
def check(site, capsys):
    """Checks a file that has these lines: the exit status, and what is said on standard error."""

    def check(*lines, options=()):
        path = site / "geventpop3.toml"
        head = f'maildir = "{site}/mail/{{user}}"\npasswords = "{site}/users"\n'
        path.write_text(head + "\n".join(lines).replace("FOLDER", str(site)))
        status = main(["check", *options, str(path)])
        error = capsys.readouterr().err
        assert CANARY not in error
        return status, error

    return check


@pytest.fixture
def silent():
    """The port of a server that accepts and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def refused():
    """A port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


SQL = """
[[authenticator]]
kind = "sql"
module = "sqlite3"
connect = { database = "FOLDER/users.db" }
query = "SELECT secret FROM users WHERE name = :name"
"""


def test_a_query_is_made(check):
    assert check(SQL) == (0, "")
    status, error = check(SQL.replace("SELECT secret", "SELECT password"))
    assert status == 2
    assert "authenticator: number 1 (sql): the query failed: OperationalError: no such column: password" in error
    assert error.count("\n") == 1
    assert error.endswith("geventpop3.toml)\n")
    assert check(SQL.replace("SELECT secret", "SELECT password"), options=["--offline"]) == (0, "")


LDAP = """
[[authenticator]]
kind = "ldap"
urls = "ldap://127.0.0.1:PORT"
base = "ou=people,dc=example,dc=org"
filter = "(mail={name})"
bind-dn = "cn=pop3,dc=example,dc=org"
bind-password-file = "FOLDER/secret"
allow-plaintext = true
seconds = 0.1
"""
INTROSPECTION = """
[[authenticator]]
kind = "oauth"
url = "http://127.0.0.1:PORT/introspect"
client-id = "pop3"
client-secret-file = "FOLDER/secret"
seconds = 0.1
"""
JWT = """
[[authenticator]]
kind = "oauth"
issuer = "https://issuer.example.org"
audience = "pop3"
keys = "http://127.0.0.1:PORT/jwks"
seconds = 0.1
"""


@pytest.mark.parametrize(
    ("table", "module", "words"),
    [
        (LDAP, "ldap3", "authenticator: number 1 (ldap): LDAP: ldap://127.0.0.1:PORT: "),
        (INTROSPECTION, "jwt", "authenticator: number 1 (oauth): OAuth: http://127.0.0.1:PORT/introspect: "),
        (JWT, "jwt", "authenticator: number 1 (oauth): OAuth: http://127.0.0.1:PORT/jwks: "),
    ],
)
@pytest.mark.parametrize("how", ["silent", "refused"])
def test_servers_that_logins_need_are_asked(check, request, table, module, words, how):
    required.module(module)
    port = str(request.getfixturevalue(how))
    status, error = check(table.replace("PORT", port))
    assert status == 2
    assert words.replace("PORT", port) in error
    assert check(table.replace("PORT", port), options=["--offline"]) == (0, "")


def test_redis_is_asked(check, refused, silent):
    required.module("redis")
    for port in (refused, silent):
        status, error = check(f'[limits]\nredis = "redis://:{CANARY}@127.0.0.1:{port}/0"\n')
        assert status == 2
        assert "limits: Redis: " in error
    assert check(f'[limits]\nredis = "redis://127.0.0.1:{refused}/0"', options=["--offline"]) == (0, "")
    status, error = check(f'[limits]\nredis = "redis://:{CANARY}/more@127.0.0.1:1/0"\n', options=["--offline"])
    assert (status, "the address of Redis must be a URL" in error) == (2, True)


def test_pam_is_asked(check, site):
    from geventpop3.auth.pam import _library

    try:
        _library()
    except ConfigError:
        required.missing("Linux-PAM (Debian: libpam0g, libpam-modules)")
    (site / "pop3").write_text("auth required pam_no_such_module.so\naccount required pam_permit.so\n")
    status, error = check('[[authenticator]]\nkind = "pam"\nservice = "pop3"\nfolder = "FOLDER"\n')
    assert status == 2
    assert "authenticator: number 1 (pam): PAM: result " in error


@pytest.mark.parametrize(
    "connect",
    [
        '{ password = "c4n4ry" }',
        '{ passwd = "c4n4ry" }',
        "{ dsn = \"host=db password='c4n4ry' user=pop3\" }",
        '{ dsn = "postgresql://pop3:c4n4ry@db/mail" }',
    ],
)
@pytest.mark.parametrize("more", ["", "password-file = 'FOLDER/secret'\n"])
def test_no_secret_is_repeated_whatever_a_driver_says(check, monkeypatch, connect, more):
    def refuse(**arguments):
        raise RuntimeError(f"cannot connect with {arguments}")

    monkeypatch.setitem(sys.modules, "pigeonsql", types.SimpleNamespace(connect=refuse, paramstyle="named"))
    table = SQL.replace("sqlite3", "pigeonsql").replace('{ database = "FOLDER/users.db" }', connect)
    for survey in ("", 'survey = "SELECT 1"\n'):
        status, error = check(table + more + survey)
        assert status == 2
        assert "****" in error


def test_secrets_are_masked_the_longest_first():
    given = {"password": KeptSecret("abc"), "connect": {"token": "abcdef", "passwd": "", "port": 3, "host": "db"}}
    assert list(secrets_of(given)) == ["abc", "abcdef"]
    assert masked("abcdef abc db", ["abc", "abcdef"]) == "**** **** db"


def test_what_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(check_back_ends, "TRIAL_SECONDS", 0.05)
    answered = threading.Event()
    try:
        with pytest.raises(ConfigError, match=r"^redis: no answer within 0\.05 s$"):
            run_with_timeout("redis", answered.wait)
        with pytest.raises(ConfigError, match=r"^no answer within 0\.05 s$"):
            run_with_timeout("", answered.wait)
    finally:
        answered.set()
    assert run_with_timeout("", lambda: 7) == 7


# Maildirs that no login reaches


def make_folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)


def listed(root, template, case="domain"):
    lines = unreachable_maildirs(Settings(maildir=f"{root}/{template}", username_case=case))
    return [line.replace(f"{root}/", "") for line in lines]


def test_a_maildir_that_the_setting_hides_is_listed_with_what_to_do(tmp_path):
    make_folders(tmp_path, "alice@Example.org", "Bob@example.org", "carol", ".Hidden@X", "dora@X.org", "dora@x.org")
    (tmp_path / "file@X.org").write_text("")
    assert listed(tmp_path, "{user}") == [
        "alice@Example.org: no login uses it, because username-case is domain: rename it to alice@example.org",
        "dora@X.org: no login uses it, because username-case is domain: "
        "move the mail to dora@x.org, which exists too, or delete dora@X.org",
    ]
    assert [line.partition(":")[0] for line in listed(tmp_path, "{user}", "lower")] == [
        "Bob@example.org",
        "alice@Example.org",
        "dora@X.org",
    ]
    assert listed(tmp_path, "{user}", "keep") == []
    make_folders(tmp_path, "zoe\u0308")
    assert [line.partition(":")[0] for line in listed(tmp_path, "{user}", "keep")] == ["zoe\u0308"]


def test_domains_and_local_parts_have_the_form_of_their_own(tmp_path):
    make_folders(tmp_path, "X.org/bob/Maildir", "y.org/Bob/Maildir", "y.org/mail-Carol")
    assert [line.partition(":")[0] for line in listed(tmp_path, "{domain}/{local}/Maildir")] == ["X.org"]
    assert [line.partition(":")[0] for line in listed(tmp_path, "{domain}/{local}", "lower")] == [
        "X.org",
        "y.org/Bob",
        "y.org/mail-Carol",
    ]
    # What the template does not lead to is nobody's Maildir.
    assert [line.partition(":")[0] for line in listed(tmp_path, "{domain}/mail-{local}", "lower")] == [
        "X.org",
        "y.org/mail-Carol",
    ]
    assert listed(tmp_path, "nowhere/{user}") == []


def test_braces_and_literals_in_a_template_stay(tmp_path):
    make_folders(tmp_path, "{mail}/A@X.org+", "{mail}/A@X.org")
    assert [line.partition(":")[0] for line in listed(tmp_path, "{{mail}}/{local}@{domain}+")] == ["{mail}/A@X.org+"]


def test_of_many_the_number_is_told(tmp_path):
    make_folders(tmp_path, *(f"user{n}@X.org" for n in range(MAX_LISTED + 2)))
    lines = listed(tmp_path, "{user}")
    assert len(lines) == MAX_LISTED + 1
    assert lines[-1] == "2 more folders like these"


def test_check_warns_of_them_and_of_what_the_setting_says(check, site, caplog):
    make_folders(site, "mail/alice@X.org", "mail/bob")
    assert check() == (0, "")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage().partition(",")[0]) == (
        "WARNING",
        f"{site}/mail/alice@X.org: no login uses it",
    )
    caplog.clear()
    assert check('username-case = "keep"') == (0, "")
    assert caplog.records == []
    status, error = check('username-case = "uper"')
    assert (status, "username-case: the string 'uper' is not one of domain, lower, keep" in error) == (2, True)
