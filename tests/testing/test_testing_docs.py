"""Dialogues that docs/dialogues.md shows work as they stand there; test_testing_recipes.py has docs/testing.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geventpop3.testing.script import parse

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "dialogues.md").read_text("utf-8")


@pytest.fixture(scope="module")
def shown() -> dict:
    namespace: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for block in re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL):
            exec(block, namespace)
    return namespace


def test_the_dialogue(shown, pop3_script):
    shown["test_login"](pop3_script)


def test_the_server_beside_the_test(shown, pop3_server):
    shown["test_with_poplib"](pop3_server)


def test_each_line_of_the_notation_can_be_parsed():
    rows = re.findall(r"^\| `([CS][:!] .+?)` \|", TEXT, re.MULTILINE)
    assert len(rows) == 9
    for row in rows:
        assert parse(row).steps[0].text == row
