"""Ownership across fork: a child that does not exec closes its copies of what a started server owns.

``os.fork`` copies descriptors and greenlets. If the child were not stopped, both processes would read and write the
same connections. Owners register here; ``os.register_at_fork`` calls them, in whichever thread forks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod

Method = Callable[[], None]


class Registration:
    """The methods of one owner that a fork calls, as long as the owner lives or until ``cancel``.

    *disown* is called in the child. It closes the child's copies without a trace: no unlock, no last words, no event,
    no log line. An unlock or a ``shutdown`` there would reach the parent, as both processes share the open files.
    *before* is called in the process that is about to fork, *after* in the same when it has forked, or has failed to.
    """

    __slots__ = ("_after", "_before", "_disown")

    def __init__(self, disown: Method, *, before: Method | None = None, after: Method | None = None) -> None:
        self._disown = WeakMethod(disown, self._forget)
        self._before = None if before is None else WeakMethod(before)
        self._after = None if after is None else WeakMethod(after)
        _registrations[id(self)] = self

    def cancel(self) -> None:
        """Call nothing any more: the owner owns nothing."""
        _registrations.pop(id(self), None)

    def before(self) -> None:
        _call(self._before)

    def after(self) -> None:
        _call(self._after)

    def disown(self) -> None:
        _call(self._disown)

    def _forget(self, _: object) -> None:
        self.cancel()


_registrations: dict[int, Registration] = {}

_left: list[object] = []


def leave_to_parent(connection: object) -> None:
    """Keep *connection* as it is for ever: closing it, or freeing it, would say goodbye in the parent's name."""
    _left.append(connection)


def _call(method: WeakMethod[Method] | None) -> None:
    function = None if method is None else method()
    if function is not None:
        function()


def _before() -> None:
    for registration in list(_registrations.values()):
        registration.before()


def _after_in_parent() -> None:
    for registration in list(_registrations.values()):
        registration.after()


def _after_in_child() -> None:
    for registration in list(_registrations.values()):
        registration.disown()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
