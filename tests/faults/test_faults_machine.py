"""T32: a machine that has run out of something, or forbids it: an -ERR, nothing half done, well again by itself."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from faults_pop import canonical
from faults_serve import PASSWORD, make_maildir, make_root, stored

from geventpop3.stores.maildir import journal
from geventpop3.stores.maildir.removal import Marked

TWO = (b"Subject: one\n\none\n", b"Subject: two\n\ntwo\n")
NOBODY = 65_534
NO_ROOM = b"-ERR [SYS/TEMP] too many connections, try again later"
EARLIER_REMOVAL_PENDING = b"-ERR [SYS/TEMP] an earlier removal must be completed first, try again later"
UNAVAILABLE = b"-ERR [SYS/TEMP] the maildrop is not available now, try again later"


@pytest.fixture
def anna(place):
    """Her Maildir, with two messages, open to everybody."""
    make_root(place / "mail", ["anna", "bertil"])
    maildir = place / "mail" / "anna"
    make_maildir(maildir, TWO)
    # Only the directories: the server may replace its own files meanwhile.
    parts = [maildir, *(maildir / part for part in ("new", "cur", "tmp"))]
    for path in parts:
        path.chmod(0o777)
    yield maildir
    for path in parts:
        path.chmod(0o777)


@pytest.fixture
def server(serve, anna):
    """One that is not the superuser's, whom no mode stops."""
    return serve(uid=NOBODY) if os.geteuid() == 0 else serve()


def reply_to_login(server, name="anna"):
    with server.dial() as pop:
        pop.line()
        return pop.login(name, PASSWORD)


def mark_both_and_quit(pop):
    pop.mark([1, 2])
    return pop.command(b"QUIT")


@pytest.mark.parametrize("part", ["new", "cur", "."])
def test_t32_a_directory_that_cannot_be_read_is_an_error_until_it_can(server, anna, part):
    (anna / part).chmod(0)
    assert reply_to_login(server) == UNAVAILABLE
    (line,) = (line for line in server.written().splitlines() if "Permission denied" in line)
    assert f"maildir '{anna}'" in line
    assert reply_to_login(server, "bertil").startswith(b"+OK")
    (anna / part).chmod(0o777)
    assert reply_to_login(server).startswith(b"+OK 2 messages (42 octets)")


def test_t32_a_message_that_cannot_be_read_is_refused_until_it_can(server, anna):
    message = anna / "cur" / "1700000001.M1P1.example:2,S"
    message.chmod(0)
    with server.login("anna") as pop:
        assert pop.command(b"RETR 1").startswith(b"-ERR [SYS/TEMP]")
        assert pop.retrieve([2]) == [canonical(TWO[1])]
        assert pop.command(b"QUIT").startswith(b"+OK")
    message.chmod(0o644)
    with server.login("anna") as pop:
        assert pop.command(b"LIST 1") == b"+OK 1 21"
        assert pop.retrieve([1, 2]) == [canonical(octets) for octets in TWO]


@pytest.mark.parametrize("parts", [[".", "cur"], ["."], ["cur"]], ids=lambda parts: "+".join(parts))
def test_t32_in_a_maildir_that_cannot_be_written_nothing_is_removed_and_quit_says_so(server, anna, parts):
    for part in parts:
        (anna / part).chmod(0o555)
    with server.login("anna") as pop:
        assert pop.retrieve([1, 2]) == [canonical(octets) for octets in TWO]
        assert mark_both_and_quit(pop).startswith(b"-ERR [SYS/TEMP]")
        assert pop.is_closed()
    assert stored(anna) == list(TWO)
    with server.login("anna") as pop:
        assert pop.command(b"STAT") == b"+OK 2 42"
    for part in parts:
        (anna / part).chmod(0o777)
    # What was refused stays refused: it is not made up for later.
    with server.login("anna") as pop:
        assert pop.command(b"STAT") == b"+OK 2 42"
        assert mark_both_and_quit(pop) == b"+OK goodbye, 2 messages removed"
    assert stored(anna) == []
    assert "Traceback" not in server.written()


def test_t32_quit_tells_how_many_messages_are_left_when_some_cannot_be_removed(server, anna):
    shutil.move(anna / "cur" / "1700000001.M1P1.example:2,S", anna / "new" / "1700000001.M1P1.example")
    (anna / "cur").chmod(0o555)
    with server.login("anna") as pop:
        assert mark_both_and_quit(pop) == b"-ERR [SYS/TEMP] some deleted messages not removed: 1 message left"
    (anna / "cur").chmod(0o777)
    with server.login("anna") as pop:
        assert pop.retrieve([1]) == [canonical(TWO[1])]


def test_t32_as_many_sessions_are_let_in_as_there_are_descriptors_for(place, serve):
    make_root(place / "mail", ["anna"])
    server = serve(nofile=160)
    with ExitStack() as crowd:
        greetings = [crowd.enter_context(server.dial()).line() for _ in range(160)]
        served = [line for line in greetings if line.startswith(b"+OK")]
        assert len(served) >= 10
        assert set(greetings) == {*served, NO_ROOM}
        assert "accepting failed" not in server.written()
    until_served(server)


def test_t32_without_descriptors_a_peer_hears_so_and_the_server_recovers_by_itself(place, serve):
    make_root(place / "mail", ["anna"])
    server = serve()
    with ExitStack() as crowd:
        inside = crowd.enter_context(server.dial())
        inside.line()
        # Somebody else's fault: what was there at the start is there no more.
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors() + 10, limits[1]))
        peers = [crowd.enter_context(server.dial()) for _ in range(30)]
        spent = server.processor_seconds()
        greetings = [peer.line() for peer in peers[:12]]
        assert len([line for line in greetings if line.startswith(b"+OK")]) == 10
        assert greetings.count(NO_ROOM) == 2
        assert server.processor_seconds() < spent + 1
        # Who is inside hears so, too, and may try again.
        assert inside.login("anna", PASSWORD) == UNAVAILABLE
        assert server.written().count("accepting failed: Too many open files") == 1
        # Who waits in the kernel's queue is served as soon as there is room.
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        assert peers[-1].line().startswith((b"+OK", NO_ROOM))
        assert inside.login("anna", PASSWORD).startswith(b"+OK")
    until_served(server)
    assert "Traceback" not in server.written()


def until_served(server):
    """The sessions of the crowd end one by one; when all have, or before, a login works."""
    for _ in range(1000):
        with server.dial() as pop:
            if pop.line() != NO_ROOM:
                assert pop.login("anna", PASSWORD).startswith(b"+OK")
                return
    pytest.fail("the server did not recover")


@pytest.fixture
def small_disk(place):
    """A file system of 256 KiB."""
    folder = place / "mail"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "geventpop3-faults", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system of its own: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_t32_on_a_full_disk_mail_can_be_read_and_removed(small_disk, serve):
    make_root(small_disk, ["anna"])
    anna = small_disk / "anna"
    make_maildir(anna, [b"Subject: large\n\n" + b"x" * 50_000 + b"\n", *TWO])
    server = serve()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        file.writelines(itertools.repeat(bytes(4096), 1000))
    before = stored(anna)
    with server.login("anna") as pop:
        assert pop.retrieve([1, 2, 3]) == [canonical(octets) for octets in before]
        # There is no room for a journal, so the messages go one by one.
        assert mark_both_and_quit(pop) == b"+OK goodbye, 2 messages removed"
    assert len(stored(anna)) == 1
    assert not [path.name for path in anna.iterdir() if path.name.startswith("geventpop3.update")]
    with server.login("anna") as pop:
        assert pop.command(b"DELE 1").startswith(b"+OK")
        assert pop.command(b"QUIT") == b"+OK goodbye, 1 message removed"
    assert stored(anna) == []
    assert "Traceback" not in server.written()


def test_t32_on_a_read_only_disk_with_a_leftover_journal_mail_is_served(small_disk, serve):
    make_root(small_disk, ["anna"])
    anna = small_disk / "anna"
    make_maildir(anna, TWO)
    before = stored(anna)
    named = [path.name.partition(":")[0] for part in ("new", "cur") for path in (anna / part).iterdir()]
    (anna / journal.FILE).write_bytes(journal.encode(dict.fromkeys(named, Marked(""))))
    server = serve()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for _ in range(2):
        with server.login("anna") as pop:
            assert pop.retrieve([1, 2]) == [canonical(octets) for octets in before]
            assert mark_both_and_quit(pop) == EARLIER_REMOVAL_PENDING
    assert "cannot be finished now" in server.written()
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    with server.login("anna") as pop:
        assert pop.command(b"STAT") == b"+OK 0 0"
    assert stored(anna) == []
    assert "Traceback" not in server.written()
