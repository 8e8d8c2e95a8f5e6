"""Faults in the text of replies: wrong sizes, wrong unique-ids, bodies that end too early."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from geventpop3.testing.double.faults import Fault
from geventpop3.wire.replies import Reply

_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")
_FIRST_NUMBER = re.compile(r"\d+")


def rewritten(reply: Reply, verb: str, fault: Fault, unique_ids: Sequence[str]) -> Reply:
    """Return the reply that a fault makes of the positive reply to *verb*; *unique_ids* are those of the session."""
    match fault.how:
        case "truncate":
            return _truncated(reply, fault.after_octets)
        case "wrong-size":
            return _with_wrong_sizes(reply, verb, 1 if fault.octets is None else fault.octets)
        case "wrong-uidl":
            return _with_unique_ids(reply, lambda unique_id: _other(unique_id, fault.happened))
        case "duplicate-uidl":
            return _with_unique_ids(reply, lambda unique_id: unique_ids[0] if unique_ids else unique_id)
    raise LookupError(f"{fault.how} is carried out elsewhere")


def _truncated(reply: Reply, octets: int | None) -> Reply:
    if reply.body is None:
        return reply
    content = _content(reply.body)
    return reply._replace(body=(content[: len(content) // 2 if octets is None else octets],))


def _with_wrong_sizes(reply: Reply, verb: str, by: int) -> Reply:
    def wrong(number: re.Match[str]) -> str:
        return str(max(0, int(number[0]) + by))

    if reply.body is None or verb == "RETR":
        pattern = _FIRST_NUMBER if verb == "RETR" else _LAST_NUMBER
        return reply._replace(text=pattern.sub(wrong, reply.text, count=1))
    return _with_lines(reply, lambda line: _LAST_NUMBER.sub(wrong, line, count=1))


def _with_unique_ids(reply: Reply, other: Callable[[str], str]) -> Reply:
    def changed(line: str) -> str:
        number, blank, unique_id = line.partition(" ")
        return f"{number}{blank}{other(unique_id)}" if unique_id else line

    if reply.body is None:
        return reply._replace(text=changed(reply.text))
    return _with_lines(reply, changed)


def _with_lines(reply: Reply, changed: Callable[[str], str]) -> Reply:
    lines = _content(reply.body or ()).decode("ascii").splitlines()
    return reply._replace(body=("".join(f"{changed(line)}\r\n" for line in lines).encode("ascii"),))


def _content(body: Iterable[bytes]) -> bytes:
    """Read a body to its end and release what it holds."""
    try:
        return b"".join(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def _other(unique_id: str, happened: int) -> str:
    return hashlib.sha256(f"{happened} {unique_id}".encode()).hexdigest()[:32]
