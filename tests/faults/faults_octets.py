"""Input that no client sends: octets by chance and by grammar, from one seed, with a canary in all that is garbage."""

from __future__ import annotations

import random
from collections.abc import Iterator

from geventpop3.protocol.commands import COMMANDS

CANARY = b"cAnArY"
"""In every argument and every verb that is not right. No reply may hold it, and no log where a secret stood."""

_VERBS = [verb.encode() for verb in COMMANDS] + [b"XTND", b"HELO", b"GET", b"AUTHENTICATE", b"CMD_USER", b"__init__"]
_NUMBERS = [
    b"0", b"1", b"2", b"3", b"-1", b"+1", b"01", b"1.0", b"1e3", b"0x1", b"1_0", b"2147483648", b"4294967297",
    b"18446744073709551617", b"9" * 400, "\u0661".encode(), "\u00b2".encode(), "\uff11".encode(), b"1 2 3", b"1\t2",
]  # fmt: skip
_STRINGS = [
    b"", b" ", b"\t", b"%s%n%x", b"{0.__class__}", b"${jndi:ldap://x}", b"../../etc/passwd", b"\x00", b"\x1b[2J",
    b"\xff\xfe", "\u202eabc".encode(), b"\xc3", b"a\rb", b"*", b"====", b"." * 70, b"[AUTH] x", b"+OK",
    b"-ERR x", b"a:b",
]  # fmt: skip
_ENDS = [b"\r\n"] * 12 + [b"\n", b"\n", b"\r\r\n", b"\n\r", b"\r", b"", b"\x00\r\n", b" \t\r\n"]


class Fuzzer:
    """Sessions of *chance*: each is what a client sends, in the chunks in which it sends it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def session(self, login: bytes = b"") -> list[bytes]:
        """The octets of one session, after *login* (whole lines) if given."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.15:
            octets = chance.randbytes(chance.randrange(1, 3000))
        else:
            octets = b"".join(self._line() for _ in range(chance.randrange(1, 30)))
            if kind < 0.4:
                octets = self._mutated(octets)
        return list(self._cut(login + octets))

    def _line(self) -> bytes:
        chance = self._chance
        verb = chance.choice(_VERBS)
        style = chance.random()
        if style < 0.1:
            verb = CANARY + bytes([chance.randrange(256)]) + verb
        elif style < 0.2:
            verb = verb.lower() + chance.choice([b":", b"\t", b"\x00", b"\xa0", b""])
        elif style < 0.25:
            verb = b" " * chance.randrange(5)
        blank = chance.choice([b" ", b" ", b" ", b"  ", b"\t", b""])
        return verb + blank + blank.join(self._arguments()) + chance.choice(_ENDS)

    def _arguments(self) -> Iterator[bytes]:
        chance = self._chance
        for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 5])):
            style = chance.random()
            if style < 0.5:
                yield chance.choice(_NUMBERS)
            elif style < 0.85:
                yield CANARY + chance.choice(_STRINGS)
            elif style < 0.95:
                yield CANARY + chance.randbytes(chance.randrange(40))
            else:
                yield CANARY * chance.choice([40, 41, 160, 170, 180, 2000, 12000])

    def _mutated(self, octets: bytes) -> bytes:
        chance = self._chance
        changed = bytearray(octets)
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(changed) + 1)
            if chance.random() < 0.5:
                changed[at:at] = chance.randbytes(chance.randrange(1, 4))
            else:
                del changed[at : at + chance.randrange(1, 4)]
        return bytes(changed)

    def _cut(self, octets: bytes) -> Iterator[bytes]:
        chance = self._chance
        usual = chance.choice([1, 7, 100, 5000, 1_000_000])
        if usual == 1:
            octets = octets[:2000]
        at = 0
        while at < len(octets):
            size = chance.randint(1, usual)
            yield octets[at : at + size]
            at += size
