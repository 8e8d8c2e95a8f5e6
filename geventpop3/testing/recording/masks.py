"""Masks: what a recording has in place of passwords, digests and responses, and, if asked for, of names.

A line of a client is kept only as far as it is known to hold no secret. A server may repeat a password in its answer to
the login, and a name anywhere: both are masked there too.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from geventpop3.protocol.commands import COMMANDS, MASK

MASKED: Final = MASK.encode("ascii")

_MECHANISM: Final = re.compile(rb"(?:[A-Z0-9_-]{1,20}|(?i:plain|login|cram-md5|xoauth2|oauthbearer))")
_UNKNOWN: Final = re.compile(rb"[A-Za-z]{1,12}")
_FIELDS: Final = re.compile(rb"(?:user=|n,a=|n=)([^\x01,]+)|auth=Bearer ([^\x01]+)")
"""Name or token in the responses of XOAUTH2, OAUTHBEARER and SCRAM."""

_NUMBERS: Final = re.compile(rb"(?:\+OK )?[0-9]+(?: [0-9]+)?(?![^ \r\n])")
"""The beginning of a drop listing or scan listing, which is no name, whatever the name is."""

_OPEN: Final = {"", "PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"}
"""Mechanisms whose challenges say nothing of the client. Those of SCRAM let a password be guessed offline."""

_LONG: Final = 4
"""Octets from which a secret is masked also as a part of a word."""


class Masks:
    """The masks of one session: each method returns a line without the secrets, and remembers those it saw."""

    def __init__(self, *, mask_names: bool = False) -> None:
        self._mask_names = mask_names
        self._secrets: set[bytes] = set()
        self._names: set[bytes] = set()
        self._mechanism = ""
        self._responses = 0
        self._was_secret = False  # the client's last line
        self.logged_in = False
        """True after a login; set by the caller. What a server says then of other commands holds no secret."""

    def command(self, line: bytes) -> bytes:
        """Return a command as it may be written down."""
        self._was_secret = False
        before, word, blanks, argument, end = _divided(line)
        verb = word.decode("latin-1").upper()
        if verb == "PASS":
            # Blanks at the end are part of a password.
            end = end[len(end.rstrip(b"\r\n")) :] if argument else end
            argument = self._secret(argument)
        elif verb in ("USER", "APOP"):
            name, more = _first(argument)
            if more:
                self._secret(argument[len(name) :].strip())
            argument = self._name(name) + more
        elif verb == "AUTH":
            argument = self._auth(argument)
        elif verb not in COMMANDS and word:
            if not self.logged_in or not _UNKNOWN.fullmatch(word):
                # A response or a password that was sent where none was asked for.
                return before + self._secret(line.strip()) + end
            argument = argument and MASKED
        return before + word + blanks + argument + end

    def response(self, line: bytes) -> bytes:
        """Return a response to a challenge as it may be written down: only the cancellation and nothing are kept."""
        text = line.rstrip(b"\r\n")
        end = line[len(text) :]
        if text.strip() in (b"", b"*"):
            return line
        self._learn(text.strip())
        return MASKED + end

    def challenge(self, line: bytes) -> bytes:
        """Return a challenge as it may be written down, of the same length."""
        if self._mechanism in _OPEN:
            return self.reply(line)
        return line[:2] + re.sub(rb"[^=\s]", b"A", line[2:])

    def reply(self, line: bytes) -> bytes:
        """Return a line of a reply without what the client said in secret."""
        hidden = self._secrets - self._names if self._was_secret or not self.logged_in else set()
        if self._mask_names:
            # A server may repeat the name in another case or without the domain.
            hidden |= self._names | {name.partition(b"@")[0] for name in self._names}
        if not hidden:
            return line
        numbers = _NUMBERS.match(line)
        kept = numbers.end() if numbers else 0
        return line[:kept] + _pattern(hidden).sub(MASKED, line[kept:])

    def _secret(self, secret: bytes) -> bytes:
        self._was_secret = True
        self._secrets.add(secret)
        return MASKED if secret else b""

    def _name(self, name: bytes) -> bytes:
        if not name:
            return b""
        self._names.add(name)
        return MASKED if self._mask_names else name

    def _auth(self, argument: bytes) -> bytes:
        mechanism, more = _first(argument)
        self._mechanism = mechanism.decode("latin-1").upper()
        self._responses = 0
        if mechanism and not _MECHANISM.fullmatch(mechanism):
            return self._secret(argument)
        response = argument[len(mechanism) :].strip()
        if response == b"=":
            return argument
        if more:
            self._learn(response)
        return mechanism + more

    def _learn(self, response: bytes) -> None:
        """Remember what a response holds."""
        self._responses += 1
        self._secret(response)
        try:
            text = base64.b64decode(response, validate=True)
        except binascii.Error:
            return
        self._secrets.add(text)
        if self._mechanism == "PLAIN":
            *names, secret = text.split(b"\0")
            self._names.update(names)
            self._secrets.add(secret)
        elif self._mechanism == "LOGIN" and self._responses == 1:
            self._secrets.discard(text)
            self._names.add(text)
        elif self._mechanism == "CRAM-MD5":
            name, _, digest = text.rpartition(b" ")
            self._names.add(name)
            self._secrets.add(digest)
        else:
            for name, token in _FIELDS.findall(text):
                self._names.add(name)
                self._secrets.add(token)


def _divided(line: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return the parts of a command: blanks, verb, blanks, all arguments, blanks and line end."""
    stripped = line.strip(b" \t\r\n")
    at = line.find(stripped) if stripped else len(line)
    word = stripped.split(None, 1)[0] if stripped.strip() else b""
    rest = stripped[len(word) :]
    argument = rest.lstrip(b" \t")
    return line[:at], word, rest[: len(rest) - len(argument)], argument, line[at + len(stripped) :]


def _first(argument: bytes) -> tuple[bytes, bytes]:
    """Return the first word, and the mask of all after it, with the blanks between them."""
    word = argument.split(None, 1)[0] if argument else b""
    rest = argument[len(word) :]
    blanks = rest[: len(rest) - len(rest.lstrip())]
    return word, blanks + MASKED if rest else b""


def _pattern(hidden: set[bytes]) -> re.Pattern[bytes]:
    words = sorted(hidden - {b""}, key=len, reverse=True) or [b"\0\0"]
    short = rb"(?<![A-Za-z0-9])%s(?![A-Za-z0-9])"
    either = b"|".join(re.escape(word) if len(word) >= _LONG else short % re.escape(word) for word in words)
    return re.compile(either, re.IGNORECASE)
