"""The session of one client: a greenlet that reads, asks the protocol, asks the application and writes, in a loop.

Errors of lower layers are translated here. Only the session's greenlet reads or closes; other greenlets set an
attribute and wake it.
"""

from __future__ import annotations

import itertools
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent

from geventpop3.errors import PipelineError, Refusal
from geventpop3.pipeline.events import CommandSummary, Event, SessionSummary, discard
from geventpop3.pipeline.failures import new_reference
from geventpop3.pipeline.interfaces import name_of_session
from geventpop3.protocol.commands import CommandSpec, State, redact
from geventpop3.protocol.connection import Command, Connection, Rejected, Response, Want
from geventpop3.server.addresses import plain_host
from geventpop3.server.blocking import HELD_SECONDS
from geventpop3.server.limits import OUTPUT_OCTETS, RECV_OCTETS
from geventpop3.server.output import Output
from geventpop3.server.proxy import ProxyError, read_header
from geventpop3.server.stream import PlainStream, Stream
from geventpop3.server.tls.stream import TlsError
from geventpop3.server.trace import Trace
from geventpop3.wire.replies import Reply, err, multiline, ok
from geventpop3.wire.stuffing import not_octets, stuff, stuff_whole

if TYPE_CHECKING:
    from geventpop3.server.server import POP3Server

log = logging.getLogger("geventpop3.server")

_ids = itertools.count(1)

GOODBYE = ok("goodbye")
"""The reply to QUIT if no listener answers it."""

_CAPABILITIES = {
    "TOP": ("cmd_top",),
    "USER": ("cmd_user", "cmd_pass"),
    "UIDL": ("cmd_uidl",),
    "RESP-CODES": (),
    "PIPELINING": (),
}
"""Capabilities in the framework's own answer to CAPA, each with the events that must have a listener."""

UNANSWERED = err("not supported here")
"""The reply to a command that no listener answers. With POE::Component::Server::POP3 the client would wait for ever."""


class _BodyFailed(Exception):
    """The failure of a multi-line response after its +OK: the connection must close without the termination octet."""


class Client:
    """A connected client and its session.

    Application code uses ``id``, ``peer``, ``sock``, ``data``, ``state``, ``secure``, ``owner``, ``summary``, ``send``,
    ``challenge`` and ``disconnect``; the rest belongs to the server.
    """

    __slots__ = (
        "__weakref__",
        "_active_at",
        "_announced",
        "_answering",
        "_connection",
        "_data",
        "_disowned",
        "_farewell",
        "_implicit_tls",
        "_line_octets",
        "_notices",
        "_output",
        "_proxied_tls",
        "_runner",
        "_server",
        "_since",
        "_started_at",
        "_stream",
        "_trace",
        "_turn",
        "_turns",
        "_waiting",
        "greenlet",
        "id",
        "local",
        "owner",
        "peer",
        "proxied",
        "summary",
        "translate",
        "writing",
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
        self.translate: Callable[[str], str] | None = None
        self.summary = SessionSummary(address=peer[0], port=peer[1])
        self.greenlet: gevent.Greenlet | None = None
        self.writing = False
        self._server = server
        self._stream = stream
        self._output = Output(stream)
        self._connection = Connection(
            server._commands,
            strict=server.strict,
            line_limit=limits.line_limit,
            bad_before_login=limits.bad_before_login,
            bad_after_login=limits.bad_after_login,
        )
        self._trace = Trace(name_of_session(self)) if server.trace else None
        self._data: dict[str, Any] | None = None
        self._announced = False
        self._disowned = False
        self._answering: Event | None = None
        self._farewell: Reply | None = None
        self._notices: deque[Reply] | None = None
        self._runner: Any = None
        self._line_octets = 0
        self._waiting = False
        self._implicit_tls = implicit_tls
        self.proxied = False
        self._proxied_tls = False
        self._turns = server._turns
        self._turn = self._turns.polls.iteration
        self._started_at = self._since = self._active_at = monotonic()

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.peer[0]}:{self.peer[1]} {self.state.name}>"

    # Used by applications

    @property
    def data(self) -> dict[str, Any]:
        """A dictionary for the application's own data about this session."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def sock(self) -> Any:
        """The gevent socket; None for a session without one. Reading or writing it directly is at your own risk.

        It does not include TLS: with TLS, the octets on it are TLS records.
        """
        return self._stream.sock

    @property
    def state(self) -> State:
        """The session's state: AUTHORIZATION, TRANSACTION or UPDATE (RFC 1939 sections 4 to 6)."""
        return self._connection.state

    @property
    def secure(self) -> bool:
        """True if the connection cannot be read on its way: TLS to the server or a trusted proxy, or a unix socket."""
        return self._stream.secure or self._proxied_tls or self.peer[0].startswith("unix:")

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection to this server (``version()``, ``cipher()``, ``getpeercert()``, ...), None without TLS."""
        return self._stream.tls

    def send(self, reply: Reply | str | bytes) -> None:
        """Answer this client's event that is being handled; in any other greenlet, send *reply* as a notice.

        A notice is sent between two replies, at once if the client is idle, and does not change the state. Raises
        ValueError if a str or bytes does not begin with ``+OK`` or ``-ERR``, PipelineError if the event is answered.
        """
        if not isinstance(reply, Reply):
            reply = Reply.parse(reply)
        event = self._answering
        if event is not None and gevent.getcurrent() is self._runner:
            if event.reply is not None:
                raise PipelineError(f"{event.name} has been answered already: one command, one reply")
            event.reply = reply
            return
        if self._notices is None:
            self._notices = deque()
        self._notices.append(reply)
        if not self._is_idle:
            return  # something else runs, perhaps a handshake: the notice is sent after it
        try:
            self._output.interject(self._due_notices(lambda: self._is_idle))
        except OSError:
            return  # the peer has gone: the session's own greenlet will detect it
        if self._connection.closing:
            self._stream.wake()

    @property
    def _is_idle(self) -> bool:
        """True if the session waits for the client's next command and nothing else runs."""
        return self._waiting and self._answering is None and not self._connection.upgrading and self._announced

    def _due_notices(self, while_true: Callable[[], bool] = lambda: True) -> Iterator[bytes]:
        """Yield the octets of each waiting notice; a notice is rendered only when it is due."""
        while self._notices and while_true():
            notice = self._notices.popleft()
            if notice.body is not None and not notice.positive:
                discard(notice)
                notice = notice._replace(body=None)
            body = b"" if notice.body is None else b"".join(stuff(notice.body))
            if self._trace is not None:
                self._trace.reply(notice)
                if notice.body is not None:
                    self._trace.chunk(body)
                    self._trace.end_body()
            yield self._connection.send(notice) + body

    def challenge(self, data: bytes) -> bytes | None:
        """Send ``+ `` and *data* in base64 and return the decoded response (RFC 5034 section 4).

        Returns None if the client cancelled with ``*`` or has gone. Raises Refusal if the response is not base64.
        """
        if self._server.wanted("challenge"):
            self._server.send_event("challenge", client=self)
        if self._trace is not None:
            self._trace.challenge(data)
        self._output.put(self._connection.challenge(data))
        while True:
            got = self._connection.next_event()
            if got is Want.DATA:
                try:
                    self._receive()
                except OSError:
                    return None  # not an error of the application: writing the reply will end the session
            elif isinstance(got, Response):
                self._line_octets += self._connection.line_octets
                if self._trace is not None:
                    self._trace.response(self._connection.line_octets)
                if got.malformed:
                    raise Refusal("the response is not valid base64")
                return got.data
            else:
                return None

    def disconnect(self, *, now: bool = False) -> None:
        """Close the connection after the next reply, or at once and without a reply if *now* is true."""
        if now:
            self.abort("disconnected by the application")
        else:
            self._connection.disconnect()

    def has_gone(self) -> bool:
        """Return whether the client has ended its input and all of it was read, so that work for it is useless.

        It is not detected if the client has sent further commands, or has ended TLS with a close_notify.
        """
        return not self._connection.has_data and self._stream.has_ended()

    def flush(self) -> None:
        """Write the replies collected so far and wait until they are written. Raises OSError."""
        self._output.flush()

    # Used by the server

    def run(self) -> None:
        """Run the session from greeting to close; return when it has ended. Raises no Exception."""
        summary = self.summary
        summary.reason = "disconnected"
        self._runner = gevent.getcurrent()
        try:
            try:
                refusal = self._identify()
                if refusal is None:
                    self._greet()
                    self._converse()
                else:
                    self._turn_away(refusal)
            except _BodyFailed:
                summary.reason = "failed"
                self._output.flush()
        except OSError as error:
            # The peer reset the connection or was dropped at a deadline: not an error of the server.
            if summary.reason == "disconnected":
                summary.reason = error.strerror or str(error) or type(error).__name__
        except self._server._isolated:
            summary.reason = "failed"
            log.exception("session %s failed, reference %s", name_of_session(self), new_reference())
        finally:
            self._end()

    def _end(self) -> None:
        """Report the end and close the connection, completely even if the greenlet is killed meanwhile."""
        server = self._server
        summary = self.summary
        self._answering = None
        self._waiting = False
        self._output.begin_turn()
        summary.owner = self.owner
        summary.octets_in = self._connection.octets_in
        summary.octets_out = self._stream.sent
        try:
            if self._announced and not self._disowned:
                server.send_event("disconnected", client=self)
        finally:
            try:
                self._stream.close()
            finally:
                # The time of the listeners of `disconnected` is part of the session.
                summary.seconds = monotonic() - self._started_at
                if not self._disowned and server.wanted("session_finished"):
                    server.send_event("session_finished", summary, client=self)

    def finish(self, farewell: Reply, reason: str) -> None:
        """Send *farewell* and close: at once if the session is idle, after the running reply otherwise."""
        if self._farewell is None:
            self._farewell = farewell
            self.summary.reason = reason
            if self._waiting:
                self._stream.wake()

    def abort(self, reason: str) -> None:
        """Drop the peer; without a reset if the session waits for input, because then no output is in transit."""
        self.summary.reason = reason
        if self._waiting:
            self._stream.wake()
        else:
            self._stream.abort()

    def bury(self, reason: str) -> None:
        """End the session from another thread, after the thread that ran it has ended."""
        self.summary.reason = reason
        if self._announced:
            self._server.send_event("disconnected", client=self)
        self._stream.bury()

    def disown(self) -> None:
        """Close a forked child's copy of the connection, unnoticed by the peer (see ``geventpop3.forks``)."""
        self._disowned = True
        self._connection.closing = True
        self._stream.disown()

    def check_deadlines(self, now: float) -> None:
        """End the session if a deadline has passed: without a reply, and without UPDATE (RFC 1939 section 3)."""
        limits = self._server.limits
        if self._output.is_stuck(now, limits):
            self.abort("write deadline")
            return
        if self._connection.state is State.AUTHORIZATION:
            if self._answering is not None and not self._waiting:
                return  # the server's own time, for a hash or a scan, does not count against the client
            if limits.login_deadline is not None and now - self._started_at > limits.login_deadline:
                self.abort("login deadline")
                return
        if self._waiting and limits.autologout is not None and now - self._active_at > limits.autologout:
            self.abort("autologout")

    @property
    def updating(self) -> bool:
        """True while QUIT is being answered, which must not be interrupted."""
        return self._answering is not None and self._answering.name == "cmd_quit"

    # The loop

    def _identify(self) -> Reply | None:
        """Read the PROXY header of a trusted proxy, and start TLS on a port that has it before the greeting.

        Returns the refusal if this client is not admitted.
        """
        refusal = self._hear_proxy() if self._server._is_proxy(self.peer[0]) else None
        if refusal is None and self._implicit_tls:
            self._start_tls()
        return refusal

    def _hear_proxy(self) -> Reply | None:
        server = self._server
        self._waiting = True
        try:
            with gevent.Timeout(server.limits.proxy_deadline, ProxyError("none came in time")):
                proxied = read_header(self._stream)
        except OSError as error:
            self._note_failure("no PROXY header", error)
            raise
        finally:
            self._waiting = False
        self.proxied = True
        self._proxied_tls = proxied.secure
        if proxied.peer is None or proxied.local is None:
            return None
        self.peer, self.local = (plain_host(proxied.peer[0]), proxied.peer[1]), proxied.local
        if self._trace is not None:
            self._trace = Trace(name_of_session(self))
        self.summary.address, self.summary.port = self.peer
        return server._move_client(self, self.peer)

    def _turn_away(self, refusal: Reply) -> None:
        self.summary.reason = "refused"
        if not self._implicit_tls:  # a client that begins with TLS cannot read a reply in clear text
            self._output.put(refusal.status_line)
            if self._trace is not None:
                self._trace.reply(refusal)
            self._output.flush()
            self._stream.linger()

    def _start_tls(self) -> None:
        server = self._server
        stream = self._stream
        self._waiting = True
        try:
            if not isinstance(stream, PlainStream):
                raise TlsError("TLS is active already")
            self._stream = self._output.stream = secured = server._start_tls(stream)
        except OSError as error:
            self._note_failure("TLS handshake failed", error)
            stream.linger()  # so that the alert is read
            raise
        finally:
            self._waiting = False
        cipher = secured.tls.cipher()
        server.send_event("tls_started", secured.tls.version(), cipher and cipher[0], client=self)

    def _upgrade(self) -> None:
        """Start TLS after STLS was answered: the handshake begins after the CRLF of +OK (RFC 2595 section 4)."""
        self._output.flush()
        if self._connection.has_data:
            # An attacker may have injected these octets before the client's: they are not executed, the session ends.
            injected = TlsError("clear text came behind it")
            self._note_failure("no TLS after STLS", injected)
            self._stream.linger()
            raise injected
        self._start_tls()
        self._connection.upgraded()

    def _note_failure(self, what: str, error: OSError) -> None:
        """Log one line for a peer that fails before its first command, unless the server ended the session."""
        if self.summary.reason == "disconnected":
            self.summary.reason = f"{what}: {error.strerror or error}"
            log.info("session %s: %s", name_of_session(self), self.summary.reason)

    def _greet(self) -> None:
        server = self._server
        self._announced = True
        self._answering = event = Event("connection", self, [*self.peer, *self.local])
        try:
            server._emit(event)
        finally:
            self._answering = None
        if self._disowned:
            raise gevent.GreenletExit  # a listener forked, and this is the child
        now = monotonic()
        if now - self._since > self._turns.slice:
            self._note_held(event, now)
        reply = event.reply
        if reply is None and not event.eaten and server.handle_connects:
            reply = event.reply = ok(server.greeting)
        if reply is None:
            return
        if not reply.positive:
            self._connection.disconnect()
        sent = self._reply(event, reply)
        if sent is not None and not sent.positive:
            self._connection.closing = True  # also if a plugin's response hook refused the client

    def _converse(self) -> None:
        connection = self._connection
        next_event, more = connection.next_event, Want.DATA
        while True:
            if connection.closing:
                self._part()
                return
            if connection.upgrading:
                self._upgrade()
            if self._notices:
                for notice in self._due_notices():
                    self._output.put(notice)
                continue
            if self._farewell is not None:
                self._say_farewell(self._farewell)
                return
            got = next_event()
            if got is more:
                self._receive()
                if self._notices or self._farewell is not None or connection.closing:
                    continue
                got = next_event()
            if type(got) is Command:
                self._answer(got)
            elif got is more:
                continue  # no whole line yet
            elif isinstance(got, Rejected):
                self._reject(got)
            else:
                self._output.flush()
                return

    def _part(self) -> None:
        """Write the rest and end the session after the last reply."""
        self._output.flush()
        if self.summary.reason == "disconnected":
            self.summary.reason = "refused"
        if self.summary.reason != "quit" or self._connection.has_data:
            self._stream.linger()

    def _receive(self) -> None:
        """Write the collected output, then wait for input."""
        if self._output.flush():
            # RFC 1939 section 3 counts from a command, but a client cannot answer before it can read the reply.
            self._active_at = monotonic()
            if self._answering is None and (self._notices or self._farewell is not None):
                return  # they came during the write, when no wait could be woken: send them before the wait
        self._output.begin_turn()
        self._waiting = True
        try:
            data = self._stream.recv(RECV_OCTETS)
        finally:
            self._waiting = False
        self._connection.receive_data(data)
        turn = self._turns.polls.iteration
        if turn != self._turn:
            self._turn = turn
            self._since = monotonic()

    def _answer(self, command: Command) -> None:
        spec, args, raw = command
        server = self._server
        connection = self._connection
        if finished := server._routes()["command_finished"].wanted:
            started = monotonic()
            octets_out = self._output.octets
            self._line_octets = connection.line_octets
            redacted = redact(spec, args)
        if self._trace is not None:
            self._trace.command(spec, args)
        self.summary.commands += 1
        self._answering = event = Event(spec.event, self, args, raw, spec.secret_from)
        try:
            server._emit(event)
        except BaseException:
            discard(event.reply)  # the session ends here, and nothing else closes the body
            raise
        finally:
            self._answering = None
        if self._disowned:
            raise gevent.GreenletExit  # a listener forked, and this is the child
        reply = event.reply
        if event.eaten:
            server.send_event("command_eaten", event.name, client=self)
        elif reply is None:
            reply = event.reply = self._otherwise(event, spec)
        if reply is not None:
            self._reply(event, reply)
        else:
            connection.silence()
        if spec.closes and connection.closing:
            self.summary.reason = "quit"
        self._active_at = now = monotonic()
        if finished:
            summary = CommandSummary(
                spec.verb,
                redacted,
                None if reply is None else reply.positive,
                self._line_octets,
                self._output.octets - octets_out,
                now - started,
            )
            server.send_event("command_finished", summary, client=self)
        if now - self._since > self._turns.slice:
            self._note_held(event, now)
            self._breathe()

    def _note_held(self, event: Event, now: float) -> None:
        """Report it if *event* has kept all other sessions from running for long."""
        if now - self._since > HELD_SECONDS and self._turns.polls.iteration == self._turn:
            self._server._loop_was_held(event, now - self._since)

    def _otherwise(self, event: Event, spec: CommandSpec) -> Reply:
        """Return the reply to a command that no listener has answered."""
        if event.reference is not None:
            return _internal_error(event.reference)
        if spec.upgrades:
            return self._offer_tls(event.args)
        if spec.closes:
            return GOODBYE
        if event.name == "cmd_capa":
            return err("no argument is allowed") if event.args else multiline("capabilities follow", self._can())
        return UNANSWERED

    def _can(self) -> bytes:
        """Return the capability lines of the framework and of the commands that the application answers (RFC 2449)."""
        server = self._server
        tags = [tag for tag, names in _CAPABILITIES.items() if all(map(server.wanted, names))]
        if server.offers_tls(self):
            tags.append("STLS")
        return "".join(f"{tag}\r\n" for tag in tags).encode("ascii")

    def _offer_tls(self, args: list[str]) -> Reply:
        """Return the reply to STLS if no listener answers it (RFC 2595 section 4)."""
        if args:
            return err("no argument is allowed")
        if self._stream.tls is not None:
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
        self.summary.commands += 1
        self._active_at = monotonic()
        if self._connection.closing:
            self.summary.reason = "bad commands"
        self._breathe()

    def _reply(self, event: Event, reply: Reply) -> Reply | None:
        """Pass one reply through the response hook, output it and change the state; return the reply that was sent."""
        server = self._server
        if server._routes()["response"].wanted:
            changed = server._respond(event)
            if self._disowned:
                raise gevent.GreenletExit  # a plugin forked, and this is the child
            if changed is None:
                self._connection.silence()
                return None
            reply = changed
        if self.translate is not None:
            reply = self._translated(reply)
        status_line = self._connection.send(reply)
        if self._trace is not None:
            self._trace.reply(reply, event.name)
        if reply.body is None:
            self._output.put(status_line)
        else:
            self._send_body(event, status_line, reply)
        return reply

    def _translated(self, reply: Reply) -> Reply:
        """Return the reply in the client's language (RFC 6856 section 3); done last, so plugins see one language."""
        return reply if self.translate is None else reply._replace(text=self.translate(reply.text))

    def _send_body(self, event: Event, status_line: bytes, reply: Reply) -> None:
        body: Any = reply.body
        if type(body) is tuple and len(body) == 1:
            # A body in one piece, as of most messages and all short answers, takes a faster path.
            try:
                whole = stuff_whole(body[0], status_line)
            except Exception as error:
                self._output.put(status_line)
                self._report_body(event, not_octets(body[0]) if isinstance(error, TypeError) else error)
                raise _BodyFailed from error
            self._output.put(whole)
            if self._trace is not None:
                self._trace.chunk(whole[len(status_line) :])
                self._trace.end_body()
            return
        self._output.put(status_line)
        octets = 0
        chunks = stuff(body)
        self.writing = True
        try:
            while True:
                try:
                    chunk = next(chunks, None)
                except self._server._isolated as error:
                    self._report_body(event, error)
                    raise _BodyFailed from error
                if chunk is None:
                    break
                octets += len(chunk)
                if self._trace is not None:
                    self._trace.chunk(chunk)
                self._output.put(chunk)
                if octets > OUTPUT_OCTETS:
                    self._breathe()
        finally:
            self.writing = False
            discard(reply)
        if self._trace is not None:
            self._trace.end_body()

    def _report_body(self, event: Event, error: BaseException) -> None:
        session = name_of_session(self)
        if isinstance(error, Refusal):
            log.warning("session %s: a reply broke off: %s (%s)", session, error, error.detail)
        else:
            reference = new_reference()
            log.error(
                "session %s: a reply broke off, reference %s, at %s", session, reference, event.name, exc_info=error
            )

    def _say_farewell(self, farewell: Reply) -> None:
        farewell = self._translated(farewell)
        if self._trace is not None:
            self._trace.reply(farewell)
        self._output.put(self._connection.send(farewell))
        self._output.flush()
        self._stream.linger()

    def _breathe(self) -> None:
        """Yield to other sessions if this one has run for a time slice without waiting."""
        now = monotonic()
        turns = self._turns
        turn = turns.polls.iteration
        if turn != self._turn:
            self._turn = turn
            self._since = now
        elif now - self._since > turns.slice:
            turns.give_way()
            self._turn = turns.polls.iteration
            self._since = monotonic()


def _internal_error(reference: str) -> Reply:
    return err(f"internal error, reference {reference}", "SYS/TEMP")
