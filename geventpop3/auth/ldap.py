"""Users in an LDAP directory (RFC 4511): the password is right if the server lets the user bind with it.

The extra ``ldap`` is needed. It is ldap3: pure Python on blocking sockets with time limits, which suits native threads.
bonsai and its gevent variant do not: if a server accepts and stays silent, a bind holds the interpreter's lock. Every
thread and the event loop stop then, and over ldaps the bind never returns.

An empty password is refused before any bind, because a server takes it for an anonymous login. RFC 4513 section 5.1.2:
"clients SHOULD disallow an empty password input to a Name/Password Authentication user interface". Each thread keeps
one connection, and every bind on it sets the user anew. It is opened again after a failure or a long idle time.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from geventpop3.auth.authenticator import Authenticator
from geventpop3.auth.credentials import is_name, password_octets, unavailable
from geventpop3.errors import ConfigError
from geventpop3.owners import UsernameCase, canonical_name

log = logging.getLogger("geventpop3.auth")

T = TypeVar("T")

IDLE_SECONDS = 60.0
"""Idle seconds after which a connection is not used again: a firewall may have dropped it silently."""

REFUSALS = frozenset({19, 32, 34, 48, 49, 50, 53})
"""Results of a bind that refuse the user (RFC 4511 section 4.1.9): invalidCredentials, inappropriateAuthentication,
noSuchObject, invalidDNSyntax. For a locked account servers return constraintViolation, insufficientAccessRights or
unwillingToPerform. All others mean that the server cannot tell."""

SUCCESS = 0
SIZE_LIMIT_EXCEEDED = 4
NO_SUCH_OBJECT = 32
INVALID_DN_SYNTAX = 34


class Directory(Protocol):
    """One connection to a server, as the implementations of Users need it. All methods raise Unreachable."""

    def bind(self, dn: str, password: bytes) -> bool:
        """Return whether a simple bind succeeds (RFC 4511 section 4.2)."""

    def search(self, base: str, matching: str, attribute: str | None) -> list[LdapEntry]:
        """Return at most two of the entries below *base* that the filter *matching* selects (RFC 4511 section 4.5)."""

    def read(self, dn: str, attribute: str) -> list[bytes]:
        """Return the values of an attribute of one entry; none if it is not there or may not be read."""


class LdapEntry(NamedTuple):
    """An entry that was found, with the values of the requested attribute."""

    dn: str
    values: list[bytes]


class DirectoryFailed(Exception):
    """The error of a server that cannot tell; its text is for the log."""


class Users(Protocol):
    """A way from a name to an entry of the directory."""

    def knows(self, directory: Directory, name: str) -> bool | None:
        """Return whether there is such a user; None if that is unknown without the password."""

    def owner(self, directory: Directory, name: str) -> str | None:
        """Return the owner of the maildrop of a name that was proven otherwise, or None."""

    def log_in(self, directory: Directory, name: str, password: bytes) -> str | None:
        """Return the owner if the password is right, else None."""


@dataclass(frozen=True)
class UserDn:
    """Users whose DN follows from the name, as ``uid={name},ou=people,dc=example,dc=org``.

    The owner is the *owner_attribute* of the user's own entry, which the user must be allowed to read. None takes the
    name as the client spelt it, although a directory ignores case and blanks in it. Of several values the owner is the
    one equal to the name, as *username_case* compares them. The ``MaildropService`` has the same option.
    """

    template: str
    owner_attribute: str | None = "uid"
    username_case: UsernameCase = "domain"

    def __post_init__(self) -> None:
        _check_placeholder(self.template, "the template of DNs")

    def knows(self, _directory: Directory, _name: str) -> bool | None:
        return None

    def owner(self, _directory: Directory, name: str) -> str | None:
        return name

    def log_in(self, directory: Directory, name: str, password: bytes) -> str | None:
        dn = self.template.replace("{name}", escape_dn(name))
        if not directory.bind(dn, password):
            return None
        if self.owner_attribute is None:
            return name
        values = directory.read(dn, self.owner_attribute)
        return _owner(values, self.owner_attribute, name, self.username_case)


@dataclass(frozen=True)
class UserSearch:
    """Users below *base* that match *filter*, as ``(&(objectClass=person)(mail={name}))``, found by a service account.

    The owner is the value of *owner_attribute* in the entry. None takes the name as the client spelt it, although a
    directory ignores case in it. Of several values the owner is the one equal to the name, as *username_case* compares
    them. The ``MaildropService`` has the same option. If two entries match, the login is refused.
    """

    base: str
    filter: str
    bind_dn: str
    bind_password: str = field(repr=False)
    owner_attribute: str | None = "uid"
    username_case: UsernameCase = "domain"

    def __post_init__(self) -> None:
        _check_placeholder(self.filter, "the filter")
        _check_filter(self.filter.replace("{name}", "name"))
        if not self.bind_dn or not self.bind_password:
            raise ConfigError("LDAP: the service account needs a DN and a password")

    def knows(self, directory: Directory, name: str) -> bool | None:
        return bool(self._entries(directory, name))

    def owner(self, directory: Directory, name: str) -> str | None:
        entries = self._entries(directory, name)
        return self._owner(entries[0], name) if len(entries) == 1 else None

    def log_in(self, directory: Directory, name: str, password: bytes) -> str | None:
        entries = self._entries(directory, name)
        if len(entries) == 1:
            return self._owner(entries[0], name) if directory.bind(entries[0].dn, password) else None
        # A bind with a random DN, so that an unknown user takes as many round trips as a wrong password.
        directory.bind(f"cn={secrets.token_hex(16)},{self.base}", password)
        return None

    def _entries(self, directory: Directory, name: str) -> list[LdapEntry]:
        if not directory.bind(self.bind_dn, self.bind_password.encode("utf-8")):
            raise DirectoryFailed(f"the bind of the service account {self.bind_dn} was refused")
        entries = directory.search(self.base, self.filter.replace("{name}", escape_filter(name)), self.owner_attribute)
        if len(entries) > 1:
            log.error("LDAP: login of %a refused: the search finds more than one entry", name)
        return entries

    def _owner(self, entry: LdapEntry, name: str) -> str | None:
        if self.owner_attribute is None:
            return name
        return _owner(entry.values, self.owner_attribute, name, self.username_case)


class LdapAuthenticator(Authenticator):
    """An authenticator that asks the first server at *urls* that answers; all serve one directory.

    A URL is ``ldaps://host:636``, ``ldap://host:389``, which continues with StartTLS (RFC 4513 section 3), or
    ``ldapi://%2Frun%2Fslapd%2Fldapi``. *allow_plaintext* leaves StartTLS out. *context* is an ``ssl.SSLContext`` for a
    certificate authority that the system does not know. Each step of a login may take *seconds*.

        LdapAuthenticator("ldaps://ldap.example.org", UserDn("uid={name},ou=people,dc=example,dc=org"))

    Raises ConfigError.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        users: Users,
        *,
        allow_plaintext: bool = False,
        context: Any = None,
        seconds: float = 5.0,
    ) -> None:
        ldap3 = _ldap3()
        self._users = users
        self._seconds = seconds
        self._servers = tuple(_server(url) for url in ([urls] if isinstance(urls, str) else urls))
        if not self._servers:
            raise ConfigError("LDAP: give the URL of at least one server")
        self._starts_tls = not allow_plaintext
        secured = ("ldap", "ldaps") if self._starts_tls else ("ldaps",)
        if context is None and any(server.scheme in secured for server in self._servers):
            context = ldap3.core.tls.create_default_context()  # once: it takes tens of milliseconds
        self._context = context
        self._local = threading.local()

    def authenticate(self, name: str, password: str) -> str | None:
        octets = password_octets(password)
        if octets is None or not _is_text(octets) or not is_name(name):
            return None
        return self._ask(lambda directory: self._users.log_in(directory, name, octets))

    def knows(self, name: str) -> bool | None:
        return is_name(name) and self._ask(lambda directory: self._users.knows(directory, name))

    def owner(self, name: str) -> str | None:
        return self._ask(lambda directory: self._users.owner(directory, name)) if is_name(name) else None

    def check(self) -> None:
        """Ask each server as a login does, for a name that no user has. Raises ConfigError if none answers well."""
        name, password = f"nobody-{secrets.token_hex(8)}", secrets.token_hex(16).encode("ascii")
        troubles = []
        for server in self._servers:
            session = None
            try:
                session = LdapSession(server, self._context, self._seconds, self._starts_tls)
                if self._users.log_in(session, name, password) is not None:
                    raise DirectoryFailed("it accepts a random name with a random password")
                if session.result == INVALID_DN_SYNTAX:
                    raise DirectoryFailed("it reports a malformed bind DN: check the template")
            except DirectoryFailed as error:
                troubles.append(f"{server.url}: {error}")
            finally:
                if session is not None:
                    session.close()
        if len(troubles) == len(self._servers):
            raise ConfigError(f"LDAP: {'; '.join(troubles)}")
        for trouble in troubles:
            log.warning("LDAP: %s; another server is used", trouble)

    def close(self) -> None:
        """Close the calling thread's connection; its next login opens another."""
        session: LdapSession | None = getattr(self._local, "session", None)
        self._local.session = None
        if session is not None:
            session.close()

    def _ask(self, question: Callable[[Directory], T]) -> T:
        """Return the answer of the first server that has one; a stale kept connection is opened again first."""
        session: LdapSession | None = getattr(self._local, "session", None)
        if session is not None and session.is_ours() and time.monotonic() - session.used < IDLE_SECONDS:
            try:
                return question(session)
            except DirectoryFailed as error:
                log.info("LDAP: the connection was lost and is opened again: %s", error)
        troubles = []
        for server in self._servers:
            self.close()
            try:
                session = self._local.session = LdapSession(server, self._context, self._seconds, self._starts_tls)
                answer = question(session)
            except DirectoryFailed as error:
                troubles.append(f"{server.url}: {error}")
                continue
            if troubles:
                # The server that answers comes first now, so that later logins need not wait for the others' limits.
                log.warning("LDAP: %s; %s answers", "; ".join(troubles), server.url)
                self._servers = (server, *(other for other in self._servers if other != server))
            return answer
        self.close()
        raise unavailable("; ".join(troubles))


class _Server(NamedTuple):
    url: str
    scheme: str
    host: str
    port: int | None


class LdapSession:
    """A connection of ldap3's; all errors of its operations become Unreachable."""

    _connection: Any = None

    def __init__(self, server: _Server, context: Any, seconds: float, starts_tls: bool) -> None:
        self.used = time.monotonic()
        self._process = os.getpid()
        self._ldap3 = ldap3 = _ldap3()
        tls = ldap3.Tls()

        def wrap(connection: Any, do_handshake: bool) -> None:
            # ldap3 compares host names itself, but no addresses since Python has no match_hostname; OpenSSL does both.
            connection.socket = context.wrap_socket(
                connection.socket, server_hostname=server.host, do_handshake_on_connect=do_handshake
            )

        tls.wrap_socket = wrap
        self._connection = ldap3.Connection(
            # One Server for each connection: ldap3 keeps in it which address answered.
            ldap3.Server(
                server.host,
                port=server.port,
                use_ssl=server.scheme == "ldaps",
                get_info=ldap3.NONE,
                mode=ldap3.IP_SYSTEM_DEFAULT,
                tls=tls,
                connect_timeout=seconds,  # the socket keeps this limit for all later steps
            ),
            auto_referrals=False,
            auto_escape=False,
            check_names=False,
        )
        try:
            self._do(self._connection.open, read_server_info=False)
            if starts_tls and server.scheme == "ldap":
                self._do(self._connection.start_tls, read_server_info=False)
        except DirectoryFailed:
            self.close()
            raise

    @property
    def result(self) -> int:
        """Result code of the last operation."""
        return int(self._connection.result["result"])

    def bind(self, dn: str, password: bytes) -> bool:
        try:
            self._do(self._connection.rebind, dn, password, read_server_info=False)
        except DirectoryFailed as error:
            # The error is logged, and its text may hold the password, which ldap3 had.
            raise DirectoryFailed(str(error).replace(password.decode("utf-8"), "****")) from None
        finally:
            self._connection.password = self._connection.request = None
        result = self._connection.result
        if result["result"] in REFUSALS:
            log.debug("LDAP: bind refused: %s", result["description"])
        elif result["result"] != SUCCESS:
            raise DirectoryFailed(_result_text("a bind", result))
        return bool(result["result"] == SUCCESS)

    def search(self, base: str, matching: str, attribute: str | None) -> list[LdapEntry]:
        entries = self._entries(base, matching, self._ldap3.SUBTREE, attribute)
        result = self._connection.result
        if result["result"] != SUCCESS and not (result["result"] == SIZE_LIMIT_EXCEEDED and len(entries) == 2):
            raise DirectoryFailed(_result_text(f"the search below {base}", result))
        return entries

    def read(self, dn: str, attribute: str) -> list[bytes]:
        entries = self._entries(dn, "(objectClass=*)", self._ldap3.BASE, attribute)
        result = self._connection.result
        if result["result"] not in (SUCCESS, NO_SUCH_OBJECT):
            raise DirectoryFailed(_result_text("the search of one entry", result))
        return [value for entry in entries for value in entry.values]

    def is_ours(self) -> bool:
        """Return whether this process has opened it: a forked child has a copy of its parent's."""
        return self._process == os.getpid()

    def close(self) -> None:
        """Close the socket, which ldap3 leaves open where opening failed."""
        if self._connection is not None and self._connection.socket is not None:
            self._connection.socket.close()

    def __del__(self) -> None:
        # Its thread has ended. ldap3's connection refers to itself, so its socket would stay open for a while.
        self.close()

    def _entries(self, base: str, matching: str, scope: str, attribute: str | None) -> list[LdapEntry]:
        attributes = None if attribute is None else [attribute]
        dereference = self._ldap3.DEREF_NEVER
        self._do(self._connection.search, base, matching, scope, dereference, attributes, size_limit=2)
        return [
            LdapEntry(answer["dn"], [] if attribute is None else answer["raw_attributes"].get(attribute) or [])
            for answer in self._connection.response
            if answer["type"] == "searchResEntry"
        ]

    def _do(self, method: Callable[..., object], *args: object, **options: object) -> None:
        self.used = time.monotonic()
        try:
            method(*args, **options)
        except Exception as error:
            # Not only ldap3's own errors: malformed octets can make its decoder raise anything.
            raise DirectoryFailed(f"{type(error).__name__}: {error}") from error


def escape_dn(value: str) -> str:
    """Return *value* as an attribute value in a distinguished name (RFC 4514 section 2.4)."""
    escaped = re.sub(r'[\\"+,;<=>]', r"\\\g<0>", value).replace("\0", r"\00")
    if escaped.startswith((" ", "#")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped


def escape_filter(value: str) -> str:
    """Return *value* as an assertion value in a filter (RFC 4515 section 3).

    All octets but ASCII letters and digits are escaped, more than must be, so that no parser can take one as syntax.
    """
    return "".join(
        chr(octet) if chr(octet).isascii() and chr(octet).isalnum() else f"\\{octet:02x}"
        for octet in value.encode("utf-8")
    )


def _check_placeholder(template: str, what: str) -> None:
    if "{name}" not in template:
        raise ConfigError(f"LDAP: {what} must contain the placeholder {{name}} for the user name")


def _check_filter(matching: str) -> None:
    from_search = _ldap3().operation.search
    try:
        from_search.parse_filter(matching, None, False, False, None, False)
    except _ldap3().core.exceptions.LDAPExceptionError as error:
        raise ConfigError(f"LDAP: {matching} is not a search filter: {error}") from None


def _server(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"LDAP: {url} is not a URL") from None
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("ldap", "ldaps", "ldapi") or not parts.netloc or has_more:
        raise ConfigError(f"LDAP: {url} is not ldaps://host, ldap://host or ldapi://%2Fpath, with :port where needed")
    host = f"ldapi://{parts.netloc}" if parts.scheme == "ldapi" else parts.hostname or ""
    return _Server(url, parts.scheme, host, port)


def _is_text(password: bytes) -> bool:
    """Return whether *password* is UTF-8, as RFC 4511 section 4.2 asks of text; ldap3 can send no others."""
    try:
        password.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _owner(values: list[bytes], attribute: str, name: str, case: UsernameCase) -> str | None:
    """Return the value of *attribute* that is the name itself, or else the only value, or None.

    A name is in its canonical form, values are as the directory has them.
    """
    texts = [value.decode("utf-8", "replace") for value in values]
    if same := [text for text in texts if canonical_name(text, case) == canonical_name(name, case)]:
        return same[0]
    if len(texts) == 1 and is_name(texts[0]):
        return texts[0]
    log.error(
        "LDAP: login of %a refused: the attribute %s of its entry is missing, unusable or has several values",
        name,
        attribute,
    )
    return None


def _result_text(what: str, result: Any) -> str:
    return f"{what} returned the result {result['result']}, {result['description']}"


def _ldap3() -> Any:
    try:
        import ldap3
        import ldap3.core.tls
        import ldap3.operation.search
    except ImportError:
        raise ConfigError("LDAP needs an extra: pip install 'geventpop3[ldap]'") from None
    return ldap3
