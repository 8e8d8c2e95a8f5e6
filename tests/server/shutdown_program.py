"""A program that serves, and shuts its server down in one of several ways.

Arguments: who calls ``shutdown``, and when the process is monkey-patched: early, late or never. It prints where it
listens, ``updating`` and ``updated`` around UPDATE, and ``down`` when ``shutdown`` has returned.
"""

import atexit
import signal
import sys

caller, patched = sys.argv[1:]

if patched == "early":
    from gevent import monkey

    monkey.patch_all()

import gevent  # noqa: E402
from gevent import socket  # noqa: E402
from gevent.event import Event  # noqa: E402

from geventpop3 import POP3Server, multiline, ok  # noqa: E402

pop3d = POP3Server(port=0, shutdown_grace=0.2)

if patched == "late":
    from gevent import monkey

    monkey.patch_all()

import threading  # noqa: E402


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


@pop3d.on("registered")
def listening(pop3d: POP3Server, event: object) -> None:
    say(*pop3d.getsockname())


@pop3d.on("cmd_user", "cmd_pass")
def welcome(pop3d: POP3Server, event: object) -> object:
    return ok()


@pop3d.on("cmd_retr")
def retr(pop3d: POP3Server, event: object) -> object:
    return multiline("here", (b"x" * 998 + b"\r\n" for _ in range(100_000)))


@pop3d.on("cmd_quit")
def update(pop3d: POP3Server, event: object) -> object:
    say("updating")
    gevent.sleep(0.5)  # longer than the grace: UPDATE is work that is never cut short
    say("updated")
    return ok()


def wait_for_input() -> None:
    """Wait for the test, natively where the main thread has no event loop to run."""
    if caller == "thread" and patched == "never":
        sys.stdin.readline()
    else:
        socket.wait_read(sys.stdin.fileno())


def shut_down() -> None:
    pop3d.shutdown()
    say("down")


def as_asked() -> None:
    wait_for_input()
    shut_down()


if caller == "thread":
    serving = threading.Thread(target=pop3d.serve_forever)
    serving.start()
    as_asked()
    serving.join()
elif caller == "thread-that-ended":
    starting = threading.Thread(target=pop3d.start)
    starting.start()
    starting.join()
    as_asked()
elif caller == "greenlet":
    asked = gevent.spawn(as_asked)
    pop3d.serve_forever()
    asked.join()
elif caller == "signal":
    signal.signal(signal.SIGTERM, lambda *_: pop3d.shutdown())
    pop3d.serve_forever()
    say("down")
elif caller == "unhandled-signal":
    pop3d.serve_forever()
    say("down")
elif caller == "atexit":
    atexit.register(shut_down)
    pop3d.start()
    wait_for_input()
elif caller == "finally":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pop3d.start()
        Event().wait()
    finally:
        shut_down()
