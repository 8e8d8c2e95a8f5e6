"""TLS certificates that are reloaded when their files change, and handshakes with a deadline.

``load_cert_chain`` breaks a context in use if the pair does not match, so a context in use is never changed. A new
certificate gets a new context, which replaces the old one only after a successful handshake with itself.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakKeyDictionary

import gevent

from geventpop3.errors import ConfigError
from geventpop3.server.stream import PlainStream
from geventpop3.server.tls.client_hello import read_hello
from geventpop3.server.tls.der import end_point_of, names_of
from geventpop3.server.tls.stream import TlsError, TlsStream, words

PROTOCOL = "pop3"
"""The ALPN name of POP3 (RFC 7301's registry, "pop3")."""

_NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
"""A fatal alert in a record of its own, in the form sent before there are keys (RFC 8446 sections 5.1 and 6)."""

_HELLO_OCTETS = 4096
_FILE_OCTETS = 1 << 20
_FLIGHTS = 4


class Pair(NamedTuple):
    """A certificate chain and its private key, as PEM files; the key may be in the certificate's file."""

    certificate: str
    key: str | None = None


class _Contexts(NamedTuple):
    """The contexts in force at one time."""

    default: ssl.SSLContext
    by_name: dict[str, ssl.SSLContext]


class Certificates:
    """The certificates of a server; the first pair is the default, a client's server name selects another.

    With *client_ca*, a PEM file, clients may present a certificate signed by one of these authorities. Raises
    ConfigError if a pair cannot be used.
    """

    def __init__(self, pairs: Iterable[Pair | tuple[str, str | None]], *, client_ca: str | None = None) -> None:
        self._pairs = [Pair(*pair) for pair in pairs]
        if not self._pairs:
            raise ConfigError("TLS needs at least one certificate")
        self._client_ca = client_ca
        self._end_points: WeakKeyDictionary[ssl.SSLContext, bytes | None] = WeakKeyDictionary()
        self._stamp = self._current_stamp()
        self._contexts = self._load()

    def context_for(self, name: str | None) -> ssl.SSLContext:
        """Return the context for a handshake with a client that requests the server name *name*.

        The context is never changed. For a name without a certificate it is the default: a client that verifies names
        will detect this itself.
        """
        contexts = self._contexts
        if name is None:
            return contexts.default
        wildcard = "*." + name.partition(".")[2]
        return contexts.by_name.get(name) or contexts.by_name.get(wildcard) or contexts.default

    def reload(self) -> bool:
        """Read the files again if they changed; return whether new certificates are in force.

        It blocks for some milliseconds. If the new files cannot be used, it raises ConfigError, once until they change
        again, and the old certificates stay in force.
        """
        stamp = self._current_stamp()
        if stamp == self._stamp:
            return False
        # The stamp was taken before the files are read, so a change meanwhile is detected the next time.
        self._stamp = stamp
        self._contexts = self._load()
        return True

    def end_point(self, tls: ssl.SSLObject) -> bytes | None:
        """Return the channel binding data ``tls-server-end-point`` of a connection (RFC 5929 section 4).

        It is None if undefined.
        """
        return self._end_points[tls.context]

    def _load(self) -> _Contexts:
        by_name: dict[str, ssl.SSLContext] = {}
        loaded = []
        for pair in self._pairs:
            context = _context(pair, self._client_ca)
            certificate = _test_handshake(context, pair)
            self._end_points[context] = end_point_of(certificate)
            loaded.append(context)
            for name in names_of(certificate):
                by_name.setdefault(name, context)
        return _Contexts(loaded[0], by_name)

    def _current_stamp(self) -> tuple[object, ...]:
        """Return a value that changes if a file changes, appears, disappears or becomes readable."""
        return tuple(map(_stamp, _files(self._pairs, self._client_ca)))


def reload_in_thread(certificates: Certificates) -> tuple[bool, str | None]:
    """Return whether new certificates are in force, or else an error as text.

    Runs in a thread: reading and testing certificates takes milliseconds, and longer on a network file system.
    """
    reloaded: tuple[bool, str | None] = gevent.get_hub().threadpool.apply(_reloaded, (certificates,))
    return reloaded


def _reloaded(certificates: Certificates) -> tuple[bool, str | None]:
    try:
        return certificates.reload(), None
    except Exception as error:  # noqa: BLE001  # after any error the old ones are in force
        return False, str(error) or type(error).__name__  # as text, because gevent prints errors of threads


def accept(stream: PlainStream, certificates: Certificates, seconds: float) -> TlsStream:
    """Do the server's side of a handshake over *stream* within *seconds*, and return the TLS stream.

    Raises OSError. If TLS fails, it is a TlsError, and the alert was sent to the peer.
    """
    with gevent.Timeout(seconds, TlsError("it timed out")):
        received = bytearray()
        while (hello := read_hello(received)) is None:
            data = stream.recv(_HELLO_OCTETS)
            if not data:
                raise TlsError("the peer disconnected")
            received += data
        if hello.protocols and PROTOCOL.encode() not in hello.protocols:
            # RFC 7301 section 3.2: "the server SHALL respond with a fatal "no_application_protocol" alert". So a
            # browser that was lured here does not take our replies for those of a web server.
            stream.offer(_NO_APPLICATION_PROTOCOL)
            raise TlsError("the peer requests another protocol (ALPN)")
        secured = TlsStream(stream, certificates.context_for(hello.name))
        secured.handshake(bytes(received))
        return secured


def _files(pairs: Iterable[Pair], client_ca: str | None) -> list[str]:
    files = [file for pair in pairs for file in pair if file is not None]
    return files if client_ca is None else [*files, client_ca]


def _stamp(file: str) -> object:
    try:
        found = os.stat(file)
    except OSError as error:
        return error.errno
    # Not the time of modification, which can be set, and which does not change with the permissions.
    return found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


def _context(pair: Pair, client_ca: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols([PROTOCOL])
    key = pair.key or pair.certificate
    _check(pair.certificate, "certificate")
    _check(key, "private key")
    try:
        context.load_cert_chain(pair.certificate, pair.key, password=_no_password)
    except _Encrypted:
        raise ConfigError(f"TLS key {key}: it is encrypted, give a key without a password") from None
    except OSError as error:
        raise ConfigError(f"TLS certificate {pair.certificate}, key {key}: {_words(error)}") from None
    if client_ca is not None:
        _check(client_ca, "certificate")
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            raise ConfigError(f"TLS client authorities {client_ca}: {_words(error)}") from None
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _check(file: str, content: str) -> None:
    """Raise ConfigError unless *content* is in a file: OpenSSL's own message for a file without it is of no use."""
    try:
        with open(file, "rb") as opened:
            octets = opened.read(_FILE_OCTETS)
    except OSError as error:
        raise ConfigError(f"TLS {content} {file}: {error.strerror}") from None
    if f"{content.upper()}-----".encode() not in octets:
        raise ConfigError(f"TLS {content} {file}: contains no {content} in PEM form")


class _Encrypted(Exception):
    """A request of OpenSSL for a password."""


def _no_password() -> str:
    raise _Encrypted


def _words(error: OSError) -> str:
    """Return OpenSSL's reason in words; for PEM that it cannot read it gives no useful one."""
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return words(reason) if reason else "damaged"


def _test_handshake(context: ssl.SSLContext, pair: Pair) -> bytes:
    """Do a handshake of the context with itself, in memory; return the certificate that it presented (DER)."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    try:
        for side in (client, server) * _FLIGHTS:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLError as error:
        raise ConfigError(f"TLS certificate {pair.certificate}: a test handshake failed: {_words(error)}") from None
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None  # no handshake succeeds without one
    return certificate
