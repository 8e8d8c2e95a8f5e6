"""The access log: one line a session, one a failed login, and nothing in them that a client could forge."""

import logging
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.pipeline.events import SessionSummary
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.plugins import AccessLog
from geventpop3.plugins.access_log import field


@pytest.fixture
def pop3d(caplog):
    caplog.set_level(logging.INFO, "geventpop3.access")
    pop3d = Pluggable()
    pop3d.register(AccessLog())
    yield pop3d
    pop3d._unregister_all()


def client(address="192.0.2.7"):
    return SimpleNamespace(id=1, peer=(address, 40000))


def test_session_is_one_line_with_user_address_counts_and_octets(pop3d, caplog):
    summary = SessionSummary(
        address="127.0.0.1",
        port=40000,
        owner="alice",
        commands=7,
        octets_in=71,
        octets_out=1204,
        retrieved=2,
        removed=1,
        seconds=0.01234,
        reason="quit",
    )
    pop3d.send_event("session_finished", summary, client=client())
    (record,) = caplog.records
    assert record.getMessage() == (
        "session user=alice address=127.0.0.1 id=1 commands=7 retrieved=2 removed=1 "
        "octets_in=71 octets_out=1204 seconds=0.012 reason=quit"
    )
    assert (record.name, record.levelno) == ("geventpop3.access", logging.INFO)


def test_session_without_a_login_has_no_user(pop3d, caplog):
    pop3d.send_event("session_finished", SessionSummary(address="::1", reason="login deadline"), client=client())
    assert caplog.messages == [
        "session user=- address=::1 id=1 commands=0 retrieved=0 removed=0 octets_in=0 octets_out=0 seconds=0.000 "
        'reason="login deadline"'
    ]


def test_failed_login_is_a_warning_with_what_the_client_chose_at_the_end(pop3d, caplog):
    pop3d.send_event("authentication_failed", "x address=192.0.2.1\n", "USER", client=client())
    (record,) = caplog.records
    assert record.getMessage() == (
        r'authentication_failed address=192.0.2.7 id=1 mechanism=USER user="x address\x3d192.0.2.1\n"'
    )
    assert record.levelno == logging.WARNING


def test_failed_login_may_come_without_mechanism_and_client(pop3d, caplog):
    pop3d.send_event("authentication_failed", "alice")
    assert caplog.messages == ["authentication_failed address=- id=- mechanism=- user=alice"]


def test_another_logger_may_be_given(caplog):
    pop3d = Pluggable()
    pop3d.register(AccessLog(logging.getLogger("mine")))
    pop3d.send_event("authentication_failed", "alice")
    assert caplog.records[0].name == "mine"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ("-", '"-"'),
        ("alice", "alice"),
        ("jürgen@example.org", "jürgen@example.org"),
        ("a b", '"a b"'),
        ("a=b", r'"a\x3db"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("a\r\nb", r'"a\r\nb"'),
        ("\0\x1b[31m\x7f\x85", r'"\x00\x1b[31m\x7f\x85"'),
        ("\u2028\u2029\u202e", r'"\u2028\u2029\u202e"'),
        ("\udcff", r'"\udcff"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 64 + "..."),
        ("%s%n{0.__class__}", "%s%n{0.__class__}"),
    ],
)
def test_value_is_shown_so_that_it_can_only_be_one_value(value, shown):
    assert field(value) == shown


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_no_value_can_pose_as_another_field(one, other):
    line = f"a={field(one)} b={field(other)}"
    assert line.isprintable()
    # A reader that knows quotes finds two fields, each ending where it ends.
    rest, found = line, []
    while rest:
        key, _, rest = rest.partition("=")
        if rest.startswith('"'):
            end = 1
            while rest[end] != '"':
                end += 2 if rest[end] == "\\" else 1
            rest = rest[end + 1 :].removeprefix(" ")
        else:
            _, _, rest = rest.partition(" ")
        found.append(key)
    assert found == ["a", "b"]
