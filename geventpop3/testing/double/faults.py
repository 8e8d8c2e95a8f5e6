"""Faults that a test asks for: what each does, at which occurrence it happens, and what it can find in a client.

This module describes and counts. ``plugin`` and ``wire`` carry out what it describes.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from geventpop3.protocol.commands import COMMANDS

CONNECT: Final = "connect"
"""The moment when a connection was accepted, before TLS and the greeting."""
GREETING: Final = "greeting"
TLS: Final = "tls"
"""A TLS handshake, after STLS or on the port with TLS."""
AUTH: Final = "auth"
"""The reply to any command that logs in: PASS, APOP or AUTH."""

LOGINS: Final = frozenset({"PASS", "APOP", "AUTH"})
MOMENTS: Final = frozenset({CONNECT, GREETING, TLS, AUTH})

LISTINGS: Final = frozenset({"LIST", "STAT", "RETR"})
BODIES: Final = frozenset({"RETR", "TOP", "LIST", "UIDL", "CAPA"})
ANY: Final = frozenset({*COMMANDS, GREETING, AUTH})


_CODE: Final = re.compile(r"[!-.0-\\^-~]+(?:/[!-.0-\\^-~]+)*")
"""A response code (RFC 2449 section 9)."""


class Place(Enum):
    """The places where faults are carried out."""

    COMMAND = "in place of the command, which is not executed"
    REPLY = "in the reply, before it is encoded"
    WIRE = "in the octets of the reply"
    UPDATE = "in the store, while QUIT removes messages"


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault: its *place*, the commands and moments it can happen at, its options, and the bug it finds."""

    place: Place
    at: frozenset[str]
    options: frozenset[str]
    does: str
    finds: str


def _kind(place: Place, at: frozenset[str], options: str, does: str, finds: str) -> FaultKind:
    return FaultKind(place, at, frozenset(options.split()), does, finds)


KINDS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "close": _kind(
            Place.WIRE,
            ANY | {CONNECT, TLS},
            "after_octets",
            "The server closes the connection: before the reply, or after *after_octets* of it.",
            "Clients that take a broken message for a whole one, or delete it.",
        ),
        "reset": _kind(
            Place.WIRE,
            ANY | {CONNECT, TLS},
            "after_octets",
            "The server resets the connection: before the reply, or after *after_octets* of it.",
            "Clients that catch an end of input but no ConnectionResetError.",
        ),
        "stall": _kind(
            Place.WIRE,
            ANY | {CONNECT, TLS},
            "after_octets seconds",
            "The server sends nothing more, for *seconds* or until the client leaves.",
            "Clients without a timeout, which hang for ever.",
        ),
        "drip": _kind(
            Place.WIRE,
            ANY,
            "octets seconds",
            "The reply arrives *octets* at a time, with a pause of *seconds* between them.",
            "Clients that expect a whole line in each packet, or whose timeout counts the whole reply.",
        ),
        "delay": _kind(
            Place.WIRE,
            ANY | {CONNECT, TLS},
            "seconds",
            "The reply waits for *seconds*.",
            "Clients whose timeout is too short, or missing.",
        ),
        "error": _kind(
            Place.COMMAND,
            ANY,
            "code text",
            "The reply is -ERR with *text* and the response code *code*; the command has no effect.",
            "Clients that do not look at the status indicator, or give up a mailbox for one message.",
        ),
        "silence": _kind(
            Place.COMMAND,
            ANY,
            "",
            "The server does not reply to this command; it goes on with the next one.",
            "Clients without a timeout, and clients that take the next reply for this one.",
        ),
        "truncate": _kind(
            Place.REPLY,
            BODIES,
            "after_octets",
            "The body ends after *after_octets* (default: half of it), with a proper termination octet.",
            "Clients that do not compare a message with its size in the scan listing.",
        ),
        "unstuffed": _kind(
            Place.WIRE,
            BODIES,
            "",
            "Lines that begin with a dot are sent without byte-stuffing.",
            "Clients that remove a dot which the server did not add, or end the message at a line of one dot.",
        ),
        "bare-lf": _kind(
            Place.WIRE,
            ANY,
            "",
            "Lines end with LF alone.",
            "Clients that wait for CRLF for ever, or join lines.",
        ),
        "long-line": _kind(
            Place.WIRE,
            ANY,
            "octets",
            "A line of the reply has *octets* more (default: 100,000): the body's first line, else the status line.",
            "Clients with a fixed buffer, or that split a line and take the rest for a new one.",
        ),
        "wrong-size": _kind(
            Place.REPLY,
            LISTINGS,
            "octets",
            "Sizes are wrong by *octets* (default: 1 more).",
            "Clients that read as many octets as were announced, or refuse a message whose size differs.",
        ),
        "wrong-uidl": _kind(
            Place.REPLY,
            frozenset({"UIDL"}),
            "",
            "Every unique-id is another one than before.",
            "Clients that download all mail again and keep the copies.",
        ),
        "duplicate-uidl": _kind(
            Place.REPLY,
            frozenset({"UIDL"}),
            "",
            "All messages have the unique-id of the first.",
            "Clients that keep one message of several, and lose or delete the others.",
        ),
        "garbage": _kind(
            Place.WIRE,
            ANY | {CONNECT, TLS},
            "octets",
            "The server sends *octets* (default: 64) of noise in place of the reply; *seed* decides which.",
            "Clients that raise an unexpected exception, or take noise for a reply.",
        ),
        "half-update": _kind(
            Place.UPDATE,
            frozenset({"QUIT"}),
            "",
            "QUIT removes the first half of the marked messages and fails: -ERR [SYS/TEMP].",
            "Clients that forget all messages they marked, although some come back.",
        ),
    }
)
"""Every kind of fault by its name, the value of ``how``."""

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "after_octets": "octets of the reply, as they are on the wire, before the fault happens",
        "seconds": "seconds of a pause",
        "octets": "octets of a line, a piece or noise, or by which sizes are wrong",
        "code": "a response code such as SYS/TEMP",
        "text": "the text of the reply",
    }
)
"""Options that some kinds have."""

DRIP_SECONDS: Final = 0.01
DELAY_SECONDS: Final = 1.0
LONG_LINE: Final = 100_000


@dataclass
class Fault:
    """One fault of a test: *how* at the *nth* occurrence of *on*, for *times* occurrences; None for all that follow.

    With *probability* each of these occurrences has the fault or not; *seed* decides. An *optional* fault need not
    happen. ``happened`` counts how often it did.
    """

    on: str
    how: str
    nth: int = 1
    times: int | None = 1
    after_octets: int | None = None
    seconds: float | None = None
    octets: int | None = None
    code: str | None = None
    text: str | None = None
    probability: float | None = None
    seed: int = 0
    optional: bool = False

    def __post_init__(self) -> None:
        self.on = known_place(self.on)
        if not isinstance(self.how, str):
            raise TypeError(f"how is the name of a kind of fault such as 'reset', not {self.how!r}")
        kind = KINDS.get(self.how)
        if kind is None:
            raise ValueError(f"no fault is called {self.how!r}{_nearest(self.how, KINDS)}")
        if self.on not in kind.at:
            raise ValueError(f"{self.how!r} cannot happen at {self.on}, only at {', '.join(sorted(kind.at))}")
        for option in OPTIONS:
            if getattr(self, option) is not None and option not in kind.options:
                allowed = ", ".join(sorted(kind.options)) or "none"
                raise TypeError(f"{self.how!r} has no option {option}; its options: {allowed}")
        _check_counts(self)
        if self.text is not None and self.text.startswith(("-ERR", "+OK")):
            raise ValueError(f"text is what follows -ERR and the code, so it cannot be {self.text!r}")
        if self.code is not None and not _CODE.fullmatch(self.code):
            raise ValueError(f"{self.code!r} is no response code such as SYS/TEMP")
        self.kind = kind
        self.happened = 0
        self._seen = 0
        self._random = random.Random(self.seed)  # noqa: S311  # faults are repeatable, not secret

    def is_due(self) -> bool:
        """Count one occurrence of ``on``; return whether the fault happens at it, and count that too."""
        self._seen += 1
        if self._seen < self.nth or (self.times is not None and self._seen >= self.nth + self.times):
            return False
        if self.probability is not None and self._random.random() >= self.probability:
            return False
        self.happened += 1
        return True

    @property
    def complaint(self) -> str:
        """The text of the error if the fault never happened."""
        occurred = f"{self.on} occurred {self._seen} time{'' if self._seen == 1 else 's'}"
        advice = ", but there are other ways to log in: 'auth' is any of them" if self.on in LOGINS else ""
        return f"never happened: {self}: {occurred}{advice}"

    def noise(self) -> bytes:
        """Return the octets of garbage; the same seed gives the same octets."""
        return self._random.randbytes(64 if self.octets is None else self.octets)

    def __str__(self) -> str:
        given = [f"{name}={getattr(self, name)!r}" for name in OPTIONS if getattr(self, name) is not None]
        occurrence = [f"nth={self.nth}"] + ([f"times={self.times}"] if self.times != 1 else [])
        return f"{self.how} on {self.on} ({', '.join([*occurrence, *given])})"


def check_count(name: str, value: object) -> None:
    """Raise TypeError if *value* is no whole number; None is allowed."""
    __tracebackhide__ = True
    if value is not None and not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")


def make_fault(on: str, how: str, options: Mapping[str, Any]) -> Fault:
    """Return the fault with these options. Raises TypeError for an unknown option, errors of ``Fault``."""
    known = [field.name for field in fields(Fault)][2:]
    __tracebackhide__ = True
    for option in options:
        if option not in known:
            raise TypeError(f"fail has no option {option!r}{_nearest(option, known)}")
    try:
        return Fault(on, how, **options)
    except (TypeError, ValueError) as error:
        raise error.with_traceback(None) from None  # for the test's author, not for one who mends Fault


def known_place(on: object) -> str:
    __tracebackhide__ = True
    if not isinstance(on, str):
        raise TypeError(f"a fault happens on a command such as 'RETR', not on {on!r}")
    for known in (on, on.upper(), on.lower()):  # "auth" is the moment of a login, "AUTH" is the command
        if known in COMMANDS or known in MOMENTS:
            return known
    raise ValueError(f"there is no command or moment {on!r}{_nearest(on, [*COMMANDS, *sorted(MOMENTS)])}")


def _nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    by_lower = {each.lower(): each for each in known}
    for nearest in difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6):
        return f": did you mean {by_lower[nearest]!r}?"
    return f"; there are {', '.join(known)}"


def _check_counts(fault: Fault) -> None:
    for name in ("nth", "times", "after_octets", "octets", "seed"):
        check_count(name, getattr(fault, name))
    for name in ("seconds", "probability"):
        value = getattr(fault, name)
        if value is not None and not isinstance(value, (int, float)):
            raise TypeError(f"{name} is a number, not {value!r}")
    if fault.nth < 1:
        raise ValueError(f"nth counts from 1, so it cannot be {fault.nth}")
    if fault.times is not None and fault.times < 1:
        raise ValueError(f"times is 1 or more, or None for every time, not {fault.times}")
    if fault.after_octets is not None and fault.after_octets < 0:
        raise ValueError(f"after_octets is 0 or more, not {fault.after_octets}")
    least = {"drip": 1, "garbage": 0, "long-line": 0}.get(fault.how)
    if fault.octets is not None and least is not None and fault.octets < least:
        raise ValueError(f"octets is {least} or more, not {fault.octets}")
    if fault.seconds is not None and fault.seconds < 0:
        raise ValueError(f"seconds is 0 or more, not {fault.seconds}")
    if fault.probability is not None and not 0 < fault.probability <= 1:
        raise ValueError(f"probability is more than 0 and at most 1, not {fault.probability}")
