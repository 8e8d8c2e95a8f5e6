"""Programs and libraries that a test needs: where one is missing the test is skipped, but not in CI, where it fails."""

import os

import pytest


def require(is_there: bool, what: str) -> None:
    """Go on only if *what* is there."""
    if not is_there:
        reason = f"{what} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
