"""The errors of a server under test: the errors that its thread logs, including exceptions of handlers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gevent import monkey

get_native_ident = monkey.get_original("threading", "get_ident")
"""A function that returns the number of the native thread, even if gevent has patched ``threading``."""

_LOGGER = "geventpop3"


class HandlerFailed(AssertionError):
    """An error of the server's own, such as a plugin or a listener that raised; the text has its traceback."""


class ErrorLog(logging.Handler):
    """A log handler that keeps in *errors* the errors of native thread number *thread*, with their tracebacks.

    The reply after such an error is ``-ERR [SYS/TEMP]`` or even ``+OK``, so a client may not notice it.
    """

    def __init__(self, thread: int | None = None) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []
        self.thread = thread

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the handler's lock: only one thread appends, and a patched lock must not be used by native threads.
        if get_native_ident() == self.thread:
            self.errors.append(self.format(record))
        return True

    def open(self) -> None:
        """Begin to record errors."""
        logging.getLogger(_LOGGER).addHandler(self)

    def close(self) -> None:
        """Stop recording; recorded errors stay."""
        logging.getLogger(_LOGGER).removeHandler(self)
        super().close()


@contextmanager
def errors_of_this_thread() -> Iterator[list[str]]:
    """Record the errors that the calling thread logs meanwhile."""
    log = ErrorLog(get_native_ident())
    log.open()
    try:
        yield log.errors
    finally:
        log.close()


def raise_errors(*errors: list[str]) -> None:
    """Clear the lists and raise HandlerFailed if they had any errors."""
    __tracebackhide__ = True
    found = [text for one in errors for text in one]
    for one in errors:
        one.clear()
    if found:
        raise HandlerFailed("\n\n".join(["the server logged errors (errors='ignore' allows them):", *found]))
