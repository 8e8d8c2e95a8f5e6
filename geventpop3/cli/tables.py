"""The tables of the TOML file: permitted keys, their values, and secrets kept in separate files.

A key may be written with ``-`` or ``_``. The error for an unknown key suggests the nearest known one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from geventpop3.cli.values import Check, did_you_mean, secret, text
from geventpop3.errors import ConfigError

SECRET_OCTETS = 4096
"""Maximum octets of a file with one secret."""


@dataclass(frozen=True, slots=True)
class Key:
    """The properties of a key of a table besides its name.

    A secret key may instead be given as ``..._file``, a file that holds the value; both are read as a KeptSecret.
    """

    check: Check = text
    is_needed: bool = False
    is_secret: bool = False


class KeptSecret:
    """A secret or the path of its file; ``read`` returns the secret."""

    __slots__ = ("_path", "_text")

    def __init__(self, text: str | None = None, *, path: str = "") -> None:
        self._text = text
        self._path = path

    def __repr__(self) -> str:
        return "<KeptSecret ****>"

    def read(self) -> str:
        """Return the secret, the only line if it is in a file. Raises ConfigError or OSError."""
        if self._text is not None:
            return self._text
        with open(self._path, "rb") as file:
            octets = file.read(SECRET_OCTETS + 1)
        # Some editors begin a file with a byte order mark.
        line = octets.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").removesuffix(b"\r")
        if not line or len(octets) > SECRET_OCTETS or any(octet in line for octet in b"\0\r\n"):
            raise ConfigError(f"{self._path}: must contain the secret in one line and nothing else")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{self._path}: not UTF-8") from None


def read_table(content: Mapping[str, Any], keys: Mapping[str, Key], outside: Collection[str] = ()) -> dict[str, Any]:
    """Return the values of the given keys, by name. Raises ConfigError, also if a required key is missing.

    *outside* are names that belong above the first table of a file; the error for one inside a table says so.
    """
    sources = {**{name: name for name in keys}, **{f"{name}_file": name for name in keys if keys[name].is_secret}}
    values: dict[str, Any] = {}
    for source, given in by_name(content, sources, outside).items():
        name = sources[source]
        with errors_about(source):
            if name in values:
                raise ConfigError(f"give {file_key(name)} or {file_key(name)}-file, not both")
            if not keys[name].is_secret:
                values[name] = keys[name].check(given)
            else:
                values[name] = KeptSecret(secret(given)) if source == name else KeptSecret(path=text(given))
    for name, key in keys.items():
        if key.is_needed and name not in values:
            hint = f", or {file_key(name)}-file" if key.is_secret else ""
            raise ConfigError(f"{file_key(name)} must be given{hint}")
    return values


def by_name(content: Mapping[str, Any], known: Collection[str], outside: Collection[str] = ()) -> dict[str, Any]:
    """Return *content* with ``_`` in the names. Raises ConfigError for an unknown key, or one that is given twice."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            if name in outside:
                raise ConfigError(f"{key!a}: unknown key in a table: move it above the first table")
            raise ConfigError(f"{key!a}: unknown key{did_you_mean(file_key(name), map(file_key, known))}")
        if name in values:
            raise ConfigError(f"{file_key(name)}: is given twice, with - and with _")
        values[name] = value
    return values


@contextmanager
def errors_about(name: str) -> Iterator[None]:
    """Put *name* before the text of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{file_key(name)}: {error}") from None


def file_key(name: str) -> str:
    """Return a name as it is written in the file."""
    return name.replace("_", "-")
