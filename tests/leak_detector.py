"""Where sockets, threads and greenlets are at work, a test that leaves one behind fails. A plugin: see conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import leaks
import pytest

WATCHED = {"server", "service", "testing", "clients", "test_scripts.py", "stores", "auth", "cli", "plugins"}
TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def resources_are_watched() -> bool:
    if not leaks.FILES.exists():
        return False
    leaks.watch()
    return True


@pytest.fixture(autouse=True)
def leak_detector(request: pytest.FixtureRequest) -> Iterator[None]:
    folder = request.path.relative_to(TESTS).parts[0]
    if folder not in WATCHED or not request.getfixturevalue("resources_are_watched"):
        yield
        return
    before = leaks.resources()
    yield
    left = leaks.left_behind(before)
    if left:
        pytest.fail("left behind: " + ", ".join(left))
