"""Faults below the pipeline: a stream that delivers one reply otherwise than the session sent it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gevent.event import Event
from gevent.timeout import Timeout

from geventpop3.server.stream import PlainStream, Stream
from geventpop3.testing.double.faults import DELAY_SECONDS, DRIP_SECONDS, LONG_LINE, Fault
from geventpop3.testing.double.records import SessionRecord

_DISCARDED_OCTETS = 65536
_LINGER_RESET = struct.pack("ii", 1, 0)


class FaultHappened(OSError):
    """The end of a session that a fault has brought about, after so many *octets* of a reply."""

    def __init__(self, fault: Fault, octets: int) -> None:
        super().__init__(None, f"fault: {fault}")
        self.octets = octets


@dataclass
class Plan:
    """The faults of one reply; *multi_line* says how the reply ends."""

    faults: Sequence[Fault]
    multi_line: bool

    def end_of(self, octets: bytes | bytearray) -> int | None:
        """Return where the reply at the beginning of *octets* ends, None if it is not whole."""
        if self.multi_line and octets.startswith(b"+OK"):
            status_end = octets.find(b"\r\n")
            if status_end < 0:
                return None
            end = octets.find(b"\r\n.\r\n", status_end)
            return None if end < 0 else end + 5
        end = octets.find(b"\r\n")
        return None if end < 0 else end + 2


class Wire(PlainStream):
    """A stream that delivers what the session sends, except the reply that is next when faults are ``armed``.

    *inner*: the stream that really sends. *released*: an event that ends all pauses, set when the server ends.
    *session*: the record of the session. *at_once*: faults of the moment before the first octet, either way.
    """

    def __init__(self, inner: Stream, released: Event, session: SessionRecord, at_once: Sequence[Fault] = ()) -> None:
        self.inner = inner
        self.session = session
        self._released = released
        self._at_once = at_once
        self._at_handshake: Sequence[Fault] = ()
        self._plan: Plan | None = None
        self._edit: Callable[[bytes], bytes] | None = None
        self._held = bytearray()
        self._end: FaultHappened | None = None
        """The fault that has ended the connection: nothing is sent any more."""
        self._is_reset = False

    @property
    def sent(self) -> int:  # type: ignore[override]  # an attribute in other streams
        """Octets accepted for delivery so far."""
        return self.inner.sent + len(self._held)

    @property
    def sock(self) -> Any:  # type: ignore[override]
        """The socket underneath."""
        return self.inner.sock

    @property
    def secure(self) -> bool:  # type: ignore[override]
        """True if TLS protects the octets."""
        return self.inner.secure

    @property
    def tls(self) -> ssl.SSLObject | None:  # type: ignore[override]
        """The TLS connection, if TLS is active."""
        return self.inner.tls

    # Faults

    def arm(self, plan: Plan) -> None:
        """Deliver the next reply according to *plan*; all replies before it must have been sent."""
        self._plan = plan

    def edit(self, function: Callable[[bytes], bytes], *, multi_line: bool) -> None:
        """Deliver what *function* returns for the octets of the next reply; faults then change that.

        All replies before it must have been sent.
        """
        self._edit = function
        self._plan = Plan([], multi_line)

    def drop_edit(self) -> None:
        """Forget an edit whose reply is not sent."""
        self._edit = None
        if self._plan is not None and not self._plan.faults:
            self._plan = None

    def fail_handshake(self, faults: Sequence[Fault]) -> None:
        """Carry out *faults* in the TLS handshake, once the client has begun it."""
        self._at_handshake = faults

    def _begin(self) -> None:
        """Carry out the faults of a moment without a reply. Raises FaultHappened if that ends the session."""
        faults, self._at_once = self._at_once, ()
        for fault in faults:
            self.session.lines.append(f"F: {fault}")
        self._deliver(b"", faults)

    def _deliver(self, reply: bytes, faults: Sequence[Fault]) -> None:
        is_reply = bool(reply)
        for fault in faults:
            reply = _changed(reply, fault)
        cut = next((fault for fault in faults if fault.how in ("close", "reset", "stall")), None)
        drip = next((fault for fault in faults if fault.how == "drip"), None)
        for fault in faults:
            if fault.how == "delay":
                self._released.wait(DELAY_SECONDS if fault.seconds is None else fault.seconds)
        if cut is not None:
            reply = reply[: cut.after_octets or 0]
        if drip is None:
            if reply:
                self.inner.send_all(reply)
        else:
            self._drip(reply, drip)
        if cut is not None:
            if is_reply:
                self.session.lines.append(f"-  {len(reply)} octets of this reply were sent")
            self._end_by(cut, len(reply))

    def _drip(self, reply: bytes, fault: Fault) -> None:
        step = fault.octets or 1
        for start in range(0, len(reply), step):
            self.inner.send_all(reply[start : start + step])
            self._released.wait(DRIP_SECONDS if fault.seconds is None else fault.seconds)

    def _end_by(self, fault: Fault, octets: int) -> None:
        if fault.how == "stall":
            self._released.rawlink(self._wake)
            try:
                with Timeout(fault.seconds, False):
                    while self.inner.recv(_DISCARDED_OCTETS):
                        continue
            finally:
                self._released.unlink(self._wake)
        if fault.how == "reset":
            self._reset()
        self._end = FaultHappened(fault, octets)
        raise self._end

    def _reset(self) -> None:
        """Close the socket so that the system sends a reset and no end of input before it."""
        sock = self.inner.sock
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        sock.close()
        self._is_reset = True

    def _passes(self) -> bool:
        """Return whether octets may be sent as they are."""
        return self._plan is None and not self._at_once and self._end is None

    def _wake(self, _released: Event) -> None:
        self.inner.wake()

    # The stream

    def recv(self, size: int) -> bytes:
        if self._end is not None:
            return b""
        if self._at_once:
            self._begin()
        data = self.inner.recv(size)
        if self._at_handshake:
            self._at_once, self._at_handshake = self._at_handshake, ()
            self._begin()
        return data

    def send_some(self, data: bytes) -> int:
        return self.inner.send_some(data) if self._passes() else 0

    def send_all(self, data: bytes | memoryview) -> None:
        if self._end is not None:
            raise self._end
        if self._at_once:
            self._begin()
        if self._plan is None:
            self.inner.send_all(data)
            return
        self._held += data
        end = self._plan.end_of(self._held)
        if end is None:
            return
        plan, self._plan = self._plan, None
        reply, rest = bytes(self._held[:end]), bytes(self._held[end:])
        self._held.clear()
        edit, self._edit = self._edit, None
        self._deliver(reply if edit is None else edit(reply), plan.faults)
        if rest:
            self.inner.send_all(rest)

    def offer(self, data: bytes) -> int:
        if self._passes() and isinstance(self.inner, PlainStream):
            return self.inner.offer(data)
        return 0

    def acknowledged(self) -> int:
        return self.inner.acknowledged()

    def segment(self) -> int:
        return self.inner.segment()

    def has_ended(self) -> bool:
        return self.inner.has_ended()

    def wake(self) -> None:
        self.inner.wake()

    def abort(self) -> None:
        # The session aborts the stream after every error of sending; a fault that closes is to be read as an end.
        if self._end is None:
            self.inner.abort()

    def close(self) -> None:
        if self._is_reset:
            return
        self._send_held()
        if self._end is not None:
            self.inner.linger()
        self.inner.close()

    def linger(self) -> None:
        if self._is_reset:
            return
        self._send_held()
        self.inner.linger()

    def _send_held(self) -> None:
        """Send the beginning of a reply that broke off, so that faults waited for its end in vain."""
        held = bytes(self._held)
        self._held.clear()
        if held:
            with suppress(OSError):  # the peer has gone
                self.inner.send_some(held)

    def close_without_loop(self) -> None:
        self.inner.close_without_loop()

    def disown(self) -> None:
        self.inner.disown()


def _changed(reply: bytes, fault: Fault) -> bytes:
    """Return the octets that a fault makes of a reply."""
    match fault.how:
        case "bare-lf":
            return reply.replace(b"\r\n", b"\n")
        case "unstuffed":
            status, line_end, body = reply.partition(b"\r\n")
            return status + line_end + _unstuffed(body)
        case "garbage":
            return fault.noise()
        case "long-line":
            return _with_long_line(reply, LONG_LINE if fault.octets is None else fault.octets)
    return reply


def _with_long_line(reply: bytes, octets: int) -> bytes:
    """Return the reply with *octets* more in the first line of its body, or in the status line if it has no body."""
    status, line_end, body = reply.partition(b"\r\n")
    if not body:
        return status + b" " + b"x" * octets + line_end
    first, line_end_of_first, rest = body.partition(b"\r\n")
    padding = b"" if first == b"." else first  # an empty body has only its termination octet
    tail = line_end_of_first + (rest if padding else body)
    return status + line_end + padding + b"x" * octets + tail


def _unstuffed(body: bytes) -> bytes:
    if not body.endswith(b".\r\n"):
        return body
    lines = body.removesuffix(b".\r\n")
    unstuffed = (b"\r\n" + lines).replace(b"\r\n..", b"\r\n.")[2:]
    return unstuffed + b".\r\n"
