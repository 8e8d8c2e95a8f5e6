"""A POP3 server beside a WSGI application in gunicorn's own gevent workers: started, replaced and ended with them."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import urllib.request
from collections.abc import Callable

import pytest
import required
from workers_site import MESSAGE, SECONDS, Site, until

from geventpop3.errors import ConfigError
from geventpop3.workers import Beside

required.module("gunicorn")

HOOKS = "pre_fork, post_worker_init, worker_exit = pop3.pre_fork, pop3.post_worker_init, pop3.worker_exit"
FAREWELL = "-ERR [SYS/TEMP] the server is shutting down, try again later"
TWO = """
other = Beside("beside_app:make()", ["127.0.0.1:0"])
def pre_fork(server, worker):
    pop3.pre_fork(server, worker)
    other.pre_fork(server, worker)
"""
PATCH = "from gevent import monkey; monkey.patch_all()"

Begin = Callable[..., Site]


def configure(
    site: Site, app: str = "'beside_app:make()'", listen: str = "['127.0.0.1:0']", hooks: str = HOOKS
) -> None:
    """Write gunicorn's configuration file."""
    lines = ["from geventpop3.workers import Beside", f"pop3 = Beside({app}, {listen})", hooks]
    (site.root / "gunicorn.conf.py").write_text("\n".join([*lines, ""]))


def command(*options: str, kind: str = "gevent", workers: int = 2) -> list[str]:
    """The script of gunicorn: what ``python -m`` runs cannot start itself again at USR2."""
    return [f"{sysconfig.get_path('scripts')}/gunicorn", "-k", kind, f"--workers={workers}", "--no-control-socket",
            "--bind=127.0.0.1:0", *options, "beside_app:web"]  # fmt: skip


@pytest.fixture
def begin(site: Site) -> Begin:
    """Start gunicorn; both servers answer then."""

    def start(*options: str, kind: str = "gevent", workers: int = 2) -> Site:
        if not (site.root / "gunicorn.conf.py").exists():
            configure(site)
        site.start(command(*options, kind=kind, workers=workers))
        site.settled(workers)
        (site.root / "port").write_text(str(site.port))
        return site

    return start


@pytest.fixture
def refused(site: Site) -> Callable[..., str]:
    """Start gunicorn, which ends; what it wrote, and its exit status is not 0."""

    def start(*options: str, kind: str = "gevent") -> str:
        assert site.run(command(*options, kind=kind, workers=1)).wait(SECONDS) != 0
        until(lambda: not site._group(), "the end of all workers")
        return site.written()

    return start


def get(site: Site, path: str = "/") -> str:
    """What the WSGI application answers."""
    found = re.findall(r"Listening at: http://127\.0\.0\.1:([0-9]+)", site.written())
    with urllib.request.urlopen(f"http://127.0.0.1:{found[-1]}{path}", timeout=SECONDS) as answer:
        return str(answer.read().decode())


class Poller(threading.Thread):
    """A client that comes and goes without pause."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._over = threading.Event()
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set():
                with self._site.dial() as pop:
                    pop.who()
                    assert pop.say("QUIT").startswith("+OK")
        except BaseException as fault:  # raised again by the test
            self.fault = fault

    def end(self) -> None:
        self._over.set()
        self.join()
        if self.fault is not None:
            raise self.fault


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_each_worker_serves_both_and_new_ones_take_over_at_hup_without_a_client_refused(begin, options):
    site = begin(*options)
    first = site.settled(2)
    for pid in first:
        with site.dial_worker(pid) as pop:
            assert pop.who() == (pid, "first")
    assert int(get(site).split()[0]) in first
    idle = site.dial()
    poller = Poller(site)
    poller.start()
    site.configure("second")
    site.send(signal.SIGHUP)
    until(lambda: not site.workers() & first, "the end of the old workers")
    second = site.settled(2)
    poller.end()
    assert idle.line() == FAREWELL
    idle.close()
    for pid in second:
        with site.dial_worker(pid) as pop:
            assert pop.who() == (pid, "second")
    assert int(get(site).split()[0]) in second
    assert site.end() == 0
    assert site.serving() == set()
    assert "Traceback" not in site.written()


@pytest.mark.parametrize("kind", ["gevent", "gevent_pywsgi"])
def test_a_worker_that_is_killed_is_replaced(begin, kind):
    site = begin(kind=kind)
    killed, other = site.settled(2)
    with site.dial_worker(other) as pop:
        site.send(signal.SIGKILL, killed)
        (new,) = until(lambda: site.workers() & site.serving() - {killed, other}, "a new worker")
        with site.dial_worker(new):
            assert pop.who()[0] == other
        assert pop.say("QUIT").startswith("+OK")
    assert get(site)
    assert site.end() == 0


def test_a_process_that_an_application_forks_shares_no_session(begin):
    site = begin(workers=1)
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK 1 message")
        assert pop.say("DELE 1").startswith("+OK")
        child = json.loads(get(site, "/fork"))
        assert child["open"] == []
        assert child["pid"] != pop.who()[0]
        for _ in range(20):
            assert pop.who()[0] in site.workers()
        assert pop.say("RSET").startswith("+OK 1")
        assert pop.say("RETR 1").startswith("+OK")
        assert "\n".join(pop.body()) == MESSAGE.decode().replace("\n.dot", "\n..dot").rstrip()
        assert pop.say("QUIT").startswith("+OK")
        with pytest.raises(EOFError):
            pop.line()
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK 1 message")
        assert pop.say("QUIT").startswith("+OK")
    (site.root / "over").touch()
    assert site.end() == 0
    assert "Traceback" not in site.written()
    assert (site.root / "events").read_text().count("unregistered") == 1


def test_sessions_end_in_time_although_a_request_goes_on(begin):
    site = begin("--graceful-timeout=6", workers=1)
    asking = threading.Thread(target=get, args=(site, "/wait"))
    asking.start()
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        site.send(signal.SIGTERM)
        assert pop.line() == FAREWELL  # before gunicorn kills the worker
        until(lambda: not site.serving(), "the end of the server")
        (site.root / "waited").touch()
        asking.join()
    assert site.process.wait(SECONDS) == 0


def test_int_ends_sessions_too(begin):
    site = begin()
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        site.send(signal.SIGINT)
        assert pop.line() == FAREWELL
    assert site.process.wait(SECONDS) == 0
    assert site.serving() == set()


def test_gunicorns_reloader_brings_new_code(begin, site):
    (site.root / "own.py").write_text("from beside_app import *\n")
    configure(site, app="'own:make()'")
    begin("--reload", f"--reload-extra-file={site.root}/own.py", workers=1)
    with site.dial() as pop:
        site.configure("second")
        (site.root / "own.py").write_text("from beside_app import *\n\n")
        assert pop.line() == FAREWELL
    with site.dial() as pop:  # it waits in the queue until the new worker is there
        assert pop.who()[1] == "second"


def test_a_worker_that_has_answered_enough_requests_is_replaced(begin):
    site = begin("--max-requests=1", workers=1)
    (old,) = site.settled(1)
    assert get(site)
    until(lambda: old not in site.workers(), "the end of the worker")
    with site.dial() as pop:
        assert pop.who()[0] != old


def test_workers_end_their_sessions_if_their_parent_dies(begin):
    site = begin()
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        site.send(signal.SIGKILL)
        assert pop.line() == FAREWELL
    until(lambda: not site.serving(), "the end of the servers")
    until(lambda: not site._group(), "the end of the workers")


def test_another_parent_takes_the_sockets_over(begin):
    site = begin()
    first = site.settled(2)
    site.send(signal.SIGUSR2)
    until(lambda: len(site.serving() - first) == 2, "the workers of the new parent")
    poller = Poller(site)
    poller.start()
    assert site.end_parent() == 0
    until(lambda: not site.serving() & first, "the end of the old workers")
    poller.end()
    with site.dial() as pop:
        assert pop.who()[0] not in first


def test_what_hup_finds_in_the_file_is_bound_and_what_is_gone_from_it_is_closed(begin):
    site = begin(workers=1)
    (old,) = site.settled(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configure(site, listen=f"['unix:{site.root}/socket', '127.0.0.1:{port}']")
        site.send(signal.SIGHUP)
        until(lambda: site.workers() and old not in site.workers(), "the end of the old worker")
        site.settled(1)
        assert f"POP3 cannot listen at 127.0.0.1:{port}: Address already in use" in site.written()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{site.root}/socket")
        assert sock.recv(100).startswith(b"+OK")
    with pytest.raises(ConnectionRefusedError):
        site.dial()
    assert site.end() == 0


def test_a_configuration_file_that_patches_works_too(begin, site):
    configure(site, hooks=f"{PATCH}; {HOOKS}")
    begin()
    site.dial().close()
    assert get(site)
    assert site.end() == 0
    assert "Traceback" not in site.written()


def test_an_application_may_be_a_function_of_the_file(begin, site):
    configure(site, app="lambda: __import__('beside_app').make()")
    begin(workers=1)
    with site.dial() as pop:
        assert pop.who()[1] == "first"


def test_a_port_that_is_taken_is_named_before_anything_is_forked(site, refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configure(site, listen=f"['127.0.0.1:{port}']")
        written = refused()
    assert f"Reason: POP3 cannot listen at 127.0.0.1:{port}: Address already in use" in written
    assert "Booting worker" not in written
    assert "Traceback" not in written


@pytest.mark.parametrize(("kind", "name"), [("sync", "SyncWorker"), ("gthread", "ThreadWorker")])
def test_a_worker_without_an_event_loop_is_refused(site, refused, kind, name):
    configure(site)
    written = refused(kind=kind)
    assert f"Reason: POP3 needs workers of the class gevent, not {name}" in written
    assert "Booting worker" not in written
    assert "Traceback" not in written


@pytest.mark.parametrize(
    ("app", "hooks", "complaint"),
    [
        (
            "'beside_app:started()'",
            HOOKS,
            "the worker cannot start: the server is started already: do not start it, Beside does",
        ),
        ("'beside_app:not_a_server'", HOOKS, "cannot start: Beside serves a POP3Server, but 'beside_app:not_a_server'"),
        ("'beside_app:missing'", HOOKS, "the module 'beside_app' has no 'missing'"),
        (
            "'beside_app:pop3d'",
            HOOKS.replace("pre_fork", "pre_request", 1).replace("pop3.pre_fork", "lambda worker, request: None"),
            "the worker cannot start: no listening socket was opened: add pre_fork = pop3.pre_fork to the same file",
        ),
        (
            "'beside_app:pop3d'",
            f"{HOOKS}\n{TWO}",
            "Reason: gunicorn has a Beside already: give that one several addresses",
        ),
    ],
)  # fmt: skip
def test_a_mistake_ends_gunicorn_with_a_line_that_says_what_to_do(site, refused, app, hooks, complaint):
    configure(site, app=app, hooks=hooks)
    written = refused()
    assert complaint in written
    assert "Traceback" not in written


@pytest.mark.parametrize(
    ("listen", "complaint"),
    [
        ("127.0.0.1:1110", r"give a list, \['127.0.0.1:1110'\]"),
        ([], "listen is empty"),
        (["localhost"], "HOST:PORT"),
    ],
)
def test_a_place_that_is_none_is_refused_where_it_is_written(listen, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Beside("beside_app:pop3d", listen)


def test_the_arbiter_makes_no_event_loop(tmp_path):
    (tmp_path / "hub.py").write_text(
        "from gevent._hub_local import get_hub_if_exists\n"
        "from types import SimpleNamespace\n"
        "from gunicorn.workers.ggevent import GeventWorker\n"
        "from geventpop3.workers import Beside\n"
        "server = SimpleNamespace(cfg=SimpleNamespace(env_orig={}), log=None)\n"
        "Beside('a:b', ['127.0.0.1:0']).pre_fork(server, object.__new__(GeventWorker))\n"
        "assert server.cfg.env_orig\n"
        "assert get_hub_if_exists() is None\n"
    )
    subprocess.run([sys.executable, tmp_path / "hub.py"], check=True, timeout=SECONDS)
