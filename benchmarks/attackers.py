"""Hostile clients for ``hostile.py`` and for the tests; each sort runs in a process of its own.

    attackers.py SORT PORT COUNT USER [SECONDS]

Sorts: ``never`` asks for message 1 and does not read it; ``sip`` reads an octet of it each second; ``drip`` sends an
octet of its USER command each second; ``hog`` logs in, pipelines NOOP without a pause and reads every reply; ``tls``
sends the ClientHello of a handshake and nothing more, ``stls`` does the same after STLS. Client number n logs in as
``USER % n`` with the password "secret".

Prints ``ready`` when all clients attack. Ends at the end of standard input or after SECONDS (60), and prints one line
of JSON: the number of connected clients, and the number of replies that the hogs have read.
"""

from __future__ import annotations

import itertools
import json
import resource
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache

PASSWORD = b"secret"
PATIENCE = 60.0  # maximum seconds of a reply before the attack
SLICES = 50  # seconds between the starts of clients: real attackers do not act all at the same moment
NOOPS = b"NOOP\r\n" * 8192


class Attacker:
    """A connection of an attacker."""

    def __init__(self, port: int, name: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.name = name
        self.alive = True
        self.replies = 0

    def expect(self, count: int) -> None:
        """Read *count* positive status lines, and nothing of what follows."""
        for _ in range(count):
            line = b""
            while not line.endswith(b"\n"):
                octet = self.sock.recv(1)
                if not octet:
                    raise ConnectionError(f"closed after {line!r}")
                line += octet
            if not line.startswith(b"+OK"):
                raise ConnectionError(f"refused: {line!r}")

    def log_in(self) -> None:
        self.expect(1)
        self.sock.sendall(b"USER %s\r\nPASS %s\r\n" % (self.name, PASSWORD))
        self.expect(2)

    def begin_drip(self) -> None:
        self.expect(1)
        self.sock.sendall(b"USER ")

    def ask_for_mail(self) -> None:
        self.log_in()
        self.sock.sendall(b"RETR 1\r\n")
        self.expect(1)

    def begin_handshake(self) -> None:
        """Send a ClientHello and wait for the server's part, so that it is in the middle of the handshake."""
        self.sock.sendall(client_hello())
        if not self.sock.recv(1, socket.MSG_PEEK):
            raise ConnectionError("closed after the ClientHello")

    def begin_stls(self) -> None:
        self.expect(1)
        self.sock.sendall(b"STLS\r\n")
        self.expect(1)
        self.begin_handshake()

    def look(self) -> None:
        """Return whether the server has reset or ended the connection; consume nothing of what it sent."""
        if self.alive:
            self.alive = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        if self.alive:
            try:
                self.alive = self.sock.recv(1, socket.MSG_PEEK) != b""
            except BlockingIOError:
                return
            except OSError:
                self.alive = False

    def sip(self) -> None:
        self.look()
        if self.alive:
            self.alive = self.sock.recv(1) != b""

    def drip(self) -> None:
        self.sock.send(b"a")


@cache
def client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nothing, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(nothing, said, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return said.read()
    raise AssertionError("a handshake that needs no server")


SORTS: Mapping[str, tuple[Callable[[Attacker], None], Callable[[Attacker], None]]] = {
    "never": (Attacker.ask_for_mail, Attacker.look),
    "sip": (Attacker.ask_for_mail, Attacker.sip),
    "drip": (Attacker.begin_drip, Attacker.drip),
    "tls": (Attacker.begin_handshake, Attacker.look),
    "stls": (Attacker.begin_stls, Attacker.look),
}


def act_each_second(attackers: Sequence[Attacker], act: Callable[[Attacker], None], end: float) -> None:
    for turn in itertools.count():
        if is_over(1 / SLICES, end):
            return
        for attacker in attackers[turn % SLICES :: SLICES]:
            if attacker.alive:
                try:
                    act(attacker)
                except BlockingIOError:
                    continue
                except OSError:
                    attacker.alive = False


def pump(attackers: Sequence[Attacker], end: float) -> None:
    """Send commands as fast as the server takes them, and read replies as fast as it answers."""
    unsent = dict.fromkeys(attackers, memoryview(NOOPS))
    by_socket = {attacker.sock: attacker for attacker in attackers}
    while not is_over(0, end):
        alive = [sock for sock, attacker in by_socket.items() if attacker.alive]
        readable, writable, _ = select.select(alive, alive, [], 0.1)
        for sock in readable:
            got = sock.recv(1 << 18)
            by_socket[sock].replies += got.count(b"\n")
            by_socket[sock].alive = got != b""
        for sock in writable:
            attacker = by_socket[sock]
            attacker_unsent = unsent[attacker]
            unsent[attacker] = attacker_unsent[sock.send(attacker_unsent) :] or memoryview(NOOPS)


def is_over(seconds: float, end: float) -> bool:
    """Wait; return whether standard input or the time has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) or time.monotonic() > end


def main() -> None:
    sort, port, count, user, *seconds = sys.argv[1:]
    end = time.monotonic() + (float(seconds[0]) if seconds else 60.0)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attackers = [Attacker(int(port), (user % number).encode()) for number in range(int(count))]
    begin, act = SORTS.get(sort, (Attacker.log_in, Attacker.look))
    for attacker in attackers:
        begin(attacker)
        attacker.sock.setblocking(False)
    print("ready", flush=True)
    if sort == "hog":
        pump(attackers, end)
    else:
        act_each_second(attackers, act, end)
        for attacker in attackers:
            attacker.look()
    alive = sum(attacker.alive for attacker in attackers)
    print(json.dumps({"alive": alive, "replies": sum(attacker.replies for attacker in attackers)}), flush=True)


if __name__ == "__main__":
    main()
