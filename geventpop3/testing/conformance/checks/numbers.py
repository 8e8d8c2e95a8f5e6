"""RFC 1939 section 5 and 7: arguments that are no message-number of a message."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.outcome import require

NONE = "-ERR no such message"
FIRST = """it assigns a message-number to each message, and notes the size of each message in octets. The first message
in the maildrop is assigned a message-number of "1", the second is assigned "2", and so on"""
DECIMAL = "all message-numbers and message sizes are expressed in base-10 (i.e., decimal)."
INVALID = """A server MUST respond to an unrecognized, unimplemented, or syntactically invalid command by responding
with a negative status indicator."""
BIG = (b"2147483649", b"4294967297", b"18446744073709551617", b"9" * 60)
_BAD: tuple[tuple[str, str, tuple[bytes, ...], str, bool], ...] = (
    ("zero", "message 0", (b"0",), FIRST, False),
    ("beyond", "a message-number beyond the last", (b"%d",), NONE, False),
    ("huge", "a number beyond 32 or 64 bits", BIG, NONE, False),
    ("word", "an argument that is not a number", (b"-1", b"one", b"*", b"<1>", b"%s"), DECIMAL, False),
    ("trailing", "a number with other characters", (b"1x", b"1,2", b"1-2", b"1:*", b"1.0", b"0x1"), DECIMAL, True),
)

for _verb, _needed in (("LIST", ""), ("RETR", ""), ("DELE", ""), ("TOP", "TOP"), ("UIDL", "UIDL")):
    _end = b" 0" if _verb == "TOP" else b""
    _section = "7" if _needed else "5"
    _deletes = _verb == "DELE"
    for _slug, _what, _arguments, _quote, _strict in _BAD:

        @check(
            "1939",
            _section,
            f"{_verb} refuses {_what}",
            _quote,
            slug=f"{_verb.lower()}-{_slug}",
            capability=_needed,
            mail=1,
            delete=_deletes,
            strict=_strict,
        )
        def _refused(
            lab: Lab, verb: bytes = _verb.encode(), arguments: tuple[bytes, ...] = _arguments, end: bytes = _end
        ) -> None:
            session = lab.login()
            count = counted(session)
            for argument in arguments:
                session.err(verb + b" " + argument.replace(b"%d", b"%d" % (count + 1)) + end)
            require(counted(session) == count, f"{verb.decode()} marked another message")

    if _verb not in ("LIST", "UIDL"):

        @check(
            "1939",
            _section,
            f"{_verb} without an argument is refused",
            INVALID,
            slug=f"{_verb.lower()}-without-argument",
            capability=_needed,
            mail=1,
            delete=_deletes,
        )
        def _without(lab: Lab, verb: bytes = _verb.encode()) -> None:
            session = lab.login()
            session.err(verb)
            session.in_step()

    @check(
        "1939",
        _section,
        f"{_verb} with an extra argument is refused",
        INVALID,
        slug=f"{_verb.lower()}-two-arguments",
        capability=_needed,
        mail=2,
        delete=_deletes,
        strict=True,
    )
    def _too_many(lab: Lab, verb: bytes = _verb.encode(), end: bytes = _end) -> None:
        session = lab.login()
        session.err(verb + b" 1 2" + end)
        session.in_step()


for _verb in ("STAT", "NOOP", "RSET"):

    @check(
        "1939",
        "5",
        f"{_verb} with an argument is refused",
        "Arguments: none",
        slug=f"{_verb.lower()}-with-argument",
        strict=True,
    )
    def _argument(lab: Lab, verb: bytes = _verb.encode()) -> None:
        session = lab.login()
        session.err(verb + b" 1")
        session.in_step()
