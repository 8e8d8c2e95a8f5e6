"""The server's side of TLS, as a stream over another stream."""

from __future__ import annotations

import ssl
from contextlib import suppress

from geventpop3.server.fairness import tick
from geventpop3.server.stream import PlainStream, Stream

_TLS_OCTETS = 4096
"""Octets of TLS that are read at once: key updates in them block OpenSSL, and so all sessions, for milliseconds."""

_HANDSHAKE_OCTETS = 262144
"""Maximum octets from a peer in a handshake: OpenSSL accepts certificate chains of up to 100 KiB."""

_EMPTY_RECORDS_OCTETS = 65536
"""Maximum octets of TLS that a peer may send without application data, or may cause as output and not read."""


class TlsError(OSError):
    """The failure or absence of TLS; the text is for the log and contains no data of the peer."""


def words(reason: str) -> str:
    """Return OpenSSL's name for an error as readable text."""
    return reason.replace("_", " ").lower()


class TlsStream(Stream):
    """The server's side of TLS over another stream, which carries the records; ``handshake`` comes first.

    Records are made and read in memory, so this class limits how much input is processed at once. OpenSSL on a socket
    continues as long as there are key updates to read, and no other greenlet runs meanwhile.
    """

    secure = True

    def __init__(self, under: PlainStream, context: ssl.SSLContext) -> None:
        self.sock = under.sock
        self.sent = under.sent
        self._under = under
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = b""
        self._sending = False
        self.tls: ssl.SSLObject = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, received: bytes) -> None:
        """Do the handshake; *received* is the peer's input so far. Raises OSError."""
        octets = len(received)
        self._incoming.write(received)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._under.send_all(self._take_records())
            except ssl.SSLError as error:
                raise self._failed(error) from error
            data = self._under.recv(_TLS_OCTETS)
            if not data:
                raise TlsError("the peer disconnected")
            octets += len(data)
            if octets > _HANDSHAKE_OCTETS:
                raise TlsError("the handshake is too long")
            self._incoming.write(data)
        self._under.send_all(self._take_records())

    def recv(self, size: int) -> bytes:
        without_data = 0
        while True:
            try:
                # b"" is the peer's close_notify. An end without one is treated alike: an incomplete line is not a
                # command, and nothing else depends on where the input ended.
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self._offer()
            except ssl.SSLError as error:
                raise self._failed(error) from error
            if without_data > _EMPTY_RECORDS_OCTETS:
                raise TlsError("too many TLS records without data")
            if len(self._unsent) > _EMPTY_RECORDS_OCTETS:
                raise TlsError("the peer causes TLS output but does not read it")
            if without_data:
                tick()
            data = self._under.recv(_TLS_OCTETS)
            if not data:
                return b""
            without_data += len(data)
            self._incoming.write(data)

    def send_all(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        self._sending = True
        try:
            while rest:
                written = self.tls.write(rest)  # a record
                self._under.send_all(self._take_records())
                self.sent += written
                rest = rest[written:]
        except ssl.SSLError as error:
            raise self._failed(error) from error
        finally:
            self._sending = False

    def acknowledged(self) -> int:
        return self._under.acknowledged()

    def segment(self) -> int:
        return self._under.segment()

    def has_ended(self) -> bool:
        return self._under.has_ended()

    def wake(self) -> None:
        self._under.wake()

    def abort(self) -> None:
        self._under.abort()

    def close(self) -> None:
        self._send_close_notify()
        self._under.close()

    def close_without_loop(self) -> None:
        self._under.close_without_loop()

    def disown(self) -> None:
        self._under.disown()

    def linger(self) -> None:
        self._send_close_notify()
        self._under.linger()

    def _send_close_notify(self) -> None:
        """Send close_notify.

        RFC 8446 section 6.1: "Each party MUST send a "close_notify" alert before closing its write side".
        """
        # After making the alert, OpenSSL looks for the peer's, which need not have come.
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        self._offer()

    def _failed(self, error: ssl.SSLError) -> TlsError:
        self._offer()  # the alert for the peer
        return TlsError(words(error.reason or "protocol error"))

    def _offer(self) -> None:
        """Send TLS's own output as far as is possible without waiting, because no deadline applies here.

        The rest is sent before the next output.
        """
        if self._sending:
            return  # another greenlet is sending a record, and sends this with it
        self._unsent = self._take_records()
        if self._unsent:
            self._unsent = self._unsent[self._under.offer(self._unsent) :]

    def _take_records(self) -> bytes:
        """Return the records to send."""
        taken = self._unsent + self._outgoing.read()
        self._unsent = b""
        return taken
