"""The tables of the TOML file: which keys one may have, what their values are, and secrets kept in files of their own.

A key may be written with ``-`` or ``_``. One that is not known is told with the nearest that is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from geventpop3.cli.values import Check, did_you_mean, secret, text
from geventpop3.errors import ConfigError

SECRET_OCTETS = 4096
"""The most that a file with one secret holds."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key of a table besides its name.

    A secret one has a sister, ``..._file``, whose file holds the value; what is read is a KeptSecret.
    """

    check: Check = text
    is_needed: bool = False
    is_secret: bool = False


class KeptSecret:
    """A secret, or where it is; ``read`` gets it."""

    __slots__ = ("_path", "_text")

    def __init__(self, text: str | None = None, *, path: str = "") -> None:
        self._text = text
        self._path = path

    def __repr__(self) -> str:
        return "<KeptSecret ****>"

    def read(self) -> str:
        """The secret; of a file its only line. Raises ConfigError or OSError."""
        if self._text is not None:
            return self._text
        with open(self._path, "rb") as file:
            octets = file.read(SECRET_OCTETS + 1)
        # Some editors begin a file with a byte order mark.
        line = octets.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").removesuffix(b"\r")
        if not line or len(octets) > SECRET_OCTETS or any(octet in line for octet in b"\0\r\n"):
            raise ConfigError(f"{self._path}: not one line with a secret and nothing else")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{self._path}: not UTF-8") from None


def read_table(content: Mapping[str, Any], keys: Mapping[str, Key], outside: Collection[str] = ()) -> dict[str, Any]:
    """The values of what is given, by name. Raises ConfigError, also if a key is missing that is needed.

    *outside* are names that belong above the first table of a file: whoever writes one below it is told so.
    """
    sources = {**{name: name for name in keys}, **{f"{name}_file": name for name in keys if keys[name].is_secret}}
    values: dict[str, Any] = {}
    for source, given in by_name(content, sources, outside).items():
        name = sources[source]
        with about(source):
            if name in values:
                raise ConfigError(f"give {shown(name)} or {shown(name)}-file, not both")
            if not keys[name].is_secret:
                values[name] = keys[name].check(given)
            else:
                values[name] = KeptSecret(secret(given)) if source == name else KeptSecret(path=text(given))
    for name, key in keys.items():
        if key.is_needed and name not in values:
            hint = f", or {shown(name)}-file" if key.is_secret else ""
            raise ConfigError(f"{shown(name)} must be given{hint}")
    return values


def by_name(content: Mapping[str, Any], known: Collection[str], outside: Collection[str] = ()) -> dict[str, Any]:
    """What *content* holds, by names with ``_``. Raises ConfigError for what is not known, or is there twice."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            if name in outside:
                raise ConfigError(f"{key!a}: unknown key here: it belongs above the first table")
            raise ConfigError(f"{key!a}: unknown key{did_you_mean(shown(name), map(shown, known))}")
        if name in values:
            raise ConfigError(f"{shown(name)}: is there twice, with - and with _")
        values[name] = value
    return values


@contextmanager
def about(name: str) -> Iterator[None]:
    """Within it what a ConfigError says is said of *name*."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{shown(name)}: {error}") from None


def shown(name: str) -> str:
    """A name as it is written in the file."""
    return name.replace("_", "-")
