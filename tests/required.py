"""Programs and modules that a test needs: where one is missing the test is skipped, but not in CI, where it fails."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest

ELSEWHERE = "/usr/sbin:/usr/local/bin:/usr/local/sbin:/usr/lib/openldap"
"""Where servers are that are on no user's PATH."""


def missing(what: str) -> NoReturn:
    """End the test, or the whole module, because *what* is not there."""
    reason = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def program(name: str) -> str:
    """The path of a program."""
    return shutil.which(name) or shutil.which(name, path=ELSEWHERE) or missing(name)


def module(name: str) -> Any:
    """A module of a package that is no dependency of the core."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
    missing(f"the module {name}")
