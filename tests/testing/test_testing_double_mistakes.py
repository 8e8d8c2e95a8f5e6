"""Mistakes of whoever writes a test with the double: each is an error at once, and its text says what to do."""

from __future__ import annotations

import poplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from geventpop3.testing import Double, DoubleFailed


@pytest.fixture
def double():
    with Double(tls="off") as double:
        yield double


@pytest.fixture
def box(double):
    return double.maildrop("alice", "secret")


def log_in(double):
    client = poplib.POP3(double.host, double.port, timeout=10)
    client.user("alice")
    client.pass_("secret")
    return client


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"after_bytes": 100}, r"fail has no option 'after_bytes': did you mean 'after_octets'\?"),
        ({"ntn": 2}, r"did you mean 'nth'\?"),
        ({"quickly": True}, "fail has no option 'quickly'; there are nth, times, after_octets"),
        ({"nth": "2"}, "nth is a whole number, not '2'"),
        ({"after_octets": 10.5}, r"after_octets is a whole number, not 10\.5"),
        ({"times": "all"}, "times is a whole number, not 'all'"),
        ({"how": "delay", "seconds": "2"}, "seconds is a number, not '2'"),
        ({"how": None}, "how is the name of a kind of fault such as 'reset', not None"),
    ],
)
def test_a_wrong_option_of_a_fault_is_shown_in_the_line_of_the_test(double, box, options, text):
    for place in (double, box):
        with pytest.raises(TypeError, match=text) as caught:
            place.fail("RETR", **{"how": "reset", **options})
        assert caught.traceback.filter(caught)[-1].path == Path(__file__)


def test_a_text_that_has_the_status_indicator_is_refused(box):
    with pytest.raises(ValueError, match="text is what follows -ERR"):
        box.fail("RETR", text="-ERR no such message")


def test_errors_are_shown_in_the_line_of_the_test(box):
    for mistake in (
        lambda: box.wait_for("RTER"),
        lambda: box.wait_for("RETR", "DELE"),
        lambda: box.deliver(7),
        lambda: box.deliver("x.eml"),
        lambda: box.sessions[0],
        lambda: box.wait_for(sessions=1, timeout=0),
    ):
        with pytest.raises((TypeError, ValueError, IndexError, DoubleFailed)) as caught:
            mistake()
        assert caught.traceback.filter(caught)[-1].path == Path(__file__)


def test_a_wait_for_two_commands_is_refused(double, box):
    with pytest.raises(TypeError, match="count is a whole number, not 'DELE'"):
        box.wait_for("RETR", "DELE")
    with pytest.raises(TypeError, match="sessions is a whole number, not '1'"):
        double.wait_for(sessions="1")


def test_a_fault_at_one_way_to_log_in_that_never_happened_names_the_moment_for_all(double, box):
    fault = box.fail("PASS")
    with pytest.raises(DoubleFailed, match="PASS occurred 0 times, but there are other ways to log in: 'auth' is any"):
        double.check()
    fault.optional = True


@pytest.mark.parametrize("name", ["report.eml", "tests/data/REPORT.EML", "all.mbox", str(Path(__file__))])
def test_the_name_of_a_file_as_str_is_no_message(box, name):
    with pytest.raises(ValueError, match=r"not the name of a file: use Path\('"):
        box.deliver("Subject: x\n\nx\n", name)
    assert box.messages == []


@pytest.mark.parametrize(
    "text", ["one", "a/b", "see report.eml\n", "Subject: report.eml\n\n", "", "a\0b.eml", "/" * 9999]
)
def test_other_text_is_a_message(box, text):
    email = EmailMessage()
    box.deliver(text, email)
    assert box.messages == [text.encode(), email.as_bytes()]


def test_a_session_that_has_not_ended_is_missing_with_advice(double, box):
    with pytest.raises(IndexError, match=r"sessions\[0\]: 0 have ended, 0 still run; call wait_for\(sessions=1\)"):
        box.sessions[0]
    client = log_in(double)
    other = poplib.POP3(double.host, double.port, timeout=10)
    with pytest.raises(IndexError, match=r"sessions\[1\]: 0 have ended, 1 still run; call wait_for\(sessions=2\)"):
        box.sessions[1]
    with pytest.raises(IndexError, match=r"sessions\[-1\]: 0 have ended, 2 still run; call wait_for\(sessions=1\)"):
        double.sessions[-1]
    client.quit()
    other.quit()
    double.wait_for(sessions=2)
    assert box.sessions[-1] is box.sessions[0]
    assert box.sessions[1:] == []
    assert len(double.sessions[:]) == 2


@pytest.mark.parametrize(("commands", "occurred"), [(0, "occurred 0 times"), (1, "occurred 1 time"), (2, "2 times")])
def test_a_fault_that_never_happened_says_how_often_it_could_have(double, box, commands, occurred):
    fault = box.fail("NOOP", nth=3)
    client = log_in(double)
    for _ in range(commands):
        client.noop()
    client.quit()
    box.wait_for(sessions=1)
    with pytest.raises(DoubleFailed, match=rf"never happened: error on NOOP \(nth=3\): NOOP.* {occurred}\n"):
        double.check()
    fault.optional = True


def test_the_transcript_says_how_much_of_a_reply_was_sent(double, box):
    box.deliver("Subject: one\n\n1\n")
    box.fail("RETR", how="close", after_octets=20)
    client = log_in(double)
    with pytest.raises(poplib.error_proto, match="EOF"):
        client.retr(1)
    client.close()
    box.wait_for(sessions=1)
    assert box.transcript.splitlines()[-5:] == [
        "F: close on RETR (nth=1, after_octets=20)",
        "S: +OK 19 octets",
        "S: (22 octets)",
        "-  20 octets of this reply were sent",
        "-  the session ended: fault: close on RETR (nth=1, after_octets=20)",
    ]


def test_a_maildrop_can_be_filled_before_the_start_and_has_an_url_afterwards():
    double = Double(tls="off")
    box = double.maildrop("alice", "secret")
    box.deliver("one\n")
    with pytest.raises(RuntimeError, match="use `with Double"):
        _ = box.url
    with double:
        client = log_in(double)
        assert client.stat()[0] == 1
        client.quit()
        box.wait_for(sessions=1)
