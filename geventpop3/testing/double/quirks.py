"""Quirks of servers: what each does, the mistake of a client that it finds, and the functions that carry it out.

The file of a personality names quirks and their options; this table has all there are.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from geventpop3.protocol.commands import State
from geventpop3.server.client import Client
from geventpop3.stores.store import Snapshot
from geventpop3.testing.double.store import WatchedMaildrop, WatchedStore
from geventpop3.testing.double.wire import Wire
from geventpop3.wire.replies import Reply
from geventpop3.wire.stuffing import count_octets

Options = Mapping[str, Any]

_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LEADING_DIGITS = re.compile(r"[0-9]+")
_WRAP: Final = 2**32


@dataclass
class Seat:
    """One session as quirks see it."""

    client: Client
    user: str | None = None
    verb: str = ""
    """The verb of the command that is being answered; empty if the line was no command."""
    args: list[str] | None = None
    """The arguments of that command; None if the session did not execute it."""
    is_answered: bool = False
    """True if a quirk has answered the command: its words are those of the real server."""
    is_recent: bool = False
    retrieved: list[str] = field(default_factory=list)
    marked: int = 0
    """Messages that are marked as deleted."""
    marked_before: int = 0
    """The same before the last DELE or RSET."""


class Memory:
    """Memory of a double across its sessions, because the real server has one."""

    def __init__(self, store: WatchedStore) -> None:
        self.store = store
        self.retrieved: dict[str, set[str]] = {}
        """Unique-ids of messages that are hidden after a session that retrieved them, by owner."""
        self.opening_recent: set[str] = set()
        """Owners whose next maildrop shows these messages all the same."""


Command = Callable[[Memory, Seat, Options], Reply | None]
"""A function that may change the arguments of a command, or return the reply to it."""
Answer = Callable[[Memory, Seat, Reply, Options], Reply]
"""A function that returns the reply that is sent in place of another."""
See = Callable[[Memory, WatchedMaildrop, Snapshot, Options], Snapshot]
"""A function that returns what a session sees of a maildrop."""


@dataclass(frozen=True)
class QuirkKind:
    """A kind of quirk. *options* has the default of each option, which also says its type.

    *commands* has the states in which commands are allowed, by verb, where they are other ones.
    """

    does: str
    finds: str
    options: Options = field(default_factory=dict)
    command: Command | None = None
    reply: Answer | None = None
    snapshot: See | None = None
    commands: Mapping[str, frozenset[State]] = field(default_factory=dict)


BOTH: Final = frozenset({State.AUTHORIZATION, State.TRANSACTION})

# Messages that vanish, and the user names that see them


def _note_retrieved(memory: Memory, seat: Seat, reply: Reply, _options: Options) -> Reply:
    owner = seat.client.owner
    if owner is None or not reply.positive or seat.args is None:
        return reply
    if seat.verb == "RETR":
        maildrop = memory.store.opened(owner)
        if maildrop is not None:
            seat.retrieved.append(maildrop.unique_ids[int(seat.args[0]) - 1])
    elif seat.verb == "QUIT":
        memory.retrieved.setdefault(owner, set()).update(seat.retrieved)
    return reply


def _hide_retrieved(memory: Memory, maildrop: WatchedMaildrop, snapshot: Snapshot, _options: Options) -> Snapshot:
    hidden = memory.retrieved.get(maildrop.owner, set())
    if maildrop.owner in memory.opening_recent:
        return snapshot
    return _chosen(snapshot, [at for at, unique_id in enumerate(snapshot.unique_ids) if unique_id not in hidden])


def _take_prefix(memory: Memory, seat: Seat, options: Options) -> Reply | None:
    args = seat.args
    if args and seat.verb in ("USER", "APOP"):
        seat.is_recent = args[0].startswith(options["prefix"])
        args[0] = args[0].removeprefix(options["prefix"])
        seat.user = args[0]
    if seat.verb in ("PASS", "APOP") and seat.is_recent and seat.user is not None:
        memory.opening_recent.add(seat.user)
    return None


def _opened_recent(memory: Memory, seat: Seat, reply: Reply, _options: Options) -> Reply:
    if seat.verb in ("PASS", "APOP") and seat.user is not None:
        memory.opening_recent.discard(seat.user)
    return reply


def _oldest(_memory: Memory, _maildrop: WatchedMaildrop, snapshot: Snapshot, options: Options) -> Snapshot:
    return _chosen(snapshot, range(min(options["messages"], len(snapshot))))


def _chosen(snapshot: Snapshot, indices: Iterable[int]) -> Snapshot:
    chosen = list(indices)
    octets = array("Q", (snapshot.octets[at] for at in chosen))
    return Snapshot([snapshot.unique_ids[at] for at in chosen], octets, checked=True)


# Sizes


def _estimated(_memory: Memory, _maildrop: WatchedMaildrop, snapshot: Snapshot, options: Options) -> Snapshot:
    return _sized(snapshot, (octets * (100 + options["percent"]) // 100 for octets in snapshot.octets))


def _without_header(_memory: Memory, maildrop: WatchedMaildrop, snapshot: Snapshot, _options: Options) -> Snapshot:
    bodies = (_HEADER_END.split(content, 1)[1:] for content in _contents(maildrop, snapshot))
    return _sized(snapshot, (count_octets(body) if body and body[0] else 0 for body in bodies))


def _without_cr(_memory: Memory, maildrop: WatchedMaildrop, snapshot: Snapshot, _options: Options) -> Snapshot:
    return _sized(snapshot, (len(content.replace(b"\r\n", b"\n")) for content in _contents(maildrop, snapshot)))


def _contents(maildrop: WatchedMaildrop, snapshot: Snapshot) -> Iterable[bytes]:
    return (b"".join(maildrop.retrieve(unique_id)) for unique_id in snapshot.unique_ids)


def _sized(snapshot: Snapshot, octets: Iterable[int]) -> Snapshot:
    return Snapshot(snapshot.unique_ids, array("Q", octets), checked=True)


# Commands and replies


def _refuse_initial_response(_memory: Memory, seat: Seat, options: Options) -> Reply | None:
    args = seat.args or []
    if seat.verb != "AUTH" or len(args) < 2 or args[0].upper() not in options["mechanisms"]:
        return None
    seat.client.disconnect()
    return Reply.parse(options["reply"])


def _take_leading_digits(_memory: Memory, seat: Seat, _options: Options) -> Reply | None:
    if seat.args is not None and seat.verb in ("LIST", "UIDL", "RETR", "DELE", "TOP"):
        for at, argument in enumerate(seat.args):
            digits = _LEADING_DIGITS.match(argument)
            seat.args[at] = str(int(digits[0][:40]) % _WRAP) if digits else "0"
    return None


def _refuse_list(_memory: Memory, seat: Seat, options: Options) -> Reply | None:
    return Reply.parse(options["reply"]) if seat.verb == "AUTH" and not seat.args else None


def _take_first_word(_memory: Memory, seat: Seat, _options: Options) -> Reply | None:
    if seat.verb == "PASS" and seat.args:
        seat.args[:] = seat.args[0].split(" ")[:1]
    return None


def _renumber(_memory: Memory, seat: Seat, reply: Reply, _options: Options) -> Reply:
    if seat.verb not in ("LIST", "UIDL") or reply.body is None:
        return reply
    lines = [line.partition(b" ")[2] for line in b"".join(reply.body).splitlines()]
    return reply._replace(body=(b"".join(b"%d %b\r\n" % (at, line) for at, line in enumerate(lines, 1)),))


def _answer_twice(_memory: Memory, seat: Seat, reply: Reply, options: Options) -> Reply:
    if seat.verb == options["verb"] and reply.positive:
        first = Reply.parse(options["first"])
        with suppress(OSError):  # the client has gone, and the session's own write notices it
            seat.client.output.put(first.status_line)
        seat.client.trace.reply(first)
    return reply


def _leave_first_dot(_memory: Memory, seat: Seat, reply: Reply, _options: Options) -> Reply:
    stream = seat.client.output.stream
    if seat.verb in ("RETR", "TOP") and reply.body is not None and isinstance(stream, Wire):
        with suppress(OSError):  # the client has gone, and the session's own write notices it
            seat.client.flush()  # the replies before this one
            stream.edit(_without_first_stuffing, multi_line=True)
    return reply


def _without_first_stuffing(octets: bytes) -> bytes:
    status_line, line_end, body = octets.partition(b"\r\n")
    return status_line + line_end + (body[1:] if body.startswith(b"..") else body)


QUIRKS: Mapping[str, QuirkKind] = MappingProxyType(
    {
        "hides-retrieved": QuirkKind(
            "A message that RETR sent is not in the maildrop of later sessions, once QUIT ended the session.",
            "Clients that rely on leaving mail on the server, or look at it again without a copy of their own.",
            reply=_note_retrieved,
            snapshot=_hide_retrieved,
        ),
        "recent-users": QuirkKind(
            "USER and APOP take a name with *prefix* in front: that session also sees messages that are hidden.",
            "Clients that refuse a colon in a name, or take the same mail for new.",
            {"prefix": "recent:"},
            command=_take_prefix,
            reply=_opened_recent,
        ),
        "oldest-only": QuirkKind(
            "A session sees only the oldest *messages*.",
            "Clients that take one session for the whole mailbox, or show the newest mail first.",
            {"messages": 250},
            snapshot=_oldest,
        ),
        "estimated-sizes": QuirkKind(
            "STAT, LIST and RETR give sizes that are wrong by *percent*.",
            "Clients that read as many octets as were announced, or refuse a message whose size differs.",
            {"percent": 5},
            snapshot=_estimated,
        ),
        "sizes-without-header": QuirkKind(
            "STAT, LIST and RETR count the body of a message alone.",
            "Clients that read as many octets as were announced, or skip a message of 0 octets.",
            snapshot=_without_header,
        ),
        "sizes-without-cr": QuirkKind(
            "STAT, LIST and RETR count one octet for each line end.",
            "Clients that read as many octets as were announced: the end of each message is taken for the next reply.",
            snapshot=_without_cr,
        ),
        "no-initial-response": QuirkKind(
            "AUTH with an initial response for one of *mechanisms* is answered with *reply*, and the connection ends.",
            "Clients that send a token in the line of AUTH.",
            {"mechanisms": ["XOAUTH2"], "reply": "-ERR Protocol error. Connection is closed. 10"},
            command=_refuse_initial_response,
        ),
        "no-mechanism-list": QuirkKind(
            "AUTH without a mechanism is answered with *reply*.",
            "Clients older than RFC 5034, which do not look at CAPA.",
            {"reply": "-ERR an argument is missing"},
            command=_refuse_list,
        ),
        "late-utf8": QuirkKind(
            "UTF8 is allowed after login, too.",
            "Nothing; clients that send UTF8 late work with this server alone.",
            commands={"UTF8": BOTH},
        ),
        "leading-digits": QuirkKind(
            "A number ends at the first character that is no digit, and is taken modulo 4294967296; else it is 0.",
            "Clients that rely on -ERR for a wrong number: another message is deleted.",
            command=_take_leading_digits,
        ),
        "first-word-password": QuirkKind(
            "A password ends at its first blank.",
            "Set-ups whose passwords have blanks.",
            command=_take_first_word,
        ),
        "renumbered-listings": QuirkKind(
            "After DELE, LIST and UIDL without an argument number the messages that are left from 1.",
            "Clients that list again after DELE, and then delete another message than they mean.",
            reply=_renumber,
        ),
        "first-dot": QuirkKind(
            "A dot that is the first octet of a message is sent without byte-stuffing.",
            "Clients that remove a dot which the server did not add, or take a message for its end.",
            reply=_leave_first_dot,
        ),
        "answers-twice": QuirkKind(
            "A positive reply to *verb* has the line *first* before it.",
            "Clients that take each later reply for that to the command before.",
            {"verb": "RSET", "first": "+OK"},
            reply=_answer_twice,
        ),
    }
)
"""Every kind of quirk by its name, the value of ``name`` in a file."""
