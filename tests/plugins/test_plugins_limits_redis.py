"""The ledger in Redis: shared, never in the way, and of no consequence when it is gone."""

import contextlib
import logging
import subprocess
import sys
import textwrap

import gevent
import pytest
import required
from gevent.server import StreamServer
from limits_site import HERE, THERE

from geventpop3.errors import ConfigError
from geventpop3.plugins.limits import Entry, Reason, RedisLedger, Rules
from geventpop3.plugins.limits import redis as module
from geventpop3.plugins.limits.keys import user_key

needs_redis = pytest.mark.service
required.module("redis")

RULES = Rules(user_sessions=1)
ALICE = "a1"


@pytest.fixture
def redis(redis_server):
    redis_server.flush()
    return redis_server


@pytest.fixture
def connect(time):
    """Makes ledgers, as so many processes would."""
    made = []

    def ledger(url, *, clock=time):
        made.append(RedisLedger(url, clock=clock))
        return made[-1]

    yield ledger
    for one in made:
        one.close()
        one._sessions.clear()
        one.close()


@contextlib.contextmanager
def listener(handle):
    """Where *handle* answers, in a greenlet of this thread: it gets its turn only if nobody keeps the hub."""
    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.server_port}/0"
    finally:
        server.stop(timeout=0)


@contextlib.contextmanager
def relay(redis):
    """A way to the real Redis that leads through a greenlet of this thread."""

    def handle(near, _address):
        with gevent.socket.create_connection(("127.0.0.1", redis.port)) as far:
            back = gevent.spawn(pump, far, near)
            pump(near, far)
            back.kill()

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    with listener(handle) as url:
        yield url


def silent(sock, _address):
    while sock.recv(4096):
        pass


# Shared


@needs_redis
def test_servers_that_share_a_redis_count_together(redis, connect, make):
    one, other = (make(connect(redis.url), ban_after=3) for _ in range(2))
    one.fail("alice")
    assert other.fail("bob") == [2]
    one.fail("carol")
    assert other.talk("NOOP") == ["-ERR [SYS/TEMP] too many failed logins from your address, try again later"]
    assert other.limits.release(HERE) is True
    assert one.talk("NOOP")[0].startswith("+OK")


@needs_redis
def test_sessions_are_counted_over_all_servers(redis, connect, make):
    one, other = (make(connect(redis.url), user_sessions=1) for _ in range(2))
    stay = one.stay("alice")
    assert other.login("alice", "ALICE") == "-ERR [IN-USE] too many sessions are open"
    stay.leave()
    assert other.login("alice", "ALICE", THERE) == "+OK 0 messages (0 octets)"


@needs_redis
def test_prefixes_keep_sites_apart(redis, time):
    one, other = (RedisLedger(redis.url, prefix=prefix, clock=time) for prefix in ("a:", "b:"))
    one.failed(RULES, HERE, ALICE, "f")
    assert other.standing(RULES, HERE, ALICE).failures == 0
    with redis.client() as client:
        assert {key[:2] for key in client.scan_iter()} == {"a:"}
    one.close()
    other.close()


@needs_redis
def test_every_key_expires_and_none_holds_what_a_client_sent(redis, connect, make):
    site = make(connect(redis.url), ban_after=2, user_logins_per_minute=9)
    stay = site.stay("carol")
    site.login("alice-canary", "canary-password", THERE)
    site.fail("alice", 2)
    gave_up = user_key("dave")
    for session in "ab":
        site.ledger.standing(Rules(user_delays=(5,)), f"{session}::/64", gave_up, session=session)
    site.ledger.settled("a::/64", gave_up, "a")
    with redis.client() as client:
        keys = list(client.scan_iter())
        assert {key.split(":")[1] for key in keys} == {
            *["ban", "failures", "user-failures", "seen", "tries", "logins", "sessions", "familiar"],
            *["under-way", "turn", "uncounted"],
        }
        familiar = {key for key in keys if key.split(":")[1] == "familiar"}
        assert [key for key in keys if not 0 < client.pttl(key) <= (7 * 24 if key in familiar else 1) * 3_600_000] == []
        values = [hit for key in keys if client.type(key) == "list" for hit in client.lrange(key, 0, -1)]
    assert values
    assert not any("canary" in text for text in [*keys, *values])
    stay.leave()


@needs_redis
def test_without_a_clock_the_time_is_that_of_redis(redis, connect):
    one, other = (connect(redis.url, clock=None) for _ in range(2))
    rules = Rules(ban_after=2, address_logins_per_minute=1)
    assert one.standing(rules, HERE, "", trying=True).too_often is False
    assert other.standing(rules, HERE, "", trying=True).too_often is True
    one.failed(rules, HERE, ALICE, "")
    assert other.standing(rules, HERE, ALICE)[2:4] == (1, 1)
    assert other.failed(rules, HERE, ALICE, "").banned


# Leases


@needs_redis
def test_sessions_of_a_process_that_died_count_until_their_lease_ends(redis, connect, time):
    dead, alive = connect(redis.url), connect(redis.url)
    dead.entered(RULES, HERE, "", ALICE, "1")
    time.now += module.LEASE_SECONDS - 1
    assert alive.entered(RULES, HERE, "", ALICE, "2").refused is Reason.USER_SESSIONS
    time.now += 1
    assert alive.entered(RULES, HERE, "", ALICE, "3").refused is None


@needs_redis
def test_sessions_of_a_process_that_lives_are_renewed(redis, connect, time, monkeypatch):
    monkeypatch.setattr(module, "RENEWED_AT_ONCE", 2)
    one, other = connect(redis.url), connect(redis.url)
    owners = ["a", "b", "c", "d", "e"]
    for owner in owners:
        one.entered(RULES, HERE, "", owner, f"of {owner}")
    for _ in range(3):
        time.now += module.LEASE_SECONDS - 1
        one.renew()
    assert {other.entered(RULES, HERE, "", owner, "other").refused for owner in owners} == {Reason.USER_SESSIONS}


@needs_redis
def test_a_session_that_leaves_while_it_is_renewed_has_left(redis, connect, monkeypatch):
    one, other = connect(redis.url), connect(redis.url)
    one.entered(RULES, HERE, "", ALICE, "1")
    run = one._run

    def leave_first(script, keys, args):
        one.left(ALICE, "1")
        return run(script, keys, args)

    monkeypatch.setattr(one, "_run", leave_first)
    one.renew()
    assert other.entered(RULES, HERE, "", ALICE, "2").refused is None


@needs_redis
def test_renewal_goes_on_by_itself_while_there_are_sessions(redis, connect, monkeypatch):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.003)
    ledger = connect(redis.url)
    renewed = gevent.event.Event()
    monkeypatch.setattr(ledger, "renew", renewed.set)
    ledger.entered(RULES, HERE, "", ALICE, "1")
    assert renewed.wait(10)
    ledger.close()
    assert not ledger._renewal.ready()  # there is a session yet
    ledger.left(ALICE, "1")
    ledger._renewal.join(10)
    ledger.entered(RULES, HERE, "", ALICE, "2")
    assert not ledger._renewal.ready()


# When it is gone


@needs_redis
def test_without_redis_each_process_counts_for_itself_until_it_is_back(redis, connect, make, time, caplog):
    caplog.set_level(logging.INFO, "geventpop3.limits")
    ledger = connect(redis.url)
    site = make(ledger)
    site.fail("alice", 3)
    redis.stop()
    try:
        assert site.fail("bob", 3) == [2, 4]
    finally:
        redis.start()
    downs = [record for record in caplog.records if record.name == "geventpop3.limits" and "Redis" in record.message]
    assert [record.levelname for record in downs] == ["WARNING"]
    time.now += module.REST_SECONDS
    site.fail("carol", peer=THERE)
    ups = [record.message for record in caplog.records if "Redis" in record.message][1:]
    assert ups == ["Redis answers again: login limits are shared by all processes"]
    with redis.client() as client:
        assert client.llen(f"geventpop3:failures:{THERE}") == 1


@needs_redis
def test_a_session_that_began_without_redis_counts_when_it_is_back(redis, connect, time):
    one, other = connect(redis.url), connect(redis.url)
    redis.stop()
    try:
        assert one.entered(RULES, HERE, ALICE, ALICE, "1") == Entry(None, 0)
        assert one.entered(RULES, HERE, ALICE, ALICE, "2") == Entry(Reason.USER_SESSIONS, 0)
    finally:
        redis.start()
    time.now += module.REST_SECONDS
    one.renew()
    assert other.entered(RULES, HERE, "", ALICE, "3").refused is Reason.USER_SESSIONS
    one.left(ALICE, "1")
    assert other.entered(RULES, HERE, "", ALICE, "3").refused is None


@needs_redis
def test_a_redis_that_was_restarted_is_used_as_if_nothing_had_been(redis, connect, caplog):
    ledger = connect(redis.url)
    ledger.failed(RULES, HERE, ALICE, "")
    redis.stop()
    redis.start()
    # connections are dead and the scripts are unknown
    assert ledger.failed(RULES, HERE, ALICE, "").counted
    with redis.client() as client:
        assert client.llen(f"geventpop3:failures:{HERE}") == 1
    assert caplog.messages == []


@needs_redis
def test_a_redis_that_is_not_what_it_should_be_is_as_good_as_none(redis, connect, caplog):
    with redis.client() as client:
        client.set(f"geventpop3:failures:{HERE}", "not a list")
    ledger = connect(redis.url)
    assert ledger.failed(RULES, HERE, ALICE, "").counted
    assert ledger.standing(RULES, HERE, ALICE)[2:4] == (1, 1)
    (message,) = caplog.messages
    assert message.startswith("Redis fails: each process applies the login limits on its own: ")


def test_where_nobody_listens_the_ledger_in_memory_holds(connect, make, caplog):
    with gevent.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        site = make(connect(f"redis://127.0.0.1:{taken.getsockname()[1]}/0"), ban_after=3)
        assert site.fail(times=3) == [2, 4]
        assert site.talk("NOOP")[0].startswith("-ERR [SYS/TEMP]")
        assert site.limits.release(HERE) is True
        assert site.login("alice", "ALICE").startswith("+OK")
    assert len([message for message in caplog.messages if "Redis" in message]) == 1


def test_while_one_call_finds_out_the_others_do_not_wait(connect, time, monkeypatch):
    ledger = connect("redis://127.0.0.1:1/0")
    asked = []

    def refuse(_call):
        asked.append(ledger._ask(lambda: 1))
        raise OSError("no")

    monkeypatch.setattr(ledger, "_cooperatively", refuse)
    ledger._resting_until = time.now
    assert ledger._ask(lambda: 1) is None
    assert asked == [None]


def test_a_redis_that_is_silent_keeps_a_login_for_a_moment_and_nobody_else(connect, monkeypatch, caplog):
    monkeypatch.setattr(module, "CALL_SECONDS", 0.01)
    with listener(silent) as url:
        ledger = connect(f"{url}?socket_timeout=0.02")
        another = gevent.spawn(lambda: True)
        assert ledger.failed(RULES, HERE, ALICE, "").counted
        assert another.ready()
    assert "no answer in time" in caplog.text


def test_a_call_takes_a_second_at_most_and_its_socket_less(connect, monkeypatch, shipped_deadlines):
    waits = []

    class Timeout(gevent.Timeout):
        def __init__(self, seconds, exception):
            waits.append(seconds)
            super().__init__(60, exception)

    monkeypatch.setattr(module.gevent, "Timeout", Timeout)
    ledger = connect("redis://127.0.0.1:1/0")
    ledger.failed(RULES, HERE, ALICE, "")
    ledger.standing(RULES, HERE, ALICE)  # Redis is left in peace
    assert waits == [1.0]
    pool = ledger._redis.connection_pool
    sockets = [pool.connection_kwargs[name] for name in ("socket_timeout", "socket_connect_timeout")]
    assert [*sockets, pool.timeout] == [0.5] * 3
    monkeypatch.undo()


def test_redis_is_left_in_peace_for_five_seconds_after_a_call_that_failed(connect, time, monkeypatch):
    ledger = connect("redis://127.0.0.1:1/0")
    asked = []

    def refuse(_call):
        asked.append(time.now)
        raise OSError("no")

    monkeypatch.setattr(ledger, "_cooperatively", refuse)
    started = time.now
    for _ in range(21):
        ledger.failed(RULES, HERE, ALICE, "")
        time.now += 0.5
    assert [at - started for at in asked] == [0, 5, 10]


def test_what_began_without_redis_ends_without_it(connect):
    ledger = connect("redis://127.0.0.1:1/0")
    rules = Rules(user_delays=(5,))
    assert ledger.standing(rules, HERE, ALICE, session="a").turn == 0
    assert ledger.standing(rules, THERE, ALICE, session="b").turn == 5
    ledger.settled(HERE, ALICE, "a")
    ledger.settled(THERE, ALICE, "b")
    assert ledger.standing(rules, THERE, ALICE, session="c").turn == 0


@needs_redis
def test_calls_leave_the_hub_to_others(redis, connect, caplog):
    rules = Rules(ban_after=30)
    with relay(redis) as url:
        ledger = connect(url)
        calls = [gevent.spawn(ledger.failed, rules, HERE, f"user{n}", "") for n in range(31)]
        gevent.joinall(calls, timeout=60, raise_error=True)
        ledger.close()
    assert sorted(call.value.banned for call in calls) == [False] * 30 + [True]
    assert caplog.messages == []
    with redis.client() as client:
        assert client.llen(f"geventpop3:failures:{HERE}") == 1


PATCHED = """
    from gevent import monkey
    monkey.patch_all()
    import sys
    import gevent
    from geventpop3.plugins.limits import RedisLedger, Rules
    from geventpop3.plugins.limits import redis

    def no_threads(*args):
        raise AssertionError("a native thread in a process that gevent has patched")

    redis.ThreadPool = no_threads
    redis.CALL_SECONDS = redis.SOCKET_SECONDS = 60.0
    RULES = Rules(ban_after=50)
    ledger = RedisLedger(sys.argv[1])
    calls = [gevent.spawn(ledger.failed, RULES, "192.0.2.7", f"user{n}", "") for n in range(20)]
    gevent.joinall(calls, timeout=30, raise_error=True)
    print(ledger.standing(RULES, "192.0.2.7", "").failures)
    ledger.close()
"""


@needs_redis
def test_in_a_process_that_gevent_has_patched_no_threads_are_needed(redis):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PATCHED), redis.url],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stdout, done.stderr) == ("20\n", "")


def test_what_fails_without_threads_fails_as_it_does_in_them(connect, monkeypatch, caplog):
    monkeypatch.setattr(module.monkey, "is_module_patched", {"socket": True}.get)
    ledger = connect("redis://127.0.0.1:1/0")
    assert ledger.failed(RULES, HERE, ALICE, "").counted
    assert ledger.standing(RULES, HERE, ALICE)[2:4] == (1, 1)
    assert len(caplog.messages) == 1
    assert len(ledger._pools) == 0


# What a check finds


@needs_redis
def test_a_check_runs_a_script_and_leaves_nothing_behind(redis, connect):
    connect(redis.url, clock=None).check()
    with redis.client() as client:
        assert client.keys() == []


# Mistakes


@pytest.mark.parametrize(
    "url", ["", "redis.example.org", "http://127.0.0.1", "redis://127.0.0.1:port/0", "redis://:c4n/4ry@127.0.0.1/0"]
)
def test_an_address_of_redis_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="the address of Redis") as caught:
        RedisLedger(url)
    assert "c4n" not in str(caught.value)


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"geventpop3\[redis\]"):
        RedisLedger()


def test_the_address_may_set_timeouts_of_its_own():
    ledger = RedisLedger("redis://127.0.0.1:1/0?socket_timeout=2.5")
    assert ledger._redis.connection_pool.connection_kwargs["socket_timeout"] == 2.5
    ledger.close()
