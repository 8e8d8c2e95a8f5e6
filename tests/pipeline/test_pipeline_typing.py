"""What a type checker says of an application's listeners and plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import required

PREFACE = """\
from geventpop3 import EAT_ALL, Client, ClientInterface, Event, POP3Server, Reply, ok
from geventpop3.pipeline.plugin import Eat

pop3d = POP3Server(port=0)
"""

GOOD = """
@pop3d.on("cmd_stat")
def answers(server: POP3Server, event: Event) -> Reply | str | None:
    return ok("0 0")

@pop3d.on("cmd_stat")
def watches(server: POP3Server, event: Event) -> None: ...

@pop3d.plugin("cmd_stat")
def eats(server: POP3Server, event: Event) -> Eat:
    return EAT_ALL

def facts(client: ClientInterface) -> tuple[str, int]:
    return client.local if client.tls is None else client.peer

def facts_of(client: Client) -> tuple[str, int]:
    return facts(client)
"""

BAD = [
    '@pop3d.on("cmd_stat")\ndef counts(server: POP3Server, event: Event) -> int: return 1\n',
    '@pop3d.on("cmd_stat")\ndef short(event: Event) -> None: ...\n',
    '@pop3d.plugin("cmd_stat")\ndef answers_itself(server: POP3Server, event: Event) -> Reply: return ok()\n',
    "@pop3d.on\ndef bare(server: POP3Server, event: Event) -> None: ...\n",
]


@pytest.mark.slow
def test_mistakes_that_a_type_checker_can_see_are_errors(tmp_path: Path) -> None:
    required.module("mypy")
    (tmp_path / "good.py").write_text(PREFACE + GOOD)
    for number, bad in enumerate(BAD):
        (tmp_path / f"bad{number}.py").write_text(PREFACE + bad)
    root = Path(__file__).parents[2]
    options = ["--strict", "--config-file", root / "pyproject.toml", "--cache-dir", tmp_path / "cache"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *sorted(tmp_path.glob("*.py"))],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    wrong = {Path(line.split(":")[0]).name for line in checked.stdout.splitlines() if ": error: " in line}
    assert wrong == {f"bad{number}.py" for number in range(len(BAD))}, checked.stdout + checked.stderr
