"""T42: SIGTERM, SIGHUP, SIGSTOP and SIGKILL at any moment, of the program that an operator runs."""

from __future__ import annotations

import signal
from statistics import median

import pytest
from faults_campaign import Campaign
from faults_serve import make_maildir, make_root, stored

from geventpop3.server.limits import Limits

ROUNDS = 12
SEED = 19_391_939
GRACE = Limits().shutdown_grace
LOAD_SECONDS = 30
"""The time that a machine under load may add to the grace. The test reports the times that it measured."""
TWO = (b"Subject: one\n\none\n", b"Subject: two\n\ntwo\n")
FAREWELL = b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"


@pytest.mark.slow
def test_t42_sigterm_under_load_ends_in_time_with_status_0_and_loses_no_update(place, report):
    with Campaign(place / "mail", SEED) as campaign:
        for _ in range(ROUNDS):
            assert campaign.round(signal.SIGTERM) == 0
            assert not campaign.ledger.violations
        campaign.finish()
    tally = campaign.tally
    report(
        f"SIGTERM x {tally.rounds}: {tally.acknowledged} QUITs acknowledged, {tally.farewells} sessions told, "
        f"{tally.unanswered} QUITs cut off; ended after {median(tally.end_seconds) * 1000:.0f} ms, "
        f"at most {max(tally.end_seconds) * 1000:.0f} ms"
    )
    assert not campaign.ledger.violations
    assert max(tally.end_seconds) < GRACE + LOAD_SECONDS
    assert tally.farewells
    assert tally.journals == 0  # UPDATE is finished, not left for the next start
    assert "Traceback" not in campaign.log.read_text()


@pytest.fixture
def anna(place):
    make_root(place / "mail", ["anna"])
    make_maildir(place / "mail" / "anna", TWO)
    return place / "mail" / "anna"


def test_t42_sigterm_tells_every_session_and_removes_nothing_that_was_not_quit(anna, serve):
    server = serve()
    with server.dial() as before, server.login("anna") as inside:
        before.line()
        assert inside.command(b"DELE 1").startswith(b"+OK")
        assert server.terminate() == 0
        assert before.rest() == inside.rest() == FAREWELL
    assert stored(anna) == list(TWO)


def test_t42_a_server_that_was_stopped_goes_on_where_it_was(anna, serve):
    server = serve()
    with server.login("anna") as inside, server.dial() as before:
        before.line()
        server.signal(signal.SIGSTOP)
        inside.send(b"DELE 1\r\n")
        with server.dial() as waiting:
            server.signal(signal.SIGCONT)
            assert waiting.line().startswith(b"+OK")
        assert inside.line() == b"+OK message 1 marked as deleted"
        assert inside.command(b"QUIT") == b"+OK goodbye, 1 message removed"
        assert before.command(b"QUIT") == b"+OK goodbye"
    assert stored(anna) == [TWO[1]]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_t42_no_signal_removes_what_was_only_marked(anna, serve, number):
    server = serve()
    with server.login("anna") as inside:
        assert inside.command(b"DELE 1").startswith(b"+OK")
        server.signal(number)
        server.kill()
        inside.rest()
    assert stored(anna) == list(TWO)
    with serve().login("anna") as pop:
        assert pop.command(b"STAT") == b"+OK 2 42"
