"""The additional cost of a command with 40 listeners and 10 plugins that do not handle its event.

One server in one process is measured over a real socket, without and with them, many times in turn. The measure is
the process's CPU time for the same NOOPs; the client's part is the same in both. Prints microseconds.
"""

from __future__ import annotations

import socket
import time
from statistics import median

import gevent
import gevent.socket

from geventpop3 import EAT_NONE, Event, Plugin, POP3Server, Reply, handles, ok

COMMANDS = 4000
ROUNDS = 15
LISTENERS = 40
PLUGINS = 10


class Bystander(Plugin):
    @handles("cmd_dele", "cmd_top")
    def look(self, _pop3d: POP3Server, _event: Event) -> int:
        return EAT_NONE


def server(listeners: int, plugins: int) -> POP3Server:
    pop3d = POP3Server(address="127.0.0.1", port=0, hostname="pop.example.org")

    @pop3d.on("cmd_noop")
    def answer(_pop3d: POP3Server, _event: Event) -> Reply:
        return ok("")

    @pop3d.on("cmd_pass")
    def admit(_pop3d: POP3Server, _event: Event) -> Reply:
        return ok("")

    @pop3d.on("cmd_user")
    def know(_pop3d: POP3Server, _event: Event) -> Reply:
        return ok("")

    for _ in range(listeners):
        pop3d.register(lambda _pop3d, _event: None, "cmd_dele", "cmd_rset")
    for number in range(plugins):
        pop3d.plugin_add(f"bystander-{number}", Bystander())
    pop3d.start()
    return pop3d


class Talk:
    """A session that has logged in."""

    def __init__(self, pop3d: POP3Server) -> None:
        name = pop3d.getsockname()
        self.sock = gevent.socket.create_connection((name[0], name[1]))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines(1)
        self.sock.sendall(b"USER a\r\nPASS b\r\n")
        self.lines(2)

    def lines(self, wanted: int) -> None:
        while wanted > 0:
            got = self.sock.recv(65536)
            if not got:
                raise ConnectionError("the server closed")
            wanted -= got.count(b"\n")

    def seconds(self) -> float:
        """Return the CPU time of COMMANDS NOOPs, in batches that are answered in one write each."""
        before = time.process_time()
        for _ in range(COMMANDS // 40):
            self.sock.sendall(b"NOOP\r\n" * 40)
            self.lines(40)
        return time.process_time() - before


def cost() -> float:
    """Return the microseconds that listeners and plugins add to a command: the median of paired differences."""
    servers = server(0, 0), server(LISTENERS, PLUGINS)
    try:
        bare, crowded = (Talk(pop3d) for pop3d in servers)
        bare.seconds(), crowded.seconds()
        differences = [-bare.seconds() + crowded.seconds() for _ in range(ROUNDS)]
    finally:
        for pop3d in servers:
            pop3d.shutdown()
    return median(differences) / COMMANDS * 1e6


if __name__ == "__main__":
    with gevent.Timeout(30):
        print(cost())
