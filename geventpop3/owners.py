"""Canonical form of login names and owners, made once, so that all comparisons and counts use the same text.

The form is Unicode's NFC. The site's setting makes part of it lower case: nothing (``keep``), the domain after the last
@ (``domain``), or all (``lower``). RFC 5321 section 2.4: "the local-part of a mailbox MUST BE treated as case
sensitive", and domains "are not case sensitive".
"""

from __future__ import annotations

import unicodedata
from typing import Final, Literal

from geventpop3.errors import HandedOverError, StoreBroken

UsernameCase = Literal["domain", "lower", "keep"]

USERNAME_CASES: Final = ("domain", "lower", "keep")

_UNUSABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of control characters, octets that were not UTF-8, and line ends: no path or log line can hold them."""

_SHOWN = 255
"""Characters of an owner that the log shows."""


def canonical_name(name: str, case: UsernameCase) -> str:
    """Return the canonical form of *name*; *case* decides which spellings are the same name."""
    if not name.isascii():
        return _canonical(name, case)
    if name.islower():
        return name  # canonical for each *case*
    if case == "domain":
        local, at, domain = name.rpartition("@")
        return f"{local}@{domain.lower()}" if at else name
    return name.lower() if case == "lower" else name


def canonical_owner(owner: str, case: UsernameCase) -> str:
    """Return the canonical form of *owner*. Raises StoreBroken if no maildrop can have this name."""
    if not isinstance(owner, str):
        raise HandedOverError(f"an authenticator returned a {type(owner).__name__}: return the owner as a str, or None")
    if not owner:
        raise _invalid_owner(owner, "empty")
    if owner.isascii():
        if not owner.isprintable():
            raise _invalid_owner(owner, "control characters")
    elif any(unicodedata.category(character) in _UNUSABLE for character in owner):
        raise _invalid_owner(owner, "control characters, or octets that are not UTF-8")
    return canonical_name(owner, case)


def _canonical(name: str, case: UsernameCase) -> str:
    text = unicodedata.normalize("NFC", name)
    if case == "keep":
        return text
    local, at, rest = ("", "", text) if case == "lower" else text.rpartition("@")
    if case == "domain" and not at:
        return text
    # Lower case, character by character, as RFC 5895 section 2 does for domains. Case folding goes further: it makes
    # "strasse" of "straße". These are two domains (IDNA2008), so the mail of two people would be mixed.
    lowered = "".join(character.lower() for character in rest)
    return unicodedata.normalize("NFC", local + at + lowered)


def _invalid_owner(owner: str, reason: str) -> StoreBroken:
    return StoreBroken("no maildrop can have this name", detail=f"owner {owner[:_SHOWN]!r}: {reason}")
