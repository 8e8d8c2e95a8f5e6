"""Shared by the fault tests: a site of maildrops with a server before it, and a report of measurements."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from faults_serve import PASSWORD, Server, command_line, end, make_maildir, make_root, program

MEASURED = "measured"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # A property of the test's last report: pytest-xdist passes reports on from the process that ran the test.
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = [
        line
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, line in report.user_properties
        if name == MEASURED
    ]
    if lines:
        terminalreporter.section("measured by the fault tests")
        for line in lines:
            terminalreporter.write_line(str(line))


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says what was measured where no bound could be asserted for every machine."""
    return lambda line: request.node.user_properties.append((MEASURED, line))


@pytest.fixture
def place() -> Iterator[Path]:
    """A fresh folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="geventpop3-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def serve(place: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers for ``place/mail``: by the command line, or by ``program`` where a test says what only that knows.

    All that still run are killed in the end.
    """
    servers: list[Server] = []

    def start(*flags: str, nofile: int | None = None, **setup: object) -> Server:
        command = program(place / "mail", **setup) if setup else command_line(place / "mail", *flags)
        server = Server(command, place / f"server{len(servers)}.log", nofile=nofile)
        servers.append(server)
        return server

    yield start
    end(servers)


class Site:
    """A server whose maildrops are handed out to one test each."""

    def __init__(self, root: Path, server: Server, names: Iterable[str]) -> None:
        self.root = root
        self.server = server
        self._names = iter(names)

    def maildrop(self, *messages: bytes) -> str:
        """The owner of a maildrop nobody has used yet, holding these messages."""
        name = next(self._names)
        make_maildir(self.root / name, messages)
        return name

    def is_well(self) -> bool:
        """Whether a clean login works, and nothing of ours went wrong so far, nor was a secret logged."""
        with self.server.login("witness") as pop:
            assert pop.command(b"STAT") == b"+OK 1 27"
            assert pop.command(b"QUIT").startswith(b"+OK")
        written = self.server.written()
        return not any(word in written for word in ("Traceback", "reference", PASSWORD.decode()))


@pytest.fixture(scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    names = [f"user{number}" for number in range(200)]
    make_root(folder / "mail", ["witness", *names])
    make_maildir(folder / "mail" / "witness", [b"Subject: witness\n\nI am.\n"])
    server = Server(command_line(folder / "mail", "--trace"), folder / "server.log")
    yield Site(folder / "mail", server, names)
    server.kill()


@pytest.fixture
def site(_site: Site) -> Iterator[Site]:
    """The site; after the test it must be as well as before."""
    yield _site
    assert _site.is_well()
