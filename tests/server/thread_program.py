"""A program that blocks, and serves in a thread; its end is that of its standard input, or a mistake.

Arguments: how it ends, ``end``, ``exit``, ``error``, ``shutdown`` or ``interrupt``, and ``fork`` for one that forks
before. It prints where it listens.
"""

import os
import sys

from geventpop3 import POP3Server, multiline, ok

pop3d = POP3Server(port=0, shutdown_grace=0.2)
how = sys.argv[1]


@pop3d.on("cmd_user", "cmd_pass", "cmd_quit")
def welcome(pop3d: POP3Server, event: object) -> object:
    return ok()


@pop3d.on("cmd_retr")
def retr(pop3d: POP3Server, event: object) -> object:
    return multiline("here", (b"x" * 998 + b"\r\n" for _ in range(100_000)))


try:
    pop3d.serve_in_thread()
    sys.stdout.write("{} {}\n".format(*pop3d.getsockname()))
    sys.stdout.flush()
    if how == "fork":
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    sys.stdin.read()
except KeyboardInterrupt:
    sys.exit(0)

if how == "exit":
    sys.exit(0)
if how == "shutdown":
    pop3d.shutdown()
    pop3d.shutdown()
if how == "error":
    raise SystemExit("an error of the program's")
