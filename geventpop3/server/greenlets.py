"""The greenlets of a server, which never run in a forked child.

A fork copies greenlets, and a child that waits for anything runs them. Ending a greenlet would run its ``finally``
clauses, so a child keeps the server's greenlets referenced instead, and resuming one does nothing there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent import Greenlet

_held: list[Greenlet] = []
"""The parent's greenlets that a fork copied into this process. Freeing one would run its ``finally`` clauses."""

_NOWHERE = 0
"""The home of greenlets that are never resumed: no process has this number."""

_forking: int | None = None
"""The process that is about to fork, from ``make_fork_safe`` to ``make_normal`` or, in the child, ``hold``."""


class ServerGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A greenlet of a server. It overrides nothing, so resuming it has no extra cost."""


class HomeGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A greenlet that is started and resumed only in the process *home*: that which made it, and no forked child.

    The child must not free it either, because that would run its ``finally`` clauses: see ``hold``, and
    ``forks.leave_to_parent``. A ServerGreenlet is one during a fork.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.home = os.getpid()
        super().__init__(*args, **kwargs)

    def run(self) -> None:
        # The event loop of gevent keeps the `switch` of a greenlet that has not started: that of the class it had then.
        if os.getpid() == self.home:
            super().run()

    def switch(self, *args: Any) -> Any:
        return super().switch(*args) if os.getpid() == self.home else None

    def throw(self, *args: Any) -> Any:
        return super().throw(*args) if os.getpid() == self.home else None


def spawn(function: Callable[..., Any], *args: Any) -> Greenlet:
    """Run *function* in a new ServerGreenlet, and return that; during a fork, make it fork-safe."""
    greenlet = ServerGreenlet.spawn(function, *args)
    if _forking is not None:
        _set_home([greenlet], _forking)
    return greenlet


def make_fork_safe(greenlets: Iterable[Greenlet]) -> None:
    """Make *greenlets*, and those spawned from now on, check before they run that they are still in this process.

    The greenlet that forks is left out: in the child it runs the program.
    """
    global _forking
    _forking = os.getpid()
    _set_home(greenlets, _forking)


def make_normal(greenlets: Iterable[Greenlet]) -> None:
    """Undo ``make_fork_safe`` in the process to which the greenlets belong."""
    global _forking
    _forking = None
    for greenlet in greenlets:
        if type(greenlet) is HomeGreenlet:
            greenlet.__class__ = ServerGreenlet
            del greenlet.home


def hold(greenlets: Iterable[Greenlet]) -> None:
    """Keep *greenlets* referenced for ever, so that they never run in this process, a child."""
    global _forking
    _forking = None
    held = list(greenlets)
    _set_home(held, _NOWHERE)
    _held.extend(held)


def _set_home(greenlets: Iterable[Greenlet], home: int) -> None:
    forking = gevent.getcurrent()
    for greenlet in greenlets:
        if isinstance(greenlet, (ServerGreenlet, HomeGreenlet)) and greenlet is not forking:
            greenlet.__class__ = HomeGreenlet
            greenlet.home = home
