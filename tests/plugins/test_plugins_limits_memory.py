"""The ledger in memory is bounded, and what it drops is what matters least."""

import pytest

from geventpop3.plugins.limits import MemoryLedger, Rules
from geventpop3.plugins.limits.ledger import Deadlines, Hits

RULES = Rules(ban_after=3)


def failures(ledger, address):
    return ledger.standing(RULES, address, "").failures


def test_of_too_many_addresses_the_one_that_was_quiet_longest_is_forgotten(time):
    ledger = MemoryLedger(clock=time, keys=2)
    for address in ("a", "b", "a", "c"):
        ledger.failed(RULES, address, "", "")
    assert [failures(ledger, address) for address in "abc"] == [2, 0, 1]


def test_making_up_names_makes_no_address_and_no_ban_forgotten(time):
    ledger = MemoryLedger(clock=time, keys=2)
    for _ in range(3):
        ledger.failed(RULES, "bad", "", "")
    ledger.failed(RULES, "worse", "", "")
    for n in range(10):
        ledger.failed(RULES, "worse", f"user{n}", f"fingerprint{n}") if n < 1 else None
        ledger._user_failures.add(f"user{n}", "", time(), 600, 8)
    assert ledger.standing(RULES, "bad", "").banned
    assert failures(ledger, "worse") == 2


def test_what_has_expired_is_dropped_as_others_come(time):
    hits, deadlines = Hits(100), Deadlines(100)
    for n in range(50):
        hits.add(f"{n}", "", time(), 10, 5)
        deadlines.set(f"{n}", time(), 10)
        time.now += 1
    assert (len(hits), len(deadlines)) == (10, 10)


def test_of_one_key_no_more_is_kept_than_makes_a_difference(time):
    hits = Hits(10)
    for _ in range(100):
        hits.add("a", "", time(), 600, 5)
    assert hits.count("a", time(), 600) == 5


@pytest.mark.parametrize("table", [Hits, Deadlines])
def test_a_key_that_was_never_there_may_be_dropped(table, time):
    one = table(1)
    one.forget("a") if table is Hits else one.drop("a")
    assert len(one) == 0


def test_leaving_twice_is_leaving_once(time):
    ledger = MemoryLedger(clock=time)
    for session in ("1", "2"):
        ledger.entered(RULES, "a", "u", "u", session)
    for _ in range(2):
        ledger.left("u", "1")
    ledger.left("nobody", "9")
    assert ledger._sessions == {"u": {"2"}}
