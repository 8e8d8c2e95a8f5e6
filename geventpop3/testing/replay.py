"""Replay: the answers of a recorded server, for a client that says what the recorded client said.

Nothing here opens a socket. A server feeds each connection's lines to a ``Replay`` and sends what it returns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from geventpop3.protocol.commands import MASK
from geventpop3.testing.recording.splitter import Heard, Said, Splitter
from geventpop3.testing.script import Dialogue, Kind, load
from geventpop3.wire.replies import err

_SECRET: Final = MASK.encode("ascii")
_CANCEL: Final = b"*"


class Exchange(NamedTuple):
    """A recorded command and what the server sent after it."""

    said: bytes
    """The line of the client without its line end."""
    verb: str
    response: bool
    """True if the line answers a challenge."""
    reply: bytes
    number: int
    """The line in the file."""
    closes: bool = False
    """True if the server closed after the reply."""


class Recording:
    """Recorded sessions; connections are given them in order, and after the last begins the first again."""

    def __init__(self, *dialogues: Dialogue) -> None:
        if not dialogues:
            raise ValueError("a recording has at least one session")
        self._sessions = [(dialogue.name, _exchanges(dialogue)) for dialogue in dialogues]
        self._next = itertools.cycle(range(len(dialogues)))

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Return the recording in a file and in those beside it: ``FILE``, ``FILE.2``, ``FILE.3`` and so on.

        Raises ScriptError, OSError.
        """
        return cls(*(load(one) for one in session_files(path)))

    def __len__(self) -> int:
        return len(self._sessions)

    def replay(self) -> Replay:
        """Return the replay of the next session, for a new connection."""
        return Replay(*self._sessions[next(self._next)])


class Replay:
    """The server's side of one session: ``greeting`` once, then ``answer`` for each line of the client."""

    def __init__(self, name: str, exchanges: list[Exchange]) -> None:
        greeting, *self._exchanges = exchanges
        self._name = name
        self._greeting = greeting
        self._at = 0
        self.closes = greeting.closes
        """True if the recorded server closed after what was returned last."""
        self.differences: list[str] = []
        """A text for each line of the client that was not the recorded one: the recorded line, not the client's."""

    def greeting(self) -> bytes:
        """Return the greeting, and what else the server sent before the client's first line."""
        return self._greeting.reply

    def answer(self, line: bytes) -> bytes | None:
        """Return the reply to a line of the client, with or without its line end; None if the server sent none.

        A line that the recording does not have here is answered with -ERR and the expected line; the same is expected
        again.
        """
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if self._at == len(self._exchanges):
            return self._differs("the end")
        expected = self._exchanges[self._at]
        if not _matches(expected, line):
            wanted = expected.said.decode("utf-8", "replace") or "an empty line"
            return self._differs(f"the response {wanted}" if expected.response else wanted, expected.number)
        self._at += 1
        self.closes = expected.closes
        return expected.reply or None

    def _differs(self, wanted: str, number: int | None = None) -> bytes:
        place = self._name if number is None else f"{self._name}:{number}"
        difference = f"{place}: the recording has here: {wanted}"
        self.differences.append(difference)
        return err(difference).status_line


def session_files(path: str | Path) -> Iterator[Path]:
    """Yield the files of a recording: the first whether or not it exists, the others as far as there are any."""
    number = 1
    while number == 1 or session_file(path, number).exists():
        yield session_file(path, number)
        number += 1


def session_file(path: str | Path, number: int) -> Path:
    """Return the file of a recording's session; they are numbered from 1."""
    return Path(path) if number == 1 else Path(f"{path}.{number}")


def _exchanges(dialogue: Dialogue) -> list[Exchange]:
    """Return the greeting, as the reply to an empty line, and then each command with its reply."""
    splitter = Splitter()
    exchanges = [Exchange(b"", "", response=False, reply=b"", number=0)]
    numbers: list[int] = []

    def take() -> None:
        for event in splitter.events():
            if isinstance(event, Said):
                said = event.octets.removesuffix(b"\n").removesuffix(b"\r")
                number = numbers[min(len(exchanges), len(numbers)) - 1]
                exchanges.append(Exchange(said, event.verb, event.response, b"", number))
            elif isinstance(event, Heard):
                exchanges[-1] = exchanges[-1]._replace(reply=exchanges[-1].reply + event.octets)

    for step in dialogue.steps:
        if step.kind is Kind.SAY:
            octets = step.octets if step.secret is None else step.octets + _SECRET + b"\r\n"
            numbers += [step.number] * max(octets.count(b"\n"), 1)
            splitter.client(octets)
        elif step.kind is Kind.BEGINNING:
            splitter.server(step.octets.rstrip(b" ") + b"\r\n")
        elif step.kind is Kind.END:
            splitter.client_ended()
        else:
            splitter.server(step.octets)
        take()
    splitter.server_ended()
    take()
    if dialogue.steps[-1].kind is Kind.CLOSED:
        _close(exchanges)
    return exchanges


def _close(exchanges: list[Exchange]) -> None:
    """Note that the server closed after the last exchange, or after QUIT if it answered nothing after that."""
    for at in range(len(exchanges) - 1, -1, -1):
        if at == len(exchanges) - 1 or exchanges[at].verb == "QUIT":
            exchanges[at] = exchanges[at]._replace(closes=True)
        if exchanges[at].reply:
            return


def _matches(expected: Exchange, line: bytes) -> bool:
    """Return whether *line* is the recorded one: verbs without case, and a mask for anything but a cancellation."""
    if expected.said == _SECRET:
        return line.strip() != _CANCEL
    if expected.response:
        return line == expected.said
    wanted, given = expected.said.split(), line.split()
    if not wanted or not given:
        return wanted == given
    if wanted[0].upper() != given[0].upper():
        return False
    if _SECRET not in wanted[1:]:
        return wanted[1:] == given[1:]
    at = wanted.index(_SECRET)
    return wanted[1:at] == given[1:at] and len(given) > at
