"""The examples that test a client in another language, run as their readers run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import required

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SECONDS = 120
PROGRAM = f"{sys.executable} -m geventpop3"


def run(program: str, *arguments: str, double: str = PROGRAM) -> tuple[int, str]:
    """Exit status and what the tests print; *double* is the command that they start."""
    told = subprocess.run(
        [required.program(program), *arguments],
        cwd=EXAMPLES.parent,
        env={**os.environ, "GEVENTPOP3": double},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return told.returncode, told.stdout


NODE = ("node", "--test", "--test-reporter=tap", str(EXAMPLES / "double_node" / "poller.test.mjs"))
PHP = ("php", str(EXAMPLES / "double_php" / "poller_test.php"))
BOTH = pytest.mark.parametrize("command", [NODE, PHP], ids=["node", "php"])


@pytest.mark.client
@BOTH
def test_five_tests_pass(command: tuple[str, ...]) -> None:
    status, told = run(*command)
    assert len(re.findall(r"^\s*ok \d*\s?- ", told, re.MULTILINE)) >= 5, told
    assert "not ok" not in told, told
    assert status == 0, told


# A double that never has the fault that was asked for: the tests of the example notice it.
FAULTLESS = """
import sys
from geventpop3.cli.main import main
from geventpop3.testing.double.faults import Fault
Fault.is_due = lambda fault: False
sys.exit(main())
"""


@pytest.mark.client
@BOTH
def test_they_fail_where_no_fault_happens(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "faultless.py").write_text(FAULTLESS)
    status, told = run(*command, double=f"{sys.executable} {tmp_path}/faultless.py")
    assert status == 1, told
    assert len(re.findall(r"^\s*not ok", told, re.MULTILINE)) == 3, told


@pytest.mark.client
@BOTH
def test_a_double_that_does_not_start_is_an_error(command: tuple[str, ...]) -> None:
    status, told = run(*command, double=f"{sys.executable} -c exit(3)")
    assert status != 0
    assert "double" in told
