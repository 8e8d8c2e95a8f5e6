"""The outcome of a command by name, and the facts that the words of a personality may have: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from geventpop3.auth.mechanisms import ClearTextRefused
from geventpop3.protocol.commands import COMMANDS, State
from geventpop3.wire.replies import Reply

ANY: Final = "*"
"""Key of the words for any command that has none of its own, and for lines that are no command."""

_NUMBER = re.compile(r"[0-9]+")

_ARGUMENTS: Final[Mapping[str, tuple[int, int]]] = {
    "USER": (1, 1),
    "PASS": (1, 1_000),
    "APOP": (2, 2),
    "AUTH": (0, 2),
    "LIST": (0, 1),
    "UIDL": (0, 1),
    "RETR": (1, 1),
    "DELE": (1, 1),
    "TOP": (2, 2),
    "LANG": (0, 1),
}
"""Minimum and maximum number of arguments of a command; none if it is not here."""

_CODES: Final = {
    "AUTH": "auth",
    "IN-USE": "in-use",
    "LOGIN-DELAY": "login-delay",
    "SYS/TEMP": "temporary",
    "SYS/PERM": "permanent",
    "UTF8": "utf8",
}

AFTER_LOGIN: Final = "-after-login"
"""End of the name of an outcome that has other words after login; those without it are for both states."""

NEGATIVE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown": "a line that is no command, or a verb that is not supported",
        "too-many": "the last bad command, which closes the connection",
        "state": "a command that is not allowed now",
        "missing": "an argument is missing",
        "extra": "an argument too many",
        "unknown-after-login": "the same after login, where the words differ",
        "too-many-after-login": "the same after login, where the words differ",
        "state-after-login": "the same after login, where the words differ",
        "number": "an argument that is no message-number",
        "lines": "an argument that is no number of lines",
        "no-message": "there is no such message",
        "deleted": "the message is marked as deleted",
        "auth": "wrong credentials",
        "clear-text": "a login in clear text that is not allowed",
        "order": "PASS without USER",
        "mechanism": "an unknown mechanism",
        "aborted": "AUTH that the client cancelled, or a malformed message of it",
        "unavailable": "APOP without a timestamp, STLS without TLS",
        "language": "an unknown language",
        "in-use": "another session has the maildrop",
        "login-delay": "too soon after the last login",
        "utf8": "a message that needs UTF-8 mode",
        "temporary": "the store fails for now",
        "permanent": "the store is broken",
        "failed": "any other -ERR",
    }
)
"""Outcomes with -ERR, and what each means."""

POSITIVE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ok": "+OK",
        "list": "+OK to LIST, UIDL, AUTH or LANG without an argument",
        "before-login": "+OK to QUIT before login",
        "removed": "+OK to QUIT that removed messages",
    }
)
"""Outcomes with +OK."""

_LISTS: Final = frozenset({"LIST", "UIDL", "AUTH", "LANG"})

COMMON: Final = ("hostname", "peer", "session", "user", "verb", "argument", "number", "lines")
"""Placeholders of all replies: ``argument`` is all arguments, ``number`` the first, ``lines`` the second; ``session``
is an id."""
GREETING: Final = ("hostname", "peer", "session", "timestamp")
_DROP: Final = ("count", "octets")
FACTS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = MappingProxyType(
    {
        **{(verb, "ok"): _DROP for verb in ("PASS", "APOP", "AUTH", "STAT")},
        ("RSET", "ok"): (*_DROP, "marked"),
        ("LIST", "list"): _DROP,
        ("UIDL", "list"): ("count",),
        ("RETR", "ok"): ("octets",),
        **{(verb, "no-message"): ("count",) for verb in ("LIST", "UIDL", "RETR", "DELE", "TOP")},
    }
)
"""Further placeholders, in the order of the numbers in this server's own text; ``marked`` is not in it."""


def outcomes_of(verb: str) -> frozenset[str]:
    """Return the outcomes that may have words for *verb*."""
    if verb == ANY:
        return frozenset(NEGATIVE)
    positive = {"ok"} | ({"list"} if verb in _LISTS else set())
    if verb == "QUIT":
        positive |= {"before-login", "removed"}
    lines = {"unknown", "too-many"}
    return frozenset({*NEGATIVE, *positive} - lines - {f"{outcome}{AFTER_LOGIN}" for outcome in lines})


def outcome_of(verb: str, args: Sequence[str] | None, reply: Reply, state: State, *, removed: int = 0) -> str:
    """Return the name of an outcome; *args* is None if the session did not execute the command."""
    if reply.positive:
        if verb == "QUIT":
            return "before-login" if state is State.AUTHORIZATION else "removed" if removed else "ok"
        return "list" if verb in _LISTS and reply.body is not None else "ok"
    if args is None:
        if verb not in COMMANDS:
            return "too-many" if reply.text.endswith("too many bad commands") else "unknown"
        return "extra" if verb == "QUIT" else "state"
    if reply.text == ClearTextRefused.default_text:
        return "clear-text"
    if reply.code is not None:
        return _CODES.get(reply.code.upper(), "failed")
    return _wrong_arguments(verb, args) or _refused(verb, args, reply)


def _wrong_arguments(verb: str, args: Sequence[str]) -> str | None:
    at_least, at_most = _ARGUMENTS.get(verb, (0, 0))
    if len(args) < at_least:
        return "missing"
    if len(args) > at_most:
        return "extra"
    if verb in ("LIST", "UIDL", "RETR", "DELE", "TOP") and args:
        if not (args[0].isascii() and args[0].isdigit()):
            return "number"
        if verb == "TOP" and not (args[1].isascii() and args[1].isdigit()):
            return "lines"
    return None


def _refused(verb: str, args: Sequence[str], reply: Reply) -> str:
    match verb:
        case "LIST" | "UIDL" | "RETR" | "DELE" | "TOP":
            return "deleted" if reply.text.endswith("marked as deleted") else "no-message"
        case "PASS":
            return "order"
        case "APOP" | "STLS":
            return "unavailable"
        case "LANG":
            return "language"
        case "AUTH":
            return "mechanism" if reply.text.startswith("no such") and args else "aborted"
    return "failed"


def facts_in(verb: str, outcome: str, text: str) -> dict[str, str]:
    """Return the placeholders that this server's own text of a reply has numbers for."""
    names = FACTS.get((verb, outcome), ())
    facts = dict.fromkeys(names, "0")
    facts.update(zip(names, _NUMBER.findall(text), strict=False))
    return facts
