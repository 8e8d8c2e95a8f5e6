"""The ``[limits]`` table: the rules of the limits on logins, and where what is known of logins is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geventpop3.assembly.trial import within_seconds
from geventpop3.config import NAMES, Key, read_table
from geventpop3.config.checks import count, count_or_off, delay, delays, duration, networks
from geventpop3.errors import ConfigError
from geventpop3.plugins.limits import LoginLimits, RedisLedger, Rules

RULES: Mapping[str, Key] = {
    "delays": Key(delays),
    "user_delays": Key(delays),
    "user_patience": Key(delay),
    "window": Key(duration),
    "ban_after": Key(count_or_off),
    "ban_seconds": Key(duration),
    "at_once": Key(count),
    "patience": Key(delay),
    "address_logins_per_minute": Key(count_or_off),
    "user_logins_per_minute": Key(count_or_off),
    "user_sessions": Key(count_or_off),
    "trusted": Key(lambda value: () if value == [] else networks(value)),
}
"""The fields of ``Rules``; false switches off what can be."""

SHARED: Mapping[str, Key] = {"redis": Key(is_secret=True), "prefix": Key(), "key": Key(is_secret=True)}
"""What processes share. An address of Redis may hold a password."""


def make_limits(content: Mapping[str, Any], *, check: bool = False) -> LoginLimits:
    """The plugin. Raises ConfigError; if *check* is true also where Redis does not answer as it should."""
    given = read_table(content, {**RULES, **SHARED}, NAMES)
    redis, key = given.pop("redis", None), given.pop("key", None)
    prefix = {"prefix": given.pop("prefix")} if "prefix" in given else {}
    if redis is None and prefix:
        raise ConfigError("prefix: is for the keys in Redis, so redis must be given")
    ledger = None if redis is None else RedisLedger(redis.read(), **prefix)
    if check and ledger is not None:
        within_seconds("redis", ledger.check)
    return LoginLimits(Rules(**given), ledger, key=None if key is None else key.read().encode("utf-8"))
