"""The table of commands. Each row says in which states a command is allowed and to which a positive reply leads.

An application adds rows for its own verbs to a copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

MASK: Final = "****"
"""Replacement of secret arguments; the same for one as for many."""

# Only characters that an event name can hold: each verb has one event, and each command event has one verb.
_VERB: Final = re.compile(r"[A-Z0-9]{1,40}")


class State(Enum):
    """The states of RFC 1939 sections 4 to 6."""

    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"

    # Each command looks up its state in a set and a mapping, and Enum's own hash is slower: it is not in C.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One row: a verb and its effect on the session. Raises ValueError for a verb that no client's line can match.

    *then* maps each state to the state after a positive single-line reply. *closes* means that the connection ends
    with the reply, *upgrades* that a TLS handshake follows a positive single-line reply. *secret_from* is the index of
    the first argument that is never logged. *verbatim* means one argument that keeps its blanks. RFC 1939 section 7,
    PASS: "Since the PASS command has exactly one argument, a POP3 server may treat spaces in the argument as part of
    the password, instead of as argument separators."
    """

    verb: str
    states: frozenset[State]
    then: Mapping[State, State] = field(default_factory=dict)
    closes: bool = False
    secret_from: int | None = None
    verbatim: bool = False
    upgrades: bool = False
    event: str = field(init=False)
    """Name of the command's event: ``cmd_`` and the verb in lower case."""
    moves: bool = field(init=False)
    """True if a reply may move the session to another state or to TLS."""

    def __post_init__(self) -> None:
        if not _VERB.fullmatch(self.verb):
            raise ValueError("a verb must be 1 to 40 upper-case ASCII letters or digits")
        object.__setattr__(self, "event", "cmd_" + self.verb.lower())
        object.__setattr__(self, "moves", bool(self.then) or self.upgrades)


_AUTHORIZATION: Final = frozenset({State.AUTHORIZATION})
_TRANSACTION: Final = frozenset({State.TRANSACTION})
_BOTH: Final = _AUTHORIZATION | _TRANSACTION
_LOGIN: Final[Mapping[State, State]] = MappingProxyType({State.AUTHORIZATION: State.TRANSACTION})
# RFC 1939 section 6: "Note that if the client issues the QUIT command from the AUTHORIZATION state, the POP3 session
# terminates but does NOT enter the UPDATE state."
_LEAVE: Final[Mapping[State, State]] = MappingProxyType({State.TRANSACTION: State.UPDATE})

COMMANDS: Final[Mapping[str, CommandSpec]] = MappingProxyType(
    {
        spec.verb: spec
        for spec in (
            # RFC 1939
            CommandSpec("USER", _AUTHORIZATION),
            CommandSpec("PASS", _AUTHORIZATION, _LOGIN, secret_from=0, verbatim=True),
            CommandSpec("APOP", _AUTHORIZATION, _LOGIN, secret_from=1),
            CommandSpec("STAT", _TRANSACTION),
            CommandSpec("LIST", _TRANSACTION),
            CommandSpec("RETR", _TRANSACTION),
            CommandSpec("DELE", _TRANSACTION),
            CommandSpec("NOOP", _TRANSACTION),
            CommandSpec("RSET", _TRANSACTION),
            CommandSpec("TOP", _TRANSACTION),
            CommandSpec("UIDL", _TRANSACTION),
            CommandSpec("QUIT", _BOTH, _LEAVE, closes=True),
            # RFC 2449, 2595, 5034, 6856
            CommandSpec("CAPA", _BOTH),
            CommandSpec("STLS", _AUTHORIZATION, upgrades=True),
            CommandSpec("AUTH", _AUTHORIZATION, _LOGIN, secret_from=1),
            CommandSpec("UTF8", _AUTHORIZATION),
            CommandSpec("LANG", _BOTH),
        )
    }
)


def redact(spec: CommandSpec, args: Sequence[str]) -> str:
    """Return the arguments for the log, without secrets: ``alice ****``."""
    if spec.secret_from is None or len(args) <= spec.secret_from:
        return " ".join(args)
    return " ".join([*args[: spec.secret_from], MASK])
