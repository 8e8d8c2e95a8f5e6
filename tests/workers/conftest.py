"""Sites that are ended whatever happens, and the failing test's log shown."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import required
from workers_site import Site

required.module("gunicorn")


@pytest.fixture
def site() -> Iterator[Site]:
    # Not below pytest's own folder, which each run of pytest on the machine closes to other users again.
    folder = Path(tempfile.mkdtemp(prefix="geventpop3-workers-"))
    site = Site(folder)
    try:
        yield site
    finally:
        site.kill()
        sys.stderr.write(site.written())
        shutil.rmtree(folder)


@pytest.fixture(params=["gunicorn", "serve"])
def kind(request: pytest.FixtureRequest) -> str:
    """By ``gunicorn -k`` or by ``geventpop3.workers.serve``."""
    return str(request.param)
