"""Users in SQL: SQLite in a file, modules of every parameter style, broken rows, lost connections, hostile names."""

import gc
import logging
import shutil
import sqlite3
import sys
import threading
import time
import types
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth import sql
from geventpop3.auth.schemes import HashedSecret, Pbkdf2Secret
from geventpop3.auth.secret import ClearSecret, ScramSecret
from geventpop3.auth.sql import MARKERS, SqlAuthenticator
from geventpop3.errors import ConfigError, StoreUnavailable

QUERY = "SELECT secret, owner FROM users WHERE name = :name"
SCRAM = ScramSecret.of(b"secret", "SHA-256", salt=b"salt", iterations=2)


def pbkdf2(password, rounds=2):
    digest = Pbkdf2Secret(b"salt", b"", rounds).derive(password)
    return "{PBKDF2}" + Pbkdf2Secret(b"salt", digest, rounds).text


@pytest.fixture(autouse=True)
def cheap_guess(monkeypatch):
    """The secret that stands for those not yet seen need not be a dear one here."""
    monkeypatch.setattr(sql, "hash_password", pbkdf2)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("sql") / "users.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (name, secret, owner)")
    rows = [
        ("alice", "{PLAIN}secret", None),
        ("bob", pbkdf2(b"secret", 3), "bob@example.org"),
        ("carol", SCRAM.field, None),
        ("twice", "{PLAIN}secret", None),
        ("twice", "{PLAIN}secret", None),
        ("null", None, None),
        ("number", 7, None),
        ("octets", b"{PLAIN}secret", b"octets@example.org"),
        ("latin", b"{PLAIN}\xff", None),
        ("bare", "secret", None),
        ("nowhere", "{PLAIN}secret", ""),
        ("a'b", "{PLAIN}secret", None),
    ]
    connection.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


@pytest.fixture
def path(template, tmp_path):
    return shutil.copy(template, tmp_path / "users.db")


@pytest.fixture
def make(path):
    """Makes authenticators whose connections, of this thread, are closed at the end."""
    made = []

    def make(query=QUERY, connect=lambda: sqlite3.connect(path), **options):
        made.append(SqlAuthenticator(connect, query, **options))
        return made[-1]

    yield make
    for authenticator in made:
        authenticator.close()


@pytest.fixture
def costs(monkeypatch):
    """The costs of the hashes that were computed."""
    seen = []
    matches = HashedSecret.matches

    def counted(self, password):
        seen.append(self.cost)
        return matches(self, password)

    monkeypatch.setattr(HashedSecret, "matches", counted)
    return seen


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# Who gets in


def test_the_right_password_opens_the_owners_maildrop(make):
    users = make()
    assert users.authenticate("alice", "secret") == "alice"
    assert users.authenticate("bob", "secret") == "bob@example.org"
    assert users.authenticate("carol", "secret") == "carol"
    assert users.authenticate("octets", "secret") == "octets@example.org"


def test_a_query_without_a_second_column_makes_the_name_the_owner(make):
    assert make("SELECT secret FROM users WHERE name = :name").authenticate("bob", "secret") == "bob"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "Secret"),
        ("alice", ""),
        ("alice", "secret\0"),
        ("alice", "\ud800"),
        ("Alice", "secret"),
        ("nobody", "secret"),
        ("", "secret"),
        ("null", ""),
        ("null", "None"),
        ("alice\0", "secret"),
        ("\udcff", "secret"),
    ],
)
def test_any_other_name_or_password_opens_nothing(make, name, password):
    assert make().authenticate(name, password) is None


@pytest.mark.parametrize(
    "name",
    [
        "' OR '1'='1",
        "' OR 1=1 --",
        "alice'--",
        "x'; DROP TABLE users; --",
        "' UNION SELECT '{PLAIN}secret', 'alice' --",
        '" OR ""="',
        "alice' /*",
        ":name",
        "?",
        "%s",
        "%(name)s",
        "{name}",
        "alice%",
        "_lice",
        "\\",
    ],
)
def test_an_injection_is_a_name_that_nobody_has(make, name):
    users = make()
    assert users.authenticate(name, "secret") is None
    assert users.knows(name) is False
    assert users.authenticate("alice", "secret") == "alice"


def test_a_name_with_a_quote_is_a_name_like_any_other(make):
    assert make().authenticate("a'b", "secret") == "a'b"


@settings(max_examples=50, deadline=None)
@given(name=st.text(), password=st.text())
def test_no_name_and_no_password_does_anything_but_fail(name, password):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE users (name, secret, owner)")
        assert SqlAuthenticator(lambda: connection, QUERY).authenticate(name, password) is None


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("twice", "returns more than one row"),
        ("number", "a column is not text"),
        ("latin", "a column is not UTF-8"),
        ("bare", "no {SCHEME} before the secret"),
        ("nowhere", "the owner is empty or not printable"),
    ],
)
def test_a_row_that_cannot_be_used_lets_nobody_in_and_is_logged(make, caplog, name, complaint):
    users = make()
    assert users.authenticate(name, "secret") is None
    (line,) = errors(caplog)
    assert line.startswith(f"login of user '{name}' refused: ")
    assert complaint in line
    assert users.knows(name) is True
    assert users.secret(name) is None
    assert users.owner(name) is None


def test_a_user_without_a_password_is_known_and_no_error(make, caplog):
    users = make()
    assert users.authenticate("null", "x") is None
    assert users.knows("null") is True
    assert errors(caplog) == []


# What it knows beside passwords


def test_secrets_are_handed_out_if_a_mechanism_can_use_them(make):
    users = make()
    assert isinstance(users.secret("alice"), ClearSecret)
    assert isinstance(users.secret("carol"), ScramSecret)
    assert users.secret("bob") is None
    assert users.secret("nobody") is None


def test_the_owner_of_a_proven_name_is_the_rows(make):
    users = make()
    assert (users.owner("alice"), users.owner("bob"), users.owner("nobody")) == ("alice", "bob@example.org", None)


@pytest.mark.parametrize(
    ("survey", "clear", "counts", "keys_alone"),
    [
        ("SELECT secret FROM users WHERE name = 'alice'", True, (), False),
        ("SELECT secret FROM users WHERE name = 'carol'", False, (2,), True),
        ("SELECT secret FROM users WHERE name IN ('alice', 'carol')", False, (2,), False),
        ("SELECT secret FROM users WHERE name IN ('alice', 'bob', 'carol')", False, (), False),
        ("SELECT secret FROM users WHERE secret LIKE '{P%' OR name = 'latin'", False, (), False),
    ],
)
def test_a_survey_tells_what_every_user_can_use(make, survey, clear, counts, keys_alone):
    users = make(survey=survey)
    assert users.has_clear_secrets() is clear
    assert users.scram_iterations("SHA-256") == counts
    assert users.scram_iterations("SHA-1") == ()
    assert users.has_scram_keys_alone() is keys_alone


def test_a_secret_of_the_survey_that_cannot_be_used_is_logged(make, caplog):
    make(survey="SELECT secret FROM users WHERE name IN ('latin', 'null')")
    assert errors(caplog) == ["a secret cannot be used, its user cannot log in: a column is not UTF-8"]


def test_a_kind_that_comes_after_the_survey_counts_too(make):
    users = make(survey="SELECT secret FROM users WHERE name = 'alice'")
    users.authenticate("bob", "wrong")
    assert not users.has_clear_secrets()


def test_without_a_survey_nobody_can_say_what_all_can_use(make):
    users = make()
    users.authenticate("alice", "secret")
    users.authenticate("carol", "secret")
    assert not users.has_clear_secrets()
    assert users.scram_iterations("SHA-256") == ()


def test_a_survey_that_fails_is_a_mistake_of_the_operators(make):
    with pytest.raises(ConfigError, match="query of all secrets failed: OperationalError: no such table: people"):
        make(survey="SELECT secret FROM people")


def test_it_waits_for_a_database(make):
    assert not make().answers_at_once()


# The same time


def test_an_unknown_user_pays_for_a_hash_before_any_secret_was_seen(make, costs):
    make().authenticate("nobody", "secret")
    assert costs == [("PBKDF2", 2)]


@pytest.mark.parametrize(("name", "password"), [("bob", "wrong"), ("nobody", "wrong"), ("alice", "x"), ("bob", "")])
def test_a_failure_pays_each_cost_that_was_seen_once(make, costs, name, password):
    users = make(survey="SELECT secret FROM users WHERE name IN ('alice', 'bob')")
    users.authenticate(name, password)
    assert costs == [("PBKDF2", 3)]


def test_costs_that_are_remembered_are_bounded(make, path, costs, caplog):
    with sqlite3.connect(path) as connection:
        rows = [(f"user{n}", pbkdf2(b"secret", n)) for n in range(1, sql.MAX_COSTS + 3)]
        connection.executemany("INSERT INTO users (name, secret) VALUES (?, ?)", rows)
    connection.close()
    users = make(survey="SELECT secret FROM users WHERE name LIKE 'user%'")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"the passwords have {sql.MAX_COSTS} different hash costs; "
        "failed logins do not imitate more of them, so use fewer"
    ]
    users.authenticate("nobody", "secret")
    assert len(costs) == sql.MAX_COSTS
    assert users.authenticate(f"user{sql.MAX_COSTS + 2}", "secret") == f"user{sql.MAX_COSTS + 2}"


# The query


class Cursor:
    def __init__(self, seen):
        self.seen = seen

    def execute(self, *arguments):
        self.seen.append(arguments)

    def fetchmany(self, most):
        return [("{PLAIN}secret",)]

    def close(self):
        self.seen.append("cursor closed")


class Driver:
    """A connection that shows what it was asked."""

    def __init__(self, seen):
        self.seen = seen

    def cursor(self):
        return Cursor(self.seen)

    def commit(self):
        self.seen.append("commit")

    def close(self):
        self.seen.append("close")


@pytest.mark.parametrize(
    ("style", "query", "parameters"),
    [
        ("qmark", "SELECT '%d :name' FROM t WHERE a = ? AND b = ? -- :name", ("alice", "alice")),
        ("numeric", "SELECT '%d :name' FROM t WHERE a = :1 AND b = :1 -- :name", ("alice",)),
        ("named", "SELECT '%d :name' FROM t WHERE a = :name AND b = :name -- :name", {"name": "alice"}),
        ("format", "SELECT '%%d :name' FROM t WHERE a = %s AND b = %s -- :name", ("alice", "alice")),
        (
            "pyformat",
            "SELECT '%%d :name' FROM t WHERE a = %(name)s AND b = %(name)s -- :name",
            {"name": "alice"},
        ),
    ],
)
def test_the_marker_becomes_the_modules_own(make, style, query, parameters):
    seen = []
    text = "SELECT '%d :name' FROM t WHERE a = :name AND b = :name -- :name"
    users = make(text, lambda: Driver(seen), paramstyle=style)
    assert users.authenticate("alice", "secret") == "alice"
    assert seen == [(query, parameters), "cursor closed", "commit"]


@pytest.mark.parametrize(
    "kept", ["x::name", "'it''s :name'", '":name"', "-- :name\n", "/* :name\n */", ":names", "'a' || '%'"]
)
def test_what_is_no_marker_stays(make, kept):
    seen = []
    make(f"SELECT {kept} FROM t WHERE n = :name", lambda: Driver(seen), paramstyle="qmark").knows("alice")
    assert seen[0] == (f"SELECT {kept} FROM t WHERE n = ?", ("alice",))


@pytest.mark.parametrize("query", ["SELECT secret FROM users", "SELECT ':name'", "SELECT secret FROM u WHERE n = %s"])
def test_a_query_without_a_marker_is_refused(make, query):
    with pytest.raises(ConfigError, match="must contain the placeholder :name"):
        make(query)


def test_an_unknown_paramstyle_is_refused(make):
    with pytest.raises(ConfigError, match=r"unknown paramstyle 'percent': give one of PEP 249, qmark, "):
        make(paramstyle="percent")


@pytest.mark.parametrize("style", MARKERS)
def test_the_style_is_that_of_the_package_the_connection_comes_from(make, monkeypatch, style):
    package = types.ModuleType("some_driver")
    package.paramstyle = style
    monkeypatch.setitem(sys.modules, "some_driver", package)
    seen = []
    Inner = type("Inner", (Driver,), {"__module__": "some_driver.connections"})
    Outer = type("Outer", (Inner,), {"__module__": "a_pool"})
    make("SELECT s FROM t WHERE n = :name", lambda: Outer(seen)).knows("alice")
    assert seen[0][0].endswith(MARKERS[style])


def test_a_connection_whose_module_shows_no_style_needs_to_be_told(make):
    users = make(connect=lambda: Driver([]))
    with pytest.raises(ConfigError, match="a Driver does not tell the paramstyle"):
        users.authenticate("alice", "secret")


# Connections


def test_a_thread_keeps_its_connection(make, path):
    opened = []

    def connect():
        opened.append(threading.get_ident())
        return sqlite3.connect(path)

    users = make(connect=connect)

    def log_in():
        owners.append(users.authenticate("alice", "secret"))
        owners.append(users.authenticate("alice", "secret"))
        users.close()

    owners = []
    threads = [threading.Thread(target=log_in) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log_in()
    assert owners == ["alice"] * 6
    assert len(opened) == 3


def test_a_forked_child_neither_uses_nor_closes_the_connection_of_its_parent(make, monkeypatch):
    class Told(Driver):
        def cursor(self):
            used.append(self)
            return super().cursor()

        def close(self):
            closed.append(self)

    used, closed, opened = [], [], []

    def connect():
        opened.append(Told([]))
        return opened[-1]

    users = make(connect=connect, paramstyle="qmark")
    users.knows("alice")
    with monkeypatch.context() as child:
        child.setattr("geventpop3.auth.sql.os.getpid", lambda: -1)
        users.knows("alice")
        gc.collect()
        assert used == opened
        assert len(opened) == 2
        assert closed == []
        users.close()
        assert closed == [opened[1]]


def test_the_connection_of_a_thread_that_ended_is_closed(make):
    class Told(Driver):
        def close(self):
            closed.append(threading.get_ident())

    closed, idents = [], []
    users = make(connect=lambda: Told([]), paramstyle="qmark")

    def ask():
        idents.append(threading.get_ident())
        users.knows("alice")

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    # In that thread, as SQLite wants it; join may return a moment before.
    end = time.monotonic() + 60
    while not closed and time.monotonic() < end:
        time.sleep(0.001)
    assert closed == idents


def test_the_connection_of_an_authenticator_that_is_forgotten_is_closed():
    class Told(Driver):
        def close(self):
            closed.append(True)

    closed = []
    users = SqlAuthenticator(lambda: Told([]), QUERY, paramstyle="qmark")
    users.knows("alice")
    assert closed == []
    del users
    gc.collect()
    assert closed == [True]


def test_what_changes_in_the_database_is_seen(make, path):
    users = make()
    assert users.authenticate("alice", "secret") == "alice"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE users SET secret = '{PLAIN}new' WHERE name = 'alice'")
    connection.close()
    assert users.authenticate("alice", "secret") is None
    assert users.authenticate("alice", "new") == "alice"


def test_a_connection_that_was_lost_is_opened_anew_once(make, path):
    connections = []

    def connect():
        connections.append(sqlite3.connect(path))
        return connections[-1]

    users = make(connect=connect)
    users.knows("alice")
    connections[0].close()
    assert users.authenticate("alice", "secret") == "alice"
    assert len(connections) == 2


def test_a_database_that_is_down_is_not_a_wrong_password(make, tmp_path):
    users = make(connect=lambda: sqlite3.connect(tmp_path / "missing" / "users.db"))
    for ask in (lambda: users.authenticate("alice", "secret"), lambda: users.knows("alice")):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        assert caught.value.detail == "OperationalError: unable to open database file"


def test_a_database_that_comes_back_serves_again(make, path):
    users = make()
    path.rename(path.with_name("away"))
    with pytest.raises(StoreUnavailable, match="logins cannot be checked now"):
        users.authenticate("alice", "secret")
    path.unlink()  # what SQLite made in its place
    path.with_name("away").rename(path)
    assert users.authenticate("alice", "secret") == "alice"


def test_a_connection_whose_query_fails_is_closed(make):
    class Failing(Driver):
        def cursor(self):
            raise ValueError("no\nsuch table")

    seen = []
    users = make(connect=lambda: Failing(seen), paramstyle="qmark")
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            users.knows("alice")
        assert caught.value.detail == "ValueError: no such table"
    assert seen == ["close", "close"]


def test_a_connection_that_cannot_even_be_closed_is_given_up(make):
    class Broken(Driver):
        def close(self):
            raise OSError("gone")

    users = make(connect=lambda: Broken([]), paramstyle="qmark")
    users.knows("alice")
    users.close()
    users.close()
    assert users.knows("alice")


# What a check finds


def test_a_check_asks_as_a_login_does_and_leaves_no_connection(path):
    opened = []

    def connect():
        opened.append(sqlite3.connect(path))
        return opened[-1]

    SqlAuthenticator(connect, QUERY).check()
    SqlAuthenticator(connect, QUERY.replace(", owner", "")).check()
    SqlAuthenticator(connect, "SELECT max(secret), max(owner) FROM users WHERE name = :name").check()
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.cursor()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT secrt FROM users WHERE name = :name", "the query failed: OperationalError: no such column: secrt"),
        ("SELECT secret FROM user WHERE name = :name", "the query failed: OperationalError: no such table: user"),
        ("SELEC secret FROM users WHERE name = :name", 'the query failed: OperationalError: near "SELEC"'),
        ("SELECT name, secret, owner FROM users WHERE name = :name", "the query returns 3 columns: select the secret"),
        ("SELECT secret FROM users WHERE name = name OR name = :name", "a row for a random name"),
    ],
)
def test_a_check_tells_what_is_wrong_with_the_query(make, query, words):
    with pytest.raises(ConfigError) as caught:
        make(query).check()
    assert words in str(caught.value)


def test_a_check_tells_what_is_wrong_with_the_connection(tmp_path, make):
    nowhere = f"file:{tmp_path}/nowhere.db?mode=ro"
    with pytest.raises(ConfigError, match="the query failed: OperationalError: unable to open database file"):
        make(connect=lambda: sqlite3.connect(nowhere, uri=True)).check()
    with pytest.raises(ConfigError, match=r"^a Odd does not tell the paramstyle of its module: give paramstyle$"):
        make(connect=type("Odd", (), {})).check()
