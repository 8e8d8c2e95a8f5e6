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
    standings = [ledger.standing(rules, f"198.51.{one}", user, session=one) for one in sessions]
    return [standing.turn for standing in standings if not (standing.crowded or standing.busy)]


def test_tries_of_a_user_take_turns_before_the_first_has_failed(ledger):
    assert turns(ledger, Rules(), 300) == [0, 0, 0, 0, 0, 1, 3, 7, 15, 23, 31]
    assert turns(ledger, Rules(), 300) == []
    assert turns(ledger, Rules(), 2, BOB) == [0, 0]


def test_so_long_a_try_waits_for_others_and_no_longer(ledger, time):
    rules = Rules(user_delays=(10,), user_patience=10)
    assert turns(ledger, rules, 9) == [0, 10, 20]
    time.now += 9
    assert turns(ledger, rules, 9) == []
    ledger.settled("198.51.100.1", ALICE, "nobody")
    assert turns(ledger, rules, 9) == []


def test_who_was_in_line_is_refused_when_others_keep_it_waiting(ledger, time):
    rules = Rules(delays=(), user_delays=(8,), user_patience=10)
    assert turns(ledger, rules, 1) == [0]
    ledger.failed(rules, A, BOB, "")
    waits = ledger.standing(rules, A, ALICE, session="a")
    assert (waits.turn, waits.pause) == (8, 8)
    for n in range(2):  # two that have failed at nothing
        assert ledger.standing(rules, f"192.0.2.1{n}", ALICE, session=f"{n}").turn == 8 + 8 * n
    assert ledger.standing(rules, A, ALICE, session="a").crowded
    time.now += 8
    assert ledger.standing(rules, "192.0.2.10", ALICE, session="0").turn == 0
    assert ledger.standing(rules, "192.0.2.11", ALICE, session="1").turn == 8
    time.now += 8
    assert ledger.standing(rules, "192.0.2.11", ALICE, session="1").turn == 0


def test_an_address_has_one_try_of_a_user_in_line(ledger):
    rules = Rules(user_delays=(0, 5))
    assert [ledger.standing(rules, A, ALICE, session=session).turn for session in "ab"] == [0, 0]
    third = ledger.standing(rules, A, ALICE, session="c")
    assert (third.turn, third.busy, third.crowded) == (0, True, False)
    assert ledger.standing(rules, B, ALICE, session="d").turn == 5
    assert ledger.standing(rules, B, ALICE, session="e").busy
    assert ledger.standing(rules, B, BOB, session="f").turn == 0
    # The one that is in line may ask again.
    assert ledger.standing(rules, B, ALICE, session="d").turn == 5


@pytest.mark.parametrize("end", ["settled", "failed", "entered", "lost"])
def test_a_turn_that_is_not_used_is_for_the_next_one(ledger, time, end):
    rules = Rules(user_delays=(8,), user_sessions=None)
    assert turns(ledger, rules, 1) == [0]
    assert ledger.standing(rules, A, ALICE, session="a").turn == 8
    assert ledger.standing(rules, B, ALICE, session="b").turn == 16
    if end == "settled":
        ledger.settled(A, ALICE, "a")
    elif end == "failed":
        ledger.failed(rules, A, ALICE, "", "a")
    elif end == "entered":
        ledger.entered(rules, A, ALICE, ALICE, "a")
    else:
        time.now += 17
        assert ledger.standing(rules, B, ALICE, session="b").turn > 0  # the other may still ask
        time.now += 1
        assert ledger.standing(rules, B, ALICE, session="b").turn == 0
        return
    assert ledger.standing(rules, B, ALICE, session="b").turn == 8


def test_who_waits_behind_others_asks_again_when_the_first_of_them_goes_on(ledger, time):
    rules = Rules(user_delays=(8,))
    assert turns(ledger, rules, 3) == [0, 8, 16]
    standing = ledger.standing(rules, A, ALICE, session="a")
    assert (standing.turn, standing.pause) == (24, 8)
    time.now += 8
    standing = ledger.standing(rules, A, ALICE, session="a")
    assert (standing.turn, standing.pause) == (16, 0.25)


@pytest.mark.parametrize("before", ["failure", "same again", "gave up"])
def test_an_address_that_failed_or_gave_up_stands_behind_others(ledger, before):
    rules = Rules(delays=(), user_delays=(8,))
    if before == "failure":
        ledger.failed(rules, A, BOB, "")
    elif before == "same again":
        ledger.failed(rules, B, BOB, "f")
        ledger.failed(rules, A, BOB, "f")
    else:
        ledger.standing(rules, A, BOB, session="x")
        ledger.settled(A, BOB, "x")
    turns(ledger, rules, 1)
    ledger.standing(rules, A, ALICE, session="a")
    assert ledger.standing(rules, "192.0.2.8", ALICE, session="b").turn == 8
    assert ledger.standing(rules, A, ALICE, session="a").turn == 16


def test_a_right_password_makes_forgotten_that_an_address_gave_up(ledger, time):
    rules = Rules(delays=(), user_delays=(8,), user_sessions=None)
    turns(ledger, rules, 1)
    ledger.standing(rules, A, ALICE, session="x")
    ledger.settled(A, ALICE, "x")
    ledger.entered(rules, A, ALICE, ALICE, "x")
    turns(ledger, rules, 1, BOB)
    assert ledger.standing(rules, A, BOB, session="a").turn == 8
    assert ledger.standing(rules, B, BOB, session="b").turn == 16


def test_who_has_to_wait_for_the_failures_of_its_address_is_not_in_line_meanwhile(ledger):
    rules = Rules(delays=(2, 4), user_delays=(8,))
    turns(ledger, rules, 1)
    ledger.failed(rules, A, BOB, "")
    ledger.failed(rules, A, BOB, "")
    ledger.failed(rules, A, BOB, "")
    for waited in (0.0, 3.9):
        assert ledger.standing(rules, A, ALICE, session="a", waited=waited)[2:] == (3, 0, 0, 0, False, False)
    assert ledger.standing(rules, B, ALICE, session="b").turn == 8
    assert ledger.standing(rules, A, ALICE, session="a", waited=4.0).turn == 16


def test_who_becomes_familiar_while_it_waits_is_in_line_no_more(ledger):
    rules = Rules(user_delays=(8,), user_sessions=None)
    turns(ledger, rules, 1)
    ledger.standing(rules, A, ALICE, session="a")
    ledger.entered(rules, A, ALICE, ALICE, "other")
    assert ledger.standing(rules, A, ALICE, session="a").turn == 0
    assert ledger.standing(rules, B, ALICE, session="b").turn == 8


class Attacker:
    """One that tries a user from one address all the time, over several connections."""

    def __init__(self, ledger, rules, address, habit):
        self.ledger, self.rules, self.address, self.habit = ledger, rules, address, habit
        self.guesses = 0
        self.waiting = {}
        self.asks_at = {}

    def act(self, now):
        for place in range(3):
            session = self.waiting.setdefault(place, f"s{next(numbers)}")
            asks_at, since = self.asks_at.get(place, (now, now))
            if asks_at > now:
                continue
            failures = self.ledger.standing(self.rules, self.address, ALICE).failures
            address_delay = self.rules.address_delay(failures)
            standing = self.ledger.standing(self.rules, self.address, ALICE, session=session, waited=now - since)
            if standing.banned or standing.busy or standing.crowded:
                self.asks_at[place] = now + 1, now + 1
                self.ledger.settled(self.address, ALICE, session)
            elif address_delay > now - since:
                self.asks_at[place] = since + address_delay, since
            elif standing.turn == 0:
                self.guesses += 1
                fingerprint = self.address if self.habit == "same" else ""
                self.ledger.failed(self.rules, self.address, ALICE, fingerprint, session)
                del self.waiting[place]
                self.asks_at.pop(place, None)
            elif self.habit == "leaves" and asks_at > since:  # it has kept a place for as long as it could
                self.ledger.settled(self.address, ALICE, session)
                del self.waiting[place], self.asks_at[place]
            else:
                self.asks_at[place] = now + standing.pause, since


@pytest.mark.parametrize("habit", ["guesses", "same", "leaves"])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_few_addresses_do_not_lock_a_user_out_of_new_ones_and_get_no_more_tries(ledger, time, habit, count):
    rules = Rules(ban_after=None, user_sessions=None)
    attackers = [Attacker(ledger, rules, f"203.0.113.{n}", habit) for n in range(count)]
    begun = time.now
    victims, waits = 0, []
    since = asks_at = session = None
    for step in range(4 * 300):
        time.now = begun + step / 4
        for attacker in attackers:
            attacker.act(time.now)
        if step >= 4 * 120 and step % 120 == 0 and since is None:  # all have failed, or given up, once
            since = asks_at = time.now
            victims += 1
            session = f"v{next(numbers)}"
        if since is not None and time.now >= asks_at:
            standing = ledger.standing(rules, f"198.51.100.{victims}", ALICE, session=session)
            assert not standing.crowded
            if standing.turn == 0:
                waits.append(time.now - since)
                ledger.entered(rules, f"198.51.100.{victims}", ALICE, ALICE, session)
                since = None
            else:
                asks_at = time.now + standing.pause
    assert len(waits) == 6
    assert max(waits) <= rules.longest_user_delay + 0.5
    if habit != "same":
        # At once, while delays grow, and then one in eight seconds.
        assert sum(attacker.guesses for attacker in attackers) <= 8 + 300 / 8 + 1


def test_a_delay_that_is_longer_than_the_patience_is_waited_for(ledger):
    assert turns(ledger, Rules(user_delays=(60,), user_patience=0), 9) == [0, 60]


def test_a_turn_is_a_delay_after_the_one_before_and_nobody_waits_for_more_than_that(ledger, time):
    rules = Rules(user_delays=(10,), user_patience=100)
    assert turns(ledger, rules, 2) == [0, 10]
    time.now += 4
    assert ledger.standing(rules, B, ALICE, session="x").turn == 16
    ledger.settled(B, ALICE, "x")
    time.now += 60
    assert ledger.standing(rules, A, ALICE, session="y").turn == 0
    assert ledger.standing(rules, B, ALICE, session="z").turn == 10


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
        ledger.settled(B, ALICE, "s")
    else:
        time.now += 120
    assert ledger.standing(rules, A, ALICE, session="x").turn == 0
    assert ledger.standing(rules, "192.0.2.8", ALICE, session="y").turn == 5


def test_the_same_try_is_under_way_once(ledger):
    rules = Rules(user_delays=(5, 9))
    assert [ledger.standing(rules, A, ALICE, session="s").turn for _ in range(3)] == [0, 0, 0]


def test_the_same_wrong_password_again_is_under_way_no_more(ledger, time):
    rules = Rules(delays=(), user_delays=(5, 9))
    for _ in range(2):
        assert ledger.standing(rules, A, ALICE, session="s").turn == 0
        ledger.failed(rules, A, ALICE, "f", "s")
        time.now += 5
    time.now -= 5
    assert ledger.standing(rules, B, ALICE, session="x").turn == 5


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
    assert len(turns(ledger, rules, 3)) == 3
    assert ledger.standing(rules, A, ALICE, session="u") == Standing(False, False, 0, 0)
    assert ledger.standing(rules, B, ALICE, session="v").turn > 9
    # its own failures do
    ledger.failed(rules, A, ALICE, "")
    assert ledger.standing(rules, A, ALICE, session="u") == Standing(False, False, 1, 1, 5.0, 5.0)
    assert ledger.standing(rules, A, ALICE, session="u", waited=4.0).turn == 1
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
