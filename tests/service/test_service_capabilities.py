"""RFC 2449 to the letter: what CAPA tells in both states, LOGIN-DELAY and EXPIRE kept, response codes registered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from geventpop3 import EAT_ALL, EAT_NONE, Event, err, errors
from geventpop3.auth import Authenticator
from geventpop3.errors import ConfigError, Refusal, ResponseCode
from geventpop3.service import policy
from geventpop3.service.policy import Expiry, LoginDelay, PerUser
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing.memory_stream import MemoryStream
from geventpop3.wire.replies import err as error_reply

IN_BOTH = ["TOP", "USER", "SASL PLAIN LOGIN", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
IN_BOTH += ["UTF8 USER", "LANG"]


def capabilities(app, *before: str) -> list[str]:
    """What CAPA tells after these commands."""
    replies = app.talk(*before, "CAPA")
    return replies[replies.index("+OK capabilities follow") + 1 : -1]


LOGIN = ("USER alice", "PASS alice")


# CAPA


def test_what_is_announced_before_login_is_announced_after_it(make):
    # RFC 2449 section 5: "Capabilities available in the AUTHORIZATION state MUST be announced in both states."
    app = make()
    assert capabilities(app) == IN_BOTH
    assert capabilities(app, *LOGIN)[:-1] == IN_BOTH


def test_every_line_has_the_form_of_section_3(make):
    app = make(expire=PerUser(7, lambda owner: 30), login_delay=PerUser(900, lambda owner: 60))
    for line in (*capabilities(app), *capabilities(app, *LOGIN)):
        tag, *arguments = line.split(" ")
        assert tag.isascii()
        assert tag.isprintable()
        assert all(arguments)
        assert len(line) + 2 <= 512


def test_the_implementation_is_one_word_and_told_after_login(make):
    # Section 6.9: "both (optionally TRANSACTION only)"
    app = make()
    assert not [line for line in capabilities(app) if line.startswith("IMPLEMENTATION")]
    (line,) = [line for line in capabilities(app, *LOGIN) if line.startswith("IMPLEMENTATION")]
    assert line.count(" ") == 1


def test_where_nobody_has_a_password_there_is_no_user(make):
    class Tokens(Authenticator):
        def authenticate(self, name, password):
            return None

        def checks_passwords(self):
            return False

    assert "USER" not in capabilities(make(authenticator=Tokens()))


def test_an_application_adds_and_hides_capabilities_of_one_service(make):
    app, other = make(), make()
    app.service.capabilities["X-PIGEONS"] = lambda session, pop3d: "2"
    del app.service.capabilities["TOP"]
    assert capabilities(app) == [*IN_BOTH[1:], "X-PIGEONS 2"]
    assert capabilities(other) == IN_BOTH


# LOGIN-DELAY: section 6.5


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(delay: LoginDelay, owner: str) -> str | None:
    """Why *owner* may not log in now."""
    try:
        delay.check(owner)
    except Refusal as refusal:
        return f"[{refusal.code}] {refusal.text}"
    return None


def test_a_user_who_is_back_too_soon_is_told_how_long_to_wait(clock):
    delay = LoginDelay(10, clock)
    assert refused(delay, "alice") is None
    delay.note("alice")
    clock.now += 3.5
    assert refused(delay, "alice") == "[LOGIN-DELAY] too soon after the last login, wait 7 s"
    assert refused(delay, "bob") is None
    clock.now += 6.5
    assert refused(delay, "alice") is None


def test_a_login_that_was_none_is_forgotten(clock):
    delay = LoginDelay(10, clock)
    delay.note("alice")
    delay.forget("alice")
    delay.forget("bob")
    assert refused(delay, "alice") is None


def test_without_a_delay_nothing_is_remembered_or_told(clock):
    delay = LoginDelay(0, clock)
    delay.note("alice")
    assert refused(delay, "alice") is None
    assert (delay.before_login(), delay.after_login("alice")) == (None, None)


def test_a_delay_by_user_stays_below_the_one_that_is_told_to_all(clock):
    delays = {"alice": 60, "bob": 5000, "carol": None, "dave": -1}
    delay = LoginDelay(PerUser(900, delays.get), clock)
    assert delay.before_login() == "900 USER"
    assert [delay.after_login(owner) for owner in delays] == ["60", "900", "0", "0"]
    for owner in delays:
        delay.note(owner)
    clock.now += 60
    assert [refused(delay, owner) is None for owner in delays] == [True, False, True, True]
    clock.now += 840
    assert refused(delay, "bob") is None


def test_the_memory_of_logins_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(policy, "LOGINS", 5)
    delay = LoginDelay(10, clock)
    for number in range(20):
        delay.note(f"user{number}")
        assert len(delay._logins) <= 5
    assert refused(delay, "user19") is not None
    assert refused(delay, "user14") is None


def test_logins_that_no_longer_matter_are_forgotten(clock):
    delay = LoginDelay(10, clock)
    for number in range(100):
        delay.note(f"user{number}")
    clock.now += 10
    for _ in range(60):
        delay.note("alice")
    assert list(delay._logins) == ["alice"]


def test_a_login_too_soon_is_refused_only_after_the_right_password(make):
    app = make(login_delay=3600)
    events = []
    app.pop3d.on("authenticated", "authentication_failed")(lambda pop3d, event: events.append(event.name))
    assert app.talk(*LOGIN)[1].startswith("+OK ")
    replies = app.talk("USER alice", "PASS wrong", *LOGIN, "AUTH PLAIN AGFsaWNlAGFsaWNl", "USER bob", "PASS bob")
    assert replies[1] == "-ERR [AUTH] authentication failed"
    assert replies[3].startswith("-ERR [LOGIN-DELAY] too soon after the last login, wait ")
    assert replies[4].startswith("-ERR [LOGIN-DELAY] ")
    assert replies[6].startswith("+OK ")
    assert events == ["authenticated", "authentication_failed", "authenticated"]


def test_a_login_that_failed_for_another_reason_starts_no_delay(make):
    app = make(login_delay=3600)
    held = app.store.open("alice")
    assert app.talk(*LOGIN)[1].startswith("-ERR [IN-USE] ")
    held.close()
    assert app.talk(*LOGIN)[1].startswith("+OK ")


@pytest.mark.parametrize("withdraw", ["eaten", "refused"])
def test_a_login_that_a_plugin_took_back_starts_no_delay(make, withdraw):
    app = make(login_delay=3600)
    withdrawn = []

    @app.pop3d.plugin("response")
    def no(pop3d, event):
        if event.args == ["cmd_pass"] and not withdrawn:
            withdrawn.append(True)
            event.reply = err("no")
            return EAT_ALL if withdraw == "eaten" else None
        return None

    app.talk(*LOGIN)
    assert app.talk(*LOGIN)[1].startswith("+OK ")


def test_the_delay_is_told_and_by_user_more_exactly_after_login(make):
    assert "LOGIN-DELAY 3600" in capabilities(make(login_delay=3600))
    assert "LOGIN-DELAY 3600" in capabilities(make(login_delay=3600), *LOGIN)
    app = make(login_delay=PerUser(900, {"alice": 60}.get))
    assert "LOGIN-DELAY 900 USER" in capabilities(app)
    assert "LOGIN-DELAY 60" in capabilities(app, *LOGIN)


# EXPIRE: section 6.7


def test_where_nobody_said_so_nothing_is_promised(make):
    told = (*capabilities(make()), *capabilities(make(), *LOGIN))
    assert not [line for line in told if line.startswith("EXPIRE")]
    assert Expiry(None).before_login() is Expiry(None).after_login("alice") is None
    assert not Expiry(None).removes_retrieved("alice")


@pytest.mark.parametrize(("days", "told"), [("never", "NEVER"), (0, "0"), (30, "30")])
def test_the_days_are_told_in_both_states(make, days, told):
    app = make(expire=days)
    assert f"EXPIRE {told}" in capabilities(app)
    assert f"EXPIRE {told}" in capabilities(app, *LOGIN)


def test_days_by_user_are_never_less_than_what_is_told_to_all():
    days = {"alice": 30, "bob": 1, "carol": "never", "dave": 0, "erin": None}
    expiry = Expiry(PerUser(5, days.get))
    assert expiry.before_login() == "5 USER"
    assert [expiry.after_login(owner) for owner in days] == ["30", "5", "NEVER", "5", "5"]
    assert not any(map(expiry.removes_retrieved, days))
    nothing_stays = Expiry(PerUser(0, days.get))
    assert nothing_stays.before_login() == "0 USER"
    assert [nothing_stays.removes_retrieved(owner) for owner in days] == [False, False, False, True, True]
    assert Expiry(PerUser("never", days.get)).after_login("dave") == "NEVER"


async def later(owner: str) -> int:
    return 7


@pytest.mark.parametrize("policy", [Expiry, LoginDelay])
def test_a_function_that_nobody_would_await_is_a_mistake(policy):
    with pytest.raises(ConfigError, match=r"(expire|login_delay): .*later is a coroutine function"):
        policy(PerUser(7, later))


@pytest.mark.parametrize(
    "make_policy",
    [
        lambda: Expiry(-1),
        lambda: Expiry("always"),
        lambda: Expiry(PerUser(None, {}.get)),
        lambda: LoginDelay(-1),
        lambda: LoginDelay("never"),
        lambda: LoginDelay(PerUser("never", {}.get)),
    ],
)
def test_a_value_that_cannot_be_is_a_mistake(make_policy):
    with pytest.raises(ConfigError, match=r"expire|login_delay"):
        make_policy()


@pytest.fixture
def zero(make):
    """A site where no mail may be left that was sent."""
    return make(expire=0)


def left(app) -> list[bytes]:
    return app.store.messages("alice")


def test_what_was_retrieved_is_removed_by_quit(zero):
    replies = zero.login("RETR 1", "DELE 1", "RETR 3", "TOP 2 100", "QUIT")
    assert replies[-1] == "+OK goodbye, 2 messages removed"
    assert [content[:12] for content in left(zero)] == [b"Subject: two"]


def test_until_then_it_is_there_and_without_quit_it_stays(zero):
    assert zero.login("RETR 1", "STAT", "RSET")[-2:] == ["+OK 3 71", "+OK 3 messages (71 octets)"]
    assert len(left(zero)) == 3


def test_rset_takes_back_marks_and_not_that_a_message_was_sent(zero):
    assert zero.login("DELE 2", "RETR 1", "RSET", "QUIT")[-1] == "+OK goodbye, 1 message removed"
    assert len(left(zero)) == 2


def test_by_user_it_is_removed_for_those_who_may_leave_nothing(make):
    store = MemoryStore({name: [b"one\r\n"] for name in ("alice", "bob")})
    app = make(store, expire=PerUser(0, {"alice": 0, "bob": 7}.get))
    for name, end in (("alice", "+OK goodbye, 1 message removed"), ("bob", "+OK goodbye")):
        assert app.talk(f"USER {name}", f"PASS {name}", "RETR 1", "QUIT")[-1] == end
    assert (store.messages("alice"), store.messages("bob")) == ([], [b"one\r\n"])


def test_other_sites_remove_what_is_marked(make):
    app = make(expire=1)
    assert app.login("RETR 1", "QUIT")[-1] == "+OK goodbye"
    assert len(left(app)) == 3


class Gone(MemoryStream):
    """A peer that says all and takes nothing: what is written fails, unless it is the greeting."""

    def send_all(self, data: bytes) -> None:
        if b"octets" in data:
            raise BrokenPipeError
        super().send_all(data)


def test_what_never_left_is_not_removed_and_what_was_marked_is(zero):
    zero.run(Gone([b"USER alice\r\nPASS alice\r\nRETR 1\r\nDELE 3\r\nQUIT\r\n"]))
    assert [content[:12] for content in left(zero)] == [b"Subject: one", b"Subject: two"]


@pytest.fixture(params=["in one piece", "in pieces"])
def picky(request, make):
    """A site where no mail may be left that was sent, and a plugin between it and the client."""
    content = b"Subject: mine\r\n\r\n" + b"x" * (5 if request.param == "in one piece" else 500_000)
    store = MemoryStore({"alice": [content]})
    app = make(store, expire=0)

    def plugin(function: Callable[[Event], Any]) -> None:
        app.pop3d.plugin("response")(lambda pop3d, event: (event.args[0] == "cmd_retr" and function(event)) or EAT_NONE)

    app.plugin = plugin
    return app


def looked_at(event: Event) -> bytes:
    return b"".join(event.reply.body)


def test_what_a_plugin_ate_was_not_sent_and_stays(picky):
    picky.plugin(lambda event: EAT_ALL)
    assert picky.login("RETR 1", "QUIT")[-1] == "+OK goodbye"
    assert len(left(picky)) == 1


def test_what_a_plugin_refused_stays(picky):
    def refuse(event: Event) -> None:
        assert looked_at(event)
        event.reply = error_reply("not fit for you")

    picky.plugin(refuse)
    assert picky.login("RETR 1", "QUIT") == ["-ERR not fit for you", "+OK goodbye"]
    assert len(left(picky)) == 1


def test_what_a_plugin_looked_at_and_put_another_message_in_the_place_of_stays(picky):
    def quarantine(event: Event) -> None:
        assert looked_at(event)
        event.reply = event.reply._replace(body=(b"Subject: quarantined\r\n\r\n",))

    picky.plugin(quarantine)
    assert picky.login("RETR 1", "QUIT")[-1] == "+OK goodbye"
    assert len(left(picky)) == 1


def test_what_a_listener_put_another_message_in_the_place_of_stays(picky):
    @picky.pop3d.on("cmd_retr", priority=2000)
    def quarantine(pop3d: Any, event: Event) -> None:
        assert looked_at(event)
        event.reply = "+OK none"

    assert picky.login("RETR 1", "QUIT") == ["+OK none", "+OK goodbye"]
    assert len(left(picky)) == 1


def test_what_a_plugin_wrote_something_in_front_of_was_sent(picky):
    def add(event: Event) -> None:
        event.reply = event.reply._replace(body=chain([b"X-Seen: yes\r\n"], event.reply.body))

    picky.plugin(add)
    assert picky.login("RETR 1", "QUIT")[-1] == "+OK goodbye, 1 message removed"
    assert left(picky) == []


def test_what_was_sent_once_is_removed_though_a_plugin_ate_it_the_second_time(picky):
    eats = iter([EAT_NONE, EAT_ALL])
    picky.plugin(lambda event: next(eats))
    assert picky.login("RETR 1", "RETR 1", "QUIT")[-1] == "+OK goodbye, 1 message removed"
    assert left(picky) == []


@pytest.mark.parametrize("days", [0, 30])
@pytest.mark.parametrize("size", [5, 500_000])
def test_the_summary_counts_what_went_out(make, days, size):
    app = make(MemoryStore({"alice": [b"Subject: mine\r\n\r\n" + b"x" * size]}), expire=days)
    told: list[Any] = []
    eats = iter([EAT_NONE, EAT_ALL, EAT_NONE, EAT_ALL])
    app.pop3d.plugin("response")(lambda pop3d, event: (event.args[0] == "cmd_retr" and next(eats)) or EAT_NONE)
    app.pop3d.on("session_finished")(lambda pop3d, event: told.append(event.args[0].retrieved))
    app.login("RETR 1", "RETR 1", "RETR 1", "NOOP", "RETR 1", "NOOP", "QUIT")
    assert told == [2]


def test_a_message_of_which_only_a_surrogate_was_sent_stays(make):
    store = MemoryStore({"alice": ["Subject: é\r\n\r\n".encode(), b"Subject: e\r\n\r\n"]})
    app = make(store, expire=0, utf8_messages="convert")
    assert app.login("RETR 1", "RETR 2", "QUIT")[-1] == "+OK goodbye, 1 message removed"
    assert len(store.messages("alice")) == 1
    assert app.talk("UTF8", *LOGIN, "RETR 1", "QUIT")[-1] == "+OK goodbye, 1 message removed"


# Response codes: section 8


def test_our_response_codes_are_registered():
    codes = {value.default_code for value in vars(errors).values() if hasattr(value, "default_code")} - {None}
    assert codes == {ResponseCode.AUTH, ResponseCode.IN_USE, ResponseCode.SYS_TEMP, ResponseCode.SYS_PERM}


def test_a_response_code_is_what_a_reply_takes():
    assert error_reply("wait", ResponseCode.LOGIN_DELAY).status_line == b"-ERR [LOGIN-DELAY] wait\r\n"
    assert Refusal("wait", ResponseCode.UTF8).code == "UTF8"
