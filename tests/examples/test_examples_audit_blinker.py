"""examples/audit_blinker.py: subscribers are told what happened, once each, and change nothing."""

import gc
import logging
import poplib

import pytest

from geventpop3.testing import serve


@pytest.fixture
def trail(example, caplog):
    """Runs clients against the example and returns what the audit trail says of them."""

    def run(*clients):
        caplog.set_level(logging.INFO, "audit")
        with serve(lambda: example("audit_blinker").make_server(0)) as address:
            gc.collect()  # blinker keeps receivers weakly: these must be there all the same
            for client in clients:
                client(poplib.POP3(*address, timeout=20))
        records = [record for record in caplog.records if record.name == "audit"]
        return [record.getMessage().partition(": ")[2] for record in records]

    return run


def read_and_remove(box):
    box.user("alice")
    box.pass_("sesame")
    box.retr(1)
    box.dele(1)
    box.quit()


def guess(box):
    box.user("mall\x85ory")
    with pytest.raises(poplib.error_proto):
        box.pass_("sesame")
    box.quit()


def test_a_session_is_told_command_by_command_without_its_password(trail):
    assert trail(read_and_remove) == [
        "'USER alice' +OK",
        "'alice' logged in by USER from 127.0.0.1",
        "'PASS ****' +OK",
        "'RETR 1' +OK",
        "'DELE 1' +OK",
        "'QUIT' +OK",
        "1 read, 1 removed, quit",
    ]


def test_a_failed_login_is_told_with_the_name_escaped(trail):
    assert trail(guess) == [
        r"'USER mall\x85ory' +OK",
        r"'mall\x85ory' was refused by USER from 127.0.0.1",
        "'PASS ****' -ERR",
        "'QUIT' +OK",
        "0 read, 0 removed, quit",
    ]


def test_servers_that_are_not_watched_are_not_told_of(example, caplog):
    caplog.set_level(logging.INFO, "audit")
    module = example("audit_blinker")
    with serve(lambda: module.POP3Server(port=0)) as address, serve(lambda: module.make_server(0)):
        poplib.POP3(*address, timeout=20).close()
    assert [record for record in caplog.records if record.name == "audit"] == []
