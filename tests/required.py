"""Programs and modules that a test needs: where one is missing the test is skipped, but not in CI, where it fails.

A test that needs a program has the mark ``client`` or ``service``: `make test` leaves these out, and so needs none.
"""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest

ELSEWHERE = "/usr/sbin:/usr/local/bin:/usr/local/sbin:/usr/lib/openldap"
"""Where servers are that are on no user's PATH."""


MARKS = ("client", "service")


class _Running:
    """The test that is running, as `begin` set it."""

    item: pytest.Item | None = None


def begin(item: pytest.Item) -> None:
    """Remember which test runs now, for `program`."""
    _Running.item = item


def missing(what: str) -> NoReturn:
    """End the test, or the whole module, because *what* is not there."""
    reason = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def program(name: str) -> str:
    """Return the path of a program. The test that runs, or needs a fixture that calls this, must be marked."""
    item = _Running.item
    if item is None or not any(item.get_closest_marker(mark) for mark in MARKS):
        pytest.fail(f"{name}: what needs a program is marked {' or '.join(MARKS)}")
    return shutil.which(name) or shutil.which(name, path=ELSEWHERE) or missing(name)


def module(name: str) -> Any:
    """A module of a package that is no dependency of the core."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
    missing(f"the module {name}")
