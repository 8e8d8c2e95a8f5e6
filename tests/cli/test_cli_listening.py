"""What is listened at: every address of the settings, or none at all."""

from __future__ import annotations

import socket

import pytest

from geventpop3.cli.build import listening, no_sockets
from geventpop3.cli.settings import load_settings
from geventpop3.errors import ConfigError

NEEDED = {"maildir": "/m/{user}", "passwords": "/p"}


def test_there_is_a_socket_for_each_address(tmp_path):
    given = {**NEEDED, "listen": ["127.0.0.1:0", f"unix:{tmp_path}/s"], "tls_listen": ["127.0.0.1:0"]}
    plain, tls = listening(load_settings(given, {}))
    try:
        assert [sock.family for sock in (*plain, *tls)] == [socket.AF_INET, socket.AF_UNIX, socket.AF_INET]
    finally:
        for sock in (*plain, *tls):
            sock.close()
    assert no_sockets(load_settings(given, {})) == ([], [])


def test_if_one_cannot_be_none_stays_open(tmp_path):
    given = {**NEEDED, "listen": ["127.0.0.1:0"], "tls_listen": [f"unix:{tmp_path}/nowhere/s"]}
    with pytest.raises(ConfigError) as caught:
        listening(load_settings(given, {}))
    told = f"tls-listen: unix:{tmp_path}/nowhere/s: No such file or directory (from --tls-listen)"
    assert str(caught.value) == told
