"""Fixtures of the maildir tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from maildir_kernel import Clock, Kernel, make_maildir

from geventpop3.stores.maildir import MaildirStore, mounts


@pytest.fixture(autouse=True)
def no_slow_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any call may take long; what then becomes of its mount has tests of its own."""
    monkeypatch.setattr(mounts, "SLOW_SECONDS", float("inf"))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    """An empty maildir."""
    return make_maildir(tmp_path / "alice")


@pytest.fixture
def store(tmp_path: Path, alice: Path) -> MaildirStore:
    return MaildirStore(str(tmp_path / "{user}"))
