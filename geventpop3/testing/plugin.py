"""The fixtures that pytest finds by itself where geventpop3 is installed; all begin with ``pop3_``.

This is the only module that imports pytest. It patches nothing and imports the test kit only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from geventpop3.testing import Address, Application, Dialogue

Errors = Literal["fail", "ignore"]
"""What the server's own errors, such as a handler that raised, are to the test."""

_WATCHED = pytest.StashKey["list[Address]"]()
"""The servers that are up, and whose errors fail a test."""


@pytest.fixture(scope="session")
def pop3_script() -> Callable[..., None]:
    """``pop3_script(app, script)`` plays a dialogue without a socket, in every way it can be played.

    *app* is a POP3Server, or a function that makes one if a session leaves traces: then each way has a fresh one.
    *script* is the dialogue as text, a Path or parsed; see ``geventpop3.testing.script`` for the notation. A handler
    that raises fails the test, unless *errors* is ``"ignore"``.
    """
    from geventpop3.testing.errors import errors_of_this_thread, raise_errors
    from geventpop3.testing.play import play
    from geventpop3.testing.script import Dialogue, load, parse

    def play_every_way(app: Application, script: str | Path | Dialogue, *, errors: Errors = "fail") -> None:
        if not isinstance(script, Dialogue):
            script = load(script) if isinstance(script, Path) else parse(script)
        for how in script.ways:
            with errors_of_this_thread() as found:
                play(app, script, how)
            if errors == "fail":
                raise_errors(found)

    return play_every_way


@pytest.fixture(scope="session")
def pop3_server(pytestconfig: pytest.Config) -> Callable[..., AbstractContextManager[Address]]:
    """``with pop3_server(app) as address:`` serves on a free port, from a native thread with a hub of its own.

    Clients that block, such as poplib, work in the test itself. See ``geventpop3.testing.serve``. A handler that raises
    fails the test that is running, unless *errors* is ``"ignore"`` or the test removes it from ``address.errors``.
    """
    from geventpop3.testing.errors import raise_errors
    from geventpop3.testing.server import serve

    watched = pytestconfig.stash[_WATCHED] = []

    @contextmanager
    def serve_and_watch(app: Application, host: str = "127.0.0.1", *, errors: Errors = "fail") -> Iterator[Address]:
        with serve(app, host) as address:
            if errors == "fail":
                watched.append(address)
            try:
                yield address
            finally:
                watched[:] = [one for one in watched if one is not address]
        if errors == "fail":
            raise_errors(address.errors)

    return serve_and_watch


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail the test that was running if a server that outlives it has logged errors."""
    watched = item.config.stash.get(_WATCHED, ())
    if watched:
        from geventpop3.testing.errors import raise_errors

        raise_errors(*(address.errors for address in watched))
