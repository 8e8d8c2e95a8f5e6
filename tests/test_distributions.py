"""The sdist and the wheels as users get them: what they hold, and that each serves in an environment of its own.

They are built from a copy of the sources, without network. An environment has only what the metadata asks for: links to
the distributions that this interpreter has.
"""

from __future__ import annotations

import os
import poplib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import threading
import zipfile
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest
import required
from packaging.requirements import Requirement

import geventpop3

ROOT = Path(__file__).parent.parent
SECONDS = 120
NO_COMPILER = "/bin/false"
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
SOURCES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "geventpop3").rglob("*.py")}
DATA = {
    path.relative_to(ROOT).as_posix() for kind in ("*.toml", "*.json") for path in (ROOT / "geventpop3").rglob(kind)
}
BESIDE = {"geventpop3/py.typed", "geventpop3/wire/_speedups.pyi", *DATA}
NAME = f"geventpop3-{geventpop3.__version__}"

pytestmark = pytest.mark.slow


def compiler() -> str:
    """The compiler that builds extensions of this interpreter."""
    name = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(name) or required.missing(name)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Return what the command prints; fail with all of it if the command fails."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(kind: str, sources: Path, folder: Path, **environment: str) -> Path:
    """Return the distribution that setuptools makes, as pip and ``build`` ask for it (PEP 517)."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=sources, **environment)
    (made,) = folder.iterdir()
    return made


class Distributions(NamedTuple):
    sdist: Path
    wheel: Path
    wheel_without_c: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist, and the wheels of it, with a compiler and without one."""
    required.module("setuptools")
    sources = tmp_path_factory.mktemp("sources") / "checkout"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.so")
    shutil.copytree(ROOT, sources, ignore=left_out)
    # What a developer has beside the sources is not for users.
    (sources / "geventpop3/wire/_speedups.old.so").write_bytes(b"")
    (sources / "geventpop3/__pycache__").mkdir()
    (sources / "geventpop3/__pycache__/errors.cpython-311.pyc").write_bytes(b"")
    sdist = build("sdist", sources, tmp_path_factory.mktemp("sdist"))
    wheels = []
    for cc in (compiler(), NO_COMPILER):
        unpacked = tmp_path_factory.mktemp("unpacked")
        with tarfile.open(sdist) as archive:
            archive.extractall(unpacked, filter="data")
        wheels.append(build("wheel", unpacked / NAME, tmp_path_factory.mktemp("wheel"), CC=cc))
    return Distributions(sdist, *wheels)


def test_the_sdist_holds_what_a_build_needs_and_no_more(made: Distributions) -> None:
    with tarfile.open(made.sdist) as archive:
        files = {member.name.removeprefix(f"{NAME}/") for member in archive.getmembers() if member.isfile()}
    metadata = {name for name in files if name == "PKG-INFO" or name.startswith("geventpop3.egg-info/")}
    project = {"setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"}
    assert files - metadata == {*SOURCES, *BESIDE, "geventpop3/wire/_speedups.c", *project}


@pytest.mark.parametrize("with_c", [True, False], ids=["with C", "without C"])
def test_a_wheel_holds_the_package_its_licence_and_no_leftovers(made: Distributions, with_c: bool) -> None:
    with zipfile.ZipFile(made.wheel if with_c else made.wheel_without_c) as archive:
        files = set(archive.namelist())
        (licence,) = (name for name in files if name.endswith("/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        entry_points = archive.read(f"{NAME}.dist-info/entry_points.txt").decode("utf-8")
    metadata = {name for name in files if name.startswith(f"{NAME}.dist-info/")}
    accelerator = {f"geventpop3/wire/_speedups{sysconfig.get_config_var('EXT_SUFFIX')}"} if with_c else set()
    assert files - metadata == {*SOURCES, *BESIDE, *accelerator}
    assert "[console_scripts]\ngeventpop3 = geventpop3.cli.main:main\n" in entry_points
    assert "[pytest11]\ngeventpop3 = geventpop3.testing.plugin\n" in entry_points


def test_twine_finds_no_fault(made: Distributions, tmp_path: Path) -> None:
    required.module("twine")
    told = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *made, cwd=tmp_path)
    assert told.count("PASSED") == len(made), told


def needed(names: set[str]) -> set[str]:
    """Return these distributions and all that they need here, by name."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting |= {requirement.name} - found
    return found


def link(name: str, packages: Path) -> None:
    """Make the files of an installed distribution visible in another folder of packages."""
    given = distribution(name)
    for top in {file.parts[0] for file in given.files or () if file.parts[0] not in ("..", "__pycache__")}:
        if not (packages / top).exists():
            (packages / top).symlink_to(Path(str(given.locate_file(top))))


def metadata_of(path: Path) -> bytes:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"{NAME}.dist-info/METADATA")
    with tarfile.open(path) as archive:
        content = archive.extractfile(f"{NAME}/PKG-INFO")
        assert content is not None
        return content.read()


def installed(given: Path, folder: Path, extra: str = "") -> tuple[Path, Path]:
    """Install a distribution where there is only what it asks for; return the folders of programs and of packages."""
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    python = environment / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    requirements = map(Requirement, message_from_bytes(metadata_of(given)).get_all("Requires-Dist", ()))
    asked = {each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": extra})}
    builds = {"setuptools"} if given.suffix != ".whl" else set()
    for name in needed(asked | builds):
        link(name, packages)
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", "--no-deps", "--no-build-isolation", given, cwd=folder, CC=compiler())
    run(*pip, "check", cwd=folder)
    return environment / "bin", packages


@pytest.mark.parametrize("which", Distributions._fields)
def test_each_serves_where_only_what_it_asks_for_is_installed(made: Distributions, which: str, tmp_path: Path) -> None:
    given: Path = getattr(made, which)
    programs, packages = installed(given, tmp_path)
    python = programs / "python"
    probe = "import geventpop3; from geventpop3.wire import stuffing; print(stuffing.stuff_whole.__module__)"
    told = run(python, "-I", "-c", f"{probe}; print(geventpop3.__version__, geventpop3.__file__)", cwd=tmp_path)
    home, where = told.splitlines()
    assert home == ("geventpop3.wire.stuffing" if which == "wheel_without_c" else "geventpop3.wire._speedups")
    assert where == f"{geventpop3.__version__} {packages}/geventpop3/__init__.py"
    fetch_from_a_demo(programs / "geventpop3", tmp_path)


POLLER_TEST = """
import poplib
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit


def poll(url):
    url = urlsplit(url)
    box = poplib.POP3(url.hostname, url.port, timeout=10)
    try:
        box.user(url.username)
        box.pass_(url.password)
        for number in range(1, box.stat()[0] + 1):
            box.retr(number)
            box.dele(number)
        box.quit()
    finally:
        box.close()


def test_poller_survives_a_cut_retr(pop3_double):
    box = pop3_double.maildrop("alice", "secret")
    box.deliver(b"Subject: one\\n\\n" + b"1\\n" * 100, Path("tests/data/report.eml"))  # also str, EmailMessage
    box.fail("RETR", nth=1, after_octets=100, how="reset")
    with suppress(OSError): poll(box.url)                # your code: pop3://alice:secret@127.0.0.1:4711/
    poll(box.url)
    box.wait_for(sessions=2, timeout=5)
    assert box.sessions[0].removed == [] and box.messages == []
"""


def test_a_clients_first_test_needs_the_extra_testing_alone(made: Distributions, tmp_path: Path) -> None:
    programs, packages = installed(made.wheel, tmp_path, "testing")
    assert {path.name for path in packages.iterdir()}.isdisjoint(
        {"flask", "hypothesis", "xdist", "redis", "ldap3", "jwt"}
    )
    data = tmp_path / "project" / "tests" / "data"
    data.mkdir(parents=True)
    (data / "report.eml").write_bytes(b"Subject: report\n\nAll is well.\n")
    (data.parent / "test_poller.py").write_text(POLLER_TEST)
    options = ["-q", "-p", "no:cacheprovider", "-W", "error"]
    told = run(programs / "python", "-I", "-m", "pytest", *options, "tests", cwd=tmp_path / "project")
    assert "1 passed" in told


def fetch_from_a_demo(program: Path, folder: Path) -> None:
    """Fetch and remove a message of the server that this program is, then end it as Ctrl-C does."""
    command = [str(program), "demo", str(folder / "demo"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        watchdog = threading.Timer(SECONDS, server.kill)
        watchdog.start()
        try:
            assert server.stderr is not None
            port = next(int(found[1]) for line in server.stderr if (found := LISTENING.search(line)))
            box = poplib.POP3("127.0.0.1", port, timeout=SECONDS)
            box.user("alice")
            box.pass_("wonderland")
            count = box.stat()[0]
            assert b"Subject: Welcome to Wonderland" in box.retr(1)[1]
            box.dele(1)
            assert box.quit().startswith(b"+OK")
            server.terminate()
            server.stderr.read()
            assert server.wait(SECONDS) == 0
            assert len(list((folder / "demo").glob("maildir/alice/*/*"))) == count - 1
        finally:
            watchdog.cancel()
            server.kill()
