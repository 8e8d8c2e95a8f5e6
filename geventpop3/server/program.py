"""Logging and signal handling for a program that only serves."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import gevent

from geventpop3.forks import Registration

log = logging.getLogger("geventpop3.server")

_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that end a server, each with Python's default handler."""


class SignalHandlers:
    """Signal handlers that the event loop of the main thread calls, each in a greenlet of its own.

    A forked child gets the previous handlers back: without an event loop it could not be ended by signals otherwise.
    """

    def __init__(self, handlers: Mapping[signal.Signals, Callable[[], object]]) -> None:
        self._before = {number: signal.getsignal(number) for number in handlers}
        self._watchers: dict[signal.Signals, Any] = {
            number: gevent.signal_handler(number, handler) for number, handler in handlers.items()
        }
        self._registration = Registration(self.restore)

    def stop(self) -> None:
        """Restore the system's default: each signal ends the process at once."""
        for watcher in self._watchers.values():
            watcher.cancel()
        self._watchers.clear()

    def restore(self) -> None:
        """Restore the handlers that were set before."""
        self.stop()
        for number, before in self._before.items():
            signal.signal(number, before)
        self._registration.cancel()


def set_up_logging() -> None:
    """Write the log of ``geventpop3`` to standard error, unless the program has set up logging."""
    ours = logging.getLogger("geventpop3")
    if ours.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours.addHandler(handler)
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)


@contextmanager
def ending_by_signals(end: Callable[[], object]) -> Iterator[None]:
    """Call *end* at the first SIGINT or SIGTERM; a second one ends the process at once.

    A signal that the program handles itself is left alone. Outside the main greenlet of the main thread nothing is
    changed. Process 1 of a container never receives a SIGTERM that it does not handle (signal(7)). Python's default
    for SIGINT would raise KeyboardInterrupt in whichever greenlet runs, perhaps in the middle of an UPDATE.
    """
    if not gevent.get_hub().main_hub or gevent.getcurrent().parent is not None:
        yield
        return

    def received(number: signal.Signals) -> None:
        handlers.stop()
        log.info("%s: shutting down", number.name)
        end()

    handlers = SignalHandlers(
        {
            number: partial(received, number)
            for number, default in _DEFAULTS.items()
            if signal.getsignal(number) is default
        }
    )
    try:
        yield
    finally:
        handlers.restore()
