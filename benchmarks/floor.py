"""The gevent baseline: a minimal gevent program that answers POP3 commands with octets prepared at the start.

No parsing beyond the verb and RETR's number, no authentication, no files, no limits: it is not a POP3 server, only the
cost of gevent itself, one greenlet a client. The first letter of the user name selects the mail set, as in ``ideal.c``.
"""

from __future__ import annotations

import argparse
import resource
import socket
from pathlib import Path
from typing import Any, NamedTuple

import gevent.socket
from gevent.server import StreamServer

GREETING, OK, BYE, ERR = b"+OK floor ready\r\n", b"+OK\r\n", b"+OK bye\r\n", b"-ERR\r\n"
CAPA = b"+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n"


class Canned(NamedTuple):
    """The prepared replies of one maildrop."""

    by_verb: dict[bytes, bytes]
    messages: list[bytes]


def canned(folder: Path) -> Canned:
    messages, listing, unique_ids, total = [], [], [], 0
    for number, path in enumerate(sorted(folder.iterdir()), 1):
        data = path.read_bytes().replace(b"\n", b"\r\n")
        stuffed = (b"." if data[:1] == b"." else b"") + data.replace(b"\r\n.", b"\r\n..")
        messages.append(b"+OK %d octets\r\n%s.\r\n" % (len(data), stuffed))
        listing.append(b"%d %d\r\n" % (number, len(data)))
        unique_ids.append(b"%d %s\r\n" % (number, path.name.encode()[:60]))
        total += len(data)
    return Canned(
        {
            b"USER": OK,
            b"PASS": OK,
            b"NOOP": OK,
            b"QUIT": BYE,
            b"CAPA": CAPA,
            b"STAT": b"+OK %d %d\r\n" % (len(messages), total),
            b"LIST": b"+OK\r\n" + b"".join(listing) + b".\r\n",
            b"UIDL": b"+OK\r\n" + b"".join(unique_ids) + b".\r\n",
        },
        messages,
    )


class Floor:
    def __init__(self, maildrops: dict[bytes, Canned]) -> None:
        self.maildrops = maildrops
        self.default = next(iter(maildrops.values()))

    def handle(self, sock: Any, _address: object) -> None:
        try:
            self.talk(sock)
        except OSError:
            return  # the client has disconnected: nothing to clean up

    def talk(self, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        maildrop, send, receive = self.default, sock.sendall, sock.recv
        send(GREETING)
        buffered = b""
        while data := receive(4096):
            buffered += data
            while (end := buffered.find(b"\n")) >= 0:
                line, buffered = buffered[:end], buffered[end + 1 :]
                verb = line[:4]
                if verb == b"RETR":
                    send(maildrop.messages[int(line[5:]) - 1])
                    continue
                if verb == b"USER":
                    maildrop = self.maildrops.get(line[5:6], self.default)
                send(maildrop.by_verb.get(verb, ERR))
                if verb == b"QUIT":
                    return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("root", type=Path, help="folder of the Maildirs; one owner of each set is served")
    parser.add_argument("letters", help="letters of the mail sets, such as sml")
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folders = {letter: arguments.root / f"{letter}00000" / "cur" for letter in arguments.letters}
    floor = Floor({letter.encode(): canned(folder) for letter, folder in folders.items()})
    listener = gevent.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    listener.listen(4096)
    StreamServer(listener, floor.handle).serve_forever()


if __name__ == "__main__":
    main()
