"""The greenlets of a server, which never run in a forked child.

A fork copies greenlets, and a child that waits for anything runs them. Ending a greenlet would run its ``finally``
clauses, so a child keeps the server's greenlets referenced instead, and resuming one does nothing there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import gevent
from gevent import Greenlet

_held: list[Greenlet] = []
"""The parent's greenlets that a fork copied into this process. Freeing one would run its ``finally`` clauses."""


class ServerGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A greenlet of a server. It overrides nothing, so resuming it has no extra cost."""


class _WaryGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A ServerGreenlet during a fork: it can be resumed only in the process *home*."""

    home: int

    def switch(self, *args: Any) -> Any:
        return super().switch(*args) if os.getpid() == self.home else None

    def throw(self, *args: Any) -> Any:
        return super().throw(*args) if os.getpid() == self.home else None


def make_wary(greenlets: Iterable[Greenlet]) -> None:
    """Make *greenlets* check, before they run, that they are still in this process.

    The greenlet that forks is left out: in the child it runs the program.
    """
    home, forking = os.getpid(), gevent.getcurrent()
    for greenlet in greenlets:
        if type(greenlet) is ServerGreenlet and greenlet is not forking:
            greenlet.__class__ = _WaryGreenlet
            greenlet.home = home


def make_normal(greenlets: Iterable[Greenlet]) -> None:
    """Undo ``make_wary`` in the process to which the greenlets belong."""
    for greenlet in greenlets:
        if type(greenlet) is _WaryGreenlet:
            greenlet.__class__ = ServerGreenlet
            del greenlet.home


def hold(greenlets: Iterable[Greenlet]) -> None:
    """Keep wary *greenlets* referenced for ever, so that they never run in this process, a child."""
    _held.extend(greenlets)
