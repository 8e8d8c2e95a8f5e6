"""What every ledger does, in memory and in Redis: the plugin cannot tell which it has."""

import pytest

from geventpop3.plugins.limits import Entry, Failure, MemoryLedger, Reason, RedisLedger, Rules, Standing

A, B = "192.0.2.7", "2001:db8::/64"
ALICE, BOB = "a1", "b2"


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.service)])
def ledger(request, time):
    if request.param == "memory":
        ledger = MemoryLedger(clock=time)
    else:
        redis = request.getfixturevalue("redis_server")
        redis.flush()
        ledger = RedisLedger(redis.url, clock=time)
    yield ledger
    for owner in (ALICE, BOB, "owner"):
        for session in ("1", "2", "4", "5", "6", "s"):
            ledger.left(owner, session)
    ledger.close()


def test_of_who_did_nothing_nothing_is_known(ledger):
    assert ledger.standing(Rules(), A, ALICE) == Standing(False, False, 0, 0)


def test_failures_count_for_the_address_and_for_the_user(ledger):
    rules = Rules()
    assert ledger.failed(rules, A, ALICE, "") == Failure(True, False, 0)
    assert ledger.failed(rules, B, ALICE, "") == Failure(True, False, 1)
    assert ledger.failed(rules, A, "", "") == Failure(True, False, 0)
    assert ledger.standing(rules, A, ALICE) == Standing(False, False, 2, 2)
    assert ledger.standing(rules, B, BOB) == Standing(False, False, 1, 0)
    assert ledger.standing(rules, B, "") == Standing(False, False, 1, 0)


def test_failures_count_for_the_window_each_for_itself(ledger, time):
    rules = Rules(window=100)
    ledger.failed(rules, A, ALICE, "")
    time.now += 60
    ledger.failed(rules, A, ALICE, "")
    time.now += 39
    assert ledger.standing(rules, A, ALICE)[2:] == (2, 2)
    time.now += 1
    assert ledger.standing(rules, A, ALICE)[2:] == (1, 1)
    time.now += 60
    assert ledger.standing(rules, A, ALICE)[2:] == (0, 0)


def test_the_same_fingerprint_counts_once_until_it_was_not_seen_for_the_window(ledger, time):
    rules = Rules(window=100)
    assert ledger.failed(rules, A, ALICE, "f").counted
    for _ in range(3):
        time.now += 99
        assert ledger.failed(rules, A, ALICE, "f").counted is False
    assert ledger.failed(rules, A, ALICE, "g").counted
    time.now += 100
    assert ledger.failed(rules, A, ALICE, "f").counted


def test_so_many_failures_ban_the_address_and_only_it(ledger, time):
    rules = Rules(ban_after=3, ban_seconds=100)
    assert [ledger.failed(rules, A, user, "").banned for user in (ALICE, BOB, "")] == [False, False, True]
    assert ledger.standing(rules, A, ALICE) == Standing(True, False, 0, 1)
    assert ledger.standing(rules, B, ALICE).banned is False
    time.now += 99
    assert ledger.standing(rules, A, "").banned
    time.now += 1
    assert not ledger.standing(rules, A, "").banned


def test_a_ban_is_lifted_with_the_failures_before_it(ledger):
    rules = Rules(ban_after=2)
    ledger.failed(rules, A, "", "")
    assert ledger.release(A) is False
    assert ledger.failed(rules, A, "", "").banned is False
    assert ledger.failed(rules, A, "", "").banned
    assert ledger.release(A) is True
    assert ledger.release(A) is False
    assert not ledger.standing(rules, A, "").banned


def test_without_bans_and_delays_nothing_is_counted(ledger):
    rules = Rules(ban_after=None, delays=(), user_delays=())
    for _ in range(5):
        assert ledger.failed(rules, A, ALICE, "") == Failure(True, False, 0)
    assert ledger.standing(rules, A, ALICE) == Standing(False, False, 0, 0)


def test_an_address_may_try_so_often_and_what_is_refused_is_not_counted(ledger, time):
    rules = Rules(address_logins_per_minute=2)

    def attempt(address=A):
        return ledger.standing(rules, address, "", trying=True).too_often

    assert ledger.standing(rules, A, "").too_often is False
    assert attempt() is False
    time.now += 30
    assert [attempt(), attempt(), attempt(B)] == [False, True, False]
    time.now += 29
    assert attempt() is True
    time.now += 1
    assert [attempt(), attempt()] == [False, True]


def test_tries_are_not_counted_without_a_limit(ledger):
    rules = Rules(address_logins_per_minute=None)
    assert not any(ledger.standing(rules, A, "", trying=True).too_often for _ in range(10))


def test_a_login_makes_the_failures_of_this_user_from_this_address_forgotten(ledger):
    rules = Rules()
    for address, user in ((A, ALICE), (A, BOB), (B, ALICE), (A, ALICE), (A, "")):
        ledger.failed(rules, address, user, "")
    assert ledger.entered(rules, A, ALICE, "owner", "s") == Entry(None, 3)
    assert ledger.standing(rules, A, ALICE)[2:] == (2, 1)
    assert ledger.standing(rules, B, BOB)[2:] == (1, 1)


def test_a_user_may_have_so_many_sessions(ledger):
    rules = Rules(user_sessions=2)
    assert [ledger.entered(rules, A, "", ALICE, session).refused for session in "123"] == [
        None,
        None,
        Reason.USER_SESSIONS,
    ]
    assert ledger.entered(rules, A, "", BOB, "4").refused is None
    ledger.left(ALICE, "3")  # which was never in
    assert ledger.entered(rules, A, "", ALICE, "5").refused is Reason.USER_SESSIONS
    ledger.left(ALICE, "1")
    assert ledger.entered(rules, A, "", ALICE, "6").refused is None


def test_a_user_may_log_in_so_often_and_what_is_refused_is_not_counted(ledger, time):
    rules = Rules(user_logins_per_minute=2, user_sessions=None)
    verdicts = [ledger.entered(rules, A, "", ALICE, f"{n}").refused for n in range(4)]
    assert verdicts == [None, None, Reason.USER_RATE, Reason.USER_RATE]
    assert ledger.entered(rules, A, "", BOB, "5").refused is None
    time.now += 60
    assert ledger.entered(rules, A, "", ALICE, "6").refused is None


def test_what_a_ledger_has_closed_it_opens_again(ledger):
    ledger.failed(Rules(), A, "", "")
    ledger.close()
    ledger.close()
    assert ledger.standing(Rules(), A, "").failures == 1
