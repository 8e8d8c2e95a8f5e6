"""A small LDAP server (RFC 4511) on loopback, in threads: binds, searches for what is equal, StartTLS, and faults.

It reads BER by itself, so that what ldap3 sends is judged by somebody else.
"""

import contextlib
import socket
import threading

STARTTLS = b"1.3.6.1.4.1.1466.20037"

BIND, UNBIND, SEARCH, EXTENDED = 0x60, 0x42, 0x63, 0x77


def ber(tag, *contents):
    octets = b"".join(contents)
    size = bytes([len(octets)]) if len(octets) < 128 else b"\x82" + len(octets).to_bytes(2, "big")
    return bytes([tag]) + size + octets


def elements(octets):
    """The (tag, contents) of a series of BER elements."""
    found, at = [], 0
    while at < len(octets):
        tag, size, at = octets[at], octets[at + 1], at + 2
        if size > 127:
            size, at = int.from_bytes(octets[at : at + size - 128], "big"), at + size - 128
        found.append((tag, octets[at : at + size]))
        at += size
    return found


def result(tag, code, *more):
    return ber(tag, ber(0x0A, bytes([code])), ber(4), ber(4), *more)


class LdapServer:
    """*entries*: DN to a password and attributes. ``results`` overrides result codes of "bind", "search", "starttls".

    ``behave`` may be "silent" (nothing is answered), "garbage" (nonsense is), "closing" (an answer is the end) or
    "answering".
    """

    def __init__(self, entries, context=None, *, tls_at_once=False):
        self.entries = entries
        self.context = context
        self.tls_at_once = tls_at_once
        self.behave = "answering"
        self.results = {}
        self.referral = None
        self.log = []
        self.connections = 0
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    @property
    def url(self):
        return f"{'ldaps' if self.tls_at_once else 'ldap'}://127.0.0.1:{self.port}"

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.threads[0].join()
        self.drop()
        for thread in self.threads[1:]:
            thread.join()

    def drop(self):
        """Close all connections."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                self.sockets.append(sock)
                thread = threading.Thread(target=self.serve, args=(sock,))
                self.threads.append(thread)
                thread.start()

    def serve(self, sock):
        try:
            if self.tls_at_once:
                sock = self.secured(sock)
            while sock is not None:
                sock = self.answer(sock)
        except (OSError, IndexError):
            pass  # the client is gone
        finally:
            if sock is not None:
                sock.close()

    def secured(self, sock):
        self.sockets.remove(sock)
        sock = self.context.wrap_socket(sock, server_side=True)
        self.sockets.append(sock)
        return sock

    def answer(self, sock):
        """One message; the socket to go on with, or None at the end."""
        head = sock.recv(2, socket.MSG_WAITALL) if not hasattr(sock, "cipher") else sock.recv(1) + sock.recv(1)
        more = head[1] - 128 if head[1] > 127 else 0
        size = int.from_bytes(sock.recv(more), "big") if more else head[1]
        body = b""
        while len(body) < size:
            body += sock.recv(size - len(body))
        (_, number), (tag, request), *_ = elements(body)
        if tag == UNBIND:
            sock.close()
            return None
        replies = {BIND: self.bind, SEARCH: self.search, EXTENDED: self.extended}[tag](request)
        if self.behave == "silent":
            sock.recv(1)  # until the client gives up
        elif self.behave == "garbage":
            sock.sendall(ber(0x30, ber(2, number), ber(0x61, b"\xff\x84\xff\xff\xff\xff" * 3)))
        else:
            sock.sendall(b"".join(ber(0x30, ber(2, number), reply) for reply in replies))
            if self.behave == "closing":
                sock.close()
                return None
            if tag == EXTENDED and self.results.get("starttls", 0) == 0:
                return self.secured(sock)
        return sock

    def bind(self, request):
        _, (_, dn), (kind, password) = elements(request)
        assert kind == 0x80, "a simple bind"
        dn = dn.decode()
        self.log.append(("bind", dn, password))
        known = self.entries.get(dn)
        code = 0 if known is not None and known[0] == password else 49
        return [result(0x61, self.results.get(("bind", dn), self.results.get("bind", code)))]

    def search(self, request):
        (_, base), (_, scope), _, (_, most), _, _, (tag, condition), (_, wanted) = elements(request)
        base, most = base.decode(), int.from_bytes(most, "big")
        attributes = [name for _, name in elements(wanted)]
        self.log.append(("search", base, tag, condition))
        within = [dn for dn in self.entries if (dn == base if scope == b"\0" else dn.endswith(base))]
        found = [dn for dn in within if self.matches(tag, condition, self.entries[dn][1])]
        replies = [self.entry(dn, attributes) for dn in found[:most]]
        replies.append(ber(0x73, ber(4, b"ldap://elsewhere.example/")))  # a reference, of which nothing may come
        code = 4 if len(found) > most else 32 if scope == b"\0" and not within else 0
        referral = [ber(0xA3, ber(4, self.referral.encode()))] if self.referral else []
        return [*replies, result(0x65, self.results.get("search", code), *referral)]

    def matches(self, tag, condition, attributes):
        if tag == 0xA0:
            return all(self.matches(*each, attributes) for each in elements(condition))
        if tag == 0xA3:
            (_, name), (_, value) = elements(condition)
            return value.lower() in [each.lower() for each in attributes.get(name.decode().lower(), [])]
        assert tag == 0x87, "present"
        return True

    def entry(self, dn, wanted):
        _, attributes = self.entries[dn]
        values = [
            ber(0x30, ber(4, name.encode()), ber(0x31, *(ber(4, value) for value in attributes[name])))
            for name in attributes
            if name.encode() in wanted
        ]
        return ber(0x64, ber(4, dn.encode()), ber(0x30, *values))

    def extended(self, request):
        assert elements(request) == [(0x80, STARTTLS)]
        self.log.append(("starttls",))
        return [result(0x78, self.results.get("starttls", 0))]
