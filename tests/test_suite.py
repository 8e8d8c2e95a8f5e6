"""The suite's own plugins: what is told of processor time, and that a test which needs a program is marked so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SETTINGS = "[pytest]\nmarkers =\n    slow\n    client\n    service\n"
CONFTEST = """
import pytest
import required

pytest_plugins = ["processor_time"]


def pytest_configure(config):
    config.pluginmanager.get_plugin("processor_time").BUDGET = 0.01


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    required.begin(item)
"""

EXPENSIVE = """
import time
import pytest

def burn():
    begun = time.process_time()
    while time.process_time() < begun + 0.05:
        pass

def test_unmarked():
    burn()

@pytest.mark.slow
def test_marked():
    burn()
"""

PROGRAMS = """
import pytest
import required

@pytest.fixture
def shell():
    return required.program("sh")

@pytest.mark.client
def test_client(shell):
    assert shell

@pytest.mark.service
def test_service():
    assert required.program("sh")

def test_unmarked():
    required.program("sh")

def test_unmarked_by_its_fixture(shell):
    pass
"""


def run(folder: Path, text: str, *options: str) -> str:
    """Run pytest on a file of this *text*; return what it prints."""
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "by xdist"])
def test_an_expensive_test_is_named_unless_it_is_marked_slow(tmp_path: Path, options: tuple[str, ...]) -> None:
    told = run(tmp_path, EXPENSIVE, *options)
    assert "2 passed" in told
    assert " s in all tests" in told
    named = [line for line in told.splitlines() if "over the budget of 0.01 s" in line]
    assert [line.rpartition(": ")[2] for line in named] == ["test_it.py::test_unmarked"]


def test_only_a_marked_test_gets_a_program(tmp_path: Path) -> None:
    told = run(tmp_path, PROGRAMS)
    assert "1 failed, 2 passed, 1 error" in told
    assert told.count("sh: what needs a program is marked client or service") >= 2
