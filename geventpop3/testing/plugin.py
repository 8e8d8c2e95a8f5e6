"""The fixtures that pytest finds by itself where geventpop3 is installed; all begin with ``pop3_``.

This is the only module that imports pytest. It patches nothing and imports the test kit only when a fixture is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from geventpop3.testing import Address, Application, Dialogue


class _Mistakes(logging.Handler):
    """The mistakes of stores that the service logs, from any thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def _without_mistakes() -> Iterator[None]:
    """Fail the test at its end if a store handed over what it must not: the client may not have noticed."""
    mistakes = _Mistakes()
    logger = logging.getLogger("geventpop3.service")
    logger.addHandler(mistakes)
    try:
        yield
    finally:
        logger.removeHandler(mistakes)
    if mistakes.texts:
        pytest.fail("\n".join(mistakes.texts), pytrace=False)


@pytest.fixture
def pop3_script() -> Iterator[Callable[[Application, str | Path | Dialogue], None]]:
    """``pop3_script(app, script)`` plays a dialogue without a socket, in every way it can be played.

    *app* is a POP3Server, or a function that makes one if a session leaves traces: then each way has a fresh one.
    *script* is the dialogue as text, a Path or parsed; see ``geventpop3.testing.script`` for the notation. A mistake of
    the store, such as octets that are not those of the message, fails the test.
    """
    from geventpop3.testing.play import play
    from geventpop3.testing.script import Dialogue, load, parse

    def play_every_way(app: Application, script: str | Path | Dialogue) -> None:
        if not isinstance(script, Dialogue):
            script = load(script) if isinstance(script, Path) else parse(script)
        for how in script.ways:
            play(app, script, how)

    with _without_mistakes():
        yield play_every_way


@pytest.fixture
def pop3_server() -> Iterator[Callable[..., AbstractContextManager[Address]]]:
    """``with pop3_server(app) as address:`` serves on a free port, from a native thread with a hub of its own.

    Clients that block, such as poplib, work in the test itself. See ``geventpop3.testing.serve``. A mistake of the
    store, such as octets that are not those of the message, fails the test.
    """
    from geventpop3.testing.server import serve

    with _without_mistakes():
        yield serve
