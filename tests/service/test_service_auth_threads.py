"""Who somebody is, is found out in two kinds of threads, and neither kind waits for the other."""

from __future__ import annotations

import base64
import os
import sqlite3
import sys
import threading

import gevent
import pytest
from gevent import monkey

from geventpop3.auth import Authenticator, SecretAuthenticator
from geventpop3.auth.authenticator import ask
from geventpop3.auth.chain import Chain
from geventpop3.auth.passwd import PasswordFile
from geventpop3.auth.schemes import Pbkdf2Secret
from geventpop3.auth.sql import SqlAuthenticator
from geventpop3.errors import StoreUnavailable
from geventpop3.service.offload import CALLS_PER_THREAD, NICER, AuthThreads, Offload, cores
from geventpop3.stores.memory import MemoryStore

Event = monkey.get_original("threading", "Event")
SECONDS = 60
HUB = threading.get_native_id()
HERE = Pbkdf2Secret(b"salt", b"", 1)
FIELD = "{PBKDF2}" + Pbkdf2Secret(HERE.salt, HERE.derive(b"alice"), 1).text


class Directory(Authenticator):
    """A server that knows bob, and answers nobody before *go*."""

    def __init__(self):
        self.go = Event()
        self.asked = 0

    def authenticate(self, name, password):
        self.asked += 1
        assert self.go.wait(SECONDS)
        return "bob" if (name, password) == ("bob", "bob") else None


@pytest.fixture
def directory():
    directory = Directory()
    yield directory
    directory.go.set()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "passwords"
    path.write_text(f"alice:{FIELD}\n")
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def threads():
    threads = AuthThreads(1, 1)
    yield threads
    threads.close()


def until(condition):
    with gevent.Timeout(SECONDS):
        while not condition():
            gevent.sleep(0.001)


def test_a_slow_directory_keeps_nobody_out_whom_the_password_file_knows(make, path, directory):
    store = MemoryStore({"alice": [], "bob": []})
    app = make(store, Chain([PasswordFile(path), directory]), auth_threads=1, waiting_threads=2)
    # Two of them have all threads that wait, the others queue for one.
    waiting = [gevent.spawn(app.talk, "USER bob", "PASS bob", "QUIT") for _ in range(6)]
    until(lambda: directory.asked == 2)
    for _ in range(3):
        assert app.talk("USER alice", "PASS alice", "QUIT")[1] == "+OK 0 messages (0 octets)"
    assert directory.asked == 2
    assert not any(greenlet.ready() for greenlet in waiting)
    directory.go.set()
    gevent.joinall(waiting, SECONDS, raise_error=True)
    assert directory.asked == 6
    assert any(greenlet.value[1] == "+OK 0 messages (0 octets)" for greenlet in waiting)


def test_what_waits_has_a_bounded_queue(make, directory):
    app = make(authenticator=directory, waiting_threads=1)
    begun = []

    def ask_for_bob():
        begun.append(True)
        return app.service.authenticate("bob", "bob")

    waiting = [gevent.spawn(ask_for_bob) for _ in range(1 + CALLS_PER_THREAD)]
    until(lambda: (len(begun), directory.asked) == (len(waiting), 1))
    with pytest.raises(StoreUnavailable, match="busy"):
        app.service.authenticate("bob", "bob")
    directory.go.set()
    gevent.joinall(waiting, SECONDS, raise_error=True)
    assert {greenlet.value for greenlet in waiting} == {"bob"}


class Told(Authenticator):
    """Says in which thread it was asked."""

    def __init__(self, *, hashes=False, at_once=False):
        self.says = hashes, at_once

    def authenticate(self, name, password):
        return str(threading.get_native_id())

    def hashes(self):
        return self.says[0]

    def answers_at_once(self):
        return self.says[1]


def test_each_kind_of_work_has_threads_of_its_own(threads):
    hashing = threads.compute(threading.get_native_id)
    waiting = threads.wait(threading.get_native_id)
    assert len({hashing, waiting, HUB}) == 3
    for back_end, thread in [(Told(), waiting), (Told(hashes=True), hashing), (Told(at_once=True), HUB)]:
        assert ask(threads, back_end, back_end.authenticate, "x", "x") == str(thread)
        assert back_end.in_threads(threads) is back_end


def test_a_chain_asks_each_member_in_its_own_threads(threads):
    for members in ([Told()], [Told(hashes=True)], [Told(at_once=True)]):
        chain = Chain([Chain(members)])
        expected = ask(threads, members[0], members[0].authenticate, "x", "x")
        assert chain.authenticate("x", "x") == str(HUB)
        bound = chain.in_threads(threads)
        assert bound.answers_at_once()
        assert bound.authenticate("x", "x") == expected


class Recorder:
    """Threads that say what they were given."""

    def __init__(self):
        self.done = []

    def compute(self, function, /, *args, **kwargs):
        self.done.append("compute")
        return function(*args, **kwargs)

    def wait(self, function, /, *args, **kwargs):
        self.done.append("wait")
        return function(*args, **kwargs)


def test_a_password_file_leaves_the_hub_to_hash_and_to_read_alone(path):
    recorder, plain = Recorder(), PasswordFile(path)
    file = plain.in_threads(recorder)
    assert (plain.hashes(), plain.answers_at_once(), file.answers_at_once()) == (True, False, True)
    assert (file.knows("alice"), file.owner("alice"), file.secret("alice")) == (True, "alice", None)
    assert recorder.done == []
    assert file.authenticate("alice", "alice") == "alice"
    assert file.authenticate("mallory", "alice") is None
    assert recorder.done == ["compute"] * 2
    path.write_text("alice:{PLAIN}new\n")
    os.utime(path, (2, 2))
    assert file.authenticate("alice", "new") == "alice"
    assert recorder.done == ["compute"] * 2 + ["wait"]
    assert plain.authenticate("alice", "new") == "alice"


def test_a_database_is_waited_for_and_what_it_finds_is_hashed(tmp_path):
    database = str(tmp_path / "users.db")
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE users (name, secret)")
    connection.execute("INSERT INTO users VALUES ('alice', ?)", (FIELD,))
    connection.commit()
    connection.close()
    recorder = Recorder()
    plain = SqlAuthenticator(lambda: sqlite3.connect(database), "SELECT secret FROM users WHERE name = :name")
    bound = plain.in_threads(recorder)
    assert (plain.answers_at_once(), bound.answers_at_once()) == (False, True)
    assert bound.authenticate("alice", "alice") == "alice"
    assert bound.authenticate("mallory", "alice") is None
    assert recorder.done == ["wait", "compute"] * 2
    assert (bound.knows("alice"), bound.owner("alice"), bound.secret("alice")) == (True, "alice", None)
    assert recorder.done == ["wait", "compute"] * 2 + ["wait"] * 3
    bound.close()


# Niceness


@pytest.fixture
def offload():
    made = []

    def make(**options):
        made.append(Offload(1, 1, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")


@linux
def test_hashing_threads_give_way_to_the_hub_and_others_do_not(threads):
    own = niceness()
    assert threads.compute(niceness) == min(own + NICER, 19)
    assert threads.wait(niceness) == own
    assert niceness() == own


@linux
def test_a_thread_that_may_not_be_made_less_nice_works_all_the_same(offload, monkeypatch):
    def refuse(which, who, priority):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    assert offload(nicer=5).run(niceness) == niceness()


def test_where_threads_have_no_niceness_the_process_keeps_its_own(offload, monkeypatch):
    own = niceness()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert offload(nicer=5).run(niceness) == own
    assert cores() == os.cpu_count()


@linux
def test_there_are_as_many_hashing_threads_as_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5})
    assert cores() == 3


# SCRAM's salts for names that nobody has


class Keys(SecretAuthenticator):
    def authenticate(self, name, password):
        return None

    def secret(self, name):
        return None

    def scram_iterations(self, hash_name):
        return (4096, 5000, 6000)

    def has_clear_secrets(self):
        return False

    def has_scram_keys_alone(self):
        return True

    def answers_at_once(self):
        return True


def salts(app):
    """What is shown to names that nobody has: salt and iteration count."""
    found = []
    for name in ("mallory", "trudy", "oscar"):
        first = base64.b64encode(f"n,,n={name},r=nonce".encode()).decode()
        reply = app.talk(f"AUTH SCRAM-SHA-256 {first}", "*")[0]
        found.append(base64.b64decode(reply.removeprefix("+ ")).split(b",")[1:])
    return found


def test_services_with_one_key_show_one_salt_for_a_name_that_nobody_has(make):
    key = bytes(range(32))
    one, other, another = (make(authenticator=Keys(), fake_salt_key=k) for k in (key, key, None))
    assert salts(one) == salts(one) == salts(other)
    assert salts(one) != salts(another)
    assert salts(another) == salts(another)
    assert another.service.fake_salt_key != make(authenticator=Keys()).service.fake_salt_key
