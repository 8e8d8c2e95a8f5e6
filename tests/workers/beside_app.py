"""What ``gunicorn -k gevent beside_app:web`` imports: a WSGI application, and the POP3 server beside it.

Its path says what the application does: ``/`` tells the process and the configuration it began with, ``/fork`` starts a
``multiprocessing.Process`` and tells what that has open, ``/wait`` answers when a file ``waited`` has come.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import workers_server

__all__ = ["make", "web", "pop3d", "started", "not_a_server"]

pop3d = workers_server.make()
make = workers_server.make
not_a_server = len
began_with = workers_server.generation()


def started() -> workers_server.POP3Server:
    """A mistake: Beside starts it."""
    made = workers_server.POP3Server(port=0)
    made.start()
    return made


def web(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    match environ["PATH_INFO"]:
        case "/fork":
            ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
            multiprocessing.get_context("fork").Process(target=live, args=(theirs,)).start()
            theirs.close()
            return [json.dumps(ours.recv()).encode()]
        case "/wait":
            while not (workers_server.root() / "waited").exists():
                time.sleep(0.05)
    return [f"{os.getpid()} {began_with}".encode()]


def live(pipe: Any) -> None:
    """Be the child: tell what is open, then run the event loop until the test is over or gunicorn's worker ends it."""
    pipe.send({"pid": os.getpid(), "open": descriptors()})
    while not (workers_server.root() / "over").exists():
        time.sleep(0.05)


def descriptors() -> list[str]:
    """What is open of the maildrops, and the sockets of POP3 that are open."""
    root, found = str(workers_server.root()), []
    port = int((workers_server.root() / "port").read_text())
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if target.startswith(f"{root}/alice"):
            found.append(target)
        elif target.startswith("socket:"):
            with socket.socket(fileno=os.dup(int(number))) as sock:
                if sock.family == socket.AF_INET and sock.getsockname()[1] == port:
                    found.append(target)
    return found
