"""The greenlets of a server, which never run in a forked child.

gevent copies greenlets at a fork, and a child that waits for anything runs them. A greenlet cannot be ended without
running its ``finally`` clauses, so those of a server are held instead: whatever would resume them does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import gevent
from gevent import Greenlet

_held: list[Greenlet] = []
"""The greenlets that were left in this process by a fork. Freeing one would run its ``finally`` clauses."""


class ServerGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A greenlet of a server. It overrides nothing, so that resuming it costs nothing more."""


class _WaryGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A ServerGreenlet around a fork: it is resumed in the process *home* alone."""

    home: int

    def switch(self, *args: Any) -> Any:
        return super().switch(*args) if os.getpid() == self.home else None

    def throw(self, *args: Any) -> Any:
        return super().throw(*args) if os.getpid() == self.home else None


def make_wary(greenlets: Iterable[Greenlet]) -> None:
    """Have *greenlets* look before they run whether a fork has put them into another process.

    The one that forks is left out: in the child it is the program.
    """
    home, forking = os.getpid(), gevent.getcurrent()
    for greenlet in greenlets:
        if type(greenlet) is ServerGreenlet and greenlet is not forking:
            greenlet.__class__ = _WaryGreenlet
            greenlet.home = home


def make_normal(greenlets: Iterable[Greenlet]) -> None:
    """Undo ``make_wary`` in the process that the greenlets belong to."""
    for greenlet in greenlets:
        if type(greenlet) is _WaryGreenlet:
            greenlet.__class__ = ServerGreenlet
            del greenlet.home


def hold(greenlets: Iterable[Greenlet]) -> None:
    """Keep wary *greenlets* from running in this process, a child, for ever."""
    _held.extend(greenlets)
