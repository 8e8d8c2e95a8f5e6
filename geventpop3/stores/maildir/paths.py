"""An owner's name becomes a path only here, and never one outside the place that the template gives it."""

from __future__ import annotations

import os
import string
import unicodedata

from geventpop3.errors import ConfigError, StoreBroken

COMPONENT_OCTETS = 255
"""The longest file name of the usual file systems (NAME_MAX)."""

PLACEHOLDERS = ("user", "local", "domain")


class Template:
    """A path with ``{user}``, ``{local}`` (before the last @) and ``{domain}``, such as ``/srv/mail/{user}``.

    ``{{`` and ``}}`` are braces. A relative path is relative to where the program was started. Raises ConfigError.
    """

    def __init__(self, template: str) -> None:
        try:
            fields = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ConfigError(f"maildir template {template!r}: {error}") from None
        named = [field for _, field, _, _ in fields if field is not None]
        for _, field, spec, conversion in fields:
            if field is not None and (field not in PLACEHOLDERS or spec or conversion):
                known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ConfigError(f"maildir template {template!r}: unknown placeholder {{{field}}}, there are {known}")
        if not named:
            raise ConfigError(f"maildir template {template!r}: no placeholder such as {{user}}, all would share one")
        if "\0" in template:
            raise ConfigError(f"maildir template {template!r}: NUL in a path")
        self._template = os.path.abspath(template)
        self._split = named != ["user"]

    def path(self, owner: str) -> str:
        """The maildir of *owner*. Raises StoreBroken if there can be none of that name."""
        user = unicodedata.normalize("NFC", owner)
        if not self._split:
            return self._template.format(user=_component(user, owner))
        local, _, domain = user.rpartition("@") if "@" in user else (user, "", "")
        values = {"user": user, "local": local, "domain": domain}
        return self._template.format_map(_Checked(values, owner))


class _Checked(dict[str, str]):
    """Checks only the values that the template uses: an owner without a domain may have a ``{local}``."""

    def __init__(self, values: dict[str, str], owner: str) -> None:
        super().__init__(values)
        self._owner = owner

    def __getitem__(self, name: str) -> str:
        return _component(super().__getitem__(name), self._owner)


def _component(value: str, owner: str) -> str:
    """*value* if it is a name that a directory may have. Raises StoreBroken."""
    if not value or value[0] == "." or "/" in value:
        raise _no_maildrop(owner, "empty, hidden or more than one path component")
    if value.isascii():
        if not value.isprintable():
            raise _no_maildrop(owner, "control characters")
    elif any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise _no_maildrop(owner, "control characters, or octets that are not UTF-8")
    if len(value) * 4 > COMPONENT_OCTETS and len(value.encode("utf-8")) > COMPONENT_OCTETS:
        raise _no_maildrop(owner, f"over {COMPONENT_OCTETS} octets")
    return value


def _no_maildrop(owner: str, reason: str) -> StoreBroken:
    return StoreBroken("no maildrop can have this name", detail=f"owner {owner[:COMPONENT_OCTETS]!r}: {reason}")
