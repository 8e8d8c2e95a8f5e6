"""The leak detector finds what it is there for."""

from __future__ import annotations

import socket
import threading

import gevent
import leaks
import pytest
from gevent import monkey
from gevent.threadpool import ThreadPool

from geventpop3 import POP3Server, ok

Event = monkey.get_original("threading", "Event")


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(leaks, "SECONDS", 0.01)


def test_nothing_is_left_of_nothing():
    assert leaks.left_behind(leaks.resources()) == []


def test_an_open_socket_is_found():
    before = leaks.resources()
    with socket.socket() as sock:
        (left,) = leaks.left_behind(before)
        assert left.startswith(f"descriptor {sock.fileno()} socket:")
    assert leaks.left_behind(before) == []


def test_a_running_greenlet_is_found_also_one_that_has_not_begun():
    before = leaks.resources()
    greenlet = gevent.spawn(gevent.sleep, 1000)
    (left,) = leaks.left_behind(before)
    assert "sleep" in left
    greenlet.kill()
    assert leaks.left_behind(before) == []


def test_a_receiver_is_found():
    before = leaks.resources()
    pop3d = POP3Server()
    pop3d.on("cmd_user", "cmd_stat")(lambda pop3d, event: ok())
    assert leaks.left_behind(before) == ["a receiver of cmd_stat", "a receiver of cmd_user"]
    pop3d.shutdown()
    assert leaks.left_behind(before) == []


def test_a_receiver_of_a_server_that_is_forgotten_is_none():
    before = leaks.resources()
    POP3Server().on("cmd_user")(lambda pop3d, event: ok())
    assert leaks.left_behind(before) == []


def test_a_thread_is_found(monkeypatch):
    before = leaks.resources()
    go = Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    assert leaks.left_behind(before) == [f"{before.threads + 1} threads, {before.threads} before"]
    go.set()
    monkeypatch.setattr(leaks, "SECONDS", 20)
    assert leaks.left_behind(before) == []


def test_the_threads_of_a_pool_are_found_but_not_those_of_the_hubs_own():
    before = leaks.resources()
    hub = gevent.get_hub()
    gevent.joinall([hub.threadpool.spawn(threading.get_ident) for _ in range(3)])
    assert leaks.left_behind(before) == []
    pool = ThreadPool(1)
    pool.apply(threading.get_ident)
    assert leaks.left_behind(before) == [f"{before.threads + 1} threads, {before.threads} before"]
    pool.kill()
