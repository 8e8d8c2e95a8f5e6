"""Conversion of octets to bounded lines: a line has at most *limit* octets; a longer line is dropped as it arrives.

Each octet is searched once. The output does not depend on how the input is divided into chunks.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from geventpop3.wire.fast_path import Plain, plain_command

LINE_OCTETS: Final = 1024
"""Octets of the longest command. RFC 2449 section 4 allows 255 with the CRLF; four times that is tolerated."""

DRAIN_OCTETS: Final = 65536
"""Octets of an over-long line that are read and dropped before the line end. No user types 64 KiB by mistake."""

_CR: Final = 0x0D


class TooLong(Enum):
    """The marker for a line that was longer than its limit; its octets are dropped."""

    TOO_LONG = "too long"


TOO_LONG: Final = TooLong.TOO_LONG


class LineBuffer:
    """A buffer that divides a stream of octets into lines; CRLF or LF ends a line, a CR anywhere else is data.

    Sizes are octets with the line end. After each ``feed``, call ``next_line`` until it returns None. It drops
    over-long lines, since only its caller knows the limit in force. So the buffer holds at most one limit and one feed.
    """

    __slots__ = ("_at", "_begun", "_chunk", "_drain", "_dropped", "_limit", "at_end", "hopeless", "octets")

    def __init__(self, limit: int = LINE_OCTETS, drain: int = DRAIN_OCTETS) -> None:
        self._limit = limit
        self._drain = drain
        self._begun = bytearray()  # beginning of a line whose end has not arrived
        self._chunk = b""  # octets fed last
        self._at = 0  # index in the chunk of the rest of the next line
        self._dropped = 0
        self.at_end = True
        """True if no line can be returned before more octets are fed."""
        self.hopeless = False
        """True if a line exceeded the drain limit: no more lines are returned; close the connection."""
        self.octets = 0
        """Size of the line that ``next_line`` returned last, with its line end, even if it was too long."""

    @property
    def pending(self) -> int:
        """Octets held: whole lines and the beginning of the next line."""
        return len(self._begun) + len(self._chunk) - self._at

    def feed(self, data: bytes) -> None:
        """Take more octets of the stream; discard them after a hopeless line."""
        if self.hopeless:
            return
        if self._at < len(self._chunk):
            data = self._chunk[self._at :] + data
        self._chunk = data
        self._at = 0
        self.at_end = not data

    def next_plain(self) -> Plain | None:
        """Return the next line, split into words, if it is complete and plain; else None: call ``next_line``."""
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
        """Return the next line without its line end, or None if it has not wholly arrived.

        For a line over the limit (of this call, if one is given), return TOO_LONG once, when its end has arrived.
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
        else:  # keep no octet of the line: it may be a password
            self._chunk, self._at, self.at_end = b"", 0, True
        if self._begun or self._dropped:
            return self._finish(chunk[: end + 1], limit)
        self.octets = octets = end + 1 - start
        if octets > limit:
            return self._too_long()
        return chunk[start : end - 1 if end > start and chunk[end - 1] == _CR else end]

    def begins(self, word: bytes) -> bool:
        """Return whether the octets held begin with *word*, compared without case; *word* is upper-case ASCII."""
        held = self._chunk[self._at : self._at + len(word)]
        if self._begun:
            held = bytes(self._begun[: len(word)]) + held
        return held[: len(word)].upper() == word

    def clear(self) -> None:
        """Discard the octets held, as before a TLS handshake (RFC 2595 section 4)."""
        self._begun.clear()
        self._chunk = b""
        self._at = 0
        self._dropped = 0
        self.at_end = True
        self.hopeless = False

    def _begin(self, limit: int) -> None:
        """Keep all octets held as the beginning of one line, or drop them if it is over-long."""
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
        """Return the line that began in an earlier chunk and ends with *rest*."""
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
        self.octets = self._drain + 1  # the same for any chunk size
        self._chunk = b""
        self._at = 0
        self.at_end = True
