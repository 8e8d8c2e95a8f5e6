"""A maildrop to fetch from, and the program to fetch with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import required
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
    """The path of the program that the test is named after."""
    return required.program(request.node.name.split("_")[1])
