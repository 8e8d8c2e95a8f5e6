"""The mail and the faults of docs/clients.md: each case is a row of its table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geventpop3.testing.double.faults import KINDS
from geventpop3.testing.mail import AwkwardMessage


def _mail(number: int, body: bytes) -> bytes:
    return b"Message-ID: <%d@example.org>\nSubject: message %d\nFrom: bob@example.org\n\n%s" % (number, number, body)


MAIL: tuple[bytes, ...] = (
    _mail(1, b"A plain message.\n"),
    _mail(2, b"Dots begin lines:\n.\n.one\n..two\n...three\n" + b"A line of no interest.\n" * 40),
    _mail(3, "Eight bits, and no final line end: Grüße".encode()),
    _mail(4, b"A larger message has many lines, and this one is repeated.\n" * 1000),
)
"""The second message has the faults of RETR and DELE, as there is one before it and there are two behind it."""

LATE = _mail(5, b"This message arrives between the two polls.\n")

SECOND = AwkwardMessage("second", "has the faults", MAIL[1])
REPLIES = {
    "RETR": len(f"+OK {SECOND.octets} octets\r\n") + len(SECOND.stuffed),
    "TOP": len("+OK top of message follows\r\n") + len(SECOND.stuffed),
}
"""Octets of the double's reply that has the second message."""


@dataclass(frozen=True)
class Step:
    """One fault of a case: the arguments of ``Double.fail``. *later* means the client's second poll, too.

    An ``after_octets`` below 0 counts from the end of the reply.
    """

    on: str
    how: str
    options: tuple[tuple[str, Any], ...] = ()
    later: bool = False

    def by(self, fetches: str, quits: int) -> Step | None:
        """Return the step for a client that fetches by the command *fetches*, and removes by its QUIT number *quits*.

        Return None if the fault cannot happen at that command.
        """
        options = dict(self.options)
        on = self.on
        if on == "RETR":
            on = fetches
            if options.get("after_octets", 0) < 0:
                options["after_octets"] += REPLIES[fetches]
        if on == "QUIT":
            options["nth"] = quits
        return Step(on, self.how, tuple(options.items()), self.later) if on in KINDS[self.how].at else None


@dataclass(frozen=True)
class Case:
    """A row of the table: its *moment* and *what* happens there, and the faults that make it happen.

    *tls*: the client uses TLS from the start.
    """

    moment: str
    what: str
    steps: tuple[Step, ...]
    tls: bool = False

    @property
    def title(self) -> str:
        """The moment and what happens, as the table says it."""
        return f"{self.moment}: {self.what}"


def _case(on: str, how: str, what: str = "", moment: str = "", *, tls: bool = False, **options: Any) -> Case:
    second = {"nth": 2} if on in ("RETR", "DELE") else {}
    step = Step(on, how, tuple({**second, **options}.items()))
    return Case(moment or on, f"{how}{what and f', {what}'}", (step,), tls)


def _several(what: str, *steps: Step) -> Case:
    return Case("several", what, steps)


BEFORE, WITHIN = "before the reply", "after 300 octets"

CASES: tuple[Case, ...] = (
    Case("none", "no fault", ()),
    Case("none", "no fault, with TLS", (), tls=True),
    _case("connect", "close"),
    _case("connect", "reset"),
    _case("connect", "stall"),
    _case("connect", "delay", "1 second"),
    _case("connect", "garbage"),
    _case("greeting", "close"),
    _case("greeting", "stall"),
    _case("greeting", "drip"),
    _case("greeting", "error", "`[SYS/TEMP]`", code="SYS/TEMP"),
    _case("greeting", "silence"),
    _case("greeting", "bare-lf"),
    _case("greeting", "long-line"),
    _case("greeting", "garbage"),
    _case("tls", "close", tls=True),
    _case("tls", "reset", tls=True),
    _case("tls", "stall", tls=True),
    _case("tls", "delay", "1 second", tls=True),
    _case("tls", "garbage", tls=True),
    _case("auth", "close", BEFORE),
    _case("auth", "stall", BEFORE),
    _case("auth", "error", "`[AUTH]`", code="AUTH"),
    _case("auth", "error", "`[IN-USE]`", code="IN-USE"),
    _case("auth", "error", "`[SYS/TEMP]`", code="SYS/TEMP"),
    _case("auth", "silence"),
    _case("STAT", "close", BEFORE),
    _case("STAT", "wrong-size", "1 more", octets=1),
    _case("LIST", "close", "after 20 octets", after_octets=20),
    _case("LIST", "error"),
    _case("LIST", "truncate"),
    _case("LIST", "wrong-size", "1 more", octets=1),
    _case("LIST", "wrong-size", "5,000 more", octets=5000),
    _case("UIDL", "close", "after 20 octets", after_octets=20),
    _case("UIDL", "error"),
    _case("UIDL", "truncate"),
    _case("UIDL", "drip", "7 octets at a time", octets=7),
    _case("UIDL", "bare-lf"),
    _case("UIDL", "duplicate-uidl"),
    _case("UIDL", "wrong-uidl"),
    _case("RETR", "close", BEFORE),
    _case("RETR", "close", WITHIN, after_octets=300),
    _case("RETR", "close", "before the termination octet", after_octets=-len(b".\r\n")),
    _case("RETR", "reset", WITHIN, after_octets=300),
    _case("RETR", "stall", WITHIN, after_octets=300),
    _case("RETR", "delay", "1 second"),
    _case("RETR", "drip", "7 octets at a time", octets=7),
    _case("RETR", "error"),
    _case("RETR", "error", "`[SYS/TEMP]`", code="SYS/TEMP"),
    _case("RETR", "silence"),
    _case("RETR", "truncate"),
    _case("RETR", "unstuffed"),
    _case("RETR", "bare-lf"),
    _case("RETR", "long-line"),
    _case("RETR", "wrong-size", "1 more", octets=1),
    _case("RETR", "garbage"),
    _case("DELE", "close", BEFORE),
    _case("DELE", "stall", BEFORE),
    _case("DELE", "error"),
    _case("DELE", "silence"),
    _case("DELE", "garbage"),
    _case("QUIT", "close", "after the removal"),
    _case("QUIT", "reset", "after the removal"),
    _case("QUIT", "stall", "after the removal"),
    _case("QUIT", "error", "nothing is removed"),
    _case("QUIT", "silence"),
    _case("QUIT", "garbage", "after the removal"),
    _case("QUIT", "half-update"),
    _several("`QUIT` half-update and close", Step("QUIT", "half-update"), Step("QUIT", "close")),
    _several("`QUIT` half-update and stall", Step("QUIT", "half-update"), Step("QUIT", "stall")),
    _several(
        "`RETR` close after 300 octets, other unique-ids in the next session",
        Step("RETR", "close", (("nth", 2), ("after_octets", 300))),
        Step("UIDL", "wrong-uidl", (("nth", 2),), later=True),
    ),
    _several(
        "`QUIT` error, other unique-ids in the next session",
        Step("QUIT", "error"),
        Step("UIDL", "wrong-uidl", (("nth", 2),), later=True),
    ),
    _several(
        "`QUIT` error, duplicate unique-ids in the next session",
        Step("QUIT", "error"),
        Step("UIDL", "duplicate-uidl", (("nth", 2),), later=True),
    ),
)
