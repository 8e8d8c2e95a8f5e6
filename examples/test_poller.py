"""Tests of poller.py under faults of the server: no message is lost, none is stored twice, no session hangs.

pip install 'geventpop3[testing]' && pytest test_poller.py
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from poller import LoginRefused, poll

from geventpop3.testing import Double, DoubleMaildrop

MESSAGES = [b"Subject: one\n\n" + b"1\n" * 100, b"Subject: two\n\n.\n..\n.hidden\n", b"Subject: three\n\n3\n"]


@pytest.fixture
def box(pop3_double: Double) -> DoubleMaildrop:
    box = pop3_double.maildrop("alice", "secret")
    box.deliver(*MESSAGES)
    return box


FAULTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "the connection is reset within a message": ("RETR", "reset", {"nth": 2, "after_octets": 30}),
    "the server closes after the listing": ("UIDL", "close", {"after_octets": 12}),
    "the server sends nothing more": ("RETR", "stall", {"nth": 3, "after_octets": 10, "seconds": 3}),
    "a reply never comes": ("DELE", "silence", {}),
    "the maildrop is in use": ("auth", "error", {"code": "IN-USE"}),
    "a message cannot be read for now": ("RETR", "error", {"nth": 2, "code": "SYS/TEMP"}),
    "a message ends too early": ("RETR", "truncate", {"after_octets": 40}),
    "all sizes are wrong": ("LIST", "wrong-size", {"octets": 7}),
    "all messages have one unique-id": ("UIDL", "duplicate-uidl", {}),
    "half of the deletions fail": ("QUIT", "half-update", {}),
    "the reply to QUIT is lost": ("QUIT", "close", {}),
    "noise in place of a reply": ("LIST", "garbage", {"octets": 40}),
}


@pytest.mark.parametrize(("on", "how", "options"), FAULTS.values(), ids=FAULTS)
def test_each_message_is_stored_once(box: DoubleMaildrop, on: str, how: str, options: dict[str, Any]) -> None:
    inbox: dict[str, bytes] = {}
    box.fail(on, how=how, **options)
    with suppress(OSError):
        poll(box.url, inbox, timeout=1 if how in ("stall", "silence") else 10)
    poll(box.url, inbox)
    box.wait_for(sessions=2, messages=0)
    assert sorted(inbox.values()) == sorted(MESSAGES)


def test_a_session_that_fails_is_repeated(box: DoubleMaildrop) -> None:
    inbox: dict[str, bytes] = {}
    box.fail("RETR", how="reset", times=2)
    poll(box.url, inbox, tries=3, pause=0)
    box.wait_for(sessions=3, messages=0)
    assert len(inbox) == 3


def test_a_message_that_stays_on_the_server_is_retrieved_once(box: DoubleMaildrop) -> None:
    inbox: dict[str, bytes] = {}
    poll(box.url, inbox, keep=True)
    (fourth,) = box.deliver("Subject: four\n\n4\n")
    poll(box.url, inbox, keep=True)
    box.wait_for(sessions=2, messages=4)
    assert box.sessions[1].retrieved == [fourth]


def test_a_wrong_password_is_not_tried_again(box: DoubleMaildrop) -> None:
    with pytest.raises(LoginRefused):
        poll(box.url.replace("secret", "wrong"), {}, tries=3, pause=0)
    box.wait_for(sessions=1)
    assert len(box.sessions) == 1


def test_a_message_stays_on_the_server_until_it_is_stored(box: DoubleMaildrop) -> None:
    class FullDisk(dict[str, bytes]):
        def __setitem__(self, unique_id: str, content: bytes) -> None:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        poll(box.url, FullDisk())
    box.wait_for(sessions=1)
    assert box.messages == MESSAGES


@pytest.mark.parametrize("url", [lambda box: box.url, lambda box: box.tls_url], ids=["STLS", "TLS"])
def test_the_password_is_sent_under_tls(
    box: DoubleMaildrop, pop3_double: Double, url: Callable[[DoubleMaildrop], str]
) -> None:
    poll(url(box), {}, context=pop3_double.ssl_context)
    box.wait_for(sessions=1)
    assert box.sessions[0].secure


def test_a_server_that_nobody_knows_gets_no_password(box: DoubleMaildrop, pop3_double: Double) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        poll(box.tls_url, {})
    pop3_double.wait_for(sessions=1)
    assert pop3_double.sessions[0].commands == []
