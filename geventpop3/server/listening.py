"""The places a server listens at: given as texts, addresses or sockets, bound together, closed together."""

from __future__ import annotations

import _socket
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from gevent import socket

from geventpop3.errors import ConfigError
from geventpop3.server.acceptor import FULL, Acceptor, listening_socket, prepare
from geventpop3.server.addresses import (
    Address,
    check_address,
    check_distinct,
    format_address,
    parse_address,
    unix_path,
)

log = logging.getLogger("geventpop3.server")

Place: TypeAlias = str | tuple[str, int | str] | socket.socket
"""A place to listen at: ``"127.0.0.1:1110"``, ``"[::1]:1110"``, ``"unix:/run/pop3.sock"``, ``(host, port)``, or a
listening socket, which the server takes over and finally closes. The server removes the file of a unix socket only if
it has created it."""

Handle: TypeAlias = Callable[[socket.socket, Any], None]
"""A function that serves an accepted connection, given its socket and the peer's address."""


class Listening:
    """The places of one server and, once bound, an acceptor at each. In *tls_places*, TLS comes before the greeting."""

    __slots__ = ("_own", "_places", "acceptors")

    def __init__(self, places: Iterable[Place], tls_places: Iterable[Place]) -> None:
        self._places: list[tuple[Address | socket.socket, bool]] = [
            *((place, False) for place in _listed(places)),
            *((place, True) for place in _listed(tls_places)),
        ]
        self.acceptors: list[Acceptor] = []
        self._own: list[Acceptor] = []
        """The acceptors whose sockets no other process has."""
        self._check()

    def replace(self, places: Iterable[Place]) -> None:
        """Listen at *places* instead; those with the port or path of a place with TLS have TLS too."""
        secured = {_port(place) for place, implicit_tls in self._places if implicit_tls} - {"0"}
        self._places = [(place, _port(place) in secured) for place in _listed(places)]
        self._check()

    def use_ports(self, host: str, ports: Sequence[int] = ()) -> None:
        """Listen at *host* instead of each place: at these *ports*, in the order of the places, then at free ones."""
        chosen = itertools.chain(ports, itertools.repeat(0))
        self._places = [((host, next(chosen)), implicit_tls) for _, implicit_tls in self._places]

    def _check(self) -> None:
        named = [(place, tls) for place, tls in self._places if not isinstance(place, socket.socket)]
        check_distinct((place for place, tls in named if not tls), (place for place, tls in named if tls))

    def bind(self, handle: Handle, handle_tls: Handle, failed: Callable[[OSError], None], *, shared: bool) -> None:
        """Bind all places or none; ``start`` accepts. Raises OSError, with the address as its filename."""
        bound: list[Acceptor] = []
        own: list[Acceptor] = []
        try:
            for place, implicit_tls in self._places:
                sock = place if isinstance(place, socket.socket) else listening_socket(place)
                acceptor = _acceptor(sock, handle_tls if implicit_tls else handle, failed, implicit_tls=implicit_tls)
                if shared:
                    prepare(sock)
                    acceptor.max_accept = 1
                bound.append(acceptor)
                if sock is not place:
                    own.append(acceptor)
        except OSError:
            for one in bound:
                one.close()
            raise
        self.acceptors, self._own = bound, own

    def start(self) -> None:
        """Begin to accept connections."""
        for one, (_, implicit_tls) in zip(self.acceptors, self._places, strict=True):
            one.start()
            log.info("listening on %s%s", format_address(one.sockname), ", TLS from the start" if implicit_tls else "")

    def names(self) -> Sequence[tuple[str, int] | str]:
        """Return ``(host, port)`` of each bound place, or the path of a unix socket."""
        return [_name(one.sockname) for one in self.acceptors]

    def named_ports(self) -> list[tuple[tuple[str, int], bool]]:
        """Return host and port of each bound place, and whether TLS comes first there."""
        return [
            ((str(name[0]), int(name[1])), implicit_tls)
            for name, (_, implicit_tls) in zip(self.names(), self._places, strict=True)
        ]

    def close(self) -> None:
        """Close this process's sockets; other processes may still accept from the same ones."""
        for one in self.acceptors:
            one.close()

    def end(self) -> None:
        """Close all sockets, and shut down those that no other process has, so that their addresses are free."""
        for one in self.acceptors:
            if one in self._own:
                one.end()
            else:
                one.close()

    def close_without_loop(self) -> None:
        """Do as ``end`` does, after the event loop has ended."""
        for one in self.acceptors:
            one.close_without_loop(ours=one in self._own)

    def forget(self) -> None:
        """Be bound nowhere, as before ``bind``; the sockets are closed already or belong to another process."""
        self.acceptors, self._own = [], []

    def disown(self) -> None:
        """Close a forked child's copies of the sockets, unnoticed by others (see ``geventpop3.forks``)."""
        for one in self.acceptors:
            one.disown()
        self.forget()

    def accept_only_in(self, process: int | None) -> None:
        """Accept only in the process with this number, during a fork; None: in each that has the sockets."""
        for one in self.acceptors:
            one.home = process


def check_host(host: object) -> None:
    """Raise TypeError unless *host* is a str: a port alone is likely to be given here."""
    if not isinstance(host, str):
        hint = f": give the port as a keyword, POP3Server(port={host})" if isinstance(host, int) else ""
        raise TypeError(f"address must be the host to listen at, a str, not {type(host).__name__}{hint}")


def _listed(places: Iterable[Place]) -> list[Address | socket.socket]:
    if isinstance(places, str):  # a str is an iterable of texts too
        raise ConfigError(f"{places!r} is a string: give a list of addresses, [{places!r}]")
    return [_place(one) for one in places]


def _place(place: Place) -> Address | socket.socket:
    if isinstance(place, str):
        return parse_address(place)
    if isinstance(place, _socket.socket) and not isinstance(place, socket.socket):
        # A socket of the standard library, in a process that is not patched: gevent's takes it over.
        return socket.socket(place.family, place.type, place.proto, fileno=place.detach())
    if isinstance(place, tuple):
        check_address(*place)
    return place


def _acceptor(
    sock: socket.socket, handle: Handle, failed: Callable[[OSError], None], *, implicit_tls: bool
) -> Acceptor:
    """Return the acceptor of a listening socket. Raises OSError, and closes the socket, if there is no descriptor."""
    try:
        return Acceptor(sock, handle, failed, busy=b"" if implicit_tls else FULL.status_line)
    except OSError as error:
        error.filename = format_address(sock.getsockname())
        sock.close()
        raise


def _port(place: Address | socket.socket) -> str:
    """Return the port, or the path of a unix socket."""
    name = _name(place.getsockname()) if isinstance(place, socket.socket) else place
    return name if isinstance(name, str) else str(name[1])


def _name(sockname: Any) -> tuple[str, int] | str:
    return unix_path(sockname) if isinstance(sockname, (str, bytes)) else sockname[:2]
