"""The plugin that gives a double the manners of a personality: greeting, CAPA, words and quirks."""

from __future__ import annotations

from typing import Any, cast

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.plugin import EAT_CLIENT, Eat, Plugin, handles
from geventpop3.protocol.commands import COMMANDS
from geventpop3.server.client import Client
from geventpop3.stores.store import Snapshot
from geventpop3.testing.double.personality import Personality
from geventpop3.testing.double.quirks import Memory, Seat
from geventpop3.testing.double.records import SessionTrace
from geventpop3.testing.double.store import WatchedMaildrop, WatchedStore
from geventpop3.testing.double.wire import Wire
from geventpop3.testing.double.wording import AFTER_LOGIN, facts_in, outcome_of
from geventpop3.wire.replies import Reply

_DEPENDENT = frozenset({"USER", "STLS", "SASL"})
"""Capabilities that depend on the connection: only the service knows whether they work now."""
_COMMAND_OF = {"SASL": "AUTH"}


class PersonalityPlugin(Plugin):
    """The manners of *personality*, for all sessions of a double with *store*.

    It comes before the plugin of the faults, so that faults change what the personality says.
    """

    priority = -2_000_000

    def __init__(self, personality: Personality, store: WatchedStore) -> None:
        self._personality = personality
        self._commands = personality.commands
        self._memory = Memory(store)
        self._seats: dict[int, Seat] = {}
        store.view = self._view

    # Sessions

    @handles("connection")
    def greet(self, pop3d: Any, event: Event) -> None:
        """Begin a session: take away what is not supported, and greet without a timestamp unless there is one."""
        client = cast(Client, event.client)  # the server's own, as the double's other plugin uses it
        client.connection.commands = self._commands
        seat = self._seats[client.id] = Seat(client)
        greeting = self._personality.greeting
        if greeting is not None and "{timestamp}" not in greeting:
            # RFC 1939 section 7: with a timestamp, the service would offer APOP
            event.reply = Reply.parse(greeting.format_map(self._facts(pop3d, seat)))

    @handles("session_finished")
    def end(self, _pop3d: Any, event: Event) -> None:
        """Forget the session."""
        self._seats.pop(event.client.id, None)

    def _view(self, maildrop: WatchedMaildrop, snapshot: Snapshot) -> Snapshot:
        for quirk in self._personality.quirks:
            if quirk.kind.snapshot is not None:
                snapshot = quirk.kind.snapshot(self._memory, maildrop, snapshot, quirk.options)
        return snapshot

    # Commands

    @handles(*[spec.event for spec in COMMANDS.values()])
    def prepare(self, _pop3d: Any, event: Event) -> Eat | None:
        """Note a command, and let the quirks change it or answer it."""
        seat = self._seats[event.client.id]
        seat.verb, seat.args, seat.is_answered = event.name.removeprefix("cmd_").upper(), event.args, False
        if seat.verb in ("USER", "APOP"):
            seat.user = event.args[0] if event.args else None
        for quirk in self._personality.quirks:
            if quirk.kind.command is not None:
                reply = quirk.kind.command(self._memory, seat, quirk.options)
                if reply is not None:
                    event.reply = reply
                    seat.is_answered = True
                    return EAT_CLIENT
        return None

    @handles("response")
    def answer(self, pop3d: Any, event: Event) -> None:
        """Word a reply as the real server does."""
        seat = self._seats[event.client.id]
        assert event.reply is not None  # the hook is called for a reply
        if event.args[0] == "connection":
            event.reply = self._with_timestamp(pop3d, seat, event.reply)
            return
        if seat.args is None:
            seat.verb, seat.is_answered = event.args[0].removeprefix("cmd_").upper(), False
        reply = event.reply if seat.is_answered else self._worded(pop3d, seat, event.reply)
        if seat.verb in ("DELE", "RSET") and reply.positive:
            seat.marked_before, seat.marked = seat.marked, seat.marked + 1 if seat.verb == "DELE" else 0
        for quirk in self._personality.quirks:
            if quirk.kind.reply is not None:
                reply = quirk.kind.reply(self._memory, seat, reply, quirk.options)
        event.reply = reply
        seat.args = None

    @handles("reply_withdrawn")
    def take_back(self, _pop3d: Any, event: Event) -> None:
        """Forget what a reply would have meant that a fault replaced."""
        seat = self._seats[event.client.id]
        if event.args[0] == "cmd_retr" and seat.retrieved:
            seat.retrieved.pop()
        elif event.args[0] in ("cmd_dele", "cmd_rset"):
            seat.marked = seat.marked_before
        if isinstance(seat.client.output.stream, Wire):
            seat.client.output.stream.drop_edit()

    def _with_timestamp(self, pop3d: Any, seat: Seat, reply: Reply) -> Reply:
        greeting = self._personality.greeting
        if greeting is None or "{timestamp}" not in greeting or not reply.positive:
            return reply
        facts = self._facts(pop3d, seat)
        facts["timestamp"] = f"<{reply.text.partition('<')[2]}"
        return Reply.parse(greeting.format_map(facts))

    def _worded(self, pop3d: Any, seat: Seat, reply: Reply) -> Reply:
        verb, client = seat.verb, seat.client
        outcome = outcome_of(verb, seat.args, reply, client.state, removed=client.summary.removed)
        words = self._personality.words
        line = None if client.owner is None else words(verb, f"{outcome}{AFTER_LOGIN}")
        line = words(verb, outcome) if line is None else line
        if line is None:
            worded = reply if self._personality.has_response_codes else reply._replace(code=None)
        else:
            facts = {**self._facts(pop3d, seat), **facts_in(verb, outcome, reply.text), "marked": str(seat.marked)}
            text = Reply.parse(line.format_map(facts))
            worded = reply._replace(text=text.text, code=text.code)
        if verb == "CAPA" and reply.body is not None:
            worded = worded._replace(body=(self._capabilities(client, b"".join(reply.body)),))
        return worded

    def _facts(self, pop3d: Any, seat: Seat) -> dict[str, str]:
        client, args = seat.client, seat.args or []
        verb = seat.verb
        if not verb and isinstance(client.trace, SessionTrace):
            verb = client.trace.rejected_line.decode("utf-8", "replace").strip().partition(" ")[0].upper()
        return {
            "hostname": pop3d.hostname,
            "peer": client.peer[0],
            "session": f"{client.id:012x}",
            "user": seat.user or "",
            "verb": verb,
            "argument": " ".join(args),
            "number": args[0] if args else "",
            "lines": args[1] if len(args) > 1 else "",
        }

    def _capabilities(self, client: Client, own: bytes) -> bytes:
        """Return the lines of CAPA that are true: those that the service announces too, or needs nothing for."""
        possible = {line.partition(" ")[0]: line.split()[1:] for line in own.decode("ascii").splitlines()}
        before_login = client.owner is None
        lines = self._personality.capa_before if before_login else self._personality.capa_after
        if lines is None:
            unsupported = self._personality.unsupported
            kept = [line for line in own.decode("ascii").splitlines() if _command_of(line) not in unsupported]
        else:
            kept = [true for line in lines if (true := _true(line, possible)) is not None]
            if "STLS" in possible and "STLS" not in kept and "STLS" not in self._personality.unsupported:
                kept.append("STLS")  # the double's ``tls`` decides, not the port at which the real server was seen
        return "".join(f"{line}\r\n" for line in kept).encode("ascii")


def _command_of(line: str) -> str:
    tag = line.partition(" ")[0]
    return _COMMAND_OF.get(tag, tag)


def _true(line: str, possible: dict[str, list[str]]) -> str | None:
    tag, _, words = line.partition(" ")
    if tag not in _DEPENDENT:
        return line
    if tag != "SASL":
        return line if tag in possible else None
    works = [word for word in words.split() if word in possible.get(tag, ())]
    return " ".join([tag, *works]) if works else None
