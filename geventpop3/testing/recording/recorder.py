"""The recorder: what a proxy passes on between a client and a server, and the dialogue that it writes meanwhile.

STLS is not passed on: after the handshake nothing could be recorded. It is taken out of the capabilities, and a client
that says it nevertheless is answered here.
"""

from __future__ import annotations

import re
from typing import Final

from geventpop3.testing.recording.filler import Filler, fill
from geventpop3.testing.recording.masks import Masks
from geventpop3.testing.recording.splitter import DialoguePart, Event, Heard, Said, Splitter
from geventpop3.testing.script import quote, transcribe

NO_TLS: Final = b"-ERR no TLS between you and the recording proxy\r\n"

_STLS: Final = re.compile(rb"(?i:STLS)(?!\S)")
_LOGINS: Final = {"APOP", "AUTH", "PASS"}
_MESSAGES: Final = {"RETR", "TOP"}


class Recorder:
    """The record of one session: feed it what both sides send, then take ``to_client``, ``to_server`` and ``lines``."""

    def __init__(self, *, mask_names: bool = False, keep_bodies: bool = False) -> None:
        self._splitter = Splitter()
        self._masks = Masks(mask_names=mask_names)
        self._keep_bodies = keep_bodies
        self._filler = Filler()
        self._quitting = False
        self.to_client = bytearray()
        """Octets for the client; the caller empties it."""
        self.to_server = bytearray()
        """Octets for the server; the caller empties it."""
        self.lines: list[str] = []
        """Lines of the dialogue without line ends; the caller empties it."""
        self.client_ended = False
        """True if the server is to be told that the client sends no more."""

    @property
    def is_waiting(self) -> bool:
        """True until the reply to the client's last command is complete; more from the client has to wait."""
        return self._splitter.is_waiting

    @property
    def held(self) -> int:
        """Octets of the client that are not yet passed on."""
        return self._splitter.held

    def client(self, octets: bytes) -> None:
        """Take octets from the client, none for the end of its input."""
        if octets:
            self._splitter.client(octets)
        else:
            self._splitter.client_ended()
        self._record()

    def server(self, octets: bytes) -> None:
        """Take octets from the server, none if it closed."""
        if octets:
            self._splitter.server(octets)
        else:
            self._splitter.server_ended()
        self._record()

    def _record(self) -> None:
        for event in self._splitter.events():
            self._one(event)

    def _one(self, event: Event) -> None:
        if isinstance(event, Said):
            self._said(event)
        elif isinstance(event, Heard):
            self._heard(event)
        elif not event.client:
            self.lines.append("S: <closed>")
        else:
            self.client_ended = True
            if not self._quitting:  # else the server closes, and it is chance who closes first
                self.lines.append("C: <end>")

    def _said(self, said: Said) -> None:
        line = self._masks.response(said.octets) if said.response else self._masks.command(said.octets)
        self.lines.append(transcribe_client(line))
        self._filler = Filler()
        if said.verb == "STLS":
            self._splitter.settle()
            self.to_client += NO_TLS
            self.lines += transcribe(NO_TLS)
        else:
            self.to_server += said.octets

    def _heard(self, heard: Heard) -> None:
        octets = heard.octets
        if heard.part is DialoguePart.BODY and heard.verb == "CAPA" and _STLS.match(octets):
            return
        self.to_client += octets
        self.lines += transcribe(self._written(heard))
        if heard.part is DialoguePart.STATUS and octets[:1] == b"+":
            self._quitting = heard.verb == "QUIT"
            # AUTH alone asks for a list.
            self._masks.logged_in |= heard.verb in _LOGINS and not self.is_waiting

    def _written(self, heard: Heard) -> bytes:
        """Return the line of the server as it may be written down."""
        if heard.part is DialoguePart.CHALLENGE:
            return self._masks.challenge(heard.octets)
        if heard.part is DialoguePart.STRAY:
            return heard.octets if self._keep_bodies else fill(heard.octets)
        if heard.part is DialoguePart.BODY and heard.verb in _MESSAGES:
            return heard.octets if self._keep_bodies else self._filler.line(heard.octets)
        return self._masks.reply(heard.octets)


def transcribe_client(line: bytes) -> str:
    """Return a line of the client in the notation of dialogues; parsing it gives the octets again."""
    (text,) = transcribe(line)
    mark, said = text[:2], text[2:]
    if mark == "S:" and " <apop " in said:
        return f"C! {quote(line)}"
    return f"C{mark[1]}{said}"
