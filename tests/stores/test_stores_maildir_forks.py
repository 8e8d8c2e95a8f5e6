"""A fork at any moment of a session: the child has no lock of a maildrop, whatever becomes of its parent."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from maildir_kernel import Kernel
from store_contract import MESSAGE

from geventpop3.errors import MaildropLocked, StoreUnavailable
from geventpop3.stores.maildir import MaildirStore, lock, system

PROGRAM = """
import os, signal, sys, threading
from geventpop3.stores.maildir import MaildirStore, lock, system

mail, where = sys.argv[1:]
store = MaildirStore(mail + "/{user}")
stopped, forked, locked = threading.Event(), threading.Event(), threading.Event()
opened = []

def open_root(steps, *, make):
    root = real(steps, make=make)
    opened.append(root)
    if len(opened) == 1:
        stopped.set()
        forked.wait()
    return root

def stop(first, *args, **options):
    if where == "unlink" and not first.endswith(".h"):
        return remove(first, *args, **options)
    stopped.set()
    threading.Event().wait()

def session():
    maildrop = store.open("alice")
    locked.set()
    maildrop.remove([message.unique_id for message in maildrop.scan()])

if where == "open":
    real = lock.open_root
    lock.open_root = open_root
else:
    remove = system.unlink
    setattr(system, where, stop)
threading.Thread(target=session, daemon=True).start()
stopped.wait()
if os.fork() == 0:
    sys.stdout.write(f"{os.getpid()}\\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)
forked.set()
locked.wait()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def three(alice: Path) -> Path:
    for number in range(3):
        (alice / f"new/{number}.h").write_bytes(MESSAGE)
    return alice


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("open", id="before the lock"),
        pytest.param("listdir", id="scan"),
        pytest.param("rename", id="index"),
        pytest.param("unlink", id="removal"),
    ],
)
def test_when_the_parent_is_killed_the_maildrop_is_free_although_the_child_lives(
    store: MaildirStore, three: Path, where: str
) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, str(three.parent), where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.wait(30) == -signal.SIGKILL
        os.kill(child, 0)
        maildrop = store.open("alice")
        # What was begun is finished.
        assert len(maildrop.scan()) == (0 if where == "unlink" else 3)
        maildrop.close()
        process.stdin.close()


class TestInTheChild:
    """A child's descriptors are copies, so the same process can play it: it registers and closes."""

    def fork(self, store: MaildirStore) -> None:
        store._roots._registration.disown()

    @pytest.mark.parametrize("first", ["store", "maildrop"])
    @pytest.mark.parametrize("method", ["disown", "close"])
    def test_each_is_closed_once_and_no_other_file(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch, first: str, method: str
    ) -> None:
        maildrop = store.open("alice")
        root = maildrop._root  # type: ignore[attr-defined]  # of a maildir
        copy = os.dup(root)
        closed: list[int] = []
        real = system.close
        monkeypatch.setattr(system, "close", lambda fd: (closed.append(fd), real(fd)))
        if first == "store":
            self.fork(store)
            # The number is another file's by then, a maildrop's that the child opened, for one.
            other = store.open("bob") if method == "disown" else None
            taken = os.open("/dev/null", os.O_RDONLY) if other is None else other._root  # type: ignore[attr-defined]
            assert taken == root
        getattr(maildrop, method)()
        self.fork(store) if first == "maildrop" else None
        assert closed.count(root) == 1
        if first == "store":
            os.fstat(root)
            os.close(root)
        if method == "disown" or first == "store":
            # The parent's lock stays: nothing was unlocked.
            with pytest.raises(MaildropLocked):
                store.open("alice")
        os.close(copy)
        store.open("alice").close()

    @pytest.fixture(autouse=True)
    def bob(self, tmp_path: Path) -> None:
        for part in ("new", "cur", "tmp"):
            (tmp_path / "bob" / part).mkdir(parents=True)

    def test_it_knows_none_that_was_closed_or_refused(self, store: MaildirStore, three: Path, kernel: Kernel) -> None:
        maildrop = store.open("alice")
        with pytest.raises(MaildropLocked):
            store.open("alice")
        assert len(store._roots.known) == 1
        maildrop.close()
        maildrop.close()
        assert store._roots.known == set()
        self.fork(store)

    def test_a_maildrop_that_cannot_be_made_is_unlocked_although_a_child_has_a_copy(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copies: list[int] = []

        def broken(*_: object, **__: object) -> None:
            copies.extend(map(os.dup, store._roots.known))
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr("geventpop3.stores.maildir.store.MaildirMaildrop", broken)
            with pytest.raises(StoreUnavailable):
                store.open("alice")
        assert store._roots.known == set()
        store.open("alice").close()
        (copy,) = copies
        os.close(copy)

    def test_one_that_was_opened_while_the_process_forked_is_opened_again(
        self, store: MaildirStore, three: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copies: list[int] = []
        real = lock.open_root

        def open_root(steps: list[str], *, make: bool) -> int:
            root = real(steps, make=make)
            if not copies:
                copies.append(os.dup(root))
                store._roots._registration.after()
            return root

        monkeypatch.setattr(lock, "open_root", open_root)
        maildrop = store.open("alice")
        assert len(store._roots.known) == 1
        with pytest.raises(BlockingIOError):
            fcntl.flock(copies[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(copies[0])
        maildrop.close()
