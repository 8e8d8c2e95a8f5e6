"""The benchmarks' modules, as the programs of that folder see them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
NAMES = (
    "attackers",
    "descriptors",
    "goals",
    "growth",
    "hostile",
    "report",
    "scenarios",
    "scoreboard_causes",
    "scoreboard_page",
    "dovecot",
)


@pytest.fixture(scope="package")
def bench() -> Iterator[dict[str, ModuleType]]:
    """Modules by name; they import each other by their file names, which are nobody else's afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
                del sys.modules[name]
