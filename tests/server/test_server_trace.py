"""The trace: all that comes and goes, and no secret."""

from __future__ import annotations

import pytest

from geventpop3.protocol.commands import COMMANDS
from geventpop3.protocol.connection import Rejected
from geventpop3.server.proxy import TrustedProxies
from geventpop3.server.trace import Trace
from geventpop3.wire.replies import err, ok


@pytest.fixture
def traced(caplog):
    """The lines so far."""
    caplog.set_level("INFO", "geventpop3.trace")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "geventpop3.trace"]


def test_each_kind_of_line_shows_what_may_be_shown(traced):
    trace = Trace(7)
    trace.reply(ok("ready"))
    trace.command(COMMANDS["AUTH"], ["PLAIN", "c2VjcmV0"])
    trace.challenge(b"v=verifier")
    trace.response(14)
    trace.rejected(Rejected(err("unknown command"), "", 12))
    trace.body(24)
    assert traced() == [
        "7 S: +OK ready",
        "7 C: AUTH PLAIN ****",
        "7 S: + (challenge, 10 octets)",
        "7 C: (response, 14 octets)",
        "7 C: (no command, 12 octets)",
        "7 S: (24 octets)",
    ]


def test_what_a_terminal_would_obey_is_escaped(traced):
    Trace(7).command(COMMANDS["USER"], ["a\x1b[2J", "\u202eb"])
    assert traced() == ["7 C: USER a\\x1b[2J \\u202eb"]


def test_what_a_peer_hears_that_is_not_let_in_is_shown_with_its_address(app, login, dial, traced):
    pop3d = app(options={"trace": True}, max_sessions=1)
    pop3d.start()
    login(pop3d)
    assert dial(pop3d).rest().startswith(b"-ERR")
    assert traced()[-1] == "127.0.0.1 S: -ERR [SYS/TEMP] too many connections, try again later"


def test_without_trace_nothing_is_shown(app, login, dial, traced):
    pop3d = app(max_sessions=1)
    pop3d.start()
    login(pop3d)
    assert dial(pop3d).rest().startswith(b"-ERR")
    assert traced() == []


def test_what_a_peer_behind_a_proxy_hears_that_is_not_let_in_is_shown(app, dial, traced):
    pop3d = app(options={"trace": True}, max_sessions_per_address=1, proxies=TrustedProxies(["127.0.0.0/8"]))
    pop3d.start()
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40007 110\r\n"
    first = dial(pop3d)
    first.send(header)
    assert first.line().startswith(b"+OK")
    second = dial(pop3d)
    second.send(header)
    assert second.rest() == b"-ERR [SYS/TEMP] too many connections from your address\r\n"
    assert traced()[-1].endswith(" S: -ERR [SYS/TEMP] too many connections from your address")
