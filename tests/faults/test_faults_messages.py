"""Messages that are odd, damaged or gone, sessions that end in the middle: exact octets or an -ERR, and no mail lost.

Each test is a row of the table in README.md, or a line of "bad input" that has none.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

import pytest
from faults_pop import SECONDS, canonical
from faults_serve import PASSWORD, make_maildir, make_root, stored, until

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.server.server import session_over
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing.memory_stream import MemoryStream

TWO = (b"Subject: one\n\none\n", b"Subject: two\n\ntwo\n")
MEBIBYTE = 1 << 20
LARGE = b"Subject: large\n\n" + b"0123456789abcdef" * MEBIBYTE + b"\n"


def is_free(server, owner):
    with server.dial() as pop:
        pop.line()
        return pop.login(owner, PASSWORD).startswith(b"+OK")


@pytest.mark.parametrize("line", [b"LIST", b"UIDL", b"RETR 3", b"TOP 3 1000000", b"QUIT", b"CAPA"])
@pytest.mark.parametrize("way", ["reset", "close", "finish"])
def test_t22_who_leaves_in_the_middle_of_a_reply_leaves_nothing_behind(site, line, way):
    owner = site.maildrop(*TWO, LARGE)
    server = site.server
    with server.login(owner) as pop:
        before = server.descriptors()
        pop.send(b"DELE 1\r\n" + line + b"\r\n")
        assert pop.line().startswith(b"+OK")
        if line.startswith((b"RETR", b"TOP")):
            assert pop.line().startswith(b"+OK")  # now the reply has begun, and cannot end unread
        getattr(pop, way)()
        if way == "finish":
            pop.rest()  # who only ends his input is still answered
        until(lambda: is_free(server, owner))
    until(lambda: server.descriptors() < before)
    left = stored(site.root / owner)
    assert left == [*TWO, LARGE] or (line == b"QUIT" and left == [TWO[1], LARGE])


AWKWARD = {
    "nothing": b"",
    "no final line end": b"Subject: x\n\nno line end",
    "a full stop alone": b".",
    "full stops": b".\n" * 100_000,
    "full stops first": b"..\n...\r\n.\n..",
    "line ends alone": b"\n\r\n\n",
    "bare CR": b"a\rb\r\rc\r\r\nd\r",
    "NUL and 8 bits": b"Subject: \x00\xff\n\n" + bytes(range(256)),
    "no header": b"\n\nbody\n",
    "only a header": b"Subject: x\n",
}


@pytest.mark.parametrize("octets", AWKWARD.values(), ids=AWKWARD)
def test_t24_an_awkward_message_comes_exactly_and_in_the_size_that_was_told(site, octets):
    with site.server.login(site.maildrop(octets)) as pop:
        (message,) = pop.retrieve([1])
        wanted = re.sub(rb"(?<!\r)\n", b"\r\n", octets)
        assert message == (wanted if not wanted or wanted.endswith(b"\n") else wanted + b"\r\n")
        assert pop.command(b"STAT") == b"+OK 1 %d" % len(message)
        assert pop.command(b"LIST 1") == b"+OK 1 %d" % len(message)


@pytest.mark.slow
def test_t24_a_line_of_50_megabytes_costs_no_memory(site):
    octets = b"Subject: x\n\n" + b"x" * 50_000_000
    with site.server.login(site.maildrop(octets)) as pop:
        before = site.server.memory()
        pop.send(b"RETR 1\r\n")
        pop.line()
        during = site.server.memory()  # it is not read yet: the server holds what it would hold of any message
        assert pop.body() == canonical(octets)
    assert during < before + 4 * MEBIBYTE
    assert site.server.memory() < before + 4 * MEBIBYTE


@pytest.mark.slow
def test_t24_a_message_of_a_gibibyte_costs_no_memory(site):
    owner = site.maildrop()
    path = site.root / owner / "cur" / "1700000001.M1P1.example:2,S"
    with path.open("wb") as file:
        file.write(b"Subject: nothing\n\n")
        file.truncate(1 << 30)
    with site.server.login(owner) as pop:
        before = site.server.memory()
        told = int(pop.command(b"LIST 1").split()[2])
        pop.send(b"RETR 1\r\n")
        assert pop.line().startswith(b"+OK")
        highest = before
        for left in range(told, 0, -8 * MEBIBYTE):
            pop.skip(min(left, 8 * MEBIBYTE))
            highest = max(highest, site.server.memory())
        assert pop.line() == b"."
        assert pop.command(b"NOOP") == b"+OK"
    assert highest < before + 8 * MEBIBYTE


def damage_removed(path):
    path.unlink()


def damage_torn(path):
    path.write_bytes(path.read_bytes()[:-5])


def damage_grown(path):
    with path.open("ab") as file:
        file.write(b"more\n")


def damage_directory(path):
    path.unlink()
    path.mkdir()


def damage_fifo(path):
    path.unlink()
    os.mkfifo(path)


def damage_link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGES = [damage_removed, damage_torn, damage_grown, damage_directory, damage_fifo, damage_link]


@pytest.mark.parametrize("damage", DAMAGES)
def test_t24_a_message_that_was_damaged_during_the_session_is_refused_before_any_ok(site, damage):
    owner = site.maildrop(*TWO)
    with site.server.login(owner) as pop:
        damage(site.root / owner / "cur" / "1700000001.M1P1.example:2,S")
        for line in (b"RETR 1", b"TOP 1 0"):
            reply = pop.command(line)
            assert reply.startswith(b"-ERR [SYS/"), reply
            assert b"/cur" not in reply
            assert b"passwd" not in reply
        assert pop.retrieve([2]) == [canonical(TWO[1])]
        assert pop.command(b"QUIT").startswith(b"+OK")
    # The next session sees what there is, and never anything else under its name.
    with site.server.login(owner) as pop:
        count = int(pop.command(b"STAT").split()[1])
        assert count == (2 if damage in (damage_torn, damage_grown, damage_link) else 1)
        assert pop.retrieve([count]) == [canonical(TWO[1])]
        if damage is damage_link:
            assert pop.command(b"RETR 1").startswith(b"-ERR [SYS/PERM]")


def test_t24_a_message_that_is_cut_while_it_is_sent_ends_without_the_termination_octet(site):
    owner = site.maildrop(LARGE)
    with site.server.login(owner) as pop:
        pop.send(b"RETR 1\r\n")
        pop.line()
        damage_torn(site.root / owner / "cur" / "1700000001.M1P1.example:2,S")
        got = pop.rest()
        assert not got.endswith(b"\r\n.\r\n")
        assert len(got) < len(LARGE)


def test_t25_half_a_million_header_lines_are_one_header(site):
    header = b"".join(b"X-Line-%d: x\n" % number for number in range(500_000))
    body = b"".join(
        b"--part-%d\nContent-Type: multipart/mixed; boundary=part-%d\n\n" % (n, n + 1) for n in range(50_000)
    )
    with site.server.login(site.maildrop(header + b"\n" + body)) as pop:
        spent = site.server.processor_seconds()
        assert pop.multiline(b"TOP 1 0") == canonical(header + b"\n")
        assert pop.multiline(b"TOP 1 2") == canonical(
            header + b"\n--part-0\nContent-Type: multipart/mixed; boundary=part-1\n"
        )
        assert pop.retrieve([1]) == [canonical(header + b"\n" + body)]
        # Whatever is not linear takes minutes.
        assert site.server.processor_seconds() < spent + 10


@pytest.mark.parametrize("way", ["close", "reset", "finish", "RSET and QUIT"])
def test_t26_a_mark_removes_nothing_without_quit(site, way):
    owner = site.maildrop(*TWO)
    with site.server.login(owner) as pop:
        pop.mark([1, 2])
        if way == "RSET and QUIT":
            assert pop.command(b"RSET").startswith(b"+OK")
            assert pop.command(b"QUIT") == b"+OK goodbye"
        else:
            getattr(pop, way)()
    until(lambda: is_free(site.server, owner))
    assert stored(site.root / owner) == list(TWO)


@pytest.mark.parametrize("limits", [{"autologout": 3.0}, {"max_sessions": None}], ids=["autologout", "SIGTERM"])
def test_t26_a_mark_removes_nothing_when_the_server_ends_the_session(place, serve, limits):
    make_root(place / "mail", ["anna"])
    make_maildir(place / "mail" / "anna", TWO)
    server = serve(limits=limits)
    with server.dial() as pop:
        # In one write, because the session may end before a second one.
        pop.send(b"USER anna\r\nPASS " + PASSWORD + b"\r\nDELE 1\r\nDELE 2\r\n")
        for _ in range(5):
            pop.expect_ok()
        if "autologout" in limits:
            assert pop.rest() == b""
        else:
            assert server.terminate() == 0
            assert pop.rest() == b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"
    assert stored(place / "mail" / "anna") == list(TWO)


@pytest.mark.parametrize("way", ["close", "finish"])
def test_t27_who_says_quit_and_does_not_wait_for_the_answer_has_said_it(site, way):
    owner = site.maildrop(*TWO)
    with site.server.login(owner) as pop:
        pop.send(b"DELE 1\r\nQUIT\r\n")
        getattr(pop, way)()
        if way == "finish":
            assert pop.rest() == b"+OK message 1 marked as deleted\r\n+OK goodbye, 1 message removed\r\n"
    until(lambda: len(stored(site.root / owner)) == 1)
    assert stored(site.root / owner) == [TWO[1]]


def test_a_maildir_that_is_missing_or_none_is_an_error_with_a_line_in_the_log(place, serve):
    root = place / "mail"
    make_root(root, ["missing", "file", "bare", "new-is-a-file", "well"])
    for name, part in (("missing", "cur new tmp"), ("bare", "cur new"), ("new-is-a-file", "new")):
        for each in part.split():
            (root / name / each).rmdir()
    (root / "missing").rmdir()
    for each in ("cur", "new", "tmp"):
        (root / "file" / each).rmdir()
    (root / "file").rmdir()
    (root / "file").write_bytes(b"no directory")
    (root / "new-is-a-file" / "new").write_bytes(b"no directory")
    server = serve()
    for name, code in (("missing", b"TEMP"), ("file", b"PERM"), ("bare", b"TEMP"), ("new-is-a-file", b"PERM")):
        with server.dial() as pop:
            pop.line()
            reply = pop.login(name, PASSWORD)
            assert reply.startswith(b"-ERR [SYS/%s] the maildrop " % code), (name, reply)
            # The session may go on, and the lock is free.
            assert pop.login(name, PASSWORD) == reply
        assert f"{root}/{name}" in server.written()
    make_maildir(root / "missing", TWO)
    for name in ("well", "missing"):
        server.login(name).close()
    assert "Traceback" not in server.written()


def test_a_broken_line_in_the_password_file_costs_nobody_else_the_login(place, serve):
    root = place / "mail"
    make_root(root, ["first", "broken", "last"])
    lines = (root / "passwords").read_bytes().splitlines(keepends=True)
    lines[1] = b"broken:{NOSUCHSCHEME}verysecret\n\xff\xfe:{PLAIN}x\nno colon at all\n::::\n" + b"x" * 100_000 + b"\n"
    (root / "passwords").write_bytes(b"".join(lines))
    server = serve()
    for name, status in (("first", b"+OK"), ("broken", b"-ERR [AUTH]"), ("last", b"+OK")):
        with server.dial() as pop:
            pop.line()
            assert pop.login(name, PASSWORD).startswith(status)
    written = server.written()
    assert [f"line {number}" in written for number in range(1, 8)] == [False, True, True, True, True, True, False]
    assert "verysecret" not in written
    (root / "passwords").unlink()
    server.login("last").close()  # what was read last stays in force
    assert f"{root}/passwords: No such file" in server.written()


def test_t41_a_plugin_that_raises_hangs_or_kills_its_greenlet_hurts_its_own_session_alone(place):
    import gevent
    from gevent import GreenletExit
    from gevent.event import Event as GreenEvent

    make_root(place / "mail", ["anna", "bertil", "cecilia"])
    for name in ("anna", "bertil", "cecilia"):
        make_maildir(place / "mail" / name, TWO)
    pop3d = POP3Server(port=0)
    pop3d.register(MaildropService(MaildirStore(f"{place}/mail/{{user}}"), PasswordFile(place / "mail" / "passwords")))

    @pop3d.plugin("cmd_list")
    def hang(pop3d, event):
        GreenEvent().wait()

    @pop3d.plugin("cmd_stat")
    def kill(pop3d, event):
        gevent.getcurrent().kill()

    @pop3d.on("cmd_noop")
    def exits(pop3d, event):
        raise GreenletExit

    @pop3d.plugin("cmd_rset")
    def fails(pop3d, event):
        raise RuntimeError("planted")

    def talk(name, *lines):
        login = [b"USER " + name + b"\r\n", b"PASS " + PASSWORD + b"\r\n"]
        stream = MemoryStream([*login, *(line + b"\r\n" for line in lines)])
        session = session_over(pop3d, stream, ("127.0.0.1", 1), ("127.0.0.1", 2))
        greenlet = gevent.spawn(session.run)
        return greenlet, stream

    stuck, heard = talk(b"anna", b"DELE 1", b"LIST", b"QUIT")
    for killer in (b"STAT", b"NOOP"):
        killed, stream = talk(b"bertil", b"DELE 1", killer, b"QUIT")
        killed.join(SECONDS)
        assert killed.dead
        assert b"removed" not in stream.output
    # The maildrop of who was killed is free, and nothing went; a plugin that raises is passed over.
    well, stream = talk(b"bertil", b"RSET", b"RETR 2", b"QUIT")
    well.join(SECONDS)
    assert stream.output.endswith(b"two\r\n.\r\n+OK goodbye\r\n")
    assert not stuck.dead
    stuck.kill()
    assert b"removed" not in heard.output
    assert stored(place / "mail" / "anna") == stored(place / "mail" / "bertil") == list(TWO)
    again, stream = talk(b"anna", b"QUIT")
    again.join(SECONDS)
    assert stream.output.count(b"+OK") == 4
    with suppress(GreenletExit):
        pop3d.shutdown()
