"""Where the slow parts of a back end run: in the calling thread, unless its user has threads for them.

Hashing burns a processor, so more of it at once than there are cores only takes memory; waiting for somebody's server
costs nothing, so many may. They never share threads: a server that is slow keeps no password from being hashed. Nor do
two back ends share those that wait: a server that is silent keeps nobody from another one, nor a file from being read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads(Protocol):
    """Runs functions; either method returns or raises what the function does.

    Raises StoreUnavailable if too many are waiting already.
    """

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What takes a processor some milliseconds."""

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What may wait, for a disk or a server."""

    def apart(self) -> Threads:
        """Return the threads of one back end of several: it alone has those that wait, all share those that hash."""


class CallingThread:
    """No threads: everything is done at once by whoever asks."""

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def apart(self) -> Self:
        return self


CALLING_THREAD = CallingThread()
