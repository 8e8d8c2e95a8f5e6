"""The pytest fixtures, found by pytest where geventpop3 is installed; all names begin with ``pop3_``.

Only this module imports pytest. It does not monkey-patch, and imports the test tools only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from geventpop3.testing import Address, Application, Dialogue, Double

Errors = Literal["fail", "ignore"]
"""The effect of the server's own errors, such as an exception of a handler, on the test."""

_WATCHED = pytest.StashKey["list[Address]"]()
"""Running servers whose errors fail a test."""

_DOUBLES = pytest.StashKey["list[Double]"]()
"""Doubles whose transcripts a failing test shows: those of the test, or those of the session."""

_FAILED = pytest.StashKey[bool]()
"""True if the test itself has failed, so that its double need not fail it again."""


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


@pytest.fixture
def pop3_double(request: pytest.FixtureRequest) -> Iterator[Double]:
    """Serve a POP3 server for this test of a client: ``pop3_double.maildrop("alice", "secret")``; see ``Double``.

    The test fails if a fault it asked for never happened, or if the server logged an error. A failing test shows the
    transcript of the sessions.
    """
    from geventpop3.testing.double import Double

    double = Double().start()
    request.node.stash[_DOUBLES] = [double]
    try:
        yield double
    finally:
        double.stop()
        if not request.node.stash.get(_FAILED, False):
            double.check()


@pytest.fixture(scope="session")
def pop3_double_factory(pytestconfig: pytest.Config) -> Iterator[Callable[..., Double]]:
    """Make a double that serves several tests: ``pop3_double_factory(tls="required")``; it ends with the session.

    Each call makes another double with these keywords of ``Double``. ``double.reset()`` makes it ready for the next
    test, and fails as the end of ``pop3_double`` does.
    """
    from geventpop3.testing.double import Double

    doubles = pytestconfig.stash[_DOUBLES] = []

    def make(**options: Any) -> Double:
        double = Double(**options).start()
        doubles.append(double)
        return double

    try:
        yield make
    finally:
        for double in doubles:
            double.stop()
        for double in doubles:
            double.check()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the transcripts of the doubles to the report of a failure."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        shown = getattr(call.excinfo and call.excinfo.value, "transcript", None)  # of a DoubleFailed
        for double in [*item.stash.get(_DOUBLES, ()), *item.config.stash.get(_DOUBLES, ())]:
            if (transcript := double.transcript) and transcript != shown:
                report.sections.append((f"POP3 sessions ({call.when})", transcript))
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail the test if a server that outlives it has logged errors."""
    watched = item.config.stash.get(_WATCHED, ())
    if watched:
        from geventpop3.testing.errors import raise_errors

        raise_errors(*(address.errors for address in watched))
