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
    """Fork handlers of one owner, which hold as long as the owner lives or until ``cancel``.

    *disown* is called in the child. It closes the child's copies silently: no unlock, no output, no event, no log line.
    An unlock or a ``shutdown`` there would reach the parent, as both processes share the open files. *before* is called
    in the process that is about to fork. *after* is called in the same process when it has forked, or has failed to.
    """

    __slots__ = ("_after", "_before", "_disown")

    def __init__(self, disown: Method, *, before: Method | None = None, after: Method | None = None) -> None:
        self._disown = WeakMethod(disown, self._forget)
        self._before = None if before is None else WeakMethod(before)
        self._after = None if after is None else WeakMethod(after)
        _registrations[id(self)] = self

    def cancel(self) -> None:
        """Cancel all calls: the owner owns nothing any more."""
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
    """Keep *connection* as it is for ever: closing or freeing it would end it in the parent's name."""
    _left.append(connection)


def _call(method: WeakMethod[Method] | None) -> None:
    function = None if method is None else method()
    if function is not None:
        function()


def _each(method: Callable[[Registration], None]) -> None:
    """Call the *method* of all registrations; raise the first exception only at the end, so that all are called."""
    raised: Exception | None = None
    for registration in list(_registrations.values()):
        try:
            method(registration)
        except Exception as error:  # noqa: BLE001  # a third party's store may raise any
            raised = raised or error
    if raised is not None:
        raise raised


def _before() -> None:
    _each(Registration.before)


def _after_in_parent() -> None:
    _each(Registration.after)


def _after_in_child() -> None:
    _each(Registration.disown)


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
