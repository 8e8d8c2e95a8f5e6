"""What a value may be: each check returns the value of a setting from what a file holds, or raises ConfigError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, Literal, cast

from geventpop3.errors import ConfigError

Check = Callable[[Any], Any]
"""The value of a setting, from what a file holds. Raises ConfigError with what is wrong with it."""


def text(value: Any) -> str:
    """Any text but the empty one."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{value!r} is not a text")
    return value


def secret(value: Any) -> str:
    """A text that is not repeated in what is said about it."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError("is not a text")
    return value


def hostname(value: Any) -> str:
    """The name of a host."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", value) is None:
        raise ConfigError(f"{value!r} is not the name of a host")
    return value


def switch(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is neither true nor false")
    return value


def seconds(value: Any) -> float:
    """At least a second: a deadline."""
    if not _is_number(value) or not 1 <= value < math.inf:
        raise ConfigError(f"{value!r} is not a number of seconds, at least 1")
    return cast("float", value)


def duration(value: Any) -> float:
    """Seconds, more than none."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise ConfigError(f"{value!r} is not a number of seconds, more than 0")
    return cast("float", value)


def delay(value: Any) -> float:
    """Seconds, or none."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise ConfigError(f"{value!r} is not a number of seconds, 0 or more")
    return cast("float", value)


def delays(value: Any) -> tuple[float, ...]:
    """Seconds, one after the other; there may be none of them."""
    if not isinstance(value, list):
        raise ConfigError(f"{value!r} is not a list of seconds")
    return tuple(map(delay, value))


def count(value: Any) -> int:
    """A whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{value!r} is not a whole number, at least 1")
    return value


def count_or_off(value: Any) -> int | None:
    """A whole number from 1; false is no bound at all."""
    return None if value is False else count(value)


def whole(value: Any) -> int:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{value!r} is not a whole number, 0 or more")
    return value


def days(value: Any) -> int | Literal["never"]:
    """Days that mail is kept, or that it always is."""
    if value == "never":
        return "never"
    try:
        return whole(value)
    except ConfigError:
        raise ConfigError(f'{value!r} is neither a whole number of days nor "never"') from None


def one_of(*names: str) -> Check:
    """One of these texts."""

    def check(value: Any) -> str:
        if value not in names:
            raise ConfigError(f"{value!r} is not one of {', '.join(names)}")
        return cast("str", value)

    return check


def texts(value: Any) -> tuple[str, ...]:
    """A text, or some."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{value!r} is not a text or a list of them")
    return tuple(map(text, given))


def networks(value: Any) -> tuple[str, ...]:
    """Networks of IP addresses."""
    given = texts(value)
    for each in given:
        try:
            ip_network(each)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return given


def table(value: Any) -> Mapping[str, Any]:
    """A table of TOML; what it holds, which may be secret, is not repeated."""
    if not isinstance(value, dict):
        raise ConfigError("is not a table")
    return value


def tables(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Tables of TOML, in their order."""
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise ConfigError("is not a list of tables, each of which begins with two brackets on both sides")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
