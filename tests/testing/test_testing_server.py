"""A server beside the test: blocking clients work, and nothing is left of it."""

from __future__ import annotations

import gc
import logging
import poplib
import socket
import subprocess
import sys
import textwrap
import threading
import weakref

import gevent
import pytest
from authority import Authority
from gevent import monkey
from gevent.threadpool import ThreadPool
from patience import without_blame

from geventpop3 import POP3Server, ok
from geventpop3.auth import Authenticator
from geventpop3.server.tls import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing import Address, ServerThread, play, serve
from geventpop3.testing import server as module


def app(**options):
    pop3d = POP3Server(hostname="pop.example.org", **options)

    @pop3d.on("cmd_user", "cmd_pass", "cmd_quit")
    def yes(pop3d, event):
        return ok("yes")

    return pop3d


def talk(address):
    box = poplib.POP3(*address, timeout=20)
    replies = [box.user("alice"), box.pass_("sesame"), box.quit()]
    assert replies == [b"+OK yes"] * 3


def test_a_client_that_blocks_works_in_the_tests_own_thread():
    with serve(app) as address:
        assert address.host == "127.0.0.1"
        talk(address)
        talk(address)


def test_a_server_that_is_given_is_served_on_a_free_port_whatever_it_wants():
    # 192.0.2.0/24 is nobody's (RFC 5737): it could not be bound
    with serve(app(address="192.0.2.1", port=110)) as address:
        talk(address)


@pytest.mark.parametrize("listen", [[], ["192.0.2.1:110"]], ids=["TLS alone", "both"])
def test_places_with_tls_stay_such_at_free_ports(tmp_path, listen):
    authority = Authority()
    # 192.0.2.0/24 is nobody's (RFC 5737): it could not be bound
    tls = {"tls": Certificates([authority.pair(tmp_path)]), "tls_listen": ["192.0.2.1:995", "192.0.2.1:996"]}
    with serve(app(listen=listen, **tls)) as address:
        assert len(address.tls_ports) == 2
        assert address.tls_port == address.tls_ports[0]
        assert (address.port in address.tls_ports) is (not listen)
        assert address.url == f"pop3{'' if listen else 's'}://127.0.0.1:{address.port}"
        for port in address.tls_ports:
            box = poplib.POP3_SSL("localhost", port, context=authority.blocking_context(check_hostname=False))
            assert box.user("alice") == b"+OK yes"
            box.quit()
        if listen:
            talk(address)


@pytest.mark.parametrize("made", [None, 7])
def test_a_factory_that_makes_no_server_is_told_so(made):
    words = f"the application returned {type(made).__name__}, not a POP3Server"
    with pytest.raises(TypeError, match=words) as caught, serve(lambda: made):
        pass
    assert ("is a return missing?" in str(caught.value)) is (made is None)
    assert caught.value.__context__ is None
    with pytest.raises(TypeError, match="not a POP3Server"):
        play(lambda: made, "S: +OK ...")


def test_an_address_without_tls_says_so():
    with pytest.raises(LookupError, match="the server has no tls_listen"):
        assert Address("127.0.0.1", 4711).tls_port


def test_all_else_is_as_the_server_was_made(caplog):
    caplog.set_level(logging.INFO, "geventpop3.trace")
    pop3d = app(options={"trace": True}, alias="kept", max_sessions_per_address=1)
    with serve(pop3d) as address:
        box = poplib.POP3(*address, timeout=20)
        assert box.getwelcome().startswith(b"+OK pop.example.org ")
        with socket.create_connection(address, 20) as sock:
            assert sock.recv(1000).startswith(b"-ERR [SYS/TEMP] too many connections")
        assert POP3Server.find("kept") is pop3d
        box.quit()
    assert any(record.name == "geventpop3.trace" for record in caplog.records)


def test_an_address_has_a_url():
    assert Address("127.0.0.1", 4711).url == "pop3://127.0.0.1:4711"
    assert Address("::1", 4711).url == "pop3://[::1]:4711"


def test_ipv6():
    with serve(app, "::1") as address:
        assert address.host == "::1"
        talk(address)


def test_several_serve_at_once():
    with serve(app) as one, serve(app) as other:
        assert one.port != other.port
        talk(one)
        talk(other)


def test_a_factory_and_all_events_run_in_the_servers_own_thread():
    threads = set()

    def factory():
        threads.add(threading.get_ident())
        pop3d = app()
        pop3d.on("connection")(lambda pop3d, event: threads.add(threading.get_ident()))
        return pop3d

    with serve(factory) as address:
        talk(address)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_failed_bind_raises_at_once():
    server = ServerThread(app, "192.0.2.1")
    with pytest.raises(OSError, match="assign requested address"):
        server.start()


def test_what_the_factory_raises_is_raised():
    def factory():
        raise LookupError("no such application")

    with pytest.raises(LookupError, match="no such application"), serve(factory):
        pytest.fail("it started")


def test_a_server_cannot_be_served_twice():
    pop3d = app()
    with serve(pop3d):
        assert pop3d.getsockname()
    with pytest.raises(RuntimeError, match="create a new one"), serve(pop3d):
        pytest.fail("it started")


def test_stopping_says_so_to_the_clients_and_closes():
    with serve(app) as address:
        sock = socket.create_connection(address, 20)
        assert sock.recv(1000).startswith(b"+OK")
    with sock, sock.makefile("rb") as file:
        assert file.read().startswith(b"-ERR [SYS/TEMP] ")


def test_what_fails_in_the_test_passes_and_the_server_stops():
    with pytest.raises(KeyError), serve(app) as address:
        raise KeyError
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 20)


def test_a_server_that_does_not_stop_is_not_waited_for_for_ever(monkeypatch):
    release = threading.Event()

    def stubborn():
        pop3d = app()
        pop3d.on("unregistered")(lambda pop3d, event: release.wait(20) and None)
        return pop3d

    server = ServerThread(stubborn)
    server.start()
    monkeypatch.setattr(module, "STOP_SECONDS", 0.01)
    with pytest.raises(TimeoutError, match=r"did not stop within 0\.01 seconds"):
        server.stop()
    release.set()
    monkeypatch.undo()
    server.stop()


def test_what_ends_the_hub_meanwhile_is_raised_at_the_end(capfd):
    """SystemExit in any greenlet ends the hub, as gevent has it."""
    served = []

    def factory():
        served.append(app())
        served[0].on("registered")(lambda pop3d, event: served.append(gevent.spawn_later(0, sys.exit, 3)))
        return served[0]

    server = ServerThread(factory)
    server.start()
    for thread in threading.enumerate():
        if thread.name == "geventpop3.testing":
            thread.join(20)
    with pytest.raises(SystemExit):
        server.stop()
    assert capfd.readouterr().err == ""


class Slow(Authenticator):
    def authenticate(self, name, password):
        return name


def test_nothing_is_left_of_a_service_that_used_threads():
    # the leak detector looks for threads and descriptors, this for the server itself
    made = []

    def factory():
        pop3d = POP3Server()
        pop3d.register(MaildropService(MemoryStore(), Slow()))
        made.append(weakref.ref(pop3d))
        return pop3d

    with serve(factory) as address:
        box = poplib.POP3(*address, timeout=20)
        box.user("alice")
        box.pass_("sesame")
        box.quit()
    gc.collect()
    assert made[0]() is None


def test_an_application_lets_go_of_its_own_pool_when_it_is_unregistered():
    def factory():
        pop3d = app()
        pool = ThreadPool(1)
        pop3d.on("cmd_noop")(lambda pop3d, event: ok(str(pool.apply(len, ("abc",)))))
        pop3d.on("unregistered")(lambda pop3d, event: pool.kill())
        return pop3d

    with serve(factory) as address:
        box = poplib.POP3(*address, timeout=20)
        box.user("alice")
        box.pass_("sesame")
        assert box.noop() == b"+OK 3"
        box.quit()


def test_where_threading_is_patched_the_thread_is_started_underneath_it(monkeypatch):
    monkeypatch.setattr(monkey, "is_module_patched", lambda name: name == "threading")
    before = threading.enumerate()
    with serve(app) as address:
        assert threading.enumerate() == before
        talk(address)


def test_logging_in_the_thread_leaves_no_dummy_thread(caplog):
    caplog.set_level(logging.INFO)
    before = threading.enumerate()
    with serve(app):
        assert any("listening on" in record.message for record in caplog.records)
    assert threading.enumerate() == before


PATCHED = """
    from gevent import monkey
    monkey.patch_all()
    import gc, os, poplib, threading
    import gevent
    from geventpop3 import POP3Server, ok
    from geventpop3.testing import serve

    idents = set()
    get_ident = monkey.get_original("threading", "get_ident")

    def app():
        pop3d = POP3Server(hostname="pop.example.org")
        @pop3d.on("cmd_user", "cmd_pass", "cmd_quit")
        def yes(pop3d, event):
            idents.add(get_ident())
            return ok("yes")
        return pop3d

    def fetch(address):
        box = poplib.POP3(*address, timeout=20)
        return [box.user("alice"), box.pass_("sesame"), box.quit()]

    def tasks():
        return len(os.listdir("/proc/self/task"))

    gevent.get_hub().threadpool.apply(len, ("",))
    before = tasks() - gevent.get_hub().threadpool.size
    with serve(app) as address:
        clients = [gevent.spawn(fetch, address) for _ in range(3)]
        for client in clients:
            assert client.get(timeout=20) == [b"+OK yes"] * 3
    assert len(idents) == 1 and get_ident() not in idents, "it ran in this thread"
    with gevent.Timeout(20):
        while tasks() - gevent.get_hub().threadpool.size > before:
            gevent.sleep(0.001)
    print("done")
"""


def test_the_thread_is_a_native_one_also_where_the_process_is_monkey_patched():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PATCHED)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, without_blame(done.stderr)) == ("done\n", "")
