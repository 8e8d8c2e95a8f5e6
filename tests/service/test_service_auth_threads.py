"""Who somebody is, is found out in two kinds of threads, and neither kind waits for the other."""

from __future__ import annotations

import base64
import contextlib
import os
import sqlite3
import sys
import threading
from contextlib import closing
from socket import AF_INET, SOCK_STREAM

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
from geventpop3.service.threads import ADDED_NICENESS, CALLS_PER_THREAD, AuthThreads, Offload, cores
from geventpop3.stores.memory import MemoryStore

Event, Thread = monkey.get_original("threading", ["Event", "Thread"])
Socket = monkey.get_original("socket", "socket")
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
        return app.service.site.back_end.authenticate("bob", "bob")

    waiting = [gevent.spawn(ask_for_bob) for _ in range(1 + CALLS_PER_THREAD)]
    until(lambda: (len(begun), directory.asked) == (len(waiting), 1))
    with pytest.raises(StoreUnavailable, match="busy"):
        app.service.site.back_end.authenticate("bob", "bob")
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
    waiting, hashing = threads.wait(threading.get_native_id), threads.compute(threading.get_native_id)
    used = []
    for members in ([Told()], [Told()], [Told(hashes=True)], [Told(at_once=True)]):
        chain = Chain([Chain(members)])
        assert chain.authenticate("x", "x") == str(HUB)
        bound = chain.in_threads(threads)
        assert bound.answers_at_once()
        used.append(int(bound.authenticate("x", "x")))
    # Those that hash share the threads for it; each that waits has threads that nobody else has.
    assert used[2:] == [hashing, HUB]
    assert len({*used[:2], waiting, hashing, HUB}) == 5


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

    def apart(self):
        return self


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
    assert threads.compute(niceness) == min(own + ADDED_NICENESS, 19)
    assert threads.wait(niceness) == own
    assert niceness() == own


@linux
def test_a_thread_that_may_not_be_made_less_nice_works_all_the_same(offload, monkeypatch):
    def refuse(which, who, priority):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    assert offload(added_niceness=5).run(niceness) == niceness()


def test_where_threads_have_no_niceness_the_process_keeps_its_own(offload, monkeypatch):
    own = niceness()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert offload(added_niceness=5).run(niceness) == own
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
    assert another.service.site.fake_salt_key != make(authenticator=Keys()).service.site.fake_salt_key


# A back end that does not answer


class SilentServer:
    """Accepts and says nothing, until it hangs up on all who came and will come."""

    def __init__(self):
        self.listener = Socket(AF_INET, SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.held = []
        self.hung_up = False
        self.thread = Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        while not self.hung_up:
            self.held.append(self.listener.accept()[0])
        self.listener.close()
        for sock in self.held:
            sock.close()

    def hang_up(self):
        if not self.hung_up:
            self.hung_up = True
            with closing(Socket(AF_INET, SOCK_STREAM)) as last:
                last.connect(("127.0.0.1", self.port))
            self.thread.join()


@pytest.fixture
def silent():
    server = SilentServer()
    yield server
    server.hang_up()


class AtPort(Authenticator):
    """A directory at a port, asked in the blocking way of drivers; it knows nobody."""

    def __init__(self, port):
        self.port = port

    def authenticate(self, name, password):
        with contextlib.suppress(OSError), closing(Socket(AF_INET, SOCK_STREAM)) as sock:
            sock.connect(("127.0.0.1", self.port))
            sock.recv(1)


class Sure(Authenticator):
    """Waits for others, knows alice, and is sure who is not."""

    def authenticate(self, name, password):
        return name if self.knows(name) else None

    def knows(self, name):
        return name == "alice"


def test_while_a_directory_is_silent_users_of_the_file_log_in_and_changes_of_it_are_seen(make, path, silent):
    chain = Chain([PasswordFile(path), AtPort(silent.port)])
    app = make(MemoryStore(), chain, auth_threads=1, waiting_threads=2)
    waiting = [gevent.spawn(app.talk, f"USER bob{n}", "PASS bob") for n in range(12)]
    until(lambda: len(silent.held) == 2)
    with gevent.Timeout(SECONDS):
        assert app.talk("USER alice", "PASS alice")[1].startswith("+OK")
        # The directory has all threads that it may have, and more wait for them: the file is read nevertheless.
        path.write_text(f"carol:{FIELD}\n")
        os.utime(path, (2, 2))
        assert app.talk("USER carol", "PASS alice")[1].startswith("+OK")
        assert app.service.site.back_end.owner("carol") == "carol"
    assert chain.members[0].knows("alice") is False
    # Nobody can tell whether alice is the directory's now. With the password that was right she is not let in.
    revoked = gevent.spawn(app.talk, "USER alice", "PASS alice")
    assert len(silent.held) == 2
    assert not any(greenlet.ready() for greenlet in waiting)
    silent.hang_up()
    gevent.joinall([*waiting, revoked], SECONDS, raise_error=True)
    assert {greenlet.value[1] for greenlet in (*waiting, revoked)} == {"-ERR [AUTH] authentication failed"}


def test_a_silent_directory_takes_no_thread_of_another_back_end_that_waits(make, silent):
    app = make(MemoryStore(), Chain([Sure(), AtPort(silent.port)]), waiting_threads=1)
    waiting = [gevent.spawn(app.talk, f"USER bob{n}", "PASS bob") for n in range(3)]
    until(lambda: len(silent.held) == 1)
    with gevent.Timeout(SECONDS):
        assert app.talk("USER alice", "PASS alice")[1].startswith("+OK")
    assert len(silent.held) == 1
    silent.hang_up()
    gevent.joinall(waiting, SECONDS, raise_error=True)


@linux
def test_the_threads_of_all_back_ends_end_with_the_service(threads):
    parts = [threads.apart(), threads.apart().apart()]
    one, other = (part.wait(threading.get_native_id) for part in parts)
    assert len({one, other, threads.wait(threading.get_native_id)}) == 3
    assert {part.compute(threading.get_native_id) for part in parts} == {threads.compute(threading.get_native_id)}
    threads.close()
    until(lambda: not {one, other} & set(map(int, os.listdir("/proc/self/task"))))
