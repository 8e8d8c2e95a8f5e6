"""A small POP3 server that keeps the rules, written apart from geventpop3, and ways to make it break one of them.

It serves one account from memory over plain sockets, a thread a connection.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from geventpop3.testing.conformance import Target

USER = b"bob"
PASSWORD = b"open Sesame"
CRLF = b"\r\n"


class Store:
    """The account's messages, and the delivery of a run."""

    exact = True

    def __init__(self) -> None:
        self.mail: dict[str, bytes] = {}
        self.serials = itertools.count(1)
        self.lock = threading.Lock()
        self.holder: object = None

    def deliver(self, content: bytes) -> None:
        self.mail[self.unique_id(content)] = content

    def unique_id(self, content: bytes) -> str:
        return f"{next(self.serials)}-{hashlib.sha256(content).hexdigest()[:8]}"

    def take_back(self) -> None:
        raise AssertionError("each message arrives")

    def empty(self) -> bool:
        self.mail.clear()
        return True


class Session:
    """A connection. Commands are methods ``do_VERB(argument) -> octets``; faults override what they break."""

    store: Store
    context: ssl.SSLContext | None = None
    capabilities = (
        "TOP", "UIDL", "USER", "SASL PLAIN CRAM-MD5", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER", "LANG",
        "EXPIRE NEVER", "LOGIN-DELAY 0", "IMPLEMENTATION small",
    )  # fmt: skip
    BEFORE = ("CAPA", "USER", "PASS", "APOP", "AUTH", "STLS", "UTF8", "LANG", "QUIT")
    AFTER = ("CAPA", "STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL", "LANG", "QUIT")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""
        self.stamp = f"<{secrets.token_hex(8)}@small.invalid>"
        self.name: bytes | None = None
        self.logged_in = False
        self.messages: list[tuple[str, bytes]] = []
        self.marked: set[int] = set()
        self.open = True
        self.secure = False
        self.utf8 = False
        self.last = ""

    # The wire

    def run(self) -> None:
        self.write(self.greeting())
        while self.open:
            line = self.read()
            if line is None:
                self.ended()
                break
            self.write(self.answer(line))
        self.release()

    def write(self, octets: bytes) -> None:
        if octets:
            self.socket.sendall(octets)

    def read(self) -> bytes | None:
        while b"\n" not in self.buffer:
            more = self.receive()
            if not more:
                return None
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except OSError:
            return b""

    def ended(self) -> None:
        """The input ended without QUIT."""

    def release(self) -> None:
        with self.store.lock:
            if self.store.holder is self:
                self.store.holder = None

    # Commands

    def greeting(self) -> bytes:
        return f"+OK small server {self.stamp}\r\n".encode()

    def answer(self, line: bytes) -> bytes:
        if len(line) > 1000 or any(octet in line for octet in (b"\0", b"\r")):
            self.last = ""
            return self.unknown(line)
        word, _, argument = line.partition(b" ")
        verb = word.decode("latin-1").upper() if word.isascii() else ""
        last, self.last = self.last, verb
        if verb not in self.verbs():
            return self.unknown(line)
        if verb == "PASS" and last != "USER":
            return b"-ERR say USER first\r\n"
        method: Callable[[bytes], bytes] = getattr(self, f"do_{verb}")
        return method(argument)

    def verbs(self) -> tuple[str, ...]:
        return self.AFTER if self.logged_in else self.BEFORE

    def unknown(self, line: bytes) -> bytes:
        return b"-ERR unknown command\r\n"

    def do_CAPA(self, argument: bytes) -> bytes:
        if argument:
            return b"-ERR no argument\r\n"
        found = list(self.capabilities)
        if self.context is not None and not self.secure and not self.logged_in:
            found.append("STLS")
        return self.multi("", [one.encode() for one in found])

    def do_USER(self, argument: bytes) -> bytes:
        if not argument or not self.is_utf8(argument):
            self.last = ""
            return b"-ERR which user?\r\n"
        self.name = argument
        return b"+OK send PASS\r\n"

    def is_utf8(self, octets: bytes) -> bool:
        with suppress(UnicodeDecodeError):
            octets.decode()
            return True
        return False

    def do_PASS(self, argument: bytes) -> bytes:
        return self.login(self.name == USER and self.is_password(argument))

    def is_password(self, given: bytes) -> bool:
        return given == PASSWORD

    def do_APOP(self, argument: bytes) -> bytes:
        name, _, digest = argument.partition(b" ")
        return self.login(name == USER and self.is_digest(digest))

    def is_digest(self, digest: bytes) -> bool:
        return digest == hashlib.md5(self.stamp.encode() + PASSWORD).hexdigest().encode()

    def login(self, right: bool) -> bytes:
        if not right:
            return self.wrong()
        if not self.locked():
            return b"-ERR [IN-USE] in use\r\n"
        self.logged_in = True
        self.messages = list(self.store.mail.items())
        return b"+OK welcome\r\n"

    def wrong(self) -> bytes:
        return b"-ERR [AUTH] wrong\r\n"

    def locked(self) -> bool:
        with self.store.lock:
            if self.store.holder not in (None, self):
                return False
            self.store.holder = self
            return True

    def do_AUTH(self, argument: bytes) -> bytes:
        words = argument.split(b" ")
        mechanism = words[0].upper()
        if mechanism == b"PLAIN" and len(words) < 3:
            return self.plain(words[1] if len(words) > 1 else None)
        if mechanism == b"CRAM-MD5":
            return self.cram(words[1] if len(words) > 1 else None)
        return b"-ERR no such mechanism\r\n"

    def plain(self, initial: bytes | None) -> bytes:
        if initial is None:
            initial = self.challenge(b"")
        elif initial == b"=":
            initial = b""
        if initial == b"*":
            return b"-ERR cancelled\r\n"
        decoded = self.decode(initial)
        if decoded is None:
            return b"-ERR no base64\r\n"
        fields = decoded.split(b"\0")
        return self.login(len(fields) == 3 and self.is_plain(*fields))

    def is_plain(self, authorized: bytes, name: bytes, password: bytes) -> bool:
        return name == USER and authorized in (b"", USER) and self.is_password(password)

    def decode(self, text: bytes) -> bytes | None:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            return None

    def challenge(self, octets: bytes) -> bytes:
        self.write(b"+ " + base64.b64encode(octets) + CRLF)
        return self.read() or b"*"

    def cram(self, initial: bytes | None) -> bytes:
        if initial is not None:
            return b"-ERR no initial response\r\n"
        decoded = self.decode(self.challenge(self.stamp.encode()))
        name, _, digest = (decoded or b"").partition(b" ")
        return self.login(name == USER and self.is_cram(digest))

    def is_cram(self, digest: bytes) -> bool:
        return digest == hmac.new(PASSWORD, self.stamp.encode(), "md5").hexdigest().encode()

    def do_STLS(self, argument: bytes) -> bytes:
        if argument or self.context is None or self.secure:
            return b"-ERR no\r\n"
        self.socket.sendall(b"+OK begin\r\n")
        self.begin_tls()
        return b""

    def begin_tls(self) -> None:
        assert self.context is not None
        self.buffer = b""
        self.last = ""
        self.name = None
        try:
            self.socket = self.context.wrap_socket(self.socket, server_side=True)
            self.secure = True
        except OSError:
            self.open = False

    def do_UTF8(self, argument: bytes) -> bytes:
        if argument:
            return b"-ERR no argument\r\n"
        self.utf8 = True
        return b"+OK\r\n"

    def do_LANG(self, argument: bytes) -> bytes:
        if not argument:
            return self.multi("", [b"en English"])
        return b"+OK en chosen\r\n" if argument.lower() in (b"en", b"*") else b"-ERR no such language\r\n"

    def do_QUIT(self, argument: bytes) -> bytes:
        self.open = False
        if self.logged_in:
            self.update()
        return b"+OK bye\r\n"

    def update(self) -> None:
        for number in self.marked:
            self.store.mail.pop(self.messages[number - 1][0], None)

    # The maildrop

    def present(self) -> list[int]:
        return [number for number in range(1, len(self.messages) + 1) if number not in self.marked]

    def number(self, argument: bytes) -> int:
        if re.fullmatch(rb"[1-9][0-9]{0,8}", argument) is None or int(argument) not in self.present():
            raise LookupError
        return int(argument)

    def content(self, number: int) -> bytes:
        octets = self.messages[number - 1][1].replace(b"\n", CRLF)
        octets = octets if not octets or octets.endswith(CRLF) else octets + CRLF
        if not self.utf8:
            header, blank, body = octets.partition(b"\r\n\r\n")
            octets = bytes(octet if octet < 128 else 63 for octet in header) + blank + body
        return octets

    def size(self, number: int) -> int:
        return len(self.content(number))

    def multi(self, text: str, lines: list[bytes]) -> bytes:
        return self.multiline(text, b"".join(line + CRLF for line in lines))

    def multiline(self, text: str, octets: bytes) -> bytes:
        return f"+OK {text}".rstrip().encode() + CRLF + self.stuff(octets) + b".\r\n"

    def stuff(self, octets: bytes) -> bytes:
        stuffed = (b"\n" + octets).replace(b"\n.", b"\n..")
        return stuffed[1:]

    def do_STAT(self, argument: bytes) -> bytes:
        if argument:
            return b"-ERR no argument\r\n"
        present = self.present()
        return b"+OK %d %d\r\n" % (len(present), sum(map(self.size, present)))

    def listing(self, argument: bytes, item: Callable[[int], bytes]) -> bytes:
        if not argument:
            return self.multi("", [b"%d %s" % (number, item(number)) for number in self.present()])
        try:
            number = self.number(argument)
        except LookupError:
            return b"-ERR no such message\r\n"
        return b"+OK %d %s\r\n" % (number, item(number))

    def do_LIST(self, argument: bytes) -> bytes:
        return self.listing(argument, lambda number: b"%d" % self.size(number))

    def do_UIDL(self, argument: bytes) -> bytes:
        return self.listing(argument, lambda number: self.unique_id(number).encode())

    def unique_id(self, number: int) -> str:
        return self.messages[number - 1][0]

    def do_RETR(self, argument: bytes) -> bytes:
        try:
            return self.multiline("", self.content(self.number(argument)))
        except LookupError:
            return b"-ERR no such message\r\n"

    def do_TOP(self, argument: bytes) -> bytes:
        words = argument.split(b" ")
        try:
            number = self.number(words[0])
        except LookupError:
            return b"-ERR no such message\r\n"
        if len(words) != 2 or not words[1].isdigit():
            return b"-ERR how many lines?\r\n"
        return self.multiline("", self.top(self.content(number), int(words[1])))

    def top(self, octets: bytes, lines: int) -> bytes:
        header, blank, body = octets.partition(b"\r\n\r\n")
        return header + blank + b"".join(body.splitlines(keepends=True)[:lines])

    def do_DELE(self, argument: bytes) -> bytes:
        try:
            self.marked.add(self.number(argument))
        except LookupError:
            return b"-ERR no such message\r\n"
        return b"+OK marked\r\n"

    def do_NOOP(self, argument: bytes) -> bytes:
        return b"-ERR no argument\r\n" if argument else b"+OK\r\n"

    def do_RSET(self, argument: bytes) -> bytes:
        if argument:
            return b"-ERR no argument\r\n"
        self.marked.clear()
        return b"+OK\r\n"


@contextmanager
def small(kind: type[Session] = Session, context: ssl.SSLContext | None = None) -> Iterator[tuple[Target, Any]]:
    """Serve; yield the target and the store, which is the delivery too."""
    store = kind.store if hasattr(kind, "store") else Store()
    made = type(kind.__name__, (kind,), {"store": store, "context": context})
    threads: list[threading.Thread] = []
    connections: list[Session] = []
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:

        def converse(session: Session) -> None:
            # A client that is gone ends a session like any other.
            with suppress(OSError):
                session.run()
            session.release()
            session.socket.close()

        def accept() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                session = made(connection)
                connections.append(session)
                threads.append(threading.Thread(target=converse, args=(session,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        host, port = listener.getsockname()
        try:
            yield Target(host, port, USER.decode(), PASSWORD.decode(), timeout=2), store
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for session in connections:
                with suppress(OSError):
                    session.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
