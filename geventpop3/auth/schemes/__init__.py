"""Password schemes: conversion between ``{SCHEME}text`` and a secret, in the texts that Dovecot reads and writes.

    {PLAIN} {CLEARTEXT} {CLEAR}         the password itself; the only one that can serve APOP
    {SCRAM-SHA-256} {SCRAM-SHA-1}       iterations,salt,stored key,server key; can serve SCRAM
    {ARGON2ID}                          $argon2id$...; needs geventpop3[argon2]
    {BLF-CRYPT} {BCRYPT}                $2a$ $2b$ $2y$; needs geventpop3[bcrypt]
    {SHA256-CRYPT} {SHA512-CRYPT}       $5$ and $6$; need libxcrypt, as do the next two
    {MD5-CRYPT}                         $1$; only read
    {CRYPT}                             $y$ (yescrypt), $7$ (scrypt, also {SCRYPT}, needs nothing), and $1$ $2.$ $5$ $6$
    {PBKDF2}                            $1$salt$rounds$hex : HMAC-SHA1, Dovecot's own
    {SSHA} {SSHA256} {SSHA512}          base64 of digest and salt, with .HEX hexadecimal; only read, as are
    {SHA} {SHA1} {SHA256} {SHA512}      base64 or hexadecimal of a digest

A family of schemes is one module and its labels in the tables here. A text that is not exactly one of these is refused.
So is a cost with which one line of a file would take minutes of processor time or gigabytes.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from functools import partial

from geventpop3.auth.schemes.argon2id import Argon2idSecret
from geventpop3.auth.schemes.blf_crypt import BlfCryptSecret
from geventpop3.auth.schemes.digests import DIGESTS, DigestSecret
from geventpop3.auth.schemes.hashed import HashedSecret, WritableSecret
from geventpop3.auth.schemes.pbkdf2 import Pbkdf2Secret
from geventpop3.auth.schemes.scrypt import ScryptSecret
from geventpop3.auth.schemes.unix_crypt import (
    CryptSecret,
    Md5CryptSecret,
    Sha256CryptSecret,
    Sha512CryptSecret,
    YescryptSecret,
)
from geventpop3.auth.secret import PASSWORD_OCTETS, SCRAM_HASHES, ClearSecret, PasswordSecret, ScramSecret
from geventpop3.errors import ConfigError

__all__ = [
    "NAMES",
    "Argon2idSecret",
    "BlfCryptSecret",
    "CryptSecret",
    "DigestSecret",
    "HashedSecret",
    "Md5CryptSecret",
    "Pbkdf2Secret",
    "ScryptSecret",
    "Sha256CryptSecret",
    "Sha512CryptSecret",
    "WritableSecret",
    "YescryptSecret",
    "check_password",
    "default_scheme",
    "hash_password",
    "parse_secret",
]


def check_password(password: bytes) -> None:
    """Raise ConfigError if no client could log in with *password*: empty, too long, or with NUL, CR or LF."""
    if not password:
        raise ConfigError("a password must not be empty")
    if len(password) > PASSWORD_OCTETS:
        raise ConfigError(f"a password must have at most {PASSWORD_OCTETS} octets")
    if any(octet in password for octet in (b"\0", b"\r", b"\n")):
        raise ConfigError("a password must not contain NUL, CR or LF")


# Reading


def parse_secret(field: str) -> PasswordSecret:
    """Return the secret of ``{SCHEME}text``. Raises ConfigError, whose message holds no part of the field."""
    if (found := _FIELD.fullmatch(field)) is None:
        raise ConfigError("no {SCHEME} before the secret")
    label, dot, encoding = found[1].upper().partition(".")
    if label in DIGESTS:
        return DigestSecret.parse(label, encoding if dot else None, found[2])
    if dot or (parse := _PARSERS.get(label)) is None:
        raise ConfigError(f"unknown scheme: give one of {', '.join(sorted(_PARSERS.keys() | DIGESTS.keys()))}")
    return parse(found[2])


def _parse_clear(text: str) -> PasswordSecret:
    octets = text.encode("utf-8")
    check_password(octets)
    return ClearSecret(octets)


def _parse_crypt(text: str) -> PasswordSecret:
    """Return the secret of a crypt(3) text, by the characters between its first two ``$``."""
    prefix = text[: text.find("$", 1) + 1]
    if (parse := _CRYPT_PARSERS.get(prefix)) is None:
        raise ConfigError(f"unknown kind of {{CRYPT}} secret: it must begin with one of {' '.join(_CRYPT_PARSERS)}")
    return parse(text)


def _parse_scram(label: str, text: str) -> PasswordSecret:
    return ScramSecret.parse(f"{{{label}}}{text}")


_FIELD = re.compile(r"\{([^{}]*)\}(.*)", re.DOTALL)

_SCRAM_LABELS = tuple(f"SCRAM-{hash_name}" for hash_name in SCRAM_HASHES)

_CRYPT_PARSERS: Mapping[str, Callable[[str], PasswordSecret]] = {
    "$y$": YescryptSecret.parse,
    "$7$": ScryptSecret.parse,
    "$2a$": BlfCryptSecret.parse,
    "$2b$": BlfCryptSecret.parse,
    "$2y$": BlfCryptSecret.parse,
    "$6$": Sha512CryptSecret.parse,
    "$5$": Sha256CryptSecret.parse,
    "$1$": Md5CryptSecret.parse,
}

_PARSERS: Mapping[str, Callable[[str], PasswordSecret]] = {
    "PLAIN": _parse_clear,
    "CLEARTEXT": _parse_clear,
    "CLEAR": _parse_clear,
    **{label: partial(_parse_scram, label) for label in _SCRAM_LABELS},
    "ARGON2ID": Argon2idSecret.parse,
    "BLF-CRYPT": BlfCryptSecret.parse,
    "BCRYPT": BlfCryptSecret.parse,
    "SHA512-CRYPT": Sha512CryptSecret.parse,
    "SHA256-CRYPT": Sha256CryptSecret.parse,
    "MD5-CRYPT": Md5CryptSecret.parse,
    "CRYPT": _parse_crypt,
    "SCRYPT": ScryptSecret.parse,
    "PBKDF2": Pbkdf2Secret.parse,
}
"""Parsers by label in capitals; labels are compared without case."""


# Writing


def hash_password(password: bytes, name: str | None = None) -> str:
    """Return ``{SCHEME}text`` of *password* for a password file, by default with ``default_scheme()``.

    *name* is one of ``NAMES``. The call takes some ten milliseconds. Raises ConfigError for a scheme that is unknown or
    not installed, and for a password that no client can send, the scheme does not take or the file cannot hold.
    """
    name = default_scheme() if name is None else name.upper()
    check_password(password)
    if (write := _WRITERS.get(name)) is None:
        raise ConfigError(f"unknown scheme {name!a}: give one of {', '.join(NAMES)}")
    return write(password)


def default_scheme() -> str:
    """Return ARGON2ID if its extra is installed, else SCRYPT.

    In the standard library only scrypt costs an attacker memory too, and Dovecot reads it.
    """
    return "ARGON2ID" if importlib.util.find_spec("argon2") is not None else "SCRYPT"


def _write_clear(password: bytes) -> str:
    if b":" in password:
        raise ConfigError("a clear-text password must not contain a colon, which ends the field")
    try:
        return "{PLAIN}" + password.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("a clear-text password must be UTF-8") from None


def _write_scram(hash_name: str, password: bytes) -> str:
    return ScramSecret.of(password, hash_name).field


_WRITERS: Mapping[str, Callable[[bytes], str]] = {
    "ARGON2ID": Argon2idSecret.field_of,
    "BLF-CRYPT": BlfCryptSecret.field_of,
    "YESCRYPT": YescryptSecret.field_of,
    "SCRYPT": ScryptSecret.field_of,
    "SHA512-CRYPT": Sha512CryptSecret.field_of,
    "SHA256-CRYPT": Sha256CryptSecret.field_of,
    "PBKDF2": Pbkdf2Secret.field_of,
    "SCRAM-SHA-256": partial(_write_scram, "SHA-256"),
    "SCRAM-SHA-1": partial(_write_scram, "SHA-1"),
    "PLAIN": _write_clear,
}

NAMES = tuple(_WRITERS)
"""Names of schemes that ``hash_password`` writes; YESCRYPT and SCRYPT are written as {CRYPT}."""
