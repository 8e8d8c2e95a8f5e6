"""Octets to lines, bounded: a line is at most *limit* octets, and what is longer is dropped as it arrives.

Every octet is searched once, however the input is cut, and how it is cut changes nothing of what comes out.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

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

    __slots__ = ("_drain", "_dropped", "_held", "_limit", "_searched", "hopeless", "octets")

    def __init__(self, limit: int = LINE_OCTETS, drain: int = DRAIN_OCTETS) -> None:
        self._limit = limit
        self._drain = drain
        self._held = bytearray()
        self._searched = 0
        self._dropped = 0
        self.hopeless = False
        """A line went on past the drain limit: nothing more will come out, close the connection."""
        self.octets = 0
        """Size of the line that ``next_line`` returned last, with its line end, also when it was too long."""

    @property
    def pending(self) -> int:
        """Octets held, whole lines and the beginning of the next one."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        """Take more octets of the stream; after a hopeless line they are thrown away."""
        if not self.hopeless:
            self._held += data

    def next_line(self, limit: int | None = None) -> bytes | TooLong | None:
        """The next line without its line end, or None if it has not wholly arrived.

        TOO_LONG stands, once and when its end has come, for a line over the limit (of this call, if one is given).
        """
        held = self._held
        if limit is None:
            limit = self._limit
        end = held.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(held)
            if self._dropped or len(held) > limit:
                self._drop(len(held))
            return None
        self._searched = 0
        if self._dropped or end >= limit:
            self._drop(end + 1)
            if self.hopeless:
                return None
            self.octets = self._dropped
            self._dropped = 0
            return TOO_LONG
        self.octets = end + 1
        line = bytes(held[: end - 1 if end and held[end - 1] == _CR else end])
        del held[: end + 1]
        return line

    def begins(self, word: bytes) -> bool:
        """Whether what is held begins with *word*, which is ASCII in upper case."""
        return self._held[: len(word)].upper() == word

    def clear(self) -> None:
        """Throw away what is held, as before a TLS handshake (RFC 2595 section 4)."""
        self._held.clear()
        self._searched = 0
        self._dropped = 0
        self.hopeless = False

    def _drop(self, octets: int) -> None:
        """Drop the first *octets* held: all there is of the over-long line."""
        del self._held[:octets]
        self._searched = 0
        self._dropped += octets
        if self._dropped > self._drain:
            self.hopeless = True
            self.octets = self._drain + 1  # no matter how much arrived with the octet that was one too many
            self._held.clear()
