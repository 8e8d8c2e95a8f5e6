"""Ownership across fork: a child that does not exec closes its copies of what a started server owns.

``os.fork`` copies descriptors and greenlets. Without a word to the child, both processes would read and write the same
connections. Owners register here; the calls come from ``os.register_at_fork``, in whichever thread forks.
"""

from __future__ import annotations

import os
import weakref


class Owner:
    """Base class of objects that have descriptors which only the process that opened them may use."""

    def before_fork(self) -> None:
        """Prepare for a fork that is about to happen in this process."""

    def after_fork_in_parent(self) -> None:
        """Undo ``before_fork``: the fork is done, or has failed."""

    def disown(self) -> None:
        """Close this process's copies without a trace, in the child: no unlock, no last words, no event, no log line.

        An unlock or a ``shutdown`` here would reach the parent, as both processes share the open files.
        """
        raise NotImplementedError


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def add(owner: Owner) -> None:
    """Have *owner* called at each fork, as long as it lives or until ``remove``."""
    _owners.add(owner)


def remove(owner: Owner) -> None:
    """Forget *owner*: it owns nothing any more."""
    _owners.discard(owner)


def _before() -> None:
    for owner in list(_owners):
        owner.before_fork()


def _after_in_parent() -> None:
    for owner in list(_owners):
        owner.after_fork_in_parent()


def _after_in_child() -> None:
    for owner in list(_owners):
        owner.disown()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
