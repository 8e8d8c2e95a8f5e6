"""Paths of maildirs, made from owners' names here only. No name leads outside the place that the template gives it."""

from __future__ import annotations

import os
import string
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from geventpop3.errors import ConfigError, StoreBroken

COMPONENT_OCTETS = 255
"""Octets of the longest file name of the usual file systems (NAME_MAX)."""


_REMEMBERED = 1024
"""Paths in the cache: a login needs its path twice, and owners log in again."""


class Template:
    """A path with ``{user}``, ``{local}`` (before the last @) and ``{domain}``, such as ``/srv/mail/{user}``.

    ``{{`` and ``}}`` are braces. A relative path is relative to the working directory at the start. Raises ConfigError.

    The directories before the first component with a placeholder are the fixed part. They belong to the operator and
    may be symbolic links; those below may belong to an owner. No component is ``.`` or ``..``: ``abspath`` removes
    those of the template, and no value of a placeholder is empty or begins with a dot.
    """

    def __init__(self, template: str) -> None:
        if "\0" in template:
            raise ConfigError(f"maildir template {template!r}: NUL in a path")
        self._template = os.path.abspath(template)
        try:
            fields = [field for field in string.Formatter().parse(self._template) if field[1] is not None]
        except ValueError as error:
            raise ConfigError(f"maildir template {template!r}: {error}") from None
        for _, name, spec, conversion in fields:
            if name not in _PARTS or spec or conversion:
                known = ", ".join(f"{{{part}}}" for part in _PARTS)
                raise ConfigError(
                    f"maildir template {template!r}: unknown placeholder {{{name}}}: the known ones are {known}"
                )
        if not fields:
            raise ConfigError(
                f"maildir template {template!r}: no placeholder such as {{user}}, so all users would share one Maildir"
            )
        components = self._template.split("/")
        first = next(place for place, component in enumerate(components) if _has_field(component))
        self.fixed = "/".join(components[:first]).format() or "/"
        """Path of the fixed part."""
        self._below = len(components) - first
        self._parts = {name: part for name, part in _PARTS.items() if any(field[1] == name for field in fields)}
        self.path: Callable[[str], str] = lru_cache(_REMEMBERED)(self._path)
        """Function that returns the maildir of an owner. It raises StoreBroken if the name cannot have one."""

    def steps(self, path: str) -> list[str]:
        """Return the steps to the maildir *path*: its first directory below the fixed part as a path, then names."""
        return path.rsplit("/", self._below - 1)

    def _path(self, owner: str) -> str:
        user = unicodedata.normalize("NFC", owner)
        return self._template.format_map({name: _component(part(user), owner) for name, part in self._parts.items()})


def _has_field(template: str) -> bool:
    return any(name is not None for _, name, _, _ in string.Formatter().parse(template))


def _local(user: str) -> str:
    return user.rpartition("@")[0] if "@" in user else user


def _domain(user: str) -> str:
    return user.rpartition("@")[2] if "@" in user else ""


_PARTS: dict[str, Callable[[str], str]] = {"user": str, "local": _local, "domain": _domain}


def _component(value: str, owner: str) -> str:
    """Return *value* if a directory may have that name. Raises StoreBroken otherwise."""
    if not value or value[0] == "." or "/" in value:
        raise _invalid_owner(owner, "empty, hidden or more than one path component")
    if value.isascii():
        if not value.isprintable():
            raise _invalid_owner(owner, "control characters")
    elif any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise _invalid_owner(owner, "control characters, or octets that are not UTF-8")
    if len(value) * 4 > COMPONENT_OCTETS and len(value.encode("utf-8")) > COMPONENT_OCTETS:
        raise _invalid_owner(owner, f"longer than {COMPONENT_OCTETS} octets")
    return value


def _invalid_owner(owner: str, reason: str) -> StoreBroken:
    return StoreBroken("no maildrop can have this name", detail=f"owner {owner[:COMPONENT_OCTETS]!r}: {reason}")
