"""The plugin of a double: it keeps the records of the sessions and carries out the faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from gevent.event import Event as GreenEvent

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import CommandSummary, SessionSummary
from geventpop3.pipeline.plugin import EAT_ALL, Eat, Plugin, handles
from geventpop3.server.client import Client
from geventpop3.testing.double.faults import AUTH, CONNECT, GREETING, LOGINS, TLS, Fault, Place
from geventpop3.testing.double.records import CommandRecord, SessionRecord, SessionTrace
from geventpop3.testing.double.rewriting import rewritten
from geventpop3.testing.double.store import WatchedMaildrop, WatchedStore
from geventpop3.testing.double.waiting import Guarded
from geventpop3.testing.double.wire import FaultHappened, Plan, Wire
from geventpop3.wire.replies import Reply, err

FaultsOf = Callable[[str | None], Sequence[Fault]]
"""A function that returns the faults for a user's session; None for a user that is not known yet."""


class DoublePlugin(Plugin):
    """Records and faults of all sessions of one double.

    *faults_of* returns the faults that are asked for, *released* ends their pauses, *store* has the open maildrops.
    *finished* is called with each record once its session has ended.
    """

    priority = -1_000_000

    def __init__(
        self,
        state: Guarded,
        store: WatchedStore,
        released: GreenEvent,
        faults_of: FaultsOf,
        begun: Callable[[SessionRecord], object],
        finished: Callable[[SessionRecord], object],
    ) -> None:
        self._state = state
        self._store = store
        self.released = released
        """An event that ends all pauses; a new one replaces it when the double is reset."""
        self._faults_of = faults_of
        self._begun = begun
        self._finished = finished
        self._by_socket: dict[int, SessionRecord] = {}
        self._open: dict[int, WatchedMaildrop] = {}
        self._replies: dict[int, Reply] = {}
        self._armed: set[int] = set()

    # Connections

    def open(self, stream: Any, *, implicit_tls: bool) -> Wire:
        """Return the stream of a new session over that of its socket."""
        session = SessionRecord()
        self._by_socket[id(stream.sock)] = session
        with self._state.changing():
            self._begun(session)
        wire = Wire(stream, self.released, session, self._due(session, CONNECT))
        if implicit_tls:
            wire.fail_handshake(self._due(session, TLS))
        return wire

    @handles("tls_started")
    def secure(self, _pop3d: Any, event: Event) -> None:
        """Put the faults above TLS again."""
        client = _client(event)
        session = self._session(client)
        session.secure = True
        session.lines.append(f"-  TLS began: {event.args[0]}")
        client.output.stream = Wire(client.output.stream, self.released, session)
        client.trace = SessionTrace(session)

    @handles("connection")
    def begin(self, _pop3d: Any, event: Event) -> None:
        """Begin the transcript."""
        client = _client(event)
        client.trace = SessionTrace(self._session(client))

    @handles("session_finished")
    def end(self, _pop3d: Any, event: Event) -> None:
        """Complete the record."""
        summary: SessionSummary = event.args[0]
        session = self._by_socket.pop(id(event.client.sock))
        self._replies.pop(event.client.id, None)
        self._open.pop(event.client.id, None)
        self._armed.discard(event.client.id)
        session.lines.append(f"-  the session ended: {summary.reason}")
        with self._state.changing():
            session.ended = summary.reason
            self._finished(session)

    # Logins

    @handles("credentials")
    def note_credentials(self, _pop3d: Any, event: Event) -> None:
        """Note the name that AUTH is about to check."""
        self._session(_client(event)).user = event.args[0]

    @handles("authenticated")
    def note_login(self, _pop3d: Any, event: Event) -> None:
        """Note a login."""
        owner, mechanism, name = event.args
        session = self._session(_client(event))
        maildrop = self._store.opened(owner)
        assert maildrop is not None
        with self._state.changing():
            session.user, session.mechanism, session.removed = name, mechanism, maildrop.removed
            self._open[event.client.id] = maildrop

    @handles("reply_withdrawn")
    def note_withdrawal(self, _pop3d: Any, event: Event) -> None:
        """Forget a login whose reply a fault has replaced."""
        if event.args[0].removeprefix("cmd_").upper() in LOGINS:
            self._session(_client(event)).mechanism = None

    @handles("cmd_user", "cmd_apop")
    def note_name(self, _pop3d: Any, event: Event) -> None:
        """Note the name before the command is executed."""
        if event.args:
            self._session(_client(event)).user = event.args[0]

    # Commands and replies

    @handles("cmd_quit")
    def leave(self, _pop3d: Any, event: Event) -> Eat | None:
        """Carry out the faults of UPDATE, and those that replace QUIT: it could not be undone afterwards."""
        session = self._session(_client(event))
        for fault in self._due(session, "QUIT", places={Place.COMMAND, Place.UPDATE}):
            session.lines.append(f"F: {fault}")
            if fault.how == "error":
                event.reply = _error(fault)
                return EAT_ALL
            if fault.how == "silence":
                return EAT_ALL
            maildrop = self._open.get(event.client.id)
            if maildrop is not None:
                maildrop.removes_half = True
        return None

    @handles("response")
    def reply(self, _pop3d: Any, event: Event) -> Eat | None:
        """Carry out the faults of a reply."""
        client = _client(event)
        session = self._session(client)
        verb = event.args[0].removeprefix("cmd_").upper()
        places = {Place.REPLY, Place.WIRE} if verb == "QUIT" else {Place.REPLY, Place.WIRE, Place.COMMAND}
        moments = [GREETING] if event.args[0] == "connection" else [verb, AUTH] if verb in LOGINS else [verb]
        faults = self._due(session, *moments, places=places)
        for fault in faults:
            session.lines.append(f"F: {fault}")
            if fault.how == "silence":
                return EAT_ALL
            if fault.how == "error":
                event.reply = _error(fault)
            elif fault.kind.place is Place.REPLY and event.reply is not None and event.reply.positive:
                event.reply = rewritten(event.reply, verb, fault, self._unique_ids(client))
        assert event.reply is not None  # the hook is called for a reply
        on_wire = [fault for fault in faults if fault.kind.place is Place.WIRE]
        if on_wire:
            self._arm(client, Plan(on_wire, event.reply.body is not None))
        if verb == "STLS" and event.reply.positive and isinstance(client.output.stream, Wire):
            client.output.stream.fail_handshake(self._due(session, TLS))
        self._replies[client.id] = event.reply
        return None

    def _arm(self, client: Client, plan: Plan) -> None:
        try:
            client.flush()  # the replies before this one
        except OSError:
            return  # the client has gone, and the session's own write notices it
        if isinstance(client.output.stream, Wire):
            client.output.stream.arm(plan)
            self._armed.add(client.id)

    @handles("command_finished")
    def note_command(self, _pop3d: Any, event: Event) -> None:
        """Record a command that was answered, and deliver a reply with faults before the next command."""
        summary: CommandSummary = event.args[0]
        client = _client(event)
        session = self._session(client)
        reply = self._replies.pop(client.id, None)
        status_line = None if reply is None else reply.status_line.decode("utf-8", "replace").rstrip("\r\n")
        record = CommandRecord(summary.verb, summary.argument, status_line, summary.octets_out)
        if client.id in self._armed:
            self._armed.discard(client.id)
            try:
                client.flush()
            except OSError as error:
                client.summary.reason = error.strerror or type(error).__name__
                client.connection.closing = True
                octets = error.octets if isinstance(error, FaultHappened) else 0
                record = record._replace(reply=None, octets=octets)
        with self._state.changing():
            session.commands[-1] = record
            if summary.verb == "RETR" and summary.positive and record.reply is not None:
                session.retrieved.append(self._unique_ids(client)[int(summary.argument) - 1])

    def _session(self, client: Client) -> SessionRecord:
        return self._by_socket[id(client.sock)]

    def _unique_ids(self, client: Client) -> Sequence[str]:
        maildrop = self._open.get(client.id)
        return [] if maildrop is None else maildrop.unique_ids

    def _due(self, session: SessionRecord, *moments: str, places: set[Place] | None = None) -> list[Fault]:
        """Count an occurrence at these moments for each fault of the session; return those that happen now."""
        with self._state.changing():
            return [
                fault
                for fault in self._faults_of(session.user)
                if fault.on in moments and (places is None or fault.kind.place in places) and fault.is_due()
            ]


def _client(event: Event) -> Client:
    return cast(Client, event.client)  # the server's own, not only what applications may use


def _error(fault: Fault) -> Reply:
    return err("this error was asked for" if fault.text is None else fault.text, fault.code)
