"""How a check ends, and how it says so."""

from __future__ import annotations

from typing import NoReturn


class Failed(Exception):
    """A server that breaks the rule; the text says what it did."""


class Skipped(Exception):
    """A check that cannot be made with this server or this maildrop; the text says why."""


class CannotRun(Exception):
    """A run that cannot begin or go on: no connection, a wrong password, a delivery that fails."""


def fail(reason: str) -> NoReturn:
    """End the check: the server breaks the rule."""
    raise Failed(reason)


def skip(reason: str) -> NoReturn:
    """End the check: it cannot be made here."""
    raise Skipped(reason)


def expect(kept: bool, reason: str) -> None:
    """Raise Failed with *reason* unless the rule is kept."""
    if not kept:
        raise Failed(reason)
