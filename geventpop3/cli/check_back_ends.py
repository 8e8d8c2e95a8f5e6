"""Trial queries for errors that only a login would find, with a time limit and with secrets masked."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from geventpop3.cli.tables import KeptSecret
from geventpop3.errors import ConfigError

T = TypeVar("T")

TRIAL_SECONDS = 20.0
"""Seconds for all queries to one back end. Most give up earlier by time limits of their own."""

_SECRET_KEY = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)

_IN_ADDRESS = re.compile(r"(?:password|passwd|pwd)\s*=\s*'?([^\s';&]+)|://[^/@\s:]*:([^@\s]+)@", re.IGNORECASE)
"""A secret in a connection text: ``password=sesame``, ``postgresql://bob:sesame@host``."""


def run_with_timeout(what: str, function: Callable[[], T]) -> T:
    """Run *function* in a thread of its own and return its result.

    Raises its error, or ConfigError if it takes too long; its thread then runs on until the process ends.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  # raised again in the calling thread
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
    """Yield the secrets in the values of a table, also in the ``connect`` table of a database."""
    for value in given.values():
        if isinstance(value, KeptSecret):
            yield value.read()
    for key, value in given.get("connect", {}).items():
        if isinstance(value, str) and value:
            if _SECRET_KEY.search(key):
                yield value
            yield from (found[1] or found[2] for found in _IN_ADDRESS.finditer(value))


def masked(text: str, secrets: list[str]) -> str:
    """Return *text* with ``****`` in place of each secret."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text
