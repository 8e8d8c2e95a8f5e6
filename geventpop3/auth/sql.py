"""Users in an SQL database, through any DB-API module (PEP 249): a query finds the stored ``{SCHEME}secret`` of a name.

The name is a parameter of the query and never a part of its text. A failed login pays the cost of every kind of secret
that was seen, as with a password file. Each thread has its own connection; after a failure it is opened again, once.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from copy import copy
from typing import Any, NamedTuple, Protocol, Self

from geventpop3.auth.authenticator import CALLING_THREAD, SecretAuthenticator, Threads
from geventpop3.auth.credentials import is_name, spellings, unavailable
from geventpop3.auth.schemes import hash_password, parse_secret
from geventpop3.auth.secret import (
    ClearSecret,
    PasswordSecret,
    ScramSecret,
    all_are_clear,
    none_is_clear,
    scram_iterations,
)
from geventpop3.errors import ConfigError
from geventpop3.forks import leave_to_parent

log = logging.getLogger("geventpop3.auth")

MAX_COSTS = 16
"""Maximum number of different costs that a failed login pays."""

SURVEY_BATCH = 1000
"""Rows of a survey fetched at a time."""

OWNER_COLUMN = 1

MARKERS = {"qmark": "?", "numeric": ":1", "named": ":name", "format": "%s", "pyformat": "%(name)s"}
"""Placeholder of the name in each of PEP 249's parameter styles."""


class DatabaseConnection(Protocol):
    """The methods of a DB-API connection that are used here."""

    def cursor(self) -> Any:
        """Return a new cursor."""

    def commit(self) -> object:
        """End the transaction."""

    def close(self) -> object:
        """Release the connection."""


class _ThreadConnection:
    """The connection of one thread. It is closed at the latest when its thread has ended: a database counts them.

    A forked child has a copy, which it neither uses nor closes: a driver that closes ends the session at the server.
    """

    __slots__ = ("_process", "connection")

    def __init__(self, connection: DatabaseConnection) -> None:
        self.connection: DatabaseConnection | None = connection
        self._process = os.getpid()

    def is_ours(self) -> bool:
        """Return whether this process has opened the connection."""
        return self._process == os.getpid()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None and not self.is_ours():
            leave_to_parent(connection)
        elif connection is not None:
            try:
                connection.close()
            except Exception as error:  # noqa: BLE001  # a driver's own; the connection is given up anyway
                log.debug("closing a connection: %s", error)

    def __del__(self) -> None:
        self.close()


class _User(NamedTuple):
    secret: PasswordSecret
    owner: str


class SqlAuthenticator(SecretAuthenticator):
    """An authenticator that runs *query* over a connection that *connect* makes.

    ``:name`` stands for the name in the query, whatever the module's own style is. A row is the secret as in a password
    file and, if there is a second column, the owner. Without that column, or if it is NULL, the owner is the name. If
    the database ignores case in names, select the owner, else each spelling is an owner. If the query finds two rows,
    the login is refused.

        SqlAuthenticator(lambda: sqlite3.connect("/etc/pop3.db"), "SELECT secret FROM users WHERE name = :name")

    *survey*, as ``SELECT DISTINCT secret FROM users``, is read once, now. The kinds of the secrets decide the cost of a
    failed login and the mechanisms. APOP and CRAM-MD5 are offered if every user has clear text, SCRAM if every user has
    that or SCRAM keys. Without a survey the costs are learnt from logins, and those mechanisms are not offered.
    *paramstyle* is needed only if the connection's own module does not show it. Raises ConfigError, also if the survey
    fails.
    """

    def __init__(
        self,
        connect: Callable[[], DatabaseConnection],
        query: str,
        *,
        survey: str | None = None,
        paramstyle: str | None = None,
    ) -> None:
        if paramstyle is not None and paramstyle not in MARKERS:
            raise ConfigError(f"unknown paramstyle {paramstyle!a}: give one of PEP 249, {', '.join(MARKERS)}")
        self._connect = connect
        self._pieces = _split(query)
        if len(self._pieces) == 1:
            raise ConfigError("the query must contain the placeholder :name for the user name")
        self._paramstyle = paramstyle
        self._local = threading.local()
        self._threads: Threads = CALLING_THREAD
        self._decoys: dict[Hashable, PasswordSecret] = {}
        self._is_surveyed = survey is not None
        if survey is not None:
            self._read_survey(survey)
        guess = parse_secret(hash_password(secrets.token_hex(16).encode("ascii"))).decoy()
        self._guess = {guess.cost: guess}  # until a secret is seen

    def authenticate(self, name: str, password: str) -> str | None:
        user = self._threads.wait(self._find, name)
        return self._threads.compute(self._owner_if_password_matches, user, password)

    def _owner_if_password_matches(self, user: _User | None, password: str) -> str | None:
        paid = None if user is None else user.secret.cost
        for octets in spellings(password):
            if user is not None and user.secret.matches(octets) and octets:
                return user.owner
            for cost, decoy in (self._decoys or self._guess).items():
                if cost != paid:
                    decoy.matches(octets)
        return None

    def knows(self, name: str) -> bool:
        return bool(self._threads.wait(self._ask, name))

    def owner(self, name: str) -> str | None:
        user = self._threads.wait(self._find, name)
        return None if user is None else user.owner

    def secret(self, name: str) -> ClearSecret | ScramSecret | None:
        """Return the clear-text secret or the SCRAM keys of *name*; None if the password is hashed otherwise."""
        user = self._threads.wait(self._find, name)
        return user.secret if user is not None and isinstance(user.secret, (ClearSecret, ScramSecret)) else None

    def check(self) -> None:
        """Look up a name that no user has. Raises ConfigError if that fails, or finds a row or too many columns."""
        try:
            rows, columns = self._execute(self._opened(), f"nobody-{secrets.token_hex(8)}")
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"the query failed: {_text(error)}") from error
        finally:
            self.close()
        if columns is not None and columns > OWNER_COLUMN + 1:
            raise ConfigError(
                f"the query returns {columns} columns: select the secret, and optionally the owner as the second column"
            )
        if rows and rows[0][0] is not None:
            raise ConfigError("the query returns a row for a random name: compare :name with the column of names")

    def answers_at_once(self) -> bool:
        return self._threads is not CALLING_THREAD

    def in_threads(self, threads: Threads) -> Self:
        """Return an authenticator with the same connections; it waits and hashes in *threads*, each kind in its own."""
        database = copy(self)
        database._threads = threads
        return database

    def has_clear_secrets(self) -> bool:
        return self._is_surveyed and all_are_clear(self._decoys.values())

    def scram_iterations(self, hash_name: str) -> tuple[int, ...]:
        return scram_iterations(self._decoys.values(), hash_name) if self._is_surveyed else ()

    def has_scram_keys_alone(self) -> bool:
        return none_is_clear(self._decoys.values())

    def close(self) -> None:
        """Close the calling thread's connection; its next login opens another."""
        kept: _ThreadConnection | None = getattr(self._local, "kept", None)
        self._local.kept = None
        if kept is not None:
            kept.close()

    def _find(self, name: str) -> _User | None:
        rows = self._ask(name)
        if not rows or rows[0][0] is None:
            return None
        try:
            if len(rows) > 1:
                raise ConfigError("the query returns more than one row")
            user = _user(name, rows[0])
        except ConfigError as error:
            log.error("login of user %a refused: %s", name, error)
            return None
        self._add_decoy(user.secret)
        return user

    def _add_decoy(self, secret: PasswordSecret) -> None:
        if secret.cost in self._decoys or len(self._decoys) >= MAX_COSTS:
            return
        # A new table, because other threads may be reading the old one.
        self._decoys = {**self._decoys, secret.cost: secret.decoy()}
        if len(self._decoys) == MAX_COSTS:
            log.warning(
                "the passwords have %d different hash costs; failed logins do not imitate more of them, so use fewer",
                MAX_COSTS,
            )

    def _read_survey(self, survey: str) -> None:
        try:
            with closing(self._opened().cursor()) as cursor:
                cursor.execute(survey)
                while rows := cursor.fetchmany(SURVEY_BATCH):
                    for row in rows:
                        if row[0] is not None:
                            self._add_decoy_of_field(row[0])
        except Exception as error:
            raise ConfigError(f"the query of all secrets failed: {_text(error)}") from error
        finally:
            self.close()

    def _add_decoy_of_field(self, field: object) -> None:
        try:
            self._add_decoy(parse_secret(_string(field)))
        except ConfigError as error:
            log.error("a secret cannot be used, its user cannot log in: %s", error)

    def _ask(self, name: str) -> Sequence[Sequence[Any]]:
        """Return at most two rows. A kept connection may have gone stale: then another is tried."""
        if not is_name(name):
            return ()
        kept: _ThreadConnection | None = getattr(self._local, "kept", None)
        if kept is not None and kept.connection is not None and kept.is_ours():
            try:
                return self._look_up(kept.connection, name)
            except Exception as error:  # noqa: BLE001  # PEP 249: each module has an Error of its own
                log.info("the connection to the database was lost and is opened again: %s", _text(error))
                self.close()
        try:
            return self._look_up(self._opened(), name)
        except ConfigError:
            raise
        except Exception as error:
            self.close()
            raise unavailable(_text(error)) from error

    def _opened(self) -> DatabaseConnection:
        connection = self._connect()
        self._local.kept = _ThreadConnection(connection)
        return connection

    def _look_up(self, connection: DatabaseConnection, name: str) -> Sequence[Sequence[Any]]:
        return self._execute(connection, name)[0]

    def _execute(self, connection: DatabaseConnection, name: str) -> tuple[Sequence[Sequence[Any]], int | None]:
        """Return at most two rows, and the number of their columns if the driver tells it."""
        style = self._paramstyle or _paramstyle_of(connection)
        count = len(self._pieces) - 1
        parameters = (
            {"name": name} if style in ("named", "pyformat") else (name,) * (1 if style == "numeric" else count)
        )
        pieces = self._pieces
        if style in ("format", "pyformat"):
            pieces = [piece.replace("%", "%%") for piece in pieces]
        with closing(connection.cursor()) as cursor:
            cursor.execute(MARKERS[style].join(pieces), parameters)
            description = getattr(cursor, "description", None)
            columns = None if description is None else len(description)
            rows: Sequence[Sequence[Any]] = cursor.fetchmany(2)
        # An open transaction would let the next query see old data, which the database would have to keep.
        connection.commit()
        return rows, columns


_LITERAL_OR_NAME = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|--[^\n]*|/\*.*?\*/|::)|:name\b""", re.DOTALL)


def _split(query: str) -> list[str]:
    """Return the pieces of text between each ``:name``, not split in literals, comments and PostgreSQL's ``::name``."""
    pieces = [""]
    end = 0
    for found in _LITERAL_OR_NAME.finditer(query):
        pieces[-1] += query[end : found.start()] + (found[1] or "")
        if found[1] is None:
            pieces.append("")
        end = found.end()
    pieces[-1] += query[end:]
    return pieces


def _paramstyle_of(connection: DatabaseConnection) -> str:
    """Return the style of the connection's module; its class may be in a submodule or derived from another driver's."""
    for kind in type(connection).__mro__:
        name = kind.__module__
        while name:
            style = getattr(sys.modules.get(name), "paramstyle", None)
            if style in MARKERS:
                return str(style)
            name = name.rpartition(".")[0]
    raise ConfigError(f"a {type(connection).__name__} does not tell the paramstyle of its module: give paramstyle")


def _user(name: str, row: Sequence[Any]) -> _User:
    """Return the user of a row. Raises ConfigError, whose text holds nothing of the row."""
    secret = parse_secret(_string(row[0]))
    owner = name if len(row) == 1 or row[1] is None else _string(row[1])
    if not is_name(owner):
        raise ConfigError("the owner is empty or not printable")
    return _User(secret, owner)


def _string(value: object) -> str:
    """Return a text column as a string; some databases return texts as octets. Raises ConfigError."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError("a column is not UTF-8") from None
    raise ConfigError("a column is not text")


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
