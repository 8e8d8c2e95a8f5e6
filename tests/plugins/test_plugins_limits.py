"""The limits plugin as clients and subscribers see it, with the ledger in memory."""

import logging
import re

import gevent
import pytest
from limits_site import HERE, THERE, Waited, b64, plain

from geventpop3 import EAT_ALL, PipelineError, Plugin, POP3Server, err, handles, ok
from geventpop3.auth.mechanisms import CredentialsRejected, LookUp, Mechanism
from geventpop3.errors import ConfigError
from geventpop3.pipeline.events import signal
from geventpop3.plugins.limits import LoginLimits, MemoryLedger, Rules, plugin
from geventpop3.plugins.limits.ban_timer import Bans
from geventpop3.plugins.limits.concurrency import Gates
from geventpop3.plugins.limits.keys import user_key
from geventpop3.server.client import Client

BANNED = "-ERR [SYS/TEMP] too many failed logins from your address, try again later"
FAILED = "-ERR [AUTH] authentication failed"
IN = "+OK 0 messages (0 octets)"


# Delays


def test_the_first_login_does_not_wait_and_each_failure_of_the_address_makes_the_next_one_wait_longer(site):
    assert site.fail("alice") == []
    assert [site.fail(name) for name in ("bob", "carol", "dave", "erin", "frank")] == [[2], [4], [8], [15], [15]]


def test_a_login_waits_before_it_is_checked(site):
    site.fail("alice")
    checked_at = []
    site.book.at = lambda: checked_at.append(site.time.now)
    started = site.time.now
    site.login("alice", "wrong")
    assert checked_at == [started + 2]


def test_a_right_password_waits_too_for_what_others_of_its_address_failed_at(site):
    site.fail("alice", 2)
    assert site.login("bob", "BOB") == IN
    assert site.time.slept[-1] == 4


def test_another_address_does_not_wait(site):
    site.fail("alice", 3)
    assert site.fail("bob", peer=THERE) == []


def test_failures_are_forgotten_after_the_window(site):
    site.fail("alice", 3)
    site.time.now += 600
    assert site.fail("alice") == []


def test_a_right_password_makes_its_own_failures_forgotten_and_no_others(site):
    site.fail("alice", 2)
    site.fail("bob")
    site.login("alice", "ALICE")
    # bob's failure is left
    assert site.fail("carol") == [2]


def test_one_right_password_does_not_wash_away_what_was_tried_on_others(site):
    for _ in range(4):
        site.fail("alice")
        site.login("bob", "BOB")
    assert site.time.slept[-1] == 15


def test_an_address_of_ipv6_is_its_64_bit_network(site):
    assert site.fail("alice", peer="2001:db8:1:2::1") == []
    assert site.fail("bob", peer="2001:db8:1:2:ffff::9") == [2]
    assert site.fail("bob", peer="2001:db8:1:3::1") == []


def test_an_address_of_ipv4_in_one_of_ipv6_is_the_one_of_ipv4(site):
    site.fail("alice", peer=f"::ffff:{HERE}")
    assert site.fail("bob") == [2]


def test_a_user_name_waits_for_its_failures_from_anywhere_and_is_never_locked(site):
    delays = [site.fail("alice", peer=f"203.0.113.{n}") for n in range(30)]
    assert delays[:10] == [[], [], [], [], [], [1], [2], [4], [8], [8]]
    assert delays[-1] == [8]
    assert site.login("alice", "ALICE", peer=THERE) == IN
    assert site.fail("bob", peer=THERE) == []


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", "\uff41\uff4c\uff49ce", "al\u00adice", " alice", "alice."])
def test_another_spelling_of_a_user_name_is_the_same_user(make, spelling):
    site = make(delays=(), user_delays=(5,))
    site.fail("alice", peer=THERE)
    assert site.fail(spelling) == [5]


def test_the_longer_of_the_two_delays_holds(make):
    site = make(delays=(2,), user_delays=(5,))
    site.fail("alice")
    assert site.fail("bob") == [2]
    # The turn of alice is 5 seconds after the one before, of which 3 are left; after 2 of these it is her turn.
    site.time.now -= 2
    assert site.fail("alice") == [2, 3]


def test_without_delays_nobody_waits(make):
    assert make(delays=(), user_delays=(), ban_after=None).fail(times=30) == []


def test_a_delayed_login_is_an_event_and_a_log_line(site, caplog):
    caplog.set_level(logging.INFO, "geventpop3.limits")
    site.fail("alice")
    site.fail('"address=10.0.0.1')
    assert site.told == [("login_delayed", HERE, '"address=10.0.0.1', 2.0)]
    assert [re.sub(r"id=\d+", "id=1", text) for text in caplog.messages] == [
        rf'login_delayed address={HERE} id=1 seconds=2 user="\"address\x3d10.0.0.1"',
    ]


def test_what_fails_while_a_login_waits_makes_it_wait_longer(site):
    site.fail("alice")
    others = [lambda: site.ledger.failed(site.limits.rules, HERE, "x", "")]
    sleep = site.time.sleep

    def busy_sleep(seconds):
        sleep(seconds)
        if others:
            others.pop()()

    site.limits._sleep = busy_sleep
    site.login("bob", "wrong")
    assert site.time.slept == [2, 2]


# The same wrong password


def test_the_same_wrong_password_again_is_not_counted(site):
    for _ in range(50):
        assert site.login("alice", "same") == FAILED
    assert set(site.time.slept) == {2}
    assert site.login("ALICE", "same") == FAILED
    assert site.time.slept[-1] == 2


def test_the_same_wrong_password_is_counted_again_for_another_user_and_from_another_address(site):
    site.login("alice", "same")
    site.login("bob", "same")
    assert site.fail("carol") == [4]
    site.login("alice", "same", peer=THERE)
    assert site.fail("bob", peer=THERE) == [2]


def test_the_same_initial_response_again_is_not_counted(site):
    for _ in range(3):
        assert site.talk(f"AUTH PLAIN {plain('alice', 'same')}")[-1] == FAILED
        assert site.talk(f"auth plain {plain('alice', 'same')}")[-1] == FAILED
    assert site.time.slept == [2] * 5
    site.talk(f"AUTH PLAIN {plain('alice', 'other')}")
    assert site.fail("bob") == [4]


@pytest.mark.parametrize("start", [("AUTH PLAIN",), ("AUTH PLAIN =",)])
def test_what_is_not_the_whole_of_a_login_is_never_taken_for_the_same(site, start):
    for _ in range(3):
        site.talk(*start, plain("alice", "same"))
    assert site.fail("bob") == ([8] if start == ("AUTH PLAIN",) else [])


def test_a_mechanism_that_says_the_password_later_is_never_taken_for_the_same(site):
    for n in range(3):
        assert site.talk(f"AUTH LOGIN {b64('alice')}", b64(f"wrong{n}"))[-1] == FAILED
    assert site.fail("bob") == [8]


def test_no_password_is_kept(make):
    site = make()
    site.login("alice", "canary-in-the-mine")
    site.talk(f"AUTH PLAIN {plain('alice', 'canary-in-the-mine')}")
    seen = [repr(vars(part)) for part in (site.limits, site.ledger, site.ledger._seen, site.ledger._failures)]
    assert not any("canary" in text or plain("alice", "canary-in-the-mine") in text for text in seen)


# AUTH and APOP


def test_auth_waits_before_it_is_checked_for_its_address_and_after_it_for_its_user(make):
    site = make(delays=(2,), user_delays=(5,))
    site.fail("alice")
    assert site.talk("AUTH PLAIN", plain("alice", "wrong"))[-1] == FAILED
    assert site.time.slept == [2, 3]


def test_the_answer_to_auth_waits_as_long_if_the_password_was_right(make):
    site = make(delays=(), user_delays=(5,))
    site.fail("alice", peer=THERE)
    assert site.talk("AUTH PLAIN", plain("alice", "ALICE"))[-1] == IN
    assert site.time.slept == [5]


def test_auth_alone_is_no_login(site):
    site.fail("alice")
    assert "PLAIN" in site.talk("AUTH")
    assert site.time.slept == []


def test_auth_that_is_malformed_or_cancelled_is_no_failure(site):
    site.talk(
        f"AUTH PLAIN {b64('nonsense')}", "AUTH PLAIN", "*", "AUTH X-NONE", "PASS before", f"AUTH LOGIN {b64('alice')}"
    )
    assert site.fail() == []
    assert len(site.limits._gates) == 0


def test_a_failure_that_names_nobody_counts_for_the_address_alone(site):
    site.pop3d.on("cmd_auth", priority=-1)(
        lambda pop3d, event: pop3d.send_event("authentication_failed", "", "X", client=event.client) and err("no")
    )
    site.talk("AUTH X")
    assert site.talk("AUTH X", "USER alice", "PASS wrong")
    assert site.time.slept == [2, 4]
    assert len(site.ledger._user_failures) == 1


def test_apop_waits_for_the_failures_of_its_name(make):
    site = make(delays=(), user_delays=(5,))
    site.fail("alice", peer=THERE)
    site.talk("APOP alice c4c9334bac560ecc979e58001b3e22fb", "APOP")
    assert site.time.slept == [5]
    assert site.told == [("login_delayed", HERE, "alice", 5.0)]


# Bans


def test_an_address_that_fails_too_often_is_turned_away_with_a_word(make):
    site = make(ban_after=3, ban_seconds=100)
    site.fail(times=3)
    assert site.talk("USER bob", "PASS BOB") == [BANNED]
    assert site.talk("NOOP", peer=THERE)[0].startswith("+OK")
    site.time.now += 99
    assert site.talk("USER bob", "PASS BOB") == [BANNED]
    site.time.now += 1
    assert site.login("bob", "BOB") == IN


def test_a_ban_starts_over_when_it_has_ended(make):
    site = make(delays=(), ban_after=3, ban_seconds=10)
    site.fail(times=3)
    site.time.now += 10
    site.fail(times=2)
    assert site.login("bob", "BOB") == IN


def test_failures_that_are_further_apart_than_the_window_ban_nobody(make):
    site = make(delays=(), ban_after=3, window=100)
    for _ in range(10):
        site.fail()
        site.time.now += 50
    assert site.login("bob", "BOB") == IN


def test_the_failure_that_bans_is_answered_and_ends_the_connection(make):
    site = make(ban_after=2)
    lines = site.talk("USER alice", "PASS 1", "USER alice", "PASS 2", "USER bob", "PASS BOB")
    assert lines[1:] == ["+OK send PASS", FAILED, "+OK send PASS", FAILED]


def test_a_client_that_was_here_before_the_ban_is_refused_at_its_next_login(make):
    site = make(ban_after=2)

    def chunks():
        yield b"USER bob\r\n"
        site.fail(times=2)
        yield b"PASS BOB\r\nUSER alice\r\n"

    assert site.run(chunks())[1:] == ["+OK send PASS", BANNED]


def test_a_ban_its_refusals_and_its_end_are_events_and_log_lines(make, caplog):
    caplog.set_level(logging.INFO, "geventpop3.limits")
    site = make(delays=(), ban_after=2, ban_seconds=100)
    site.fail(times=2, peer="2001:db8::1")
    site.talk("NOOP", peer="2001:db8::2")
    site.time.now += 100
    site.limits._bans.end()
    address = "2001:db8::/64"
    assert site.told == [
        ("address_banned", address, 100),
        ("login_refused", address, "", "banned"),
        ("address_released", address),
    ]
    assert [re.sub(r"id=\d+", "id=1", text) for text in caplog.messages] == [
        f"address_banned address={address} id=1 seconds=100",
        f"login_refused address={address} id=1 reason=banned user=-",
        f"address_released address={address}",
    ]


def test_a_ban_can_be_lifted(make):
    site = make(delays=(), ban_after=2)
    site.fail(times=2)
    assert site.limits.release(HERE) is True
    assert site.login("bob", "BOB") == IN
    assert site.limits.release(HERE) is False
    assert site.limits.release("nobody") is False
    assert [name for name, *_ in site.told] == ["address_banned", "address_released"]
    assert len(site.limits._bans) == 0


@pytest.mark.parametrize("spelling", [f"::ffff:{HERE}", "::FFFF:C000:207", "0:0:0:0:0:ffff:192.0.2.7"])
def test_the_ban_of_an_address_of_ipv4_holds_and_is_lifted_in_every_spelling(make, spelling):
    site = make(delays=(), ban_after=2)
    site.fail()
    site.fail(peer=spelling)
    assert site.talk("NOOP") == site.talk("NOOP", peer=spelling) == [BANNED]
    assert site.told[0] == ("address_banned", HERE, 3600)
    assert site.limits.release(spelling) is True
    assert site.talk("NOOP")[0].startswith("+OK")
    assert make(trusted=["::ffff:192.0.2.0/120"]).fail(times=30) == []


def test_without_bans_an_address_only_waits(make):
    site = make(ban_after=None)
    assert site.fail(times=50)[-1] == 15


def test_the_end_of_a_ban_is_told_when_its_time_has_come():
    ended = gevent.event.AsyncResult()
    bans = Bans(gevent.get_hub().loop.now, ended.set)
    bans.add(HERE, 0.001)
    assert ended.get(timeout=10) == HERE
    bans.close()


def test_bans_beyond_a_bound_end_untold(time, monkeypatch):
    monkeypatch.setattr("geventpop3.plugins.limits.ban_timer.REMEMBERED", 2)
    ended = []
    bans = Bans(time, ended.append)
    for address in "abc":
        bans.add(address, 10)
    bans.remove("b")
    time.now += 10
    bans.end()
    assert ended == ["c"]
    bans.close()
    bans.close()


# Logins per minute, sessions


def test_an_address_may_try_so_many_logins_a_minute(make):
    site = make(address_logins_per_minute=3)
    for name in ("alice", "bob", "carol"):
        assert site.login(name, name.upper()) == IN
    reply = "-ERR [SYS/TEMP] too many logins from your address, try again in a minute"
    assert site.talk("USER alice", "PASS ALICE", "USER bob")[1:] == ["+OK send PASS", reply]
    assert site.told == [("login_refused", HERE, "alice", "address-rate")]
    assert site.login("alice", "ALICE", peer=THERE) == IN
    site.time.now += 60
    assert site.login("alice", "ALICE") == IN
    assert site.book.checked == 5


def test_a_user_who_logs_in_too_often_is_told_so_after_the_right_password_only(make):
    site = make(user_logins_per_minute=2)
    assert [site.login("alice", "ALICE", peer=f"203.0.113.{n}") for n in range(2)] == [IN, IN]
    assert site.fail("alice", peer=THERE) == []
    assert site.login("Alice", "ALICE") == "-ERR [LOGIN-DELAY] logged in too often, try again in a minute"
    assert site.told == [("login_refused", HERE, "alice", "user-rate")]
    assert site.login("bob", "BOB") == IN
    site.time.now += 60
    assert site.login("alice", "ALICE") == IN


def test_wrong_passwords_do_not_use_up_a_users_logins(make):
    site = make(delays=(), user_delays=(), user_logins_per_minute=1)
    site.fail("alice", 10)
    assert site.login("alice", "ALICE") == IN


def test_a_user_may_have_so_many_sessions(make):
    site = make(user_sessions=2)
    stays = [site.stay("alice"), site.stay("alice", THERE)]
    assert [stay.reply for stay in stays] == [IN, IN]
    assert site.login("Alice", "ALICE") == "-ERR [IN-USE] too many sessions are open"
    assert site.login("alice", "wrong") == FAILED
    assert site.login("bob", "BOB") == IN
    assert ("login_refused", HERE, "alice", "user-sessions") in site.told
    stays[0].leave()
    assert site.login("alice", "ALICE") == IN
    stays[1].leave()
    assert site.ledger._sessions == {}


def test_a_client_that_logs_in_anew_because_a_plugin_hid_its_login_has_one_session(make):
    site = make(user_sessions=1)

    @site.pop3d.plugin("response")
    def hide(pop3d, event):
        if event.args == ["cmd_pass"] and len(hidden) < 1:
            hidden.append(event.reply)
            event.reply = err("not yet")

    hidden = []
    assert site.talk("USER alice", "PASS ALICE", "USER alice", "PASS ALICE")[-1] == IN


def test_a_login_that_is_refused_though_right_leaves_the_maildrop_free(make):
    site = make(user_logins_per_minute=1)
    site.login("alice", "ALICE")
    lines = site.talk("USER alice", "PASS ALICE", "STAT")
    assert lines[-1].startswith("-ERR [LOGIN-DELAY]")
    site.time.now += 60
    assert site.login("alice", "ALICE") == IN


# How many at once


def test_logins_of_one_address_wait_for_each_other(make):
    site = make(at_once=1)
    go = gevent.event.Event()
    inside = []

    def look():
        inside.append(len(inside))
        go.wait(10)

    site.book.at = look
    logins = [gevent.spawn(site.login, name, name.upper()) for name in ("alice", "bob")]
    other = gevent.spawn(site.login, "carol", "CAROL", THERE)
    gevent.idle()
    assert len(inside) == 2  # one from here, one from there
    go.set()
    gevent.joinall([*logins, other], timeout=10, raise_error=True)
    assert [login.value for login in (*logins, other)] == [IN, IN, IN]
    assert len(site.limits._gates) == 0


def test_a_flood_gets_no_more_tries_than_lead_to_a_ban(make):
    site = make(at_once=2, ban_after=3, delays=(), user_delays=())
    site.book.at = lambda: gevent.sleep(0)
    logins = [gevent.spawn(site.login, "alice", f"wrong{n}") for n in range(50)]
    gevent.joinall(logins, timeout=10, raise_error=True)
    assert sorted({login.value for login in logins}) == [FAILED, BANNED]
    assert site.book.checked <= 4


def test_who_waits_too_long_is_refused_and_not_for_the_password(make):
    site = make(at_once=1, patience=0.0)
    site.book.at = lambda: replies.append(site.login("bob", "BOB")) if not replies else None
    replies = []
    site.login("alice", "ALICE")
    assert replies == ["-ERR [SYS/TEMP] too many logins from your address at once, try again later"]
    assert site.told == [("login_refused", HERE, "bob", "address-busy")]


def test_a_client_that_is_killed_at_the_gate_or_behind_it_leaves_it_open():
    gates = Gates(1, 10.0)
    assert gates.enter("a")
    waiting = gevent.spawn(gates.enter, "a")
    gevent.idle()
    waiting.kill()
    gates.leave("a")
    assert len(gates) == 0


def test_a_session_that_ends_while_its_login_is_checked_leaves_the_gate(make):
    site = make(at_once=1)
    go = gevent.event.Event()
    site.book.at = lambda: go.wait(10)
    login = gevent.spawn(site.login, "alice", "ALICE")
    gevent.idle()
    login.kill()
    assert len(site.limits._gates) == 0
    site.book.at = lambda: None
    assert site.login("bob", "BOB") == IN


SCRAM = f"AUTH SCRAM-SHA-256 {b64('n,,n=alice,r=nonce')}"
DIALOGUES = [
    ("AUTH PLAIN",),
    ("AUTH LOGIN",),
    ("AUTH LOGIN", b64("alice")),
    (f"AUTH LOGIN {b64('alice')}",),
    ("AUTH CRAM-MD5",),
    ("AUTH SCRAM-SHA-256",),
    (SCRAM,),
    ("USER alice",),
    ("USER alice", "PASS ALICE"),
    ("USER alice", "PASS wrong"),
    ("USER alice", "PASS"),
    (f"AUTH PLAIN {plain('alice', 'wrong')}",),
    (f"AUTH PLAIN {plain('alice', 'ALICE')}",),
    ("AUTH PLAIN =",),
    ("AUTH X-NONE",),
    ("APOP alice 0",),
    ("APOP",),
]


@pytest.mark.parametrize("lines", DIALOGUES)
def test_no_place_is_held_while_a_client_is_waited_for(make, lines):
    site = make(at_once=1, patience=0.0, delays=())
    waited = Waited(site, *lines)
    assert len(site.limits._gates) == 0
    assert site.login("bob", "BOB") == IN
    assert site.talk(f"AUTH PLAIN {plain('bob', 'BOB')}")[-1] == IN
    waited.leave()


def test_a_login_that_is_eaten_behind_the_limits_holds_no_place_while_its_client_is_idle(make):
    class Rude(Plugin):
        priority = 200

        @handles("cmd_pass", "cmd_auth")
        def eat(self, pop3d, event):
            event.reply = err("no")
            return EAT_ALL

    site = make(at_once=1, patience=0.0)
    site.pop3d.plugin_add("rude", Rude())
    for lines in (("USER alice", "PASS x"), ("AUTH PLAIN",)):
        waited = Waited(site, *lines)
        assert waited.said == "-ERR no"
        assert len(site.limits._gates) == 0
        waited.leave()


class Broken:
    """Answers a login in neither way."""

    def __init__(self, answer):
        self.answer = answer

    @handles("cmd_pass")
    def hear(self, pop3d, event):
        return self.answer()


def fail_somehow():
    raise ValueError("oops")


@pytest.mark.parametrize("answer", [fail_somehow, lambda: err("later", "SYS/TEMP"), lambda: ok("come in")])
def test_a_login_that_ends_in_neither_event_holds_no_place_and_counts_for_nobody(make, answer, caplog):
    site = make(at_once=1, patience=0.0, delays=(), user_delays=(5, 9))
    site.pop3d.register(Broken(answer), priority=-1)
    waited = Waited(site, "USER alice", "PASS x")
    assert len(site.limits._gates) == 0
    assert site.ledger.standing(site.limits.rules, THERE, user_key("alice"), session="s").turn == 0
    waited.leave()


@pytest.mark.parametrize("refused", [True, False])
def test_the_place_is_free_when_the_reply_to_a_login_goes_out(make, refused):
    # A client that does not read what it is sent keeps nobody from logging in.
    site = make(at_once=1, patience=0.0, delays=(), user_sessions=1)
    stay = site.stay("alice", THERE) if refused else None
    held = []

    @site.pop3d.plugin("response")
    def look(pop3d, event):
        held.append(len(site.limits._gates))

    site.talk("USER alice", "PASS ALICE", "USER bob", "PASS wrong")
    site.talk("AUTH PLAIN", plain("alice", "ALICE"))
    assert set(held) == {0}
    if stay is not None:
        stay.leave()


def test_auth_waits_for_a_place_when_it_has_something_to_check(make):
    site = make(at_once=1, patience=0.0, delays=())
    replies = []
    site.book.at = lambda: replies.append(site.talk("AUTH PLAIN", plain("bob", "BOB"))[-1]) if not replies else None
    # between the challenge and the response of the one in here, another has come
    waited = Waited(site, "AUTH PLAIN")
    busy = "-ERR [SYS/TEMP] too many logins from your address at once, try again later"
    assert site.login("alice", "ALICE") == IN
    assert replies == [busy]
    waited.leave()


def test_an_auth_that_is_refused_when_it_has_told_its_name_is_not_checked(make):
    site = make(ban_after=2, delays=())

    def chunks():
        yield b"AUTH PLAIN\r\n"
        site.fail(times=2)
        checked.append(site.book.checked)
        yield f"{plain('bob', 'BOB')}\r\nNOOP\r\n".encode()

    checked = []
    assert site.run(chunks())[1:] == ["+ ", BANNED]
    assert checked == [site.book.checked]
    assert site.told[-1] == ("login_refused", HERE, "bob", "banned")


def test_a_login_by_auth_is_one_try_of_its_address(make):
    site = make(address_logins_per_minute=2)
    for _ in range(2):
        assert site.talk("AUTH PLAIN", plain("bob", "BOB"))[-1] == IN
    assert site.talk("AUTH PLAIN")[-1] == "-ERR [SYS/TEMP] too many logins from your address, try again in a minute"


def test_dialogues_that_are_given_up_after_a_look_up_are_failures_of_address_and_user(make):
    site = make(delays=(2,), user_delays=(5, 5))
    assert site.talk(SCRAM, "*")[-1] == "-ERR authentication cancelled"
    assert site.talk(SCRAM)[-1].startswith("-ERR")
    assert site.time.slept == [2, 3]
    assert site.fail("bob") == [2]
    assert site.ledger.standing(site.limits.rules, THERE, user_key("alice")).user_failures == 2


# Many addresses, one user


def crowd(site, login, count=60):
    """Logins that come at once, each from an address of its own, and wait for ever if they have to wait."""
    site.limits._sleep = lambda seconds: waits.append(seconds) or never.wait(60)
    waits, never = [], gevent.event.Event()
    logins = [gevent.spawn(login, f"203.0.113.{n}") for n in range(count)]
    with gevent.Timeout(60):
        while len(waits) + sum(one.ready() for one in logins) < count:
            gevent.sleep(0)
    refused = [one.value for one in logins if one.ready()]
    gevent.killall(logins)
    return waits, refused


CROWDED = "-ERR [SYS/TEMP] too many logins with this name at once, try again later"


@pytest.mark.parametrize("name", ["alice", "NOBODY"])
@pytest.mark.parametrize("auth", [True, False])
def test_many_addresses_get_no_more_tries_of_one_user_than_the_delays_allow(make, name, auth):
    # Counted before they are checked: else all of them are in before the first has failed.
    site = make()
    site.book.at = lambda: gevent.sleep(0)

    def login(peer):
        if auth:
            return site.talk("AUTH PLAIN", plain(name, f"wrong{peer}"), peer=peer)[-1]
        return site.login(name, f"wrong{peer}", peer)

    waits, refused = crowd(site, login)
    assert site.book.checked == 5
    assert waits == [1] * 6  # each asks again when the first of them goes on
    assert [seconds for event, *_, seconds in site.told if event == "login_delayed"] == [1, 3, 7, 15, 23, 31]
    assert sorted(set(refused)) == sorted({FAILED, CROWDED})
    assert refused.count(CROWDED) == 60 - 5 - 6
    assert ("login_refused", "203.0.113.59", name, "user-busy") in site.told
    assert len(site.limits._gates) == 0


def test_a_crowd_does_not_delay_an_address_where_the_user_has_logged_in_lately(make):
    site = make()
    assert site.login("alice", "ALICE") == IN
    site.time.now += 5 * 24 * 3600
    sleep = site.limits._sleep
    crowd(site, lambda peer: site.login("alice", f"wrong{peer}", peer))
    site.limits._sleep = sleep
    site.time.slept.clear()
    assert site.login("alice", "ALICE") == IN
    assert site.talk("AUTH PLAIN", plain("alice", "ALICE"))[-1] == IN
    assert site.time.slept == []
    assert site.login("alice", "ALICE", THERE) != IN or site.time.slept != []


def test_a_mechanism_that_asks_for_two_names_has_one_try_under_way(make):
    def run(context):
        for name in ("alice", "bob"):
            yield from LookUp(name)
        raise CredentialsRejected("bob")

    site = make(user_delays=(5, 9))
    site.service.site.mechanisms = {"X-TWO": Mechanism(run)}
    under_way = []
    site.book.at = lambda: under_way.append({key for key in map(user_key, ("alice", "bob")) if tries(site, key)})
    assert site.talk("AUTH X-TWO")[-1] == FAILED
    assert under_way == [{user_key("alice")}, {user_key("bob")}]
    assert not tries(site, user_key("bob"))


def tries(site, user):
    return len(site.ledger._tries_of.get(user, ()))


def test_the_ledger_is_told_the_end_of_a_try_once(make):
    site = make()
    site.ledger.settled = lambda address, user, session: settled.append((address, user))
    settled = []
    site.login("alice", "ALICE")
    site.login("alice", "wrong")
    site.talk("AUTH PLAIN", plain("alice", "ALICE"))
    assert settled == []
    site.pop3d.on("cmd_pass", priority=-1)(lambda pop3d, event: err("later"))
    site.login("alice", "ALICE")
    assert settled == [(HERE, user_key("alice"))]


@pytest.mark.parametrize("of_address", [True, False])
def test_who_goes_while_its_login_waits_is_not_checked_and_gives_its_turn_back(make, monkeypatch, of_address):
    monkeypatch.setattr(plugin, "POLL_SECONDS", 1.0)
    site = make(delays=(4,) if of_address else (), user_delays=(4,))
    site.fail("alice", peer=HERE if of_address else THERE)
    monkeypatch.setattr(Client, "has_gone", lambda client: len(site.time.slept) == 3)
    checked = site.book.checked
    assert site.login("alice", "ALICE") == CROWDED
    assert site.time.slept == [1, 1, 1]
    assert site.book.checked == checked
    assert [name for name, *_ in site.told] == ["login_delayed", "login_refused"]
    assert site.told[-1] == ("login_refused", HERE, "alice", "gone")
    assert not tries(site, user_key("alice"))


def test_a_second_try_of_an_address_does_not_wait_in_line(make):
    site = make(user_delays=(4,))
    replies = []
    site.book.at = lambda: replies.append(site.login("alice", "ALICE")) if not replies else None
    site.login("alice", "ALICE")
    assert replies == ["-ERR [SYS/TEMP] too many logins from your address at once, try again later"]
    assert site.told == [("login_refused", HERE, "alice", "address-busy")]


def test_where_a_user_has_logged_in_lately_its_own_failures_delay_it(make):
    site = make(delays=(), user_delays=(3,))
    site.login("alice", "ALICE")
    site.fail("alice")
    assert site.fail("alice") == [3]


def test_tries_that_end_while_they_wait_are_under_way_no_more(make):
    site = make(user_delays=(5,), user_patience=0)
    stuck = gevent.event.Event()
    arrived = []
    site.limits._sleep = lambda seconds: arrived.append(seconds) or stuck.wait(60)
    site.book.at = lambda: arrived.append(0) or stuck.wait(60)
    logins = [gevent.spawn(site.login, "alice", "wrong", f"203.0.113.{n}") for n in range(2)]
    with gevent.Timeout(60):
        while len(arrived) < 2:
            gevent.sleep(0)
    assert arrived == [0, 5]
    gevent.killall(logins)
    site.time.now += 5
    assert site.ledger.standing(site.limits.rules, THERE, user_key("alice"), session="s").turn == 0


# Who is exempt


def test_trusted_networks_are_exempt(make):
    site = make(trusted=["192.0.2.0/24", "2001:db8::/32"], ban_after=1)
    assert site.fail(times=10) == []
    assert site.fail(times=10, peer="2001:db8::1") == []
    assert site.talk("AUTH PLAIN", plain("alice", "ALICE"))[-1] == IN
    assert site.talk("AUTH PLAIN", plain("alice", "wrong"))[-1] == FAILED
    site.fail(peer=THERE)
    assert site.talk("NOOP", peer=THERE) == [BANNED]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "unix:/run/pop3.sock"])
def test_this_machine_is_trusted_by_default(site, peer):
    assert site.fail(times=25, peer=peer) == []


# The plugin in its server


def test_its_events_are_known_to_the_server_and_to_blinker(site):
    heard = []

    def receiver(sender, event):
        heard.append(event.args[0])

    signal("login_delayed").connect(receiver, sender=site.pop3d)
    site.fail(times=2)
    assert heard == [HERE]


def test_a_subscriber_that_fails_does_no_harm(site, caplog):
    site.pop3d.on("login_delayed")(lambda pop3d, event: 1 / 0)
    assert site.fail(times=2) == [2]


def test_a_plugin_that_eats_a_login_afterwards_leaves_no_gate_behind(make):
    class Rude(Plugin):
        priority = 200

        @handles("cmd_pass")
        def eat(self, pop3d, event):
            event.reply = ok("no")
            return EAT_ALL

    site = make(at_once=1, patience=0.0)
    site.pop3d.plugin_add("rude", Rude())
    assert site.talk("USER alice", "PASS x", peer=HERE)[-1] == "+OK no"
    assert len(site.limits._gates) == 0


def test_events_and_commands_without_a_client_are_nobodys(site):
    for name in (
        *("authentication_failed", "authenticated", "cmd_user", "cmd_pass", "connection", "disconnected"),
        *("cmd_apop", "cmd_auth", "credentials", "challenge", "command_eaten"),
    ):
        site.pop3d.send_event(name, "alice", "USER")
    assert site.told == site.errors == []


def test_nothing_is_kept_of_clients_that_are_gone(site):
    site.fail(times=3)
    site.login("alice", "ALICE")
    site.fail(peer="127.0.0.1")
    assert len(site.limits._sessions) == 0
    assert site.ledger._sessions == {}


def test_a_plugin_that_is_removed_lets_go_of_the_sessions_and_of_those_who_wait(site):
    stay = site.stay("alice")
    site.fail("bob")
    site.limits._sleep = lambda seconds: site.pop3d.plugin_del("limits")
    assert site.login("bob", "BOB") == IN
    assert site.ledger._sessions == {}
    assert len(site.limits._gates) == 0
    stay.leave()
    assert site.limits.release(HERE) is False


def test_a_plugin_that_is_removed_while_it_has_a_login_checked_lets_go_of_its_place_and_its_try(make):
    site = make(at_once=1, patience=0.0, user_delays=(5,))
    held = []

    def remove():
        site.pop3d.plugin_del("limits")
        held.append(len(site.limits._gates))

    site.book.at = remove
    assert site.login("alice", "ALICE") == IN
    assert held == [0]
    assert site.ledger.standing(site.limits.rules, THERE, user_key("alice"), session="s").turn == 0
    assert site.ledger._sessions == {}


def test_a_login_that_waits_while_the_plugin_is_removed_and_added_again_leaves_no_place_behind(make):
    site = make(at_once=1, patience=0.0)
    site.fail()
    site.limits._sleep = lambda seconds: site.pop3d.plugin_add("limits", site.pop3d.plugin_del("limits"))
    waited = Waited(site, "USER bob", "PASS BOB")
    assert waited.said == IN
    assert len(site.limits._gates) == 0
    waited.leave()


def test_limits_are_of_one_server_and_may_share_the_ledger_of_another(site, make):
    other = POP3Server(port=0)
    with pytest.raises(PipelineError, match="belongs to another server"):
        other.plugin_add("limits", site.limits)
    other.plugin_add("limits", LoginLimits())
    other.shutdown(0)
    second = make(ledger=site.ledger)
    site.fail()
    assert second.fail("bob") == [2]


def test_a_ban_that_is_lifted_when_the_limits_are_removed_is_told_to_nobody(make):
    site = make(ban_after=1)
    site.fail()
    site.pop3d.plugin_del("limits")
    assert site.limits.release(HERE) is True
    assert [name for name, *_ in site.told] == ["address_banned"]


def test_limits_that_were_removed_may_be_added_again(site):
    site.pop3d.plugin_add("again", site.pop3d.plugin_del("limits"))
    assert site.fail(times=2) == [2]


def test_the_default_limits_need_no_arguments(make):
    limits = LoginLimits()
    assert isinstance(limits.ledger, MemoryLedger)
    assert "key" not in repr(limits)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"delays": (2, -1)}, "delays"),
        ({"user_delays": (-1,)}, "delays"),
        ({"patience": -1}, "patience"),
        ({"window": 0}, "window"),
        ({"ban_seconds": 0}, "ban_seconds"),
        ({"ban_after": 0}, "ban_after"),
        ({"at_once": 0}, "at_once"),
        ({"user_sessions": 0}, "user_sessions"),
        ({"user_logins_per_minute": -3}, "user_logins_per_minute"),
        ({"address_logins_per_minute": 0}, "address_logins_per_minute"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules, text):
    with pytest.raises(ConfigError, match=text):
        Rules(**rules)


def test_a_trusted_network_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"trusted network: .*192\.0\.2\.7/24"):
        LoginLimits(Rules(trusted=["192.0.2.7/24"]))


@pytest.mark.parametrize("eaten", [False, True])
def test_a_login_whose_reply_is_withdrawn_takes_no_place_of_its_user(make, eaten):
    site = make(user_sessions=1)
    open_then = []
    site.pop3d.on("cmd_capa")(lambda pop3d, event: open_then.append(dict(site.ledger._sessions)))

    @site.pop3d.plugin("response")
    def withdraw(pop3d, event):
        if event.args == ["cmd_pass"]:
            event.reply = err("no")
            return EAT_ALL if eaten else None
        return None

    site.talk("USER alice", "PASS ALICE", "CAPA")
    assert open_then == [{}]
