"""The base 64 of crypt(3), ``./0-9A-Za-z`` with the lowest bits first, which is not that of RFC 4648."""

from __future__ import annotations

import os

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

CHARACTER = "[./0-9A-Za-z]"
"""A regular expression of one character, which is 6 bits."""

LAST_OF_2 = "[./01]"
"""The second of two characters that stand for one octet: the bits that are left over are zero."""

LAST_OF_3 = "[./0-9A-D]"
"""The third of three characters that stand for two octets."""


def fresh_salt() -> bytes:
    """96 random bits as 16 characters."""
    return "".join(ALPHABET[octet & 63] for octet in os.urandom(16)).encode("ascii")


def number_of(text: str) -> int:
    """The number that characters stand for, the lowest first."""
    return sum(ALPHABET.index(character) << 6 * i for i, character in enumerate(text))


def text_of(number: int, length: int) -> str:
    """The number in *length* characters."""
    return "".join(ALPHABET[number >> 6 * i & 63] for i in range(length))


def encoded(octets: bytes) -> bytes:
    """Each three octets as four characters; one that is left over as two, two as three."""
    pieces = (octets[i : i + 3] for i in range(0, len(octets), 3))
    return "".join(text_of(int.from_bytes(piece, "little"), len(piece) + 1) for piece in pieces).encode("ascii")
