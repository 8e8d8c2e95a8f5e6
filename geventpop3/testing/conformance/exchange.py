"""The record of the commands and replies of a check, with secrets masked."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "****"
SHOWN_OCTETS = 160
SHOWN_LINES = 40

_SHORTEST_SECRET = 3
"""Octets of the shortest password that is searched for everywhere; a shorter one is masked only where it is sent."""


class ExchangeRecord:
    """Lines in the notation of dialogues: ``C:`` for the client, ``S:`` for the server, ``--`` for events."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        self._secrets = sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._lines: list[str] = []

    def sent(self, octets: bytes, secret: bytes = b"") -> None:
        """Record octets of the client; *secret* is masked."""
        self._add("C", octets, secret)

    def received(self, octets: bytes) -> None:
        """Record octets of the server."""
        self._add("S", octets, b"")

    def note(self, text: str) -> None:
        """Record an event."""
        self._lines.append(f"-- {text}")

    def lines(self) -> list[str]:
        """Return the record; only the beginning and the end if it is long."""
        left_out = len(self._lines) - SHOWN_LINES
        if left_out <= 0:
            return list(self._lines)
        head = SHOWN_LINES // 3
        tail = SHOWN_LINES - head
        return [*self._lines[:head], f"-- {left_out} lines omitted", *self._lines[-tail:]]

    def _add(self, who: str, octets: bytes, secret: bytes) -> None:
        for hidden in ([secret] if secret else []) + self._secrets:
            octets = octets.replace(hidden, MASK.encode())
        self._lines.extend(f"{who}{shown(line)}" for line in octets.splitlines(keepends=True) if line)


def shown(line: bytes) -> str:
    """Return a line in the notation of dialogues: plain text, or an escaped string if some octets are not printable."""
    text = line.removesuffix(b"\r\n")
    more = len(text) - SHOWN_OCTETS
    end = f" ({more} more octets)" if more > 0 else ""
    text = text[:SHOWN_OCTETS]
    is_plain = line.endswith(b"\r\n") and all(0x20 <= octet < 0x7F for octet in text) and not text.endswith(b" ")
    if is_plain:
        return f": {text.decode('ascii')}{end}" if text else ":"
    octets = text if more > 0 else line[:SHOWN_OCTETS]
    escaped = "".join(_ESCAPES.get(one) or (chr(one) if 0x20 <= one < 0x7F else f"\\x{one:02x}") for one in octets)
    return f'! "{escaped}"{end}'


def quoted(line: bytes) -> str:
    """Return a line for use in a sentence: in quotes, with unprintable octets escaped."""
    text = shown(line)
    return text[2:] if text.startswith("! ") else f'"{text[2:]}"'


_ESCAPES = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x00: "\\0", 0x22: '\\"', 0x5C: "\\\\"}
