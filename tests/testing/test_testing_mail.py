"""The awkward messages are what they say they are."""

from __future__ import annotations

import pytest

from geventpop3.testing.mail import AwkwardMessage, awkward_messages

MESSAGES = {message.name: message for message in awkward_messages()}


def test_there_are_25_and_no_two_are_alike():
    assert len(MESSAGES) == 25
    assert len({message.sent for message in MESSAGES.values()}) == 25
    assert all(message.why for message in MESSAGES.values())


@pytest.mark.parametrize(
    ("content", "sent", "stuffed"),
    [
        (b"", b"", b".\r\n"),
        (b"a", b"a\r\n", b"a\r\n.\r\n"),
        (b"a\n", b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\n\n.\n", b"a\r\n\r\n.\r\n", b"a\r\n\r\n..\r\n.\r\n"),
        (b".a\r.\n..", b".a\r.\r\n..\r\n", b"..a\r.\r\n...\r\n.\r\n"),
        (b"a\r", b"a\r\r\n", b"a\r\r\n.\r\n"),
        (b"a\r\r\n", b"a\r\r\n", b"a\r\r\n.\r\n"),
    ],
)
def test_what_must_be_sent_is_worked_out_line_by_line(content, sent, stuffed):
    message = AwkwardMessage("x", "y", content)
    assert (message.sent, message.stuffed, message.octets) == (sent, stuffed, len(sent))


def test_the_awkward_ones_are_there():
    content = {name: message.content for name, message in MESSAGES.items()}
    assert content["first-octet-dot"].startswith(b".")
    assert content["dot-at-end"].endswith(b"\n.")
    assert b"\n.\n.\n.\n" in content["only-dots"]
    assert content["crlf"].count(b"\r\n") == content["crlf"].count(b"\n")
    assert 0 < content["mixed-line-ends"].count(b"\r\n") < content["mixed-line-ends"].count(b"\n")
    assert not content["no-final-line-end"].endswith(b"\n")
    assert content["crlf-no-final-line-end"].count(b"\r\n") > 5
    assert not content["crlf-no-final-line-end"].endswith(b"\n")
    assert content["cut-in-line-end"].endswith(b"\r")
    assert b"\0" in content["nul"]
    assert content["empty-body"].endswith(b">\n\n")
    assert b"\n\n" not in content["header-only"]
    assert content["leading-blank-line"].startswith(b"\n")
    assert content["trailing-blank-lines"].endswith(b"\n\n\n")
    assert b"\nFrom " in content["from-lines"]
    assert max(map(len, content["line-of-998"].split(b"\n"))) == 998
    assert max(map(len, content["line-of-100-kb"].split(b"\n"))) == 100_000
    assert len(content["20-mb"]) > 20_000_000
    with pytest.raises(UnicodeDecodeError):
        content["latin-1"].decode("utf-8")
    assert content["utf-8-header"].decode("utf-8").splitlines()[4].startswith("X-Subject: G")
