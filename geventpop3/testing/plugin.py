"""The pytest fixtures, found by pytest where geventpop3 is installed; all names begin with ``pop3_``.

Only this module imports pytest. It does not monkey-patch, and imports the test tools only when a fixture is used.
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
"""The effect of the server's own errors, such as an exception of a handler, on the test."""

_WATCHED = pytest.StashKey["list[Address]"]()
"""Running servers whose errors fail a test."""


@pytest.fixture(scope="session")
def pop3_script() -> Callable[..., None]:
    """Play a dialogue without a socket, in every way it can be played: ``pop3_script(app, script)``.

    *app* is a POP3Server, or a function that makes a fresh one for each way, for sessions that leave traces. *script*
    is the dialogue as text, a Path or parsed; see ``geventpop3.testing.script`` for the notation. A handler that raises
    fails the test, unless *errors* is ``"ignore"``.
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
    """Serve on a free port, in a native thread with its own hub: ``with pop3_server(app) as address:``.

    Blocking clients, such as poplib, can be used in the test itself. See ``geventpop3.testing.serve``. A handler that
    raises fails the running test, unless *errors* is ``"ignore"`` or the test removes it from ``address.errors``.
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
    """Fail the test if a server that outlives it has logged errors."""
    watched = item.config.stash.get(_WATCHED, ())
    if watched:
        from geventpop3.testing.errors import raise_errors

        raise_errors(*(address.errors for address in watched))
