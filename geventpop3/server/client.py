"""One greenlet and one loop a client: read, ask the protocol, ask the application, write.

This is the border at which errors are translated. The greenlet that runs the session is the only one that reads or
closes; whoever else wants something of it sets a word and wakes it.
"""

from __future__ import annotations

import itertools
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
from gevent.lock import BoundedSemaphore

from geventpop3.errors import PipelineError, Refusal
from geventpop3.pipeline.events import CommandSummary, Event, SessionSummary
from geventpop3.pipeline.pluggable import discard, new_reference
from geventpop3.protocol.commands import State, redact
from geventpop3.protocol.connection import Command, Connection, Rejected, Response, Want
from geventpop3.server.limits import OUTPUT_OCTETS, PAUSE, RECV_OCTETS, SLICE
from geventpop3.server.proxy import ProxyError, read_header
from geventpop3.server.stream import Stream, TlsStream
from geventpop3.server.trace import Trace
from geventpop3.wire.replies import Reply, err, ok
from geventpop3.wire.stuffing import stuff, stuff_whole

if TYPE_CHECKING:
    from geventpop3.server.server import POP3Server

log = logging.getLogger("geventpop3.server")

_ids = itertools.count(1)

UNANSWERED = err("not supported here")
"""DESIGN: nobody answered, so the client is told; a client that waits for ever is the seed's fault mended."""


class _BodyFailed(Exception):
    """A multi-line response broke off after its +OK: the connection must close without the termination octet."""


class _Injected(OSError):
    """Clear text came behind STLS."""


class Client:
    """A peer and its session.

    Application code uses ``id``, ``peer``, ``sock``, ``data``, ``state``, ``secure``, ``owner``, ``summary``, ``send``,
    ``challenge`` and ``disconnect``; the rest belongs to the server.
    """

    __slots__ = (
        "__weakref__",
        "_active_at",
        "_answering",
        "_connection",
        "_data",
        "_farewell",
        "_implicit_tls",
        "_iteration",
        "_line_octets",
        "_lock",
        "_loop",
        "_out",
        "_out_octets",
        "_proxied_tls",
        "_server",
        "_since",
        "_started_at",
        "_stream",
        "_trace",
        "_waiting",
        "_write_mark",
        "greenlet",
        "id",
        "local",
        "owner",
        "peer",
        "summary",
    )

    def __init__(
        self,
        server: POP3Server,
        stream: Stream,
        peer: tuple[str, int],
        local: tuple[str, int],
        *,
        implicit_tls: bool = False,
    ) -> None:
        limits = server.limits
        self.id: int = next(_ids)
        self.peer = peer
        self.local = local
        self.owner: str | None = None
        self.summary = SessionSummary(address=peer[0], port=peer[1])
        self.greenlet: gevent.Greenlet | None = None
        self._server = server
        self._stream = stream
        self._connection = Connection(
            server.commands,
            strict=server.strict,
            line_limit=limits.line_limit,
            bad_before_login=limits.bad_before_login,
            bad_after_login=limits.bad_after_login,
        )
        self._trace = Trace(self.id) if server.trace else None
        self._data: dict[str, Any] | None = None
        self._answering: Event | None = None
        self._farewell: Reply | None = None
        self._lock: BoundedSemaphore | None = None
        self._out: list[bytes] = []
        self._out_octets = 0
        self._line_octets = 0
        self._waiting = False
        self._implicit_tls = implicit_tls
        self._proxied_tls = False
        self._write_mark: tuple[float, int] | None = None
        self._loop = gevent.get_hub().loop
        self._iteration: int = self._loop.iteration
        self._started_at = self._since = self._active_at = monotonic()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.peer[0]}:{self.peer[1]} {self.state.name}>"

    # What an application uses

    @property
    def data(self) -> dict[str, Any]:
        """The application's own: whatever it wants to remember of this session."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def sock(self) -> Any:
        """The gevent socket; None for a session without one. Reading or writing it by hand is at your own risk."""
        return self._stream.sock

    @property
    def state(self) -> State:
        """AUTHORIZATION, TRANSACTION or UPDATE (RFC 1939 sections 4 to 6)."""
        return self._connection.state

    @property
    def secure(self) -> bool:
        """Whether nobody on the way can read along: TLS with us or with a trusted proxy, or a unix socket."""
        return self._stream.secure or self._proxied_tls or self.peer[0].startswith("unix:")

    @property
    def tls(self) -> Any:
        """The TLS socket (``getpeercert()``, ``cipher()``, ...) if TLS is with us, else None."""
        return self._stream.sock if self._stream.secure else None

    def send(self, reply: Reply | str | bytes) -> None:
        """Answer the command that is being handled; between commands, send *reply* at once.

        A str or bytes begins with ``+OK`` or ``-ERR``. Raises ValueError if it does not, PipelineError if the command
        has its answer already.
        """
        if not isinstance(reply, Reply):
            reply = Reply.parse(reply)
        event = self._answering
        if event is not None:
            if event.reply is not None:
                raise PipelineError(f"{event.name} has been answered already: one command, one reply")
            event.reply = reply
            return
        if self._lock is None:
            self._lock = BoundedSemaphore(1)
        body = b"" if reply.body is None else b"".join(stuff(reply.body))
        with self._lock:
            self._stream.send_all(self._connection.send(reply) + body)
        if self._connection.closing:
            self._stream.wake()

    def challenge(self, data: bytes) -> bytes | None:
        """Send ``+ `` and *data* in base64 and return the decoded response (RFC 5034 section 4).

        None if the client cancelled with ``*`` or has gone. Raises Refusal if the response is not base64.
        """
        self._put(self._connection.challenge(data))
        while True:
            got = self._connection.next_event()
            if got is Want.DATA:
                self._receive()
            elif isinstance(got, Response):
                self._line_octets += self._connection.line_octets
                if got.malformed:
                    raise Refusal("the response is not valid base64")
                return got.data
            else:
                return None

    def disconnect(self) -> None:
        """Close once the next reply has gone out."""
        self._connection.disconnect()

    # What the server uses

    def run(self) -> None:
        """The session, from greeting to close; returns when it has ended, and never raises an Exception."""
        server = self._server
        summary = self.summary
        summary.reason = "disconnected"
        try:
            try:
                self._identify()
                self._greet()
                self._converse()
            except _BodyFailed:
                summary.reason = "failed"
                self._flush()
        except OSError as error:
            # A peer that resets, or that was dropped at a deadline: nothing of ours went wrong.
            if summary.reason == "disconnected":
                summary.reason = error.strerror or str(error) or type(error).__name__
        except Exception:
            summary.reason = "failed"
            log.exception("session %d failed, reference %s", self.id, new_reference())
        finally:
            self._answering = None
            self._waiting = False
            self._write_mark = None
            summary.owner = self.owner
            summary.octets_in = self._connection.octets_in
            summary.octets_out = self._stream.sent
            server.send_event("disconnected", client=self)
            self._stream.close()
            # What the listeners of `disconnected` took is part of the session.
            summary.seconds = monotonic() - self._started_at
            if server.wanted("session_finished"):
                server.send_event("session_finished", summary, client=self)

    def finish(self, farewell: Reply, reason: str) -> None:
        """Say *farewell* and close: at once when idle, after the running reply otherwise."""
        if self._farewell is None:
            self._farewell = farewell
            self.summary.reason = reason
            if self._waiting:
                self._stream.wake()

    def abort(self, reason: str) -> None:
        """Drop the peer; one that we wait for without a reset, as nothing is on the way to it."""
        self.summary.reason = reason
        if self._waiting:
            self._stream.wake()
        else:
            self._stream.abort()

    def check_deadlines(self, now: float) -> None:
        """End the session if a deadline has passed: without a reply, and without UPDATE (RFC 1939 section 3)."""
        limits = self._server.limits
        if self._connection.state is State.AUTHORIZATION:
            if limits.login_deadline is not None and now - self._started_at > limits.login_deadline:
                self.abort("login deadline")
                return
        elif self._waiting and limits.autologout is not None and now - self._active_at > limits.autologout:
            self.abort("autologout")
            return
        mark = self._write_mark
        if mark is not None and limits.write_deadline is not None and now - mark[0] > limits.write_deadline:
            sent = self._stream.sent
            if sent - mark[1] < limits.write_rate * limits.write_deadline:
                self.abort("write deadline")
            else:
                self._write_mark = (now, sent)

    @property
    def updating(self) -> bool:
        """Whether QUIT is being answered, which must not be cut short."""
        return self._answering is not None and self._answering.name == "cmd_quit"

    # The loop

    def _identify(self) -> None:
        """What comes before the greeting: who is it really, and TLS on a port that has it from the start."""
        server = self._server
        proxies = server.proxies
        if proxies is not None and self.peer[0] in proxies:
            with gevent.Timeout(server.limits.proxy_deadline, ProxyError("no PROXY header came")):
                proxied = read_header(self._stream)
            self._proxied_tls = proxied.secure
            if proxied.peer is not None and proxied.local is not None:
                self.peer, self.local = proxied.peer, proxied.local
                self.summary.address, self.summary.port = proxied.peer
                refusal = server.move_client(self, proxied.peer)
                if refusal is not None:
                    self.finish(refusal, "refused")
        if self._implicit_tls:
            self._start_tls()

    def _start_tls(self) -> None:
        server = self._server
        sock = server.start_tls(self.sock)
        self._stream = TlsStream(sock, self._stream.sent)
        server.send_event("tls_started", sock.version(), sock.cipher()[0], client=self)

    def _upgrade(self) -> None:
        """STLS was answered with +OK: RFC 2595 section 4, the handshake begins after the CRLF of that reply."""
        self._flush()
        if self._connection.has_data:
            # Sent by whoever can put octets in front of the client's: it never runs, and neither does this session.
            raise _Injected("input behind STLS")
        self._start_tls()
        self._connection.upgraded()

    def _greet(self) -> None:
        server = self._server
        event = Event("connection", self, [*self.peer, *self.local])
        self._emit(event)
        reply = event.reply
        if reply is None and not event.eaten and server.handle_connects:
            reply = event.reply = ok(server.greeting)
        if reply is None:
            return
        if not reply.positive:
            self._connection.disconnect()
        self._reply(event, reply)

    def _converse(self) -> None:
        connection = self._connection
        next_event = connection.next_event
        while True:
            if self._farewell is not None:
                self._say_farewell(self._farewell)
                return
            if connection.closing:
                self._flush()
                if self.summary.reason == "disconnected":
                    self.summary.reason = "refused"
                if self.summary.reason != "quit" or connection.has_data:
                    self._stream.linger()
                return
            if connection.upgrading:
                self._upgrade()
            got = next_event()
            if got is Want.DATA:
                self._receive()
            elif isinstance(got, Command):
                self._answer(got)
                self._breathe()
            elif isinstance(got, Rejected):
                self._reject(got)
                self._breathe()
            else:
                self._flush()
                return

    def _receive(self) -> None:
        """Write what is due, then wait for more."""
        if self._out:
            self._flush()
        self._waiting = True
        try:
            data = self._stream.recv(RECV_OCTETS)
        finally:
            self._waiting = False
        self._connection.receive_data(data)

    def _answer(self, command: Command) -> None:
        spec, args, raw = command
        server = self._server
        self._active_at = started = monotonic()
        finished = server.wanted("command_finished")
        octets_out = self._stream.sent + self._out_octets
        self._line_octets = self._connection.line_octets
        redacted = redact(spec, args) if finished else ""
        if self._trace is not None:
            self._trace.command(spec, args)
        event = Event(spec.event, self, args, raw, spec.secret_from)
        self.summary.commands += 1
        self._emit(event)
        reply = event.reply
        if reply is None:
            if event.eaten:
                self._connection.silence()
            elif spec.upgrades and event.reference is None:
                reply = event.reply = self._offer_tls(args)
            elif event.reference is not None:
                reply = event.reply = _internal_error(event.reference)
            else:
                reply = event.reply = UNANSWERED
        if reply is not None:
            self._reply(event, reply)
        if spec.closes and self._connection.closing:
            self.summary.reason = "quit"
        self._active_at = now = monotonic()
        if finished:
            summary = CommandSummary(
                spec.verb,
                redacted,
                None if reply is None else reply.positive,
                self._line_octets,
                self._stream.sent + self._out_octets - octets_out,
                now - started,
            )
            server.send_event("command_finished", summary, client=self)

    def _offer_tls(self, args: list[str]) -> Reply:
        """The answer to STLS if no listener has one (RFC 2595 section 4)."""
        if args:
            return err("no argument is allowed")
        if self._stream.secure:
            return err("TLS is active already")
        if not self._server.offers_tls(self):
            return err("TLS is not available here")
        return ok("begin TLS")

    def _reject(self, rejected: Rejected) -> None:
        if self._trace is not None:
            self._trace.rejected(rejected)
        event = Event(f"cmd_{rejected.verb.lower()}", self, [])
        event.reply = rejected.reply
        self._reply(event, rejected.reply)
        if self._connection.closing:
            self.summary.reason = "bad commands"

    def _emit(self, event: Event) -> None:
        self._answering = event
        try:
            self._server.emit(event)
        except gevent.Timeout:
            # Not an Exception, so it passes the pipeline; it is the application's and no reason to end the session.
            reference = new_reference()
            log.exception("%s ran into a timeout of its own, reference %s", event.name, reference)
            discard(event.reply)
            event.reply = _internal_error(reference)
        finally:
            self._answering = None

    def _reply(self, event: Event, reply: Reply) -> None:
        """One reply through the response hook, moving the state, into the output."""
        server = self._server
        if server.wanted("response"):
            changed = server.respond(event)
            if changed is None:
                self._connection.silence()
                return
            reply = changed
        self._put(self._connection.send(reply))
        if self._trace is not None:
            self._trace.reply(reply)
        if reply.body is not None:
            self._send_body(reply.body)

    def _send_body(self, body: Any) -> None:
        if type(body) is tuple and len(body) == 1:
            # What is there in one piece, as most messages and all short answers are.
            whole = stuff_whole(body[0])
            self._put(whole)
            if self._trace is not None:
                self._trace.body(len(whole))
            return
        octets = 0
        chunks = stuff(body)
        try:
            while True:
                try:
                    chunk = next(chunks, None)
                except Exception as error:
                    self._report_body(error)
                    raise _BodyFailed from error
                if chunk is None:
                    break
                octets += len(chunk)
                self._put(chunk)
                if octets > OUTPUT_OCTETS:
                    self._breathe()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        if self._trace is not None:
            self._trace.body(octets)

    def _report_body(self, error: Exception) -> None:
        if isinstance(error, Refusal):
            log.warning("session %d: a reply broke off: %s (%s)", self.id, error, error.detail)
        else:
            log.error("session %d: a reply broke off, reference %s", self.id, new_reference(), exc_info=error)

    def _say_farewell(self, farewell: Reply) -> None:
        self._put(self._connection.send(farewell))
        self._flush()
        self._stream.linger()

    # Output

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._out_octets += len(data)
        if self._out_octets >= OUTPUT_OCTETS:
            self._flush()

    def _flush(self) -> None:
        out = self._out
        if not out:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_octets = 0
        self._write_mark = (monotonic(), self._stream.sent)
        try:
            if self._lock is None:
                self._stream.send_all(data)
            else:
                with self._lock:
                    self._stream.send_all(data)
        finally:
            self._write_mark = None

    def _breathe(self) -> None:
        """Give way to others if this session has run for a while without waiting.

        gevent switches only where a call would block; a peer whose input is always there and whose output always fits
        would keep the hub, and then not even timers run.
        """
        now = monotonic()
        iteration = self._loop.iteration
        if iteration != self._iteration:
            self._iteration = iteration
            self._since = now
        elif now - self._since > SLICE:
            gevent.sleep(PAUSE)
            self._iteration = self._loop.iteration
            self._since = monotonic()


def _internal_error(reference: str) -> Reply:
    return err(f"internal error, reference {reference}", "SYS/TEMP")
