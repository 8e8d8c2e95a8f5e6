"""The player of dialogues, against an application without a socket, or against a server at an address.

It acts as a client: it waits for the greeting and sends its commands whole, by line or by octet. It compares all that
was received once the server has no more to send.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from geventpop3.server.server import POP3Server, session_over
from geventpop3.testing.memory_stream import MemoryStream
from geventpop3.testing.script import Dialogue, How, Kind, Step, load, parse, transcribe

Application = POP3Server | Callable[[], POP3Server]
"""A server, or a function that makes a fresh one."""

PEER = ("127.0.0.1", 40000)
LOCAL = ("127.0.0.1", 110)

_TIMESTAMP = re.compile(rb"<[^<>]*>")
_SHOWN = 20
_SHOWN_CHARACTERS = 200


class Mismatch(AssertionError):
    """A reply that differs from the dialogue; the text shows the place, the expected and the received lines."""


class _Difference(Exception):
    """A difference between replies and dialogue; the text describes it."""


class _ClientTurn(NamedTuple):
    """The client's steps of a turn, and the number of all server steps that must have been received after it."""

    sends: Sequence[Step]
    matched: int


def play(app: Application, script: str | Path | Dialogue, how: How = "lines", *, peer: tuple[str, int] = PEER) -> None:
    """Play *script* against *app* without a socket, in the caller's thread.

    A server made by a factory is shut down at the end; a given server stays as the dialogue leaves it. *peer* is the
    client's address that the server sees. Raises Mismatch, ScriptError, and ValueError if the dialogue cannot be played
    this way.
    """
    dialogue = _dialogue(script, how)
    if isinstance(app, POP3Server):
        _play_in_memory(app, dialogue, how, peer)
        return
    pop3d = made(app)
    try:
        _play_in_memory(pop3d, dialogue, how, peer)
    finally:
        pop3d.shutdown()


def play_over_socket(
    address: tuple[str, int] | str, script: str | Path | Dialogue, how: How = "lines", *, timeout: float = 10.0
) -> None:
    """Play *script* against the server at *address*: host and port, or the path of a unix socket.

    *timeout*: seconds for each wait for the server. Raises as ``play`` does, and OSError if it cannot connect.
    """
    dialogue = _dialogue(script, how)
    replies = _ServerReplies(dialogue)
    with _connect(address, timeout) as sock:
        try:
            _converse(sock, dialogue, how, replies)
        except TimeoutError:
            raise _mismatch(dialogue, how, replies, f"the server sent nothing for {timeout:g} seconds") from None
        except ConnectionError as error:
            raise _mismatch(dialogue, how, replies, f"the connection broke: {error.strerror}") from None
        except _Difference as difference:
            raise _mismatch(dialogue, how, replies, str(difference)) from None


def made(app: Application) -> POP3Server:
    """Return the server itself, or the one that the factory makes. Raises TypeError if that is not a server."""
    if isinstance(app, POP3Server):
        return app
    pop3d: object = app()
    if isinstance(pop3d, POP3Server):
        return pop3d
    hint = ": is a return missing?" if pop3d is None else ""
    raise TypeError(f"the application returned {type(pop3d).__name__}, not a POP3Server{hint}")


def _dialogue(script: str | Path | Dialogue, how: How) -> Dialogue:
    if isinstance(script, Path):
        script = load(script)
    elif isinstance(script, str):
        script = parse(script)
    if reason := script.impossible.get(how):
        raise ValueError(f"{script.name} cannot be played {how}: {reason}")
    return script


def _turns(dialogue: Dialogue, how: How) -> list[_ClientTurn]:
    """Return the dialogue cut where the client waits: first the greeting; played whole, only one more turn."""
    cuts = [0]
    for at, step in enumerate(dialogue.steps[1:], 1):
        if step.is_client and not dialogue.steps[at - 1].is_client and (how != "whole" or len(cuts) == 1):
            cuts.append(at)
    turns = []
    for start, end in zip(cuts, [*cuts[1:], len(dialogue.steps)], strict=True):
        sends = [step for step in dialogue.steps[start:end] if step.is_client]
        turns.append(_ClientTurn(sends, sum(not step.is_client for step in dialogue.steps[:end])))
    return turns


class _ServerReplies:
    """The octets received from the server, and how far they agree with the dialogue."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.steps = [step for step in dialogue.steps if not step.is_client]
        self.matched = 0  # steps
        self.wanted = 0  # steps
        self.received = bytearray()
        self.at = 0
        self.closed = False

    def listen(self, wanted: int) -> bool:
        """Return whether the first *wanted* steps were received. Raises _Differs if anything else was."""
        self.wanted = wanted
        while self.matched < wanted:
            octets = self._length(self.steps[self.matched])
            if octets is None:
                return False
            self.at += octets
            self.matched += 1
        if self.at < len(self.received):
            raise _Difference("the server sent more")
        return True

    def _length(self, step: Step) -> int | None:
        """Return the number of received octets that are this step, or None if more must be received first."""
        if step.kind is Kind.CLOSED:
            if self.at < len(self.received):
                raise _Difference("the server sent more")
            return 0 if self.closed else None
        if step.kind is Kind.OCTETS:
            came = self.received[self.at : self.at + len(step.octets)]
            if not step.octets.startswith(came):
                raise _Difference("the server sent something else")
            return len(came) if len(came) == len(step.octets) else None
        end = self.received.find(b"\r\n", self.at) + 2
        if end < 2:
            return None
        if not _agrees(step, bytes(self.received[self.at : end])):
            raise _Difference("the server sent something else")
        return end - self.at

    def chunks(self, sends: Sequence[Step], how: How) -> Iterator[bytes]:
        """Yield the client's octets as they are sent. Raises _Differs if a digest needs a timestamp that is missing."""
        said = [self._fill_in(step) for step in sends if step.kind is Kind.SAY]
        if how == "octets":
            for octets in said:
                for at in range(len(octets)):
                    yield octets[at : at + 1]
        elif how == "lines":
            yield from said
        elif said:
            yield b"".join(said)

    def _fill_in(self, step: Step) -> bytes:
        if step.secret is None:
            return step.octets
        found = _TIMESTAMP.search(self.received.partition(b"\r\n")[0])
        if found is None:
            raise _Difference("the greeting has no timestamp for APOP")
        digest = hashlib.md5(found[0] + step.secret, usedforsecurity=False).hexdigest()
        return step.octets + digest.encode("ascii") + b"\r\n"


def _agrees(step: Step, line: bytes) -> bool:
    """Return whether *line*, with its CRLF, is the LINE or begins with the BEGINNING."""
    if step.kind is not Kind.BEGINNING:
        return line == step.octets
    line = line.removesuffix(b"\r\n")
    return b"\n" not in line and (line + b" " == step.octets or line.startswith(step.octets))


def _play_in_memory(pop3d: POP3Server, dialogue: Dialogue, how: How, peer: tuple[str, int]) -> None:
    replies = _ServerReplies(dialogue)
    turns = _turns(dialogue, how)
    unsent = sum(len(turn.sends) > 0 for turn in turns)
    trouble: str | None = None

    def client() -> Iterator[bytes]:
        # A session receives again only after it has sent all its replies.
        nonlocal unsent, trouble
        try:
            for turn in turns:
                chunks = list(replies.chunks(turn.sends, how))
                yield from chunks[:-1]
                unsent -= len(turn.sends) > 0
                yield from chunks[-1:]
                if turn.sends and turn.sends[-1].kind is Kind.END:
                    return
                if not replies.listen(turn.matched):
                    raise _Difference("the server sent less and waits for the client")
        except _Difference as difference:
            trouble = str(difference)

    stream = MemoryStream(client())
    replies.received = stream.output
    session_over(pop3d, stream, peer, LOCAL).run()
    if trouble is None:
        replies.closed = True
        try:
            if not replies.listen(len(replies.steps)):
                trouble = "the server closed the connection"
            elif unsent and replies.steps[-1].kind is not Kind.CLOSED:
                trouble = "the server closed the connection before the client had sent everything"
        except _Difference as difference:
            trouble = str(difference)
    if trouble is not None:
        raise _mismatch(dialogue, how, replies, trouble)


def _connect(address: tuple[str, int] | str, timeout: float) -> socket.socket:
    if not isinstance(address, str):
        sock = socket.create_connection(address, timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _converse(sock: socket.socket, dialogue: Dialogue, how: How, replies: _ServerReplies) -> None:
    for turn in _turns(dialogue, how):
        try:
            for chunk in replies.chunks(turn.sends, how):
                sock.sendall(chunk)
            if turn.sends and turn.sends[-1].kind is Kind.END:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            # The server may close early; its last replies are still to be read.
            if replies.steps[-1].kind is not Kind.CLOSED:
                raise
        while not replies.listen(turn.matched):
            if replies.closed:
                raise _Difference("the server closed the connection")
            _receive(sock, replies)
    if replies.steps[-1].kind is Kind.CLOSED:
        return
    with suppress(OSError):  # the server may have closed already
        sock.shutdown(socket.SHUT_WR)
    while not replies.closed:
        _receive(sock, replies)
        replies.listen(len(replies.steps))


def _receive(sock: socket.socket, replies: _ServerReplies) -> None:
    data = sock.recv(65536)
    replies.received += data
    replies.closed = not data


def _mismatch(dialogue: Dialogue, how: How, replies: _ServerReplies, trouble: str) -> Mismatch:
    """Return the dialogue up to the difference, then a diff of expected replies and received lines."""
    steps = dialogue.steps
    if replies.matched < replies.wanted:
        place = steps.index(replies.steps[replies.matched])
    else:
        place = steps.index(replies.steps[replies.matched - 1]) + 1 if replies.matched else 0
    expected = list(takewhile(lambda step: not step.is_client, steps[place:]))[:_SHOWN]
    came = transcribe(bytes(replies.received[replies.at :]))[:_SHOWN]
    if replies.closed and len(came) < _SHOWN:
        came.append("S: <closed>")
    lines = [f"{dialogue.name}:{steps[min(place, len(steps) - 1)].number}: {trouble} (played {how})"]
    lines += [f"      {_cut(step.text)}" for step in steps[max(place - _SHOWN, 0) : place]]
    lines += [f"    {mark} {_cut(text)}" for mark, text in _diff(expected, came or ["(nothing)"])]
    return Mismatch("\n".join(lines))


def _diff(expected: Sequence[Step], came: Sequence[str]) -> list[tuple[str, str]]:
    """Return the shortest diff from the expected to the received lines, each with a mark: "-", "+" or a blank."""
    removed = [[("-", step.text) for step in expected[:at]] for at in range(len(expected) + 1)]
    row = removed
    for line in came:
        above, row = row, [[*row[0], ("+", line)]]
        for at, step in enumerate(expected):
            if _line_matches(step, line):
                row.append([*above[at], (" ", line)])
            else:
                ways = (
                    [*above[at + 1], ("+", line)],
                    [*row[at], ("-", step.text)],
                    [*above[at], ("-", step.text), ("+", line)],
                )
                row.append(min(ways, key=_changes))
    return row[-1]


def _changes(diff: list[tuple[str, str]]) -> int:
    """Return the number of replaced, missing and additional lines; a replaced line is one change."""
    changes = 0
    before = ""
    for mark, _ in diff:
        changes += mark != " " and (before, mark) != ("-", "+")
        before = mark
    return changes


def _line_matches(step: Step, line: str) -> bool:
    """Return whether a line of a transcript is what *step* expects."""
    if step.kind is Kind.CLOSED or not line.startswith("S"):
        return line == step.text
    came = parse(line).steps[0]
    return came.kind is not Kind.CLOSED and _agrees(step, came.octets)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} (cut)"
