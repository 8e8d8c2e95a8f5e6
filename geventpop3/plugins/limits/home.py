"""Greenlets that run in the process that made them, and in no forked child of it."""

from __future__ import annotations

import os
from typing import Any

from gevent import Greenlet


class HomeGreenlet(Greenlet):  # type: ignore[misc]  # gevent is untyped
    """A greenlet that a forked child never resumes, whatever it waited for.

    The child must not free it either, because that would run its ``finally`` clauses: see ``forks.leave_to_parent``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._home = os.getpid()
        super().__init__(*args, **kwargs)

    def switch(self, *args: Any) -> Any:
        return super().switch(*args) if os.getpid() == self._home else None

    def throw(self, *args: Any) -> Any:
        return super().throw(*args) if os.getpid() == self._home else None
