"""Shared by all tests: plugins, and the number of hypothesis examples where a test does not say."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import patience
import pytest
import required
from hypothesis import settings

pytest_plugins = ["leak_detector", "processor_time"]

settings.register_profile("deep", deadline=None, max_examples=200)
# `make core`: few examples, always the same ones, and nothing is written.
settings.register_profile("core", deadline=None, max_examples=10, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deep"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    required.begin(item)


@pytest.fixture(autouse=True)
def no_listener_is_blamed_for_a_busy_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the warning out of caplog that a listener blocks the event loop; see patience.py."""
    if "caplog" not in request.fixturenames:
        yield
        return
    handler = request.getfixturevalue("caplog").handler
    handler.addFilter(patience.is_no_blame)
    yield
    handler.removeFilter(patience.is_no_blame)


def pytest_collection_finish() -> None:
    # What was imported stays: no test that calls gc.collect() has to wait while all of it is looked through.
    gc.freeze()
