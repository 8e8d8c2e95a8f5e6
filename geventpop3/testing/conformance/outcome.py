"""The outcomes of a check, and the functions that raise them."""

from __future__ import annotations

from typing import NoReturn


class Failed(Exception):
    """A rule that the server breaks; the text describes the behaviour."""


class NoConnection(Failed):
    """A server that cannot be reached."""


class Skipped(Exception):
    """A check that is not possible with this server or this maildrop; the text has the reason."""


class CannotRun(Exception):
    """A run that cannot begin or continue: no connection, a wrong password, a failed delivery."""


def fail(reason: str) -> NoReturn:
    """End the check: the server breaks the rule."""
    raise Failed(reason)


def skip(reason: str) -> NoReturn:
    """End the check: it is not possible here."""
    raise Skipped(reason)


def require(kept: bool, reason: str) -> None:
    """Raise Failed with *reason* unless the rule is kept."""
    if not kept:
        raise Failed(reason)
