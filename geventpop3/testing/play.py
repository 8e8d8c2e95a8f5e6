"""Plays dialogues: against an application without a socket, or against whatever answers at an address.

The player does what a client would: it waits for the greeting, says its part whole, by line or by octet, and looks at
all that the server sent whenever the server has nothing more to say.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from geventpop3.server.client import Client
from geventpop3.server.server import POP3Server
from geventpop3.server.stream import MemoryStream
from geventpop3.testing.script import Dialogue, How, Kind, Step, load, parse, transcribe

Application = POP3Server | Callable[[], POP3Server]
"""A server, or what makes a fresh one."""

PEER = ("127.0.0.1", 40000)
LOCAL = ("127.0.0.1", 110)

_TIMESTAMP = re.compile(rb"<[^<>]*>")
_CONTEXT = 20
_SHOWN_LINES = 8
_SHOWN_CHARACTERS = 200


class Mismatch(AssertionError):
    """The server did not answer as the dialogue has it; the text shows where, with what was expected and what came."""


class _Differs(Exception):
    """At this step, or after the last one if it is None, something else came; the text says what is wrong."""

    def __init__(self, step: Step | None, trouble: str) -> None:
        super().__init__(trouble)
        self.step = step
        self.trouble = trouble


class _Turn(NamedTuple):
    """The client's steps and what it hears after them."""

    says: list[Step]
    hears: list[Step]


def play(
    app: Application, script: str | Path | Dialogue, how: How = "lines", *, peer: tuple[str, int] = PEER
) -> None:
    """Play *script* against *app* without a socket, in the caller's thread.

    A factory makes the server that is played against, and that server is shut down in the end; a server that is given
    stays as the dialogue leaves it. *peer* is where the client seems to come from. Raises Mismatch, ScriptError, and
    ValueError if the dialogue cannot be played this way.
    """
    dialogue = _dialogue(script, how)
    if isinstance(app, POP3Server):
        _play_in_memory(app, dialogue, how, peer)
        return
    pop3d = app()
    try:
        _play_in_memory(pop3d, dialogue, how, peer)
    finally:
        pop3d.shutdown()


def play_over_socket(
    address: tuple[str, int] | str, script: str | Path | Dialogue, how: How = "lines", *, timeout: float = 10.0
) -> None:
    """Play *script* against the server at *address*: host and port, or the path of a unix socket.

    *timeout*: seconds that are waited for the server, each time. Raises as ``play`` does, and OSError if nobody listens.
    """
    dialogue = _dialogue(script, how)
    hearing = _Hearing()
    with _connect(address, timeout) as sock:
        try:
            _play_turns(sock, dialogue, how, hearing)
        except TimeoutError:
            raise _mismatch(dialogue, how, hearing, hearing.step, f"nothing came for {timeout:g} seconds") from None
        except _Differs as difference:
            raise _mismatch(dialogue, how, hearing, difference.step, difference.trouble) from None


def _dialogue(script: str | Path | Dialogue, how: How) -> Dialogue:
    if isinstance(script, Path):
        script = load(script)
    elif isinstance(script, str):
        script = parse(script)
    if reason := script.impossible.get(how):
        raise ValueError(f"{script.name} cannot be played {_WORDS[how]}: {reason}")
    return script


def _turns(dialogue: Dialogue, how: How) -> list[_Turn]:
    """The dialogue cut at the places where the client waits; the first turn is the greeting alone, if there is one."""
    turns = [_Turn([], [])]
    for step in dialogue.steps:
        if not step.is_client:
            turns[-1].hears.append(step)
        elif turns[-1].hears and (how != "whole" or len(turns) == 1):
            turns.append(_Turn([step], []))
        else:
            turns[-1].says.append(step)
    return turns


def _chunks(steps: list[Step], how: How, hearing: _Hearing) -> Iterator[bytes]:
    """What the client sends, as it is cut; ``b""`` for the end of its input."""
    said = [hearing.fill_in(step) for step in steps if step.kind is Kind.SAY]
    if how == "octets":
        for octets in said:
            for at in range(len(octets)):
                yield octets[at : at + 1]
    elif how == "lines":
        yield from said
    elif said:
        yield b"".join(said)
    if steps and steps[-1].kind is Kind.END:
        yield b""


class _Hearing:
    """What came from the server, and how far it agrees with the dialogue."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.at = 0
        self.step: Step | None = None

    def fill_in(self, step: Step) -> bytes:
        """The octets of a SAY, with the digest of the greeting's timestamp if it wants one. Raises _Differs."""
        if step.secret is None:
            return step.octets
        found = _TIMESTAMP.search(self.received, 0, max(self.received.find(b"\r\n"), 0))
        if found is None:
            raise _Differs(step, "the greeting has no timestamp")
        digest = hashlib.md5(found[0] + step.secret, usedforsecurity=False).hexdigest()
        return step.octets + digest.encode("ascii") + b"\r\n"

    def take(self, step: Step) -> bool:
        """Whether *step* has come whole; False if so far only nothing speaks against it. Raises _Differs."""
        self.step = step
        if step.kind is Kind.CLOSED:
            self.end()
            return False
        if step.kind is Kind.OCTETS:
            came = self.received[self.at : self.at + len(step.octets)]
            if not step.octets.startswith(came):
                raise _Differs(step, "something else came")
            if len(came) < len(step.octets):
                return False
            self.at += len(came)
            return True
        end = self.received.find(b"\r\n", self.at) + 2
        if end < 2:
            return False
        if not _agrees(step, bytes(self.received[self.at : end])):
            raise _Differs(step, "something else came")
        self.at = end
        return True

    def end(self) -> None:
        """Nothing more may have come. Raises _Differs."""
        if self.at < len(self.received):
            raise _Differs(self.step if self.step and self.step.kind is Kind.CLOSED else None, "more came")


def _agrees(step: Step, line: bytes) -> bool:
    if step.kind is Kind.LINE:
        return line == step.octets
    line = line[:-2]
    if b"\n" in line:
        return False
    return line.startswith(step.octets) or (step.octets.endswith(b" ") and line == step.octets[:-1])


def _play_in_memory(pop3d: POP3Server, dialogue: Dialogue, how: How, peer: tuple[str, int]) -> None:
    client = _MemoryClient(dialogue, how)
    stream = MemoryStream(client)
    client.output = stream.output
    Client(pop3d, stream, peer=peer, local=LOCAL).run()
    client.finish()
