"""The base 64 of crypt(3): ``./0-9A-Za-z``, lowest bits first; it differs from that of RFC 4648."""

from __future__ import annotations

import os

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

CHARACTER = "[./0-9A-Za-z]"
"""Regular expression of one character, which is 6 bits."""

LAST_OF_2 = "[./01]"
"""Regular expression of the second of two characters that stand for one octet; the extra bits are zero."""

LAST_OF_3 = "[./0-9A-D]"
"""Regular expression of the third of three characters that stand for two octets."""


def fresh_salt() -> bytes:
    """Return 96 random bits as 16 characters."""
    return "".join(ALPHABET[octet & 63] for octet in os.urandom(16)).encode("ascii")


def number_of(text: str) -> int:
    """Return the number that the characters stand for, lowest first."""
    return sum(ALPHABET.index(character) << 6 * i for i, character in enumerate(text))


def text_of(number: int, length: int) -> str:
    """Return the number in *length* characters."""
    return "".join(ALPHABET[number >> 6 * i & 63] for i in range(length))


def encoded(octets: bytes) -> bytes:
    """Return each three octets as four characters; a rest of one octet as two, of two as three."""
    pieces = (octets[i : i + 3] for i in range(0, len(octets), 3))
    return "".join(text_of(int.from_bytes(piece, "little"), len(piece) + 1) for piece in pieces).encode("ascii")
