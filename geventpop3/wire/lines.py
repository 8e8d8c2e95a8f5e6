"""Octets to lines, bounded: a line is at most *limit* octets, and what is longer is dropped as it arrives.

Every octet is searched once, however the input is cut, and how it is cut changes nothing of what comes out.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from geventpop3.wire.fast_path import Plain, plain_command

LINE_OCTETS: Final = 1024
"""RFC 2449 section 4 allows 255 octets for a command with its CRLF; four times that is tolerated."""

DRAIN_OCTETS: Final = 65536
"""How much of an over-long line is read and dropped in the hope of its end. Nobody types 64 KiB by mistake."""

_CR: Final = 0x0D


class TooLong(Enum):
    """What stands for a line that was longer than its limit; its octets are gone."""

    TOO_LONG = "too long"


TOO_LONG: Final = TooLong.TOO_LONG


class LineBuffer:
    """Cuts a stream of octets into lines that end with CRLF or LF; a CR anywhere else is data.

    Sizes are octets with the line end. After each ``feed`` call ``next_line`` until it returns None: that is when
    over-long lines are dropped, since only the reader knows which limit is in force. So no more than one limit and
    one feed is ever held.
    """

    __slots__ = ("_at", "_begun", "_chunk", "_drain", "_dropped", "_limit", "at_end", "hopeless", "octets")

    def __init__(self, limit: int = LINE_OCTETS, drain: int = DRAIN_OCTETS) -> None:
        self._limit = limit
        self._drain = drain
        self._begun = bytearray()  # of a line whose end was in none of the chunks so far
        self._chunk = b""  # what was fed last
        self._at = 0  # where in it the next line goes on
        self._dropped = 0
        self.at_end = True
        """No line will come out before more is fed."""
        self.hopeless = False
        """A line went on past the drain limit: nothing more will come out, close the connection."""
        self.octets = 0
        """Size of the line that ``next_line`` returned last, with its line end, also when it was too long."""

    @property
    def pending(self) -> int:
        """Octets held, whole lines and the beginning of the next one."""
        return len(self._begun) + len(self._chunk) - self._at

    def feed(self, data: bytes) -> None:
        """Take more octets of the stream; after a hopeless line they are thrown away."""
        if self.hopeless:
            return
        if self._at < len(self._chunk):
            data = self._chunk[self._at :] + data
        self._chunk = data
        self._at = 0
        self.at_end = not data

    def next_plain(self) -> Plain | None:
        """The next line, cut into words, if it is there as a whole and plain; else it is for ``next_line``."""
        start = self._at
        plain = plain_command(self._chunk, start, self._limit)
        if plain is None or self._begun or self._dropped:
            return None
        end = plain[3]
        self.octets = end - start
        if end < len(self._chunk):
            self._at = end
        else:
            self._chunk, self._at, self.at_end = b"", 0, True
        return plain

    def next_line(self, limit: int | None = None) -> bytes | TooLong | None:
        """The next line without its line end, or None if it has not wholly arrived.

        TOO_LONG stands, once and when its end has come, for a line over the limit (of this call, if one is given).
        """
        chunk, start = self._chunk, self._at
        if start == len(chunk):
            return None
        if limit is None:
            limit = self._limit
        end = chunk.find(b"\n", start)
        if end < 0:
            self._begin(limit)
            return None
        if end + 1 < len(chunk):
            self._at = end + 1
        else:  # nothing of it is kept: it may be a password
            self._chunk, self._at, self.at_end = b"", 0, True
        if self._begun or self._dropped:
            return self._finish(chunk[: end + 1], limit)
        self.octets = octets = end + 1 - start
        if octets > limit:
            return self._too_long()
        return chunk[start : end - 1 if end > start and chunk[end - 1] == _CR else end]

    def begins(self, word: bytes) -> bool:
        """Whether what is held begins with *word*, which is ASCII in upper case."""
        held = self._chunk[self._at : self._at + len(word)]
        if self._begun:
            held = bytes(self._begun[: len(word)]) + held
        return held[: len(word)].upper() == word

    def clear(self) -> None:
        """Throw away what is held, as before a TLS handshake (RFC 2595 section 4)."""
        self._begun.clear()
        self._chunk = b""
        self._at = 0
        self._dropped = 0
        self.at_end = True
        self.hopeless = False

    def _begin(self, limit: int) -> None:
        """All that is held is the beginning of one line."""
        self._begun += self._chunk[self._at :]
        self._chunk = b""
        self._at = 0
        self.at_end = True
        if self._dropped or len(self._begun) > limit:
            self._dropped += len(self._begun)
            self._begun.clear()
            if self._dropped > self._drain:
                self._give_up()

    def _finish(self, rest: bytes, limit: int) -> bytes | TooLong | None:
        """The line that began in an earlier chunk and ends with *rest*."""
        self.octets = self._dropped + len(self._begun) + len(rest)
        if self._dropped or self.octets > limit:
            self._begun.clear()
            self._dropped = 0
            return self._too_long()
        line = bytes(self._begun) + rest
        self._begun.clear()
        return line[:-2] if line[-2:] == b"\r\n" else line[:-1]

    def _too_long(self) -> TooLong | None:
        if self.octets > self._drain:
            self._give_up()
            return None
        return TOO_LONG

    def _give_up(self) -> None:
        self.hopeless = True
        self.octets = self._drain + 1  # no matter how much arrived with the octet that was one too many
        self._chunk = b""
        self._at = 0
        self.at_end = True
