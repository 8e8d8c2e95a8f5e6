"""A double that answers from a recording of another server; faults happen to the recorded replies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.plugin import EAT_ALL, Eat, Plugin, handles
from geventpop3.server.client import Client
from geventpop3.testing.double.faults import AUTH, GREETING, LOGINS, Fault, Place
from geventpop3.testing.double.plugin import DoublePlugin, client_of, error_reply
from geventpop3.testing.double.records import SessionRecord
from geventpop3.testing.double.rewriting import rewritten
from geventpop3.testing.double.wire import Plan, Wire
from geventpop3.testing.replay import Recording, Replay
from geventpop3.wire.lines import LINE_OCTETS
from geventpop3.wire.replies import Reply
from geventpop3.wire.stuffing import stuff

_RECV_OCTETS = 4096
_MASKED = frozenset({"PASS", "APOP", "AUTH"})


class ReplayPlugin(Plugin):
    """A plugin that takes each connection over before its greeting and holds the dialogue of the next recorded session.

    *differences* gets a text for each line of a client that the recording does not have.
    """

    priority = -3_000_000

    def __init__(self, recording: Recording, double: DoublePlugin, differences: list[str]) -> None:
        self._recording = recording
        self._double = double
        self._differences = differences

    @handles("connection")
    def converse(self, _pop3d: Any, event: Event) -> Eat:
        """Hold the whole dialogue."""
        client = client_of(event)
        self._double.begin(_pop3d, event)
        session = self._double.session(client)
        replay = self._recording.replay()
        try:
            self._hold(client, session, replay)
        except OSError as error:  # a fault has ended the session, or the client has gone
            client.summary.reason = error.strerror or type(error).__name__
            client.connection.closing = True
        self._differences += replay.differences
        return EAT_ALL

    def _hold(self, client: Client, session: SessionRecord, replay: Replay) -> None:
        verb = GREETING
        octets: bytes | None = replay.greeting()
        lines = _lines(client)
        while True:
            self._send(client, session, verb, octets)
            if replay.closes:
                client.summary.reason = "quit" if verb == "QUIT" else "recorded"
                client.connection.closing = True
                return
            line = next(lines, None)
            if line is None:
                return
            word, _, argument = line.decode("utf-8", "replace").partition(" ")
            verb = word.upper()
            if verb == "USER":
                session.user = argument
            self._double.command(session, verb, "****" if verb in _MASKED else argument)
            octets = replay.answer(line)

    def _send(self, client: Client, session: SessionRecord, moment: str, octets: bytes | None) -> None:
        moments = [moment, AUTH] if moment in LOGINS else [moment]
        faults = self._double.due(session, *moments)
        for fault in faults:
            session.lines.append(f"F: {fault}")
            octets = _changed(octets, moment, fault)
        if octets is None:
            return
        _note(session, octets)
        wire = client.output.stream
        assert isinstance(wire, Wire)  # DoublePlugin has put it there
        on_wire = [fault for fault in faults if fault.kind.place is Place.WIRE]
        if on_wire:
            wire.arm(Plan(on_wire, octets.count(b"\n") > 1))
        wire.send_all(octets)
        if moment != GREETING:
            status_line = octets.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
            self._double.answered(session, status_line, len(octets))


def _lines(client: Client) -> Iterator[bytes]:
    """Yield the client's lines without their ends, until the client has gone or sends an endless line."""
    received = bytearray()
    while len(received) <= LINE_OCTETS:
        line, end, rest = received.partition(b"\n")
        if end:
            received = rest
            yield bytes(line.removesuffix(b"\r"))
            continue
        client.waiting = True
        try:
            octets = client.output.stream.recv(_RECV_OCTETS)
        finally:
            client.waiting = False
        if not octets:
            return
        received += octets
    client.summary.reason = "bad commands"
    client.connection.closing = True


def _changed(octets: bytes | None, verb: str, fault: Fault) -> bytes | None:
    """Return what a fault that is not below the pipeline makes of a recorded reply."""
    if fault.how == "silence":
        return None
    if fault.how == "error":
        return error_reply(fault).status_line
    if octets is None or fault.kind.place is not Place.REPLY:
        return octets
    status_line, line_end, body = octets.partition(b"\r\n")
    if not status_line.startswith(b"+OK"):
        return octets
    reply = Reply.parse(status_line + line_end)
    if body:
        reply = reply._replace(body=(_unstuffed(body),))
    changed = rewritten(reply, verb, fault, [])
    return changed.status_line + (b"" if changed.body is None else b"".join(stuff(changed.body)))


def _unstuffed(body: bytes) -> bytes:
    lines = body.removesuffix(b".\r\n").splitlines(keepends=True)
    return b"".join(line[1:] if line.startswith(b".") else line for line in lines)


def _note(session: SessionRecord, octets: bytes) -> None:
    status_line, _, body = octets.partition(b"\n")
    session.lines.append("S: " + status_line.decode("utf-8", "replace").rstrip("\r"))
    if body:
        session.lines.append(f"S: ({len(body)} octets)")
