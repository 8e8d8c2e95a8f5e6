"""A server with limits in Redis that forks: the child runs the event loop until its standard input ends.

Arguments: ``patched`` or ``unpatched``, and the address of Redis. It prints where it listens; each command ``XFORK``
forks. The child says on standard error which greenlets of the limits have run in it, and which events it was told.
"""

import os
import sys

patched, url = sys.argv[1:]
if patched == "patched":
    from gevent import monkey

    monkey.patch_all()

import gevent  # noqa: E402
from gevent import socket  # noqa: E402

from geventpop3 import POP3Server, ok  # noqa: E402
from geventpop3.auth.authenticator import FunctionAuthenticator  # noqa: E402
from geventpop3.plugins.limits import LoginLimits, RedisLedger, Rules, ban_timer, redis, reports  # noqa: E402
from geventpop3.service import MaildropService  # noqa: E402
from geventpop3.stores.memory import MemoryStore  # noqa: E402

RENEWALS = 3
redis.CALL_SECONDS = redis.SOCKET_SECONDS = 60.0
redis.LEASE_SECONDS = 0.3

home = os.getpid()
rules = Rules(trusted=(), user_sessions=1, delays=(), user_delays=(), ban_after=2, ban_seconds=0.1)
ledger = RedisLedger(url)
limits = LoginLimits(rules, ledger)
pop3d = POP3Server(port=0, hostname="pop.example.org")
pop3d.register(
    MaildropService(
        MemoryStore({"alice": []}), FunctionAuthenticator(lambda name, word: word == "x"), allow_plaintext=True
    )
)
pop3d.plugin_add("limits", limits)


def complain(what: str) -> None:
    if os.getpid() != home:
        os.write(2, f"{what} in the child\n".encode())


def watched(function):
    def call(*args):
        complain(function.__name__)
        return function(*args)

    return call


redis.RedisLedger.renew = watched(redis.RedisLedger.renew)
ban_timer.Bans.end = watched(ban_timer.Bans.end)
pop3d.register(lambda _pop3d, event: complain(event.name), *reports.EVENTS)


@pop3d.on("cmd_xfork")
def xfork(pop3d: POP3Server, event: object) -> object:
    if os.fork() == 0:
        try:
            # For longer than the parent's greenlets sleep.
            gevent.sleep(max(rules.ban_seconds, redis.LEASE_SECONDS) * RENEWALS)
            # The ledger is the child's as well, with connections of its own.
            assert ledger.failed(rules, "192.0.2.9", "u", "").counted
            assert ledger._resting_until is None
            socket.wait_read(sys.stdin.fileno())
        except BaseException as error:
            complain(repr(error))
        finally:
            os._exit(0)
    return ok("forked")


@pop3d.on("cmd_xkeys")
def xkeys(pop3d: POP3Server, event: object) -> object:
    gevent.sleep(redis.LEASE_SECONDS * RENEWALS)
    return ok(" ".join(sorted(key for key in map(bytes.decode, ledger._redis.keys()) if "sessions" in key)) or "none")


pop3d.start()
sys.stdout.write(f"{pop3d.getsockname()[1]}\n")
sys.stdout.flush()
socket.wait_read(sys.stdin.fileno())
pop3d.shutdown()
