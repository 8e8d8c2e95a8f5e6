"""The session of one client: a greenlet that reads, asks the protocol, asks the application and writes, in a loop.

Errors of lower layers are translated here.
"""

from __future__ import annotations

import logging
from time import monotonic

import gevent

from geventpop3.errors import Refusal
from geventpop3.pipeline.events import CommandSummary, Event, discard
from geventpop3.pipeline.failures import new_reference
from geventpop3.pipeline.interfaces import name_of_session
from geventpop3.protocol.commands import redact
from geventpop3.protocol.connection import Command, Rejected, Want
from geventpop3.server.arrival import identify, turn_away, upgrade
from geventpop3.server.blocking import BLOCKING_SECONDS
from geventpop3.server.client import Client
from geventpop3.server.default_replies import default_reply
from geventpop3.server.environment import Environment
from geventpop3.server.limits import OUTPUT_OCTETS, RECV_OCTETS
from geventpop3.server.stream import Stream
from geventpop3.wire.replies import Reply, ok
from geventpop3.wire.stuffing import stuff, stuff_whole, whole

log = logging.getLogger("geventpop3.server")


class _BodyFailed(Exception):
    """The failure of a multi-line response after its +OK: the connection must close without the termination octet."""


class ClientSession(Client):
    """A client and its session, which ``run`` serves from greeting to close.

    ``Client`` has the state that other greenlets also use; this class has the steps of the session, in its greenlet.
    """

    __slots__ = ("_since", "_turn", "_turns")

    def __init__(
        self,
        environment: Environment,
        stream: Stream,
        peer: tuple[str, int],
        local: tuple[str, int],
        *,
        implicit_tls: bool = False,
    ) -> None:
        super().__init__(environment, stream, peer, local, implicit_tls=implicit_tls)
        self._turns = environment.turns
        self._turn = self._turns.polls.iteration
        """The count of polls when the session last looked at it (see ``Turns``)."""
        self._since = self._started_at
        """The time when that count was last seen to change."""

    def run(self) -> None:
        """Run the session from greeting to close; return when it has ended. Raises no Exception."""
        summary = self.summary
        summary.reason = "disconnected"
        self.greenlet = gevent.getcurrent()
        try:
            try:
                refusal = identify(self)
                if refusal is None:
                    self._greet()
                    self._converse()
                else:
                    turn_away(self, refusal)
            except _BodyFailed:
                summary.reason = "failed"
                self.output.flush()
        except OSError as error:
            # The peer reset the connection or was dropped at a deadline: not an error of the server.
            if summary.reason == "disconnected":
                summary.reason = error.strerror or str(error) or type(error).__name__
        except self.environment.isolated:
            summary.reason = "failed"
            log.exception("session %s failed, reference %s", name_of_session(self), new_reference())
        finally:
            self._end()

    def _end(self) -> None:
        """Report the end and close the connection, completely even if the greenlet is killed meanwhile."""
        environment = self.environment
        summary = self.summary
        self._answering = None
        self.waiting = False
        self.output.begin_turn()
        summary.owner = self.owner
        summary.octets_in = self.connection.octets_in
        summary.octets_out = self.output.stream.sent
        try:
            if self._announced and not self._disowned:
                environment.send_event("disconnected", client=self)
        finally:
            try:
                self.output.stream.close()
            finally:
                # The time of the listeners of `disconnected` is part of the session.
                summary.seconds = monotonic() - self._started_at
                if not self._disowned and environment.wanted("session_finished"):
                    environment.send_event("session_finished", summary, client=self)

    def _greet(self) -> None:
        environment = self.environment
        self._announced = True
        self._answering = event = Event("connection", self, [*self.peer, *self.local])
        try:
            environment.emit(event)
        finally:
            self._answering = None
        if self._disowned:
            raise gevent.GreenletExit  # a listener forked, and this is the child
        now = monotonic()
        if now - self._since > self._turns.slice:
            self._report_blocking(event, now)
        reply = event.reply
        if reply is None and not event.eaten and environment.settings.handle_connects:
            reply = event.reply = ok(environment.settings.greeting)
        if reply is None:
            return
        if not reply.positive:
            self.connection.disconnect()
        sent = self._reply(event, reply)
        if sent is not None and not sent.positive:
            self.connection.closing = True  # also if a plugin's response hook refused the client

    def _converse(self) -> None:
        connection = self.connection
        next_event, more = connection.next_event, Want.DATA
        while True:
            if connection.closing:
                self._close_gracefully()
                return
            if connection.upgrading:
                upgrade(self)
            if self._notices:
                for notice in self._due_notices():
                    self.output.put(notice)
                continue
            if self._farewell is not None:
                self._send_farewell(self._farewell)
                return
            got = next_event()
            if got is more:
                self.receive()
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
                self.output.flush()
                return

    def receive(self) -> None:
        """Write the collected output, then wait for input. Raises OSError."""
        output = self.output
        if output.flush():
            # RFC 1939 section 3 counts from a command, but a client cannot answer before it can read the reply.
            self._active_at = monotonic()
            if self._answering is None and (self._notices or self._farewell is not None):
                return  # they came during the write, when no wait could be woken: send them before the wait
        output.begin_turn()
        self.waiting = True
        try:
            data = output.stream.recv(RECV_OCTETS)
        finally:
            self.waiting = False
        self.connection.receive_data(data)
        turn = self._turns.polls.iteration
        if turn != self._turn:
            self._turn = turn
            self._since = monotonic()

    def _close_gracefully(self) -> None:
        """Write the rest and end the session after the last reply."""
        self.output.flush()
        if self.summary.reason == "disconnected":
            self.summary.reason = "refused"
        if self.summary.reason != "quit" or self.connection.has_data:
            self.output.stream.linger()

    def _answer(self, command: Command) -> None:
        spec, args, raw = command
        environment = self.environment
        connection = self.connection
        if finished := environment.wanted("command_finished"):
            started = monotonic()
            octets_out = self.output.octets
            self._line_octets = connection.line_octets
            redacted = redact(spec, args)
        self.trace.command(spec, args)
        self.summary.commands += 1
        self._answering = event = Event(spec.event, self, args, raw, spec.secret_from)
        try:
            environment.emit(event)
        except BaseException:
            discard(event.reply)  # the session ends here, and nothing else closes the body
            raise
        finally:
            self._answering = None
        if self._disowned:
            raise gevent.GreenletExit  # a listener forked, and this is the child
        reply = event.reply
        if event.eaten:
            environment.send_event("command_eaten", event.name, client=self)
        elif reply is None:
            reply = event.reply = default_reply(self, event, spec)
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
                self.output.octets - octets_out,
                now - started,
            )
            environment.send_event("command_finished", summary, client=self)
        if now - self._since > self._turns.slice:
            self._report_blocking(event, now)
            self._yield_if_due()

    def _report_blocking(self, event: Event, now: float) -> None:
        """Report it if *event* has kept all other sessions from running for long."""
        if now - self._since > BLOCKING_SECONDS and self._turns.polls.iteration == self._turn:
            self.environment.report_blocking(event, now - self._since)

    def _reject(self, rejected: Rejected) -> None:
        self.trace.rejected(rejected)
        event = Event(f"cmd_{rejected.verb.lower()}", self, [])
        event.reply = rejected.reply
        self._reply(event, rejected.reply)
        self.summary.commands += 1
        self._active_at = monotonic()
        if self.connection.closing:
            self.summary.reason = "bad commands"
        self._yield_if_due()

    def _reply(self, event: Event, reply: Reply) -> Reply | None:
        """Pass one reply through the response hook, output it and change the state; return the reply that was sent."""
        environment = self.environment
        if environment.wanted("response"):
            changed = environment.respond(event)
            if self._disowned:
                raise gevent.GreenletExit  # a plugin forked, and this is the child
            if changed is None:
                self.connection.silence()
                return None
            reply = changed
        if self.translate is not None:
            reply = self._translated(reply)
        status_line = self.connection.send(reply)
        self.trace.reply(reply, event.name)
        if reply.body is None:
            self.output.put(status_line)
        else:
            self._send_body(event, status_line, reply)
        return reply

    def _translated(self, reply: Reply) -> Reply:
        """Return the reply in the client's language (RFC 6856 section 3); done last, so plugins see one language."""
        return reply if self.translate is None else reply._replace(text=self.translate(reply.text))

    def _send_body(self, event: Event, status_line: bytes, reply: Reply) -> None:
        body = () if reply.body is None else reply.body
        piece = whole(body)
        if piece is not None:
            encoded = stuff_whole(piece, status_line)
            self.output.put(encoded)
            self.trace.chunk(encoded, len(status_line))
            self.trace.end_body()
            return
        self.output.put(status_line)
        octets = 0
        chunks = stuff(body)
        self.writing = True
        try:
            while True:
                try:
                    chunk = next(chunks, None)
                except self.environment.isolated as error:
                    self._report_body(event, error)
                    raise _BodyFailed from error
                if chunk is None:
                    break
                octets += len(chunk)
                self.trace.chunk(chunk)
                self.output.put(chunk)
                if octets > OUTPUT_OCTETS:
                    self._yield_if_due()
        finally:
            self.writing = False
            discard(reply)
        self.trace.end_body()

    def _report_body(self, event: Event, error: BaseException) -> None:
        session = name_of_session(self)
        if isinstance(error, Refusal):
            log.warning("session %s: a reply was cut off: %s (%s)", session, error, error.detail)
        else:
            reference = new_reference()
            log.error(
                "session %s: a reply was cut off, reference %s, at %s", session, reference, event.name, exc_info=error
            )

    def _send_farewell(self, farewell: Reply) -> None:
        farewell = self._translated(farewell)
        self.trace.reply(farewell)
        self.output.put(self.connection.send(farewell))
        self.output.flush()
        self.output.stream.linger()

    def _yield_if_due(self) -> None:
        """Yield to other sessions if this one has run for a time slice without waiting."""
        now = monotonic()
        turns = self._turns
        turn = turns.polls.iteration
        if turn != self._turn:
            self._turn = turn
            self._since = now
        elif now - self._since > turns.slice:
            turns.yield_to_others()
            self._turn = turns.polls.iteration
            self._since = monotonic()
