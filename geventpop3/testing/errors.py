"""The errors of a server under test: what its thread logs as an error, handlers that raised among it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gevent import monkey

get_native_ident = monkey.get_original("threading", "get_ident")
"""The number of the native thread, also where gevent has patched ``threading``."""

_LOGGER = "geventpop3"


class HandlerFailed(AssertionError):
    """An error of the server's own, such as a plugin or a listener that raised; the text has its traceback."""


class ErrorLog(logging.Handler):
    """Keeps in *errors* what one native thread logs as an error, as text with its traceback; *thread* is its number.

    The answer to such an error is ``-ERR [SYS/TEMP]`` or even ``+OK``, so a client may not notice it.
    """

    def __init__(self, thread: int | None = None) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []
        self.thread = thread

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the handler's lock: only one thread comes further, and a patched lock is not for native threads.
        if get_native_ident() == self.thread:
            self.errors.append(self.format(record))
        return True

    def open(self) -> None:
        """Begin to keep them."""
        logging.getLogger(_LOGGER).addHandler(self)

    def close(self) -> None:
        """Keep no more; what is kept stays."""
        logging.getLogger(_LOGGER).removeHandler(self)
        super().close()


@contextmanager
def errors_of_this_thread() -> Iterator[list[str]]:
    """Keep what the calling thread logs as an error meanwhile."""
    log = ErrorLog(get_native_ident())
    log.open()
    try:
        yield log.errors
    finally:
        log.close()


def raise_errors(*errors: list[str]) -> None:
    """Raise HandlerFailed if there are any, and forget them."""
    __tracebackhide__ = True
    found = [text for one in errors for text in one]
    for one in errors:
        one.clear()
    if found:
        raise HandlerFailed("\n\n".join(["the server logged errors, which errors='ignore' would allow:", *found]))
