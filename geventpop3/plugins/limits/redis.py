"""The ledger in Redis, for processes and machines that share it; while Redis does not answer, each counts alone.

redis-py blocks. In a process that gevent has patched it yields by itself; in any other its calls run in a few native
threads. Either way a call has a deadline. After a failed call, Redis is not called for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import gevent
from gevent import monkey
from gevent.threadpool import ThreadPool

from geventpop3.errors import ConfigError
from geventpop3.forks import Registration, leave_to_parent
from geventpop3.plugins.limits import redis_scripts
from geventpop3.plugins.limits.ledger import Entry, Failure, MemoryLedger, Reason
from geventpop3.plugins.limits.rules import (
    ASK_AGAIN_SECONDS,
    FAMILIAR_ADDRESSES,
    FAMILIAR_SECONDS,
    MAX_UNCOUNTED,
    UNCOUNTED_SECONDS,
    UNDER_WAY_SECONDS,
    WAITING_SECONDS,
    Rules,
    Standing,
)
from geventpop3.server.greenlets import HomeGreenlet

log = logging.getLogger("geventpop3.limits")

T = TypeVar("T")

CONNECTIONS = 4
"""Maximum of calls under way; a script takes Redis some 30 microseconds."""

SOCKET_SECONDS = 0.5
"""Seconds for a connect, and for each answer; the address may set others: ``redis://host?socket_timeout=2``."""

CALL_SECONDS = 1.0
"""Seconds for a call with all that it waits for."""

CLOSE_SECONDS = 3.0
"""Seconds for the threads to end: longer than their socket timeouts, because one that is not waited for never ends."""

REST_SECONDS = 5.0
"""Seconds without a call to Redis after one that failed."""

LEASE_SECONDS = 120.0
"""Seconds that a session counts after its process has died."""

RENEWED_AT_ONCE = 500


class _NoAnswer(Exception):
    """A call that took too long."""


class RedisLedger:
    """A ledger at *url*: ``redis://host:6379/0``, ``rediss://...`` (TLS) or ``unix:///path``; keys begin with *prefix*.

    It needs Redis 5 or newer, one server and no cluster. *clock* is for tests: without it the time is Redis' own.
    *spare* is the ledger that is used while Redis does not answer.

    Raises ConfigError if the extra ``redis`` is not installed, or if *url* is not valid.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "geventpop3:",
        clock: Callable[[], float] | None = None,
        spare: MemoryLedger | None = None,
    ) -> None:
        self._connect = partial(_connect, url)
        self._open()
        self._prefix = prefix
        self._shared_clock = clock
        self._clock = clock or monotonic
        self._spare = MemoryLedger(clock=self._clock) if spare is None else spare
        self._pools: WeakKeyDictionary[Any, ThreadPool] = WeakKeyDictionary()
        self._resting_until: float | None = None
        self._sessions: dict[str, str] = {}
        """Sessions of this process with their owners."""
        self._renewal: HomeGreenlet | None = None
        self._registration = Registration(self._disown)

    def _open(self) -> None:
        self._redis, self._errors = self._connect()
        self._standing = self._redis.register_script(redis_scripts.STANDING)
        self._settled = self._redis.register_script(redis_scripts.SETTLED)
        self._failed = self._redis.register_script(redis_scripts.FAILED)
        self._entered = self._redis.register_script(redis_scripts.ENTERED)
        self._renew = self._redis.register_script(redis_scripts.RENEW)
        self._release = self._redis.register_script(redis_scripts.RELEASE)

    def _disown(self) -> None:
        """Leave everything to a forked child's parent: its sessions, threads, and connections to Redis.

        redis-py would detect the fork at its next call, but its locks may have been held at the fork.
        """
        leave_to_parent((self._renewal, self._pools))
        self._sessions, self._renewal, self._pools = {}, None, WeakKeyDictionary()
        # Freed connections are only closed here: redis-py shuts them down in their own process alone.
        self._open()

    # The ledger

    def standing(
        self,
        rules: Rules,
        address: str,
        user: str,
        *,
        trying: bool = False,
        session: str = "",
        waited: float = 0.0,
    ) -> Standing:
        keys, arguments = _standing_of(rules, address, user, trying, session, waited)
        answer = self._run(self._standing, keys, arguments)
        if answer is None:
            return self._spare.standing(rules, address, user, trying=trying, session=session, waited=waited)
        banned, too_often, failures, user_failures, turn, pause, crowded, busy = answer
        seconds = turn / 1000, pause / 1000
        return Standing(
            bool(banned), bool(too_often), failures, user_failures, *seconds, crowded=bool(crowded), busy=bool(busy)
        )

    def settled(self, address: str, user: str, session: str) -> None:
        keys = [f"under-way:{user}", f"uncounted:{address}"]
        if self._run(self._settled, keys, [user, session, MAX_UNCOUNTED, _ms(UNCOUNTED_SECONDS)]) is None:
            self._spare.settled(address, user, session)

    def failed(self, rules: Rules, address: str, user: str, fingerprint: str, session: str = "") -> Failure:
        keys = [f"ban:{address}", f"seen:{fingerprint}", f"failures:{address}"]
        keys += [f"user-failures:{user}", f"under-way:{user}", f"uncounted:{address}"]
        kept = [rules.failures_kept, rules.user_failures_kept]
        ban = [rules.ban_after or 0, _ms(rules.ban_seconds)]
        login = [address, user, fingerprint]
        uncounted = [MAX_UNCOUNTED, _ms(UNCOUNTED_SECONDS)]
        answer = self._run(self._failed, keys, [_ms(rules.window), *login, *kept, *ban, session, *uncounted])
        if answer is None:
            return self._spare.failed(rules, address, user, fingerprint, session)
        counted, banned, user_failures = answer
        return Failure(bool(counted), bool(banned), user_failures)

    def entered(self, rules: Rules, address: str, user: str, owner: str, session: str) -> Entry:
        keys = [f"sessions:{owner}", f"logins:{owner}", f"failures:{address}"]
        keys += [f"user-failures:{user}", f"under-way:{user}", f"familiar:{user}", f"uncounted:{address}"]
        login = [address, user, session]
        most = [rules.user_sessions or 0, rules.user_logins_per_minute or 0]
        familiar = [_ms(FAMILIAR_SECONDS), FAMILIAR_ADDRESSES]
        answer = self._run(self._entered, keys, [_ms(rules.window), *login, _ms(LEASE_SECONDS), *most, *familiar])
        if answer is None:
            entry = self._spare.entered(rules, address, user, owner, session)
        else:
            verdict, user_failures = answer
            entry = Entry([None, Reason.USER_SESSIONS, Reason.USER_RATE][verdict], user_failures)
        if entry.refused is None and rules.user_sessions is not None:
            self._sessions[session] = owner
            if self._renewal is None or self._renewal.ready():
                self._renewal = HomeGreenlet.spawn(self._keep_renewing)
        return entry

    def left(self, owner: str, session: str) -> None:
        if self._sessions.pop(session, None) is None:
            return
        self._spare.left(owner, session)
        self._take_out(owner, session)

    def check(self) -> None:
        """Run a script in Redis, from a thread that may block. Raises ConfigError if that fails."""
        try:
            keys, arguments = _standing_of(Rules(), "check", "", trying=False, session="", waited=0.0)
            self._standing(keys=[self._prefix + key for key in keys], args=["", *arguments])
        except self._errors as error:
            raise ConfigError(f"Redis: {error}") from None

    def release(self, address: str) -> bool:
        was_banned = self._spare.release(address)
        return bool(self._run(self._release, [f"ban:{address}", f"failures:{address}"], [])) or was_banned

    def close(self) -> None:
        if self._renewal is not None and not self._sessions:
            self._renewal.kill(block=False)
            self._renewal = None
        pool = self._pools.pop(gevent.get_hub(), None)
        if pool is not None:
            with gevent.Timeout(CLOSE_SECONDS, False):
                pool.kill()
        self._redis.connection_pool.disconnect()

    def renew(self) -> None:
        """Renew the leases of this process's sessions; sessions that began without Redis count from now."""
        for some in _in_lots(self._sessions):
            keys = [f"sessions:{owner}" for owner in some.values()]
            self._run(self._renew, keys, [_ms(LEASE_SECONDS), *some])
            for session in some.keys() - self._sessions.keys():  # it left meanwhile
                self._take_out(some[session], session)

    def _take_out(self, owner: str, session: str) -> None:
        self._ask(lambda: self._redis.zrem(f"{self._prefix}sessions:{owner}", session))

    def _keep_renewing(self) -> None:
        while self._sessions:
            gevent.sleep(LEASE_SECONDS / 3)
            self.renew()

    # Redis

    def _run(self, script: Callable[..., Any], keys: Iterable[str], args: Iterable[str | int]) -> Any:
        """Return the result of the script; None if Redis does not answer."""
        now = "" if self._shared_clock is None else _ms(self._shared_clock())
        named = [self._prefix + key for key in keys]
        return self._ask(lambda: script(keys=named, args=[now, *args]) or 0)

    def _ask(self, call: Callable[[], T]) -> T | None:
        now = self._clock()
        if self._resting_until is not None:
            if now < self._resting_until:
                return None
            # One call tests Redis; concurrent ones do not wait for it.
            self._resting_until = now + REST_SECONDS
        try:
            with gevent.Timeout(CALL_SECONDS, _NoAnswer("no answer in time")):
                answer = self._cooperatively(call)
        except self._errors as error:
            if self._resting_until is None:
                log.warning("Redis fails: each process applies the login limits on its own: %s", error)
            self._resting_until = self._clock() + REST_SECONDS
            return None
        if self._resting_until is not None:
            self._resting_until = None
            log.info("Redis answers again: login limits are shared by all processes")
        return answer

    def _cooperatively(self, call: Callable[[], T]) -> T:
        if monkey.is_module_patched("socket"):
            return call()
        hub = gevent.get_hub()
        pool = self._pools.get(hub)
        if pool is None:
            pool = self._pools[hub] = ThreadPool(CONNECTIONS, hub)
        answer, error = pool.spawn(_guarded, call).get()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]  # gevent is untyped


def _connect(url: str) -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise ConfigError("limits shared in Redis need an extra: pip install 'geventpop3[redis]'") from None
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=SOCKET_SECONDS,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            # Only use shows that Redis has closed an idle connection; nothing else is tried twice.
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        )
    except ValueError:
        # The text of redis-py may quote a piece of the password, as the port of an address.
        hint = "in a password, write all characters except letters and digits as %XX"
        raise ConfigError(
            f"limits: the address of Redis must be a URL, redis://host:port/0, rediss://... or unix://...; {hint}"
        ) from None
    return redis.Redis(connection_pool=pool), (_NoAnswer, OSError, redis.RedisError)


def _standing_of(
    rules: Rules, address: str, user: str, trying: bool, session: str, waited: float
) -> tuple[list[str], list[str | int]]:
    """Return the keys and the arguments of the script that looks up a standing."""
    keys = [f"ban:{address}", f"tries:{address}", f"failures:{address}"]
    keys += [f"user-failures:{user}", f"familiar:{user}", f"under-way:{user}", f"turn:{user}"]
    keys.append(f"uncounted:{address}")
    most = rules.address_logins_per_minute or 0
    login: list[str | int] = [most if trying else 0, address, session if user else ""]
    kept = map(
        _ms,
        (
            rules.user_patience,
            FAMILIAR_SECONDS,
            UNDER_WAY_SECONDS,
            WAITING_SECONDS,
            UNCOUNTED_SECONDS,
            ASK_AGAIN_SECONDS,
        ),
    )
    delays = [len(rules.delays), *map(_ms, [*rules.delays, *rules.user_delays])]
    return keys, [_ms(rules.window), *login, *kept, _ms(waited), *delays]


def _guarded(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Return the result of *call*, or its error as a value: gevent prints what is raised in a thread."""
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error


def _in_lots(sessions: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield copies of *sessions* in lots, so that no script is long and blocks Redis."""
    items = list(sessions.items())
    for start in range(0, len(items), RENEWED_AT_ONCE):
        yield dict(items[start : start + RENEWED_AT_ONCE])


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
