"""The configuration file of docs/operating.md passes ``geventpop3 check``, and each setting gets where it belongs."""

from __future__ import annotations

import re
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import pytest
import required

from geventpop3 import POP3Server
from geventpop3.auth.chain import Chain
from geventpop3.cli.build import make_server, no_sockets
from geventpop3.cli.main import main
from geventpop3.cli.settings import load_settings
from geventpop3.service import MaildropService
from geventpop3.testing import play

with warnings.catch_warnings():
    # ldap3 uses names that pyasn1 has deprecated: it is imported here, once, in peace.
    warnings.simplefilter("ignore", DeprecationWarning)
    required.module("ldap3")

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


@pytest.fixture
def shown(tmp_path):
    """The path of the example, with the files that it names made in a folder of the test's own."""
    for module in ("redis", "jwt", "cryptography"):
        required.module(module)
    blocks = re.findall(r"^```toml\n(.+?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = [block for block in blocks if "[[" in block]
    for part in ("new", "cur", "tmp"):
        (tmp_path / "srv/mail/alice" / part).mkdir(parents=True)
    etc = tmp_path / "etc/geventpop3"
    etc.mkdir(parents=True)
    (etc / "users").write_text("alice:{PLAIN}sesame\n")
    (etc / "fake-salt.key").write_bytes(bytes(32))
    (etc / "ldap.secret").write_text("secret\n")
    (etc / "redis.url").write_text("redis://127.0.0.1:1/0\n")
    with closing(sqlite3.connect(etc / "customers.db")) as database, database:
        database.execute("CREATE TABLE customers (name, secret, owner)")
    path = etc / "all.toml"
    path.write_text(re.sub(r"(?<=[\":])(?=/(?:etc|srv)/)", str(tmp_path), text))
    return path


def test_the_example_is_in_order(shown, capsys):
    assert main(["check", "--offline", str(shown)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{shown}: no errors\n", "")


@pytest.mark.parametrize("missing", ["users", "fake-salt.key", "ldap.secret", "redis.url", "customers.db"])
def test_each_file_that_it_names_is_looked_at(shown, capsys, missing):
    (shown.parent / missing).unlink()
    assert main(["check", "--offline", str(shown)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("geventpop3: error: ")
    assert said.err.count("\n") == 1
    assert missing in said.err or "unable to open database file" in said.err


@pytest.mark.parametrize("key", ["bind-dn", "survey", "issuer", "ban-after", "expire", "utf8-messages"])
def test_each_key_that_is_misspelt_is_told_with_the_nearest(shown, capsys, key):
    shown.write_text(re.sub(rf"^{key} =", f"{key}x =", shown.read_text(), flags=re.M))
    assert main(["check", "--offline", str(shown)]) == 2
    error = capsys.readouterr().err
    assert f"'{key}x': unknown key: did you mean {key}?" in error
    assert error.count("\n") == 1


def test_what_it_says_is_what_is_made(shown):
    settings = load_settings({"language": "de", "login_delay": "600", "max_tries": "1"}, {}, str(shown))
    pop3d = make_server(settings, no_sockets)
    try:
        limits = pop3d.plugin_get("limits")
        assert (limits.rules.ban_after, limits.rules.user_sessions) == (10, None)
        play(
            pop3d,
            """
            S: +OK ...
            C: LANG *
            S: +OK de ...
            C: CAPA
            S: +OK ...
            S: TOP
            S: USER
            S: SASL OAUTHBEARER XOAUTH2 PLAIN LOGIN
            S: UIDL
            S: RESP-CODES
            S: AUTH-RESP-CODE
            S: PIPELINING
            S: LOGIN-DELAY 600
            S: EXPIRE NEVER
            S: UTF8 USER
            S: LANG
            S: .
            C: QUIT
            S: +OK ...
            S: <closed>
            """,
        )
    finally:
        pop3d.shutdown(0)


def test_every_setting_of_the_service_reaches_it(tmp_path, monkeypatch):
    seen = {}

    class Service(MaildropService):
        def __init__(self, store, authenticator, **options):
            seen.update(options, chain=isinstance(authenticator, Chain))
            super().__init__(store, authenticator, **options)

    monkeypatch.setattr("geventpop3.cli.build.MaildropService", Service)
    (tmp_path / "users").write_text("alice:{PLAIN}sesame\n")
    given = {"maildir": f"{tmp_path}/{{user}}", "passwords": str(tmp_path / "users"), "create_maildirs": True}
    given |= {"expire": "0", "utf8_messages": "refuse", "auth_threads": "2", "store_threads": "3", "auth": ["PLAIN"]}
    given |= {"username_case": "lower"}
    key = tmp_path / "fake-salt.key"
    key.write_bytes(b"\r\n" + bytes(14))
    given |= {"waiting_threads": "4", "fake_salt_key_file": str(key)}
    pop3d = make_server(load_settings(given, {}), no_sockets)
    try:
        play(pop3d, "S: +OK ...\nC: USER alice\nS: +OK ...\nC: PASS sesame\nS: +OK 0 messages (0 octets)")
    finally:
        pop3d.shutdown(0)
    assert (tmp_path / "alice" / "new").is_dir()
    assert list(seen.pop("mechanisms")) == ["PLAIN"]
    assert seen == {
        "allow_plaintext": False,
        "expire": 0,
        "login_delay": 0,
        "utf8_messages": "refuse",
        "language": "i-default",
        "username_case": "lower",
        "max_tries": 3,
        "store_threads": 3,
        "auth_threads": 2,
        "waiting_threads": 4,
        "fake_salt_key": b"\r\n" + bytes(14),
        "chain": False,
    }


def test_every_setting_of_the_server_reaches_it(tmp_path, monkeypatch):
    seen = {}

    class Server(POP3Server):
        def __init__(self, **options):
            seen.update(options)
            super().__init__(**options)

    monkeypatch.setattr("geventpop3.cli.build.POP3Server", Server)
    (tmp_path / "users").write_text("alice:{PLAIN}sesame\n")
    given = {"maildir": f"{tmp_path}/{{user}}", "passwords": str(tmp_path / "users"), "trace": True}
    given |= {"hostname": "pop.example.org", "autologout": "700", "login_deadline": "30"}
    given |= {"max_sessions": "5", "max_sessions_per_address": "2"}
    make_server(load_settings(given, {}), no_sockets).shutdown(0)
    places = {key: seen.pop(key) for key in ("listen", "tls", "tls_listen", "proxies")}
    assert not any(places.values())
    assert seen == {
        "hostname": "pop.example.org",
        "options": {"trace": True},
        "autologout": 700.0,
        "login_deadline": 30.0,
        "max_sessions": 5,
        "max_sessions_per_address": 2,
    }
