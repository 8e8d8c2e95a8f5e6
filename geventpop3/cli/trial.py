"""Trying out what only a login would find: other servers are asked within a time limit, and no secret is repeated."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from geventpop3.cli.tables import KeptSecret
from geventpop3.errors import ConfigError

T = TypeVar("T")

TRIAL_SECONDS = 20.0
"""For all that one back end is asked. Most give up earlier by time limits of their own."""

_SECRET_KEY = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)

_IN_ADDRESS = re.compile(r"(?:password|passwd|pwd)\s*=\s*'?([^\s';&]+)|://[^/@\s:]*:([^@\s]+)@", re.IGNORECASE)
"""A secret in a text that says how to connect: ``password=sesame``, ``postgresql://bob:sesame@host``."""


def within_seconds(what: str, function: Callable[[], T]) -> T:
    """Return what *function* returns in a thread of its own. Raises what it does, or ConfigError if it takes too long.

    A thread that does not come back is left behind: it ends with the process.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits for it
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TRIAL_SECONDS)
    if failure:
        raise failure[0]
    if not outcome:
        raise ConfigError(f"{what}{': ' if what else ''}no answer within {TRIAL_SECONDS:g} s")
    return outcome[0]


def secrets_of(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets in the values of a table, those of the table ``connect`` of a database too."""
    for value in given.values():
        if isinstance(value, KeptSecret):
            yield value.read()
    for key, value in given.get("connect", {}).items():
        if isinstance(value, str) and value:
            if _SECRET_KEY.search(key):
                yield value
            yield from (found[1] or found[2] for found in _IN_ADDRESS.finditer(value))


def masked(text: str, secrets: list[str]) -> str:
    """Return *text* with ``****`` for each of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text
