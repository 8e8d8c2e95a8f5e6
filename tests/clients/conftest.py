"""A maildrop to fetch from, and the program to fetch with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from clients_maildrop import Maildrop
from clients_tls import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def maildrop(tmp_path, pop3_server) -> Iterator[Maildrop]:
    maildrop = Maildrop(tmp_path)
    with pop3_server(maildrop.app) as address:
        maildrop.address = address
        yield maildrop


@pytest.fixture
def program(request) -> str:
    """The path of the program that the test is named after; without it the test is skipped, but not in CI."""
    name = request.node.name.split("_")[1]
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
