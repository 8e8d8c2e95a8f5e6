"""Filler in place of messages: nothing of the text, and the shape that servers and clients get wrong.

A line keeps its length, its line end, its leading dots, its blanks at both ends and its control octets. A character of
UTF-8 becomes one of as many octets; where a line is not UTF-8, an octet above 127 becomes another that is not either.
The names of header fields stay, their values do not.
"""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,75}:")
_ASCII: Final = bytes(octet if octet < 32 or octet > 126 else ord("x") for octet in range(256))
# 0xE4 begins a character of three octets, so a line that has it before anything else but those is not UTF-8.
_EIGHT_BIT: Final = _ASCII[:128] + b"\xe4" * 128
_CHARACTERS: Final = (
    (re.compile("[\x80-\u07ff]"), "ü"),
    (re.compile("[\u0800-\uffff]"), "€"),
    (re.compile("[\U00010000-\U0010ffff]"), "\U0001f600"),
)


class Filler:
    """The filler of one message; call ``line`` for each of its lines, in order, as they are on the wire."""

    def __init__(self) -> None:
        self._in_header = True

    def line(self, line: bytes) -> bytes:
        """Return the filler for a line with its line end."""
        kept = 0
        if self._in_header:
            self._in_header = line.strip(b"\r\n") != b""
            if name := _NAME.match(line):
                kept = name.end()
        return line[:kept] + fill(line[kept:])


def fill(octets: bytes) -> bytes:
    """Return filler of the same shape for a line, or for a part of one."""
    begun = len(octets) - len(octets.lstrip(b"."))
    begun += len(octets[begun:]) - len(octets[begun:].lstrip(b" \t"))
    ended = max(begun, len(octets.rstrip(b" \t\r\n")))
    return octets[:begun] + _fill(octets[begun:ended]) + octets[ended:]


def _fill(octets: bytes) -> bytes:
    if octets.isascii():
        return octets.translate(_ASCII)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.translate(_EIGHT_BIT)
    for characters, filler in _CHARACTERS:
        text = characters.sub(filler, text)
    return text.encode("utf-8").translate(bytes(_ASCII[:128]) + bytes(range(128, 256)))
