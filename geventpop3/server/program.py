"""The manners of a program that serves and does nothing else: it logs somewhere, and signals end it."""

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
"""The signals that end a server, and what Python does with each if the program says nothing."""


class SignalHandlers:
    """Functions that the event loop of the main thread calls at signals, each in a greenlet of its own.

    A forked child has what Python had before: it could not be ended otherwise, where it runs no event loop.
    """

    def __init__(self, handlers: Mapping[signal.Signals, Callable[[], object]]) -> None:
        self._before = {number: signal.getsignal(number) for number in handlers}
        self._watchers: dict[signal.Signals, Any] = {
            number: gevent.signal_handler(number, handler) for number, handler in handlers.items()
        }
        self._registration = Registration(self.restore)

    def stop(self) -> None:
        """Have each signal end the process at once, which is the system's default."""
        for watcher in self._watchers.values():
            watcher.cancel()
        self._watchers.clear()

    def restore(self) -> None:
        """Undo all of it."""
        self.stop()
        for number, before in self._before.items():
            signal.signal(number, before)
        self._registration.cancel()


def set_up_logging() -> None:
    """Write the lines of ``geventpop3`` to standard error, unless the program has set up logging."""
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
    """Call *end* at the first SIGINT or SIGTERM, each unless the program handles it; a second ends the process at once.

    Nothing is changed outside the main greenlet of the main thread. As process 1 of a container, a program that handles
    no SIGTERM never sees it (signal(7)). What Python raises at SIGINT would come up in whichever greenlet runs, in the
    middle of an UPDATE perhaps.
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
