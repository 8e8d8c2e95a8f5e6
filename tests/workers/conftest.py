"""Sites that are ended whatever happens, and the failing test's log shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import required
from workers_site import Site

required.module("gunicorn")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    try:
        yield site
    finally:
        site.kill()
        sys.stderr.write(site.written())


@pytest.fixture(params=["gunicorn", "serve"])
def kind(request: pytest.FixtureRequest) -> str:
    """By ``gunicorn -k`` or by ``geventpop3.workers.serve``."""
    return str(request.param)
