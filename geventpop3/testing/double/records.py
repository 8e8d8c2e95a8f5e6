"""Records of sessions: the commands of a client, the outcome for its mail, and a transcript with secrets masked."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, SupportsIndex, overload

from geventpop3.protocol.commands import CommandSpec, redact
from geventpop3.protocol.connection import Rejected
from geventpop3.server.trace import DialogueTrace
from geventpop3.wire.replies import Reply


class CommandRecord(NamedTuple):
    """One command of a session."""

    verb: str
    argument: str
    """The argument, with ``****`` in place of secrets."""
    reply: str | None
    """The status line of the reply, without line end; None if no whole reply was sent."""
    octets: int
    """Octets of the reply, on the wire."""


@dataclass
class SessionRecord:
    """One session of a client. It is complete once ``ended`` is not None."""

    user: str | None = None
    """The name that the client gave, logged in or not."""
    mechanism: str | None = None
    """The way it logged in: ``USER``, ``APOP`` or the name of a SASL mechanism; None if it did not."""
    secure: bool = False
    """True if the session had TLS."""
    commands: list[CommandRecord] = field(default_factory=list)
    retrieved: list[str] = field(default_factory=list)
    """Unique-ids of the messages that RETR sent whole, in order."""
    removed: list[str] = field(default_factory=list)
    """Unique-ids of the messages that QUIT removed."""
    ended: str | None = None
    """The reason of the end: ``quit``, ``disconnected``, ...; None while the session runs."""
    lines: list[str] = field(default_factory=list)
    """Lines of the transcript: ``C:`` from the client, ``S:`` from the server, ``F:`` a fault, ``-``: an event."""

    @property
    def transcript(self) -> str:
        """The dialogue as text, with secrets masked; bodies of messages are counted, not shown."""
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        return f"<SessionRecord user={self.user!r} mechanism={self.mechanism!r} ended={self.ended!r}>"


class EndedSessions(list[SessionRecord]):
    """A list of ended sessions, for which a missing item is an error that says how to wait; *running* did not end."""

    def __init__(self, ended: Iterable[SessionRecord], running: int) -> None:
        super().__init__(ended)
        self.running = running

    @overload
    def __getitem__(self, index: SupportsIndex) -> SessionRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[SessionRecord]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> SessionRecord | list[SessionRecord]:
        __tracebackhide__ = True
        try:
            return super().__getitem__(index)
        except IndexError:
            wanted = operator.index(index)  # type: ignore[arg-type]  # a slice raises no IndexError
            needed = wanted + 1 if wanted >= 0 else -wanted
            raise IndexError(
                f"sessions[{wanted}]: {len(self)} have ended, {self.running} still run; "
                f"call wait_for(sessions={needed}) before"
            ) from None


def transcript_of(sessions: Sequence[SessionRecord]) -> str:
    """Return the transcripts of several sessions, in order, each with a heading."""
    return "\n".join(
        f"session {number}: {session.user or 'no user'}\n{session.transcript}"
        for number, session in enumerate(sessions, 1)
    )


class SessionTrace(DialogueTrace):
    """The transcript of a session; it records the commands, too, before they are answered."""

    __slots__ = ("_is_rejected", "_session", "rejected_line")

    def __init__(self, session: SessionRecord) -> None:
        super().__init__()
        self._session = session
        self._is_rejected = False
        self.rejected_line = b""
        """The last line that was no command, or was not allowed; it may hold a secret."""

    def write(self, line: str) -> None:
        self._session.lines.append(line)

    def command(self, spec: CommandSpec, args: Sequence[str]) -> None:
        super().command(spec, args)
        self._session.commands.append(CommandRecord(spec.verb, redact(spec, args), None, 0))

    def rejected(self, rejected: Rejected) -> None:
        super().rejected(rejected)
        self._session.commands.append(CommandRecord(rejected.verb, "", None, 0))
        self._is_rejected = True
        self.rejected_line = rejected.line

    def reply(self, reply: Reply, event: str = "") -> None:
        super().reply(reply, event)
        if self._is_rejected:  # here a plugin has seen the reply, and may have changed it
            self._is_rejected = False
            octets = reply.status_line
            text = octets.decode("utf-8", "replace").rstrip("\r\n")
            self._session.commands[-1] = self._session.commands[-1]._replace(reply=text, octets=len(octets))
