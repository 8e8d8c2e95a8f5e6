"""Checks of values: each returns the value of a setting from the value in a file, or raises ConfigError.

The error text has the given value, the wanted kind, and the correct notation if only the quotes are wrong.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any, Literal, cast

from geventpop3.errors import ConfigError

Check = Callable[[Any], Any]
"""A function that returns the value of a setting from the value in a file. Raises ConfigError with the reason."""


def text(value: Any) -> str:
    """Return the text unless it is empty."""
    if isinstance(value, str):
        return _check_text(value, f"{described(value)} ")
    raise ConfigError(f"{described(value)} is not a string" + (": write it in quotes" if _is_number(value) else ""))


def secret(value: Any) -> str:
    """Return a text that the error does not repeat."""
    if isinstance(value, str):
        return _check_text(value, "")
    raise ConfigError(f"is not a string, but {kind(value)}")


def hostname(value: Any) -> str:
    """Return the name of a host."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", value) is None:
        raise ConfigError(f"{described(value)} is not a host name")
    return value


def switch(value: Any) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        hint = ": write it without quotes" if value in ("true", "false") else ""
        raise ConfigError(f"{described(value)} is neither true nor false{hint}")
    return value


def seconds(value: Any) -> float:
    """Return the seconds of a deadline, at least 1."""
    if not _is_number(value) or not 1 <= value < math.inf:
        raise _number_error(value, "is not a number of seconds, at least 1")
    return cast("float", value)


def duration(value: Any) -> float:
    """Return seconds, more than 0."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise _number_error(value, "is not a number of seconds, more than 0")
    return cast("float", value)


def delay(value: Any) -> float:
    """Return seconds, 0 or more."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise _number_error(value, "is not a number of seconds, 0 or more")
    return cast("float", value)


def delays(value: Any) -> tuple[float, ...]:
    """Return a sequence of delays in seconds, which may be empty."""
    if not isinstance(value, list):
        raise ConfigError(f"{described(value)} is not a list of seconds, such as [0, 1, 2.5]")
    return tuple(map(delay, value))


def count(value: Any) -> int:
    """Return a whole number, 1 or more."""
    return _whole(value, 1, "is not a whole number, at least 1")


def count_or_off(value: Any) -> int | None:
    """Return a whole number, 1 or more, or None (no limit) for false."""
    return None if value is False else _whole(value, 1, "is neither a whole number, at least 1, nor false")


def whole_number(value: Any) -> int:
    """Return a whole number, 0 or more."""
    return _whole(value, 0, "is not a whole number, 0 or more")


def days(value: Any) -> int | Literal["never"]:
    """Return the days that mail is kept, or "never" if it does not expire."""
    return "never" if value == "never" else _whole(value, 0, 'is neither a whole number of days nor "never"')


def one_of(*names: str) -> Check:
    """Return a check for one of these texts."""

    def check(value: Any) -> str:
        if value not in names:
            hint = did_you_mean(value, names) if isinstance(value, str) else ""
            raise ConfigError(f"{described(value)} is not one of {', '.join(names)}{hint}")
        return cast("str", value)

    return check


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, or a single text as a tuple."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{described(value)} is not a string or a list of strings")
    return tuple(map(text, given))


def networks(value: Any) -> tuple[str, ...]:
    """Return networks of IP addresses."""
    given = texts(value)
    for each in given:
        try:
            ip_network(each)
        except ValueError as error:
            raise ConfigError(f"{error}: a network is written as 192.0.2.0/24 or 2001:db8::/32") from None
    return given


def table(value: Any) -> Mapping[str, Any]:
    """Return a TOML table; its content may be secret and is not in the error."""
    if not isinstance(value, dict):
        raise ConfigError(f"is not a table, but {kind(value)}")
    return value


def tables(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return a list of TOML tables, in their order."""
    if isinstance(value, dict):
        raise ConfigError(
            "is one table, not a list of tables: begin it with [[authenticator]], two brackets on both sides"
        )
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise ConfigError("is not a list of tables: begin each with [[authenticator]]")
    return tuple(value)


# Error texts


def described(value: Any) -> str:
    """Return a value as in the file, with its kind for a text or list; of a table only the kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return kind(value)
    if isinstance(value, (str, list)):
        return f"the {'string' if isinstance(value, str) else 'list'} {value!r}"
    return str(value)


def kind(value: Any) -> str:
    """Return the kind of a value that must not be repeated."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), "a date or a time")


def _number_error(value: Any, complaint: str) -> ConfigError:
    is_quoted = isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) is not None
    return ConfigError(f"{described(value)} {complaint}" + (": write it without quotes" if is_quoted else ""))


def _whole(value: Any, least: int, complaint: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _number_error(value, complaint)
    return value


def _check_text(value: str, name: str) -> str:
    if not value:
        raise ConfigError(f"{name}is empty")
    if "\0" in value:
        raise ConfigError(f"{name}contains NUL")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


RESEMBLES = 0.7
"""Minimum similarity for a suggestion, so that ``port`` does not suggest ``proxy`` (0.67) or another unrelated name."""


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ``: did you mean NAME?`` to append to an error text, or nothing if no name is similar.

    *prefix* is common to all names and is ignored in the comparison.
    """
    bare = list(dict.fromkeys(each.removeprefix(prefix) for each in known))
    words = sorted(re.split("[-_]", name.removeprefix(prefix)))
    near = [each for each in bare if sorted(re.split("[-_]", each)) == words]  # "listen-tls"
    near = near or difflib.get_close_matches(name.removeprefix(prefix), bare, 1, RESEMBLES)
    return f": did you mean {prefix}{near[0]}?" if near else ""
