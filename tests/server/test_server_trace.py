"""The trace: all that comes and goes, and no secret."""

from __future__ import annotations

import pytest

from geventpop3 import multiline
from geventpop3.plugins.access_log import AccessLog
from geventpop3.protocol.commands import COMMANDS
from geventpop3.protocol.connection import Rejected
from geventpop3.server import trace as tracing
from geventpop3.server.trace import LoggingTrace
from geventpop3.wire.replies import err, ok

UNKNOWN = err("unknown command")


@pytest.fixture
def traced(caplog):
    """The lines so far."""
    caplog.set_level("INFO", "geventpop3.trace")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "geventpop3.trace"]


def test_each_kind_of_line_shows_what_may_be_shown(traced):
    trace = LoggingTrace("id=7")
    trace.reply(ok("ready"))
    trace.command(COMMANDS["AUTH"], ["PLAIN", "c2VjcmV0"])
    trace.challenge(b"v=verifier")
    trace.response(14)
    trace.rejected(Rejected(UNKNOWN, "", 12, b"open sesame"))
    trace.chunk(b"x" * 20)
    trace.chunk(b"y" * 4)
    trace.end_body()
    assert traced() == [
        "id=7 S: +OK ready",
        "id=7 C: AUTH PLAIN ****",
        "id=7 S: + (challenge, 10 octets)",
        "id=7 C: (response, 14 octets)",
        "id=7 C: (no command, 12 octets)",
        "id=7 S: (24 octets)",
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"GET / HTTP/1.1", "GET / HTTP/1.1"),
        (b"XBOGUS a\x1b[2J\x00", r"XBOGUS a\x1b[2J\x00"),
        (b"caf\xc3\xa9 \xff", "caf\u00e9 \ufffd"),
        (b"x" * 5 + b" " + b"y " * 40, "xxxxx " + "y " * 29 + "..."),
        (b"PASSsesame", "PASS ****"),
        (b"  passwd sesame", "  pass ****"),
        (b"LOGIN alice sesame", "LOGIN ****"),
        (b"AGFsaWNlAHNlc2FtZQ==", "****"),
        (b"", ""),
    ],
)
def test_a_line_that_is_no_command_is_shown_escaped_and_without_what_may_be_a_secret(traced, line, shown):
    LoggingTrace("id=7").rejected(Rejected(UNKNOWN, "", 99, line))
    assert traced() == [f"id=7 C: {shown} (no command, 99 octets)" if shown else "id=7 C: (no command, 99 octets)"]


@pytest.mark.parametrize("before", ["USER", "PASS", "AUTH", "APOP"])
def test_what_comes_where_a_secret_is_due_is_not_shown(traced, before):
    trace = LoggingTrace("id=7")
    trace.command(COMMANDS[before], ["alice", "sesame"])
    trace.rejected(Rejected(UNKNOWN, "", 8, b"sesame"))
    trace.command(COMMANDS["NOOP"], [])
    trace.rejected(Rejected(UNKNOWN, "", 7, b"BOGUS"))
    assert traced()[1:] == ["id=7 C: (no command, 8 octets)", "id=7 C: NOOP", "id=7 C: BOGUS (no command, 7 octets)"]


def test_the_bodies_of_listings_and_capabilities_are_shown_and_no_mail(traced, monkeypatch):
    monkeypatch.setattr(tracing, "SHOWN_OCTETS", 20)
    trace = LoggingTrace("id=7")
    for event in ("cmd_capa", "cmd_retr"):
        trace.reply(multiline("here", b""), event)
        trace.chunk(b"TOP\r\nUI")
        trace.chunk(b"DL\r\n.\r\n")
        trace.end_body()
    trace.reply(multiline("here", b""), "cmd_uidl")
    trace.chunk(b"1 one\r\n2 two\x1b\r\n3 three\r\n.\r\n")
    trace.end_body()
    trace.reply(err("no"), "cmd_uidl")
    assert traced() == [
        "id=7 S: +OK here",
        "id=7 S: TOP",
        "id=7 S: UIDL",
        "id=7 S: .",
        "id=7 S: +OK here",
        "id=7 S: (14 octets)",
        "id=7 S: +OK here",
        "id=7 S: 1 one",
        r"id=7 S: 2 two\x1b",
        "id=7 S: (27 octets)",
        "id=7 S: -ERR no",
    ]


def test_what_a_terminal_would_obey_is_escaped(traced):
    LoggingTrace("id=7").command(COMMANDS["USER"], ["a\x1b[2J", "\u202eb"])
    assert traced() == ["id=7 C: USER a\\x1b[2J \\u202eb"]


def test_a_peer_that_is_not_let_in_is_shown_with_its_address(app, login, dial, traced):
    pop3d = app(options={"trace": True}, max_sessions=1)
    pop3d.start()
    login(pop3d)
    assert dial(pop3d).rest().startswith(b"-ERR")
    assert traced()[-1] == "address=127.0.0.1 S: -ERR [SYS/TEMP] too many connections, try again later"


def test_lines_of_one_session_join_whatever_wrote_them(serve, maildrops, caplog, dial):
    caplog.set_level("INFO", "geventpop3")
    pop3d = serve(options={"trace": True})
    pop3d.register(maildrops)
    pop3d.register(AccessLog())
    pop3d.on("cmd_xoops")(lambda pop3d, event: 1 / 0)
    pop3d.start()
    peer = dial(pop3d)
    peer.line()
    peer.command(b"USER alice")
    peer.command(b"PASS alice")
    assert peer.command(b"XOOPS").startswith(b"-ERR [SYS/TEMP]")
    (client,) = pop3d.clients
    peer.command(b"QUIT")
    peer.rest()
    texts = {record.name: record.getMessage() for record in caplog.records}
    for name in ("geventpop3.trace", "geventpop3.access", "geventpop3.pipeline"):
        assert f"address=127.0.0.1 id={client}" in texts[name]


def test_without_trace_nothing_is_shown(app, login, dial, traced):
    pop3d = app(max_sessions=1)
    pop3d.start()
    login(pop3d)
    assert dial(pop3d).rest().startswith(b"-ERR")
    assert traced() == []
