"""A server one of whose commands forks: the child lives until its standard input ends, and runs the event loop.

Arguments: ``patched`` or ``unpatched``, how to fork, the folder of the maildrops, and a certificate with its key. It
prints where it listens, then what the child finds, as JSON.
"""

import json
import os
import socket as plain_socket
import sys

patched, how, mail, certificate, key = sys.argv[1:]
if patched == "patched":
    from gevent import monkey

    monkey.patch_all()


def yields() -> None:
    """An at-fork handler of the application's that is registered before ours, and waits."""
    import gevent

    gevent.sleep(0.3)


if how == "yielding":
    os.register_at_fork(after_in_child=yields)
elif how == "waiting":
    os.register_at_fork(before=yields, after_in_child=yields)

import gevent  # noqa: E402
from gevent import socket  # noqa: E402

from geventpop3 import POP3Server, ok  # noqa: E402
from geventpop3.auth.authenticator import FunctionAuthenticator  # noqa: E402
from geventpop3.server.tls import Certificates  # noqa: E402
from geventpop3.service import MaildropService  # noqa: E402
from geventpop3.stores.maildir import MaildirStore  # noqa: E402


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def service() -> MaildropService:
    return MaildropService(MaildirStore(f"{mail}/{{user}}"), FunctionAuthenticator(lambda name, password: True))


def descriptors() -> list[str]:
    """What is open of the maildrops, and the connections and listeners that are open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if target.startswith(mail):
            found.append(target)
        elif target.startswith("socket:"):
            with socket.socket(fileno=os.dup(int(number))) as sock:
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    found.append(target)
    return found


def live(until: int) -> None:
    """Be the child: run the event loop until the test is over."""
    new.close()
    open_at_first = descriptors()
    prepared.start()
    found = POP3Server.find("parent")
    say(pid=os.getpid(), open=open_at_first, found=repr(found), address=prepared.getsockname())
    socket.wait_read(until)
    # What the atexit handler of the parent's program would do.
    pop3d.shutdown()
    prepared.shutdown()


def fork(until: int) -> None:
    if how == "process":
        import multiprocessing

        multiprocessing.get_context("fork").Process(target=live, args=(until,)).start()
    elif how == "returns":
        os.fork()  # and the child goes back to where the parent does, too
    elif how == "thread":
        gevent.get_hub().threadpool.apply(fork_here, (until,))
    else:
        if how == "yielding":
            begin()
        fork_here(until)


def begin() -> None:
    """Leave two greenlets that have not run when the process forks: of a new session, and of a plugin."""
    new.connect(pop3d.getsockname())
    (acceptor,) = pop3d._listening.acceptors
    acceptor._do_read()
    pop3d.spawn(begun)


def begun() -> None:
    if os.getpid() != home:
        os.write(2, b"a greenlet began in the child\n")


def fork_here(until: int) -> None:
    if os.fork() == 0:
        try:
            live(until)
        finally:
            os._exit(0)


tls = Certificates([(certificate, key)])
prepared = POP3Server(port=0, alias="child")
prepared.register(service())
pop3d = POP3Server(port=0, alias="parent", hostname="pop.example.org", tls=tls)
pop3d.register(service())
events: list[tuple[int, str]] = []
new = plain_socket.socket()


@pop3d.on("cmd_xfork")
def xfork(pop3d: POP3Server, event: object) -> object:
    fork(sys.stdin.fileno())
    return ok("forked")


@pop3d.plugin("response")
def xresponse(pop3d: POP3Server, event: object) -> None:
    if event.args == ["cmd_xfork"] and how == "returns":
        os.fork()


@pop3d.on("command_finished")
def xfinished(pop3d: POP3Server, event: object) -> None:
    if event.args[0].verb == "XFORK" and how == "returns":
        os.fork()


@pop3d.on("cmd_xpid")
def xpid(pop3d: POP3Server, event: object) -> object:
    return ok(str(os.getpid()))


@pop3d.on("cmd_xgreetings")
def xgreetings(pop3d: POP3Server, event: object) -> object:
    return ok(str(new.recv(1000).count(b"\r\n")))


@pop3d.on("disconnected", "session_finished", "unregistered", "command_finished", priority=-1)
def note(pop3d: POP3Server, event: object) -> None:
    if os.getpid() != home:
        os.write(2, f"{event.name} in the child\n".encode())


home = os.getpid()
pop3d.start()
say(pid=home, address=pop3d.getsockname())
socket.wait_read(sys.stdin.fileno())
pop3d.shutdown()
