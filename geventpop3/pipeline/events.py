"""Catalogue of events: one blinker signal a line, shared by all servers of the process; the sender is the server.

A signal notifies its receivers. ``pipeline/pluggable.py`` defines the order of the calls and the meaning of an answer.
Any blinker code may connect: ``events.cmd_user.connect(fn, sender=pop3d)``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar, cast

from blinker import ANY, NamedSignal

from geventpop3.errors import HandedOverError, PipelineError
from geventpop3.pipeline.interfaces import ClientInterface, CommandSummary, SessionSummary
from geventpop3.pipeline.plugin import plain_function
from geventpop3.wire.replies import Reply

__all__ = ["Event", "EventSignal", "CommandSummary", "SessionSummary", "CATALOGUE", "signal"]

logger = logging.getLogger("geventpop3.pipeline")

_Receiver = TypeVar("_Receiver", bound=Callable[..., Any])
_Summary = TypeVar("_Summary", CommandSummary, SessionSummary)

_generations = itertools.count(1)


class Generation:
    """Version of the subscriptions; a cached route is valid while ``latest`` is unchanged.

    Each change of an event's receivers, in any server and thread, sets ``latest`` to a number never used before.
    """

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest = 0

    def changed(self) -> None:
        """Set a new version, which invalidates all cached routes."""
        self.latest = next(_generations)


generation = Generation()
"""Version of this process: all its servers share the signals."""


def as_reply(answer: object) -> Reply:
    """Return an application's answer as a Reply. Raises HandedOverError, whose text shows nothing of the answer."""
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, (str, bytes)):
        return Reply.parse(answer)
    raise HandedOverError(
        f"an answer must be a Reply of ok(), err() or multiline(), or a line that begins with +OK or -ERR, not "
        f"{type(answer).__name__}"
    )


FAILURES: tuple[type[BaseException], ...] = (Exception, SystemExit)
"""Exceptions that application code may raise without harm to others. SystemExit is one: any client could bring about a
library's ``sys.exit``, which must not end the server."""


def discard(reply: Reply | None, isolated: tuple[type[BaseException], ...] = FAILURES) -> None:
    """Close the body of a reply that is not sent, if it can be closed; log what that raises."""
    if reply is None or reply.body is None:
        return
    close = getattr(reply.body, "close", None)
    if close is not None:
        try:
            close()
        except isolated:
            logger.exception("the body of an unsent reply could not be closed")


def discard_replaced(before: Reply, now: Reply | None, isolated: tuple[type[BaseException], ...]) -> None:
    """Close the body of a reply that was replaced, unless the new reply has a body."""
    if now is None or now.body is None:
        discard(before, isolated)


MaybeNone: TypeAlias = Any
"""Type of an event's client, which is None for events that concern no client. It is Any, so that nearly all handlers
need no check for None."""


class Event:
    """An event on its way through plugins and listeners.

    ``args`` are str for commands and may be rewritten. ``raw`` is the command line as received, without line end.
    ``secret_from`` is the index of the first argument that is a secret, or None. Once all receivers were called,
    ``reply`` is the answer or None, and ``eaten`` is true if plugins kept the event from the listeners. ``reference``
    is then the id under which a plugin's or listener's failure is logged, or None.
    """

    __slots__ = ("_reply", "args", "client", "eaten", "name", "raw", "reference", "secret_from")

    def __init__(
        self,
        name: str,
        client: ClientInterface | MaybeNone = None,
        args: list[Any] | None = None,
        raw: bytes = b"",
        secret_from: int | None = None,
    ) -> None:
        self.name: str = name
        self.client: ClientInterface | MaybeNone = client
        self.args: list[Any] = [] if args is None else args
        self.raw: bytes = raw
        self.secret_from: int | None = secret_from
        self.eaten: bool = False
        self.reference: str | None = None
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply | None:
        """Answer so far. It may be set to a Reply, or to str or octets that begin with ``+OK`` or ``-ERR``.

        The assignment raises TypeError or ValueError for a wrong value. A negative reply has no body (RFC 1939 section
        3 allows one in positive replies alone): a body that it came with is closed.
        """
        return self._reply  # pragma: no cover  # see below

    @reply.setter
    def reply(self, answer: Reply | str | bytes | None) -> None:
        reply = None if answer is None else as_reply(answer)
        if reply is not None and reply.body is not None and not reply.positive:
            if self._reply is None or self._reply.body is not reply.body:  # else the emitter closes it
                discard(reply)
            reply = reply._replace(body=None)
        self._reply = reply

    # The same getter without a Python call: each command reads it several times.
    if not TYPE_CHECKING:  # pragma: no branch
        reply = property(attrgetter("_reply"), reply.fset, doc=reply.__doc__)

    @property
    def argument(self) -> str:
        """All arguments as one str, joined by single blanks."""
        return " ".join(map(str, self.args))

    @property
    def session_summary(self) -> SessionSummary:
        """Summary of the session, in ``session_finished``. Raises PipelineError in any other event."""
        return self._summary(SessionSummary, "session_finished")

    @property
    def command_summary(self) -> CommandSummary:
        """Summary of the command, in ``command_finished``. Raises PipelineError in any other event."""
        return self._summary(CommandSummary, "command_finished")

    def _summary(self, kind: type[_Summary], event: str) -> _Summary:
        summary = self.args[0] if self.args else None
        if not isinstance(summary, kind):
            raise PipelineError(f"{self.name!r} has no {kind.__name__}: {event!r} has one")
        return summary

    def __repr__(self) -> str:
        # A plugin may have moved the secret to another index, so an event with a secret shows no argument at all.
        args = self.args if self.secret_from is None else ["****"] * len(self.args)
        client = "" if self.client is None else f" client={self.client.id}"
        return f"<Event {self.name}{client} args={args!r}>"


def answer_once(event: Event, reply: Reply, isolated: tuple[type[BaseException], ...] = FAILURES) -> None:
    """Set the reply of an event that has none; close the body of a reply that comes too late."""
    first = event.reply
    if first is None:
        event.reply = reply
    elif reply.body is not first.body:
        discard(reply, isolated)


class _OrderedSet(MutableSet[Any]):
    """A set in insertion order, in which blinker keeps receivers."""

    __slots__ = ("_members",)

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._members = dict.fromkeys(members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        self._members[value] = None

    def discard(self, value: Any) -> None:
        self._members.pop(value, None)

    def copy(self) -> _OrderedSet:
        # One C call, as in set: another thread's connect cannot come between.
        return _OrderedSet(self._members.copy())

    def __or__(self, other: Iterable[Any]) -> _OrderedSet:
        union = self.copy()
        union._members.update(_OrderedSet(other)._members)
        return union


class EventSignal(NamedSignal):
    """A blinker signal whose receivers keep their order; each change of them updates ``generation``."""

    only_reports = False
    """True if the event only reports what has happened: no plugin can eat it."""

    # blinker uses only what MutableSet has
    set_class = cast("type[set[Any]]", _OrderedSet)

    def connect(self, receiver: _Receiver, sender: Any = ANY, weak: bool = True) -> _Receiver:
        """Connect as blinker does: a weak receiver (the default) is dropped when nothing else refers to it.

        Raises PipelineError for a coroutine function or a generator function, because nothing would run it.
        """
        plain_function(receiver)
        super().connect(receiver, sender, weak)
        self.changed()
        return receiver

    def disconnect(self, receiver: Callable[..., Any], sender: Any = ANY) -> None:
        """Disconnect as blinker does: from all senders, unless one is named."""
        super().disconnect(receiver, sender)
        self.changed()

    def changed(self) -> None:
        """Invalidate all cached receivers."""
        generation.changed()

    @property
    def is_muted(self) -> bool:
        """True if no receiver is called for the event, registered listeners and the bundled service included."""
        return self._is_muted

    @is_muted.setter
    def is_muted(self, muted: bool) -> None:
        self._is_muted = muted
        self.changed()


class _PluginsOnly(EventSignal):
    """An event in the catalogue that no listener can receive."""

    def connect(self, *_: Any, **__: Any) -> NoReturn:
        raise PipelineError(
            f"{self.name!r} is for plugins only: write a Plugin, or listen to 'command_finished', which reports each "
            "reply"
        )


class _FactSignal(EventSignal):
    """An event that reports a fact. It reaches all receivers, because some release a lock when it happens."""

    only_reports = True


_signals: dict[str, EventSignal] = {}


def signal(name: str) -> EventSignal:
    """Return the signal of this name; create it for a verb or an event that a server adds to the catalogue.

    This declares no event on any server: ``pop3d.add_event(name)`` or ``pop3d.register(listener, name)`` does.
    """
    return _signals.get(name) or _signals.setdefault(name, EventSignal(name))


def _event(name: str, doc: str) -> EventSignal:
    return _signals.setdefault(name, EventSignal(name, doc))


def _fact(name: str, doc: str) -> EventSignal:
    return _signals.setdefault(name, _FactSignal(name, doc))


registered = _fact("registered", "The server listens.")
unregistered = _fact("unregistered", "The server is shut down and its sessions have ended: release resources.")
listener_failed = _fact("listener_failed", "A listening socket failed: operation, errno, text.")
connection = _event(
    "connection", "A client connected: peer address, peer port, our address, our port. A reply is the greeting."
)
disconnected = _fact("disconnected", "A client has disconnected.")

cmd_user = _event("cmd_user", "USER name")
cmd_pass = _event("cmd_pass", "PASS string; one argument, including all blanks")
cmd_apop = _event("cmd_apop", "APOP name digest")
cmd_auth = _event("cmd_auth", "AUTH [mechanism [initial-response]]")
cmd_stls = _event("cmd_stls", "STLS")
cmd_utf8 = _event("cmd_utf8", "UTF8")
cmd_lang = _event("cmd_lang", "LANG [tag]")
cmd_capa = _event("cmd_capa", "CAPA")
cmd_stat = _event("cmd_stat", "STAT")
cmd_list = _event("cmd_list", "LIST [message-number]")
cmd_retr = _event("cmd_retr", "RETR message-number")
cmd_dele = _event("cmd_dele", "DELE message-number")
cmd_noop = _event("cmd_noop", "NOOP")
cmd_rset = _event("cmd_rset", "RSET")
cmd_top = _event("cmd_top", "TOP message-number lines")
cmd_uidl = _event("cmd_uidl", "UIDL [message-number]")
cmd_quit = _event("cmd_quit", "QUIT")

response = _signals.setdefault(
    "response", _PluginsOnly("response", "A reply before it goes out: name of the event it answers.")
)

reply_withdrawn = _fact(
    "reply_withdrawn", "A positive reply was eaten or made negative: the name of its event, and that event."
)
command_finished = _fact("command_finished", "A command has been answered and its reply sent: a CommandSummary.")
credentials = _event("credentials", "AUTH is about to check credentials: name, mechanism. A negative reply refuses.")
challenge = _fact("challenge", "AUTH sends a challenge and waits for the response.")
command_eaten = _fact("command_eaten", "Plugins ate a command, so no listener received it: name of its event.")
authenticated = _fact("authenticated", "A login succeeded: owner, mechanism, name.")
authentication_failed = _fact("authentication_failed", "A login failed: name, mechanism.")
tls_started = _fact("tls_started", "A TLS handshake succeeded: version, cipher.")
certificates_reloaded = _fact(
    "certificates_reloaded", "The certificates' files changed: None, or the reason why the old ones stay in force."
)
session_finished = _fact("session_finished", "A session has ended: its SessionSummary.")

plugin_add = _fact("plugin_add", "A plugin was added: alias, plugin.")
plugin_del = _fact("plugin_del", "A plugin was removed: alias, plugin.")
plugin_error = _fact("plugin_error", "A plugin failed: exception, its alias, name of the event it failed at.")

CATALOGUE: Mapping[str, EventSignal] = MappingProxyType(dict(_signals))
"""Events that every server knows, by name. An event that one server adds is known to that server alone."""
