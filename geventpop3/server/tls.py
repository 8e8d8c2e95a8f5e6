"""TLS: contexts that are made new, tried and then swapped, never changed; handshakes with a deadline.

``load_cert_chain`` on a context in use leaves it broken when the pair does not match, so a running context is never
touched: a new certificate is a new context, and it takes the place of the old one only after a handshake with itself.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterable
from typing import NamedTuple

import gevent
from gevent import ssl as green_ssl

from geventpop3.errors import ConfigError
from geventpop3.server.certificates import end_point_of, names_of

log = logging.getLogger("geventpop3.tls")

PROTOCOL = "pop3"
"""The ALPN name of POP3 (RFC 7301's registry, "pop3")."""


class Pair(NamedTuple):
    """A certificate chain and its private key, PEM files; the key may be in the certificate's file."""

    certificate: str
    key: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files to watch."""
        return (self.certificate,) if self.key is None else (self.certificate, self.key)


class _Loaded(NamedTuple):
    context: green_ssl.SSLContext
    names: frozenset[str]
    end_point: bytes
    """The channel binding data of this certificate (RFC 5929 section 4.1)."""


class _Contexts(NamedTuple):
    """All that is in force at one time."""

    default: _Loaded
    by_name: dict[str, _Loaded]
    stamp: tuple[tuple[int, ...], ...]


class Certificates:
    """The certificates of a server: the first pair is the default, the others are chosen by the name a client asks for.

    With *client_ca*, a PEM file, clients may show a certificate of theirs. Raises ConfigError if a pair cannot be used.
    """

    def __init__(self, pairs: Iterable[Pair | tuple[str, str | None]], *, client_ca: str | None = None) -> None:
        self._pairs = [Pair(*pair) for pair in pairs]
        if not self._pairs:
            raise ConfigError("TLS needs a certificate")
        self._client_ca = client_ca
        try:
            self._contexts = self._load()
        except (OSError, ValueError) as error:
            raise ConfigError(f"TLS certificate: {error}") from error

    @property
    def context(self) -> green_ssl.SSLContext:
        """The context for the next handshake; never changed once it is in force."""
        return self._contexts.default.context

    def reload(self) -> bool:
        """Read the files again if they changed; True if new certificates are in force.

        A pair that cannot be used is logged, and what was in force stays.
        """
        try:
            stamp = self._stamp()
        except OSError as error:
            log.error("TLS certificates not reloaded: %s", error)
            return False
        if stamp == self._contexts.stamp:
            return False
        try:
            self._contexts = self._load()
        except (OSError, ValueError) as error:
            # Tried again only when the files change once more.
            self._contexts = self._contexts._replace(stamp=stamp)
            log.error("TLS certificates not reloaded, the old ones stay in force: %s", error)
            return False
        log.info("TLS certificates reloaded")
        return True

    def wrap(self, sock: gevent.socket.socket, seconds: float) -> green_ssl.SSLSocket:
        """The server's side of a handshake on *sock*, all of it within *seconds*.

        Raises OSError: ssl.SSLError, a reset, or TimeoutError at the deadline.
        """
        wrapped = self.context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        try:
            with gevent.Timeout(seconds, TimeoutError("the TLS handshake took too long")):
                wrapped.do_handshake()
        except ValueError as error:  # what ssl says of a socket that was closed meanwhile
            wrapped.close()
            raise ConnectionResetError(str(error)) from error
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def end_point(self, wrapped: green_ssl.SSLSocket) -> bytes:
        """The ``tls-server-end-point`` channel binding data of a connection (RFC 5929 section 4)."""
        for loaded in self._contexts.by_name.values():
            if loaded.context is wrapped.context:
                return loaded.end_point
        return self._contexts.default.end_point

    def _load(self) -> _Contexts:
        stamp = self._stamp()
        loaded = [_load(pair, self._client_ca) for pair in self._pairs]
        by_name: dict[str, _Loaded] = {}
        for one in reversed(loaded):
            by_name.update(dict.fromkeys(one.names, one))
        if len(loaded) > 1:
            for one in loaded:
                one.context.sni_callback = _chooser(by_name)
        return _Contexts(loaded[0], by_name, stamp)

    def _stamp(self) -> tuple[tuple[int, ...], ...]:
        files = [file for pair in self._pairs for file in pair.files]
        if self._client_ca is not None:
            files.append(self._client_ca)
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in map(os.stat, files))


def _chooser(by_name: dict[str, _Loaded]) -> object:
    def choose(wrapped: ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        # An unknown name gets the default: a client that checks names will say so itself.
        if name:
            found = by_name.get(name.lower()) or by_name.get("*." + name.lower().partition(".")[2])
            if found is not None:
                wrapped.context = found.context

    return choose


def _load(pair: Pair, client_ca: str | None) -> _Loaded:
    context = green_ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols([PROTOCOL])
    context.load_cert_chain(pair.certificate, pair.key, password=_no_password)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    certificate = _try(context)
    return _Loaded(context, names_of(certificate), end_point_of(certificate))


def _no_password() -> str:
    raise ValueError("the private key is encrypted: a server has nobody to ask for its password")


def _try(context: ssl.SSLContext) -> bytes:
    """A handshake of the context with itself, in memory; returns the certificate that it showed (DER)."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    waiting = [client, server]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    certificate = client.getpeercert(binary_form=True)
    if certificate is None:
        raise ValueError("the server showed no certificate")
    return certificate
