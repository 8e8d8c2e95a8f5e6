"""What every ledger does, in memory and in Redis: the plugin cannot tell which it has."""

import itertools

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
    assert ledger.standing(rules, A, ALICE)[2:4] == (2, 2)
    time.now += 1
    assert ledger.standing(rules, A, ALICE)[2:4] == (1, 1)
    time.now += 60
    assert ledger.standing(rules, A, ALICE)[2:4] == (0, 0)


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
    assert ledger.standing(rules, A, "").failures == 2
    assert ledger.standing(rules, "192.0.2.8", ALICE).user_failures == 1
    assert ledger.standing(rules, B, BOB)[2:4] == (1, 1)


numbers = itertools.count()


def turns(ledger, rules, count, user=ALICE):
    """Of tries of one user that come at once, each from an address of its own."""
    sessions = [f"t{next(numbers)}" for _ in range(count)]
    standings = [ledger.standing(rules, f"198.51.100.{n}", user, session=one) for n, one in enumerate(sessions)]
    return [standing.turn for standing in standings if not standing.crowded]


def test_tries_of_a_user_take_turns_before_the_first_has_failed(ledger):
    assert turns(ledger, Rules(), 300) == [0, 0, 0, 0, 0, 1, 3, 7, 15, 23, 31]
    assert turns(ledger, Rules(), 300) == []
    assert turns(ledger, Rules(), 2, BOB) == [0, 0]


def test_so_long_a_try_waits_for_others_and_no_longer(ledger, time):
    rules = Rules(user_delays=(10,), user_patience=10)
    assert turns(ledger, rules, 9) == [0, 10, 20]
    time.now += 9.5
    assert turns(ledger, rules, 9) == []
    time.now += 0.5
    assert turns(ledger, rules, 9) == [20]


def test_a_delay_that_is_longer_than_the_patience_is_waited_for(ledger):
    assert turns(ledger, Rules(user_delays=(60,), user_patience=0), 9) == [0, 60]


def test_a_turn_is_a_delay_after_the_one_before_and_none_is_shorter_than_that(ledger, time):
    rules = Rules(user_delays=(10,), user_patience=100)
    assert turns(ledger, rules, 2) == [0, 10]
    time.now += 4
    assert ledger.standing(rules, B, ALICE, session="x").turn == 16
    time.now += 60
    assert ledger.standing(rules, B, ALICE, session="y").turn == 10


@pytest.mark.parametrize("end", ["failed", "entered", "settled", "forgotten"])
def test_a_try_is_under_way_until_it_ends(ledger, time, end):
    rules = Rules(user_delays=(5, 9), user_sessions=None, user_patience=1000)
    assert ledger.standing(rules, B, ALICE, session="s").turn == 0
    if end == "failed":
        ledger.failed(rules, B, ALICE, "", "s")
        assert ledger.standing(rules, A, ALICE, session="x").turn == 5
        return
    if end == "entered":
        ledger.entered(rules, B, ALICE, ALICE, "s")
    elif end == "settled":
        ledger.settled(ALICE, "s")
    else:
        time.now += 120
    assert ledger.standing(rules, A, ALICE, session="x").turn == 0
    assert ledger.standing(rules, A, ALICE, session="y").turn == 5


def test_the_same_try_is_under_way_once(ledger):
    rules = Rules(user_delays=(5, 9))
    assert [ledger.standing(rules, A, ALICE, session="s").turn for _ in range(3)] == [0, 0, 0]


def test_the_same_wrong_password_again_is_under_way_no_more(ledger):
    rules = Rules(user_delays=(5, 9))
    for _ in range(2):
        ledger.standing(rules, A, ALICE, session="s")
        ledger.failed(rules, A, ALICE, "f", "s")
    assert ledger.standing(rules, B, ALICE, session="x").turn == 10  # 5 for the second try, 5 for this one


def test_who_is_refused_or_has_no_name_takes_no_turn(ledger):
    rules = Rules(user_delays=(5,), ban_after=1, address_logins_per_minute=1)
    ledger.failed(rules, A, "", "")
    ledger.standing(rules, A, ALICE, session="s")
    ledger.standing(rules, B, "", trying=True)
    assert ledger.standing(rules, B, ALICE, trying=True, session="t").too_often
    assert [ledger.standing(rules, "192.0.2.9", "", session=f"{n}").turn for n in range(3)] == [0, 0, 0]
    assert ledger.standing(rules, "192.0.2.9", ALICE, session="u").turn == 0


def test_without_delays_of_users_nobody_takes_turns(ledger):
    assert turns(ledger, Rules(user_delays=()), 20) == [0] * 20


def test_where_a_user_has_logged_in_lately_what_others_fail_at_causes_no_delay(ledger, time):
    rules = Rules(user_delays=(5, 9), user_patience=1000)
    ledger.entered(rules, A, ALICE, ALICE, "s")
    for n in range(9):
        ledger.failed(rules, f"198.51.100.{n}", ALICE, "")
        ledger.standing(rules, B, ALICE, session=f"t{n}")
    time.now += 30
    assert ledger.standing(rules, A, ALICE, session="u") == Standing(False, False, 0, 0)
    assert ledger.standing(rules, B, ALICE, session="v").turn > 9
    # its own failures do
    ledger.failed(rules, A, ALICE, "")
    assert ledger.standing(rules, A, ALICE, session="u") == Standing(False, False, 1, 1, 5.0)
    assert ledger.standing(rules, A, BOB, session="u").turn == 0
    ledger.entered(rules, A, ALICE, ALICE, "s")
    assert ledger.standing(rules, A, ALICE, session="u").turn == 0


def test_lately_is_a_week_and_so_many_addresses(ledger, time):
    rules = Rules(user_delays=(5,), window=30 * 24 * 3600, user_sessions=None)
    ledger.failed(rules, B, ALICE, "")

    def is_familiar(address):
        return ledger.standing(rules, address, ALICE).user_failures == 0

    addresses = [f"198.51.100.{n}" for n in range(17)]
    for address in [addresses[0], *addresses[:16]]:
        ledger.entered(rules, address, ALICE, ALICE, "s")
    assert all(map(is_familiar, addresses[:16]))
    for _ in range(20):  # one of them again and again takes no other's place
        ledger.entered(rules, addresses[15], ALICE, ALICE, "s")
    assert all(map(is_familiar, addresses[:16]))
    ledger.entered(rules, addresses[16], ALICE, ALICE, "s")
    assert [is_familiar(address) for address in (addresses[0], addresses[1], addresses[16])] == [False, True, True]
    time.now += 7 * 24 * 3600 - 1
    assert is_familiar(addresses[16])
    time.now += 1
    assert not is_familiar(addresses[16])


def test_a_login_without_a_name_makes_no_address_familiar(ledger):
    ledger.entered(Rules(user_sessions=None), A, "", "", "s")
    assert ledger.standing(Rules(), A, "", session="s") == Standing(False, False, 0, 0)


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
