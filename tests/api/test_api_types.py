"""The public API has types that help: mypy --strict checks an application against an installed geventpop3."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import required

import geventpop3

CONSUMER = Path(__file__).with_name("consumer.py")
SECONDS = 300


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the package is installed: mypy then asks for its py.typed."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=SECONDS)
    places = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    packages = Path(places["purelib"])
    assert geventpop3.__file__ is not None
    (packages / "geventpop3").symlink_to(Path(geventpop3.__file__).parent)
    (packages / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")  # gevent, blinker
    return folder / "bin" / "python"


def checked(interpreter: Path, source: str, folder: Path) -> list[str]:
    """Return what mypy says of *source*, a program that lies outside of our sources."""
    required.module("mypy")
    (folder / "consumer.py").write_text(source, "utf-8")
    options = ["--strict", "--no-error-summary", "--config-file", "", "--python-executable", str(interpreter)]
    cache = str(interpreter.parent.parent / "cache")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", cache, "consumer.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.slow
def test_an_application_gets_the_types_that_the_documents_promise(interpreter: Path, tmp_path: Path) -> None:
    assert checked(interpreter, CONSUMER.read_text("utf-8"), tmp_path) == []


@pytest.mark.slow
def test_each_mistake_of_the_application_is_found(interpreter: Path, tmp_path: Path) -> None:
    lines = CONSUMER.read_text("utf-8").splitlines()
    mistakes = [number for number, line in enumerate(lines, 1) if "# type: ignore[" in line]
    bare = "\n".join(line.partition("  # type: ignore[")[0] for line in lines)
    found = {int(line.split(":")[1]) for line in checked(interpreter, bare, tmp_path) if ": error: " in line}
    assert found == set(mistakes)
