"""The rules of language that a machine can check: docstrings begin with a verb or a noun, in plain words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "geventpop3"
MODULES = sorted(PACKAGE.rglob("*.py"))

OPENERS = re.compile(r"(What|Whatever|Whether|Who|Whoever|Whom|Whose|How|Where|That|When)\b")
"""Docstrings that begin so have a relative clause as their subject, or none."""

GONE = re.compile(r"\b(hears?|(is|are) told|house|floors?|DESIGN|the seed)\b")
"""Words that a reader must translate, and documents that a reader cannot open."""


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text.strip()


def complaints(source: str) -> list[str]:
    """Return a line for each docstring that breaks a rule."""
    found = []
    for line, text in docstrings(ast.parse(source)):
        if OPENERS.match(text):
            found.append(f"{line}: begins with {text.split()[0]!r}")
        if gone := GONE.search(text):
            found.append(f"{line}: says {gone[0]!r}")
    return found


def test_docstrings_begin_with_a_verb_or_a_noun_and_say_no_riddles() -> None:
    assert len(MODULES) > 100
    found = {str(path.relative_to(PACKAGE)): complaints(path.read_text("utf-8")) for path in MODULES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ('def f():\n    """Whether it is."""', "2: begins with 'Whether'"),
        ('"""Who is here."""', "1: begins with 'Who'"),
        ('class A:\n    x = 1\n    """What it is."""', "3: begins with 'What'"),
        ('def f():\n    """Return what a listener hears."""', "2: says 'hears'"),
        ('def f():\n    """Do it, as DESIGN says."""', "2: says 'DESIGN'"),
    ],
)
def test_what_breaks_a_rule_is_found(source: str, complaint: str) -> None:
    assert complaints(source) == [complaint]
