"""What the tests of the examples share: an example as a module of its own, and one that runs as its users run it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SECONDS = 120


@pytest.fixture
def example() -> Callable[[str], ModuleType]:
    """``example("synopsis")`` is the example, imported anew: what a test does to it is nobody else's business."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def run() -> Callable[..., AbstractContextManager[Iterator[str]]]:
    """``with run("flask_inbox", "0", "0") as lines:`` runs the example; *lines* is what it prints, as it comes."""

    @contextmanager
    def running(name: str, *arguments: str) -> Iterator[Iterator[str]]:
        command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        try:
            yield iter(process.stdout.readline, "")
        finally:
            process.terminate()
            _, complaints = process.communicate(timeout=SECONDS)
        assert "Traceback" not in complaints, complaints

    return running
