"""What a peer may say: wrong, over-long, unfinished, foreign. A clear -ERR, the same state, the next client served.

Each test is a row of the table in README.md; the ``site`` makes sure after each that the server is well.
"""

from __future__ import annotations

import hashlib

import pytest
from faults_serve import PASSWORD, make_maildir, make_root, stored

TWO = (b"Subject: one\n\none\n", b"Subject: two\n\ntwo\n")


def errors(octets):
    """The number of lines in *octets*, each of which is negative."""
    lines = octets.splitlines()
    assert all(line.startswith(b"-ERR") for line in lines), lines
    return len(lines)


def before_login(site, octets):
    """What is answered to *octets* sent right after the greeting, up to the close."""
    with site.server.dial() as pop:
        assert pop.line().startswith(b"+OK")
        pop.send(octets)
        pop.finish()
        return pop.rest()


@pytest.mark.parametrize("line", [b"\r\n", b" \r\n", b"\t  \t\r\n", b"\n"])
def test_t01_empty_lines_are_errors_and_close_after_some(site, line):
    assert errors(before_login(site, line)) == 1
    assert errors(before_login(site, line * 50)) == 3
    with site.server.login(site.maildrop()) as pop:
        pop.send(line * 50)
        assert errors(pop.rest()) == 20


@pytest.mark.parametrize(
    "line", [b"X:", b"LIST:", b"LIST\t1", b"LI\x00ST", b"LIST\xa0", b"\xa0LIST", b"L\xc4\xb0ST", b":", b"LIST1"]
)
def test_t02_a_verb_that_is_none_is_an_error(site, line):
    assert errors(before_login(site, line + b"\r\n")) == 1
    with site.server.login(site.maildrop(*TWO)) as pop:
        assert pop.command(line).startswith(b"-ERR")
        assert pop.command(b"STAT") == b"+OK 2 42"


@pytest.mark.parametrize("octets", [50, 256, 1000, 1 << 16, 1 << 20])
@pytest.mark.parametrize("verb", [b"USER", b"PASS", b"APOP", b"AUTH", b"LIST", b"XTND"])
def test_t03_a_long_argument_is_one_error_and_never_two_commands(site, verb, octets):
    # Were the line cut anywhere, what follows would be commands.
    argument = (b"NOOP " * (octets // 5 + 1))[:octets]
    with site.server.dial() as pop:
        pop.line()
        pop.send(verb + b" " + argument + b"\r\n")
        reply = pop.line()
        assert reply.startswith(b"-ERR")
        if octets >= 1 << 16:
            assert pop.is_closed()
        else:
            assert pop.command(b"QUIT") == b"+OK goodbye"


NUMBERS = [
    b"-1", b"0", b"00", b"01", b"3", b"2147483648", b"4294967297", b"4294967298", b"18446744073709551617", b"1" * 400,
    b"+1", b"1_0", b"1.0", b"1e0", b"0x1", b"1,2", b"1-2", b"*", b"one", b"\x31\xcc\x81",
    "\u0661".encode(), "\u00b2".encode(), "\u00b9".encode(), "\uff11".encode(), b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_t04_a_number_that_is_none_is_an_error_and_never_another_message(site, number):
    with site.server.login(site.maildrop(*TWO)) as pop:
        for verb in (b"LIST %s", b"UIDL %s", b"RETR %s", b"DELE %s", b"TOP %s 0"):
            assert pop.command(verb % number).startswith(b"-ERR")
        if number not in (b"0", b"00", b"01", b"3", b"2147483648", b"4294967297", b"4294967298"):
            assert pop.command(b"TOP 1 " + number).startswith(b"-ERR")
        assert pop.command(b"STAT") == b"+OK 2 42"
        assert pop.command(b"QUIT") == b"+OK goodbye"


def test_t04_a_number_of_5000_digits_is_an_over_long_line(site):
    with site.server.login(site.maildrop(*TWO)) as pop:
        assert pop.command(b"DELE " + b"1" * 5000).startswith(b"-ERR line too long")
        assert pop.command(b"STAT") == b"+OK 2 42"


@pytest.mark.parametrize(
    "text", [b"%s%n", b"%u%{x}", b"{0.__class__}", b"${jndi:ldap://127.0.0.1/}", b"`id`", b"$(id)", b"';--"]
)
def test_t05_text_that_looks_like_a_template_is_a_plain_failed_login(site, text):
    wrong = before_login(site, b"USER %s\r\nPASS %s\r\n" % (text, text))
    assert wrong == b"+OK send PASS\r\n-ERR [AUTH] authentication failed\r\n"
    known = before_login(site, b"USER witness\r\nPASS " + text + b"\r\n")
    assert known == wrong


@pytest.mark.parametrize(
    "name", [b"witness\tskip_password_check=", b"witness\x00", b"witness\r", b"witness:{PLAIN}x:", b"witness\xc2\x85"]
)
def test_t06_a_name_injects_no_field(site, name):
    answered = before_login(site, b"USER " + name + b"\r\nPASS {PLAIN}x\r\nPASS " + PASSWORD + b"\r\n")
    assert answered.count(b"+OK") <= 1  # to USER at most
    assert b"messages" not in answered


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"\xc3", "\u202ewitness".encode(), "wi\u0307tness".encode(), b"\x1b[2J", b"w" * 70_000]
)
def test_t07_a_name_that_is_no_text_is_a_failed_login_and_escaped_in_the_log(site, name):
    answered = before_login(site, b"USER " + name + b"\r\nPASS x\r\n")
    assert answered.splitlines()[-1].startswith(b"-ERR")
    lines = site.server.log.read_bytes().decode("utf-8").split("\n")
    assert all(line.isprintable() for line in lines)
    assert sum("authentication_failed" in line for line in lines) >= (len(name) < 1000)


@pytest.mark.parametrize("line", [b"NO\x00OP", b"NOOP\x00", b"\x00NOOP", b"NOOP \x00QUIT", b"DELE 1\x00", b"\x00"])
def test_t08_nothing_before_or_after_a_nul_is_a_command(site, line):
    owner = site.maildrop(*TWO)
    with site.server.login(owner) as pop:
        assert pop.command(line).startswith(b"-ERR")
        assert pop.command(b"STAT") == b"+OK 2 42"


@pytest.mark.parametrize(
    ("octets", "answers"),
    [
        (b"NOOP\nNOOP\n", [b"+OK", b"+OK"]),
        (b"NOOP\r\n", [b"+OK"]),
        (b"NOOP\r\r\n", [b"-ERR"]),
        (b"NOOP\n\rNOOP\r\n", [b"+OK", b"-ERR"]),
        (b"NOOP\rDELE 1\r\n", [b"-ERR"]),
        (b"\rNOOP\r\n", [b"-ERR"]),
        (b"NOOP\r", []),
    ],
)
def test_t09_line_ends_are_crlf_or_lf_however_they_are_cut(site, octets, answers):
    owner = site.maildrop(*TWO)
    for cut in range(len(octets)):
        with site.server.login(owner) as pop:
            # Two writes, with an answer in between that shows that the first was read.
            pop.send(b"STAT\r\n" + octets[:cut])
            assert pop.line() == b"+OK 2 42"
            pop.send(octets[cut:])
            pop.finish()
            assert [line.split(b" ")[0] for line in pop.rest().splitlines()] == answers
    assert len(stored(site.root / owner)) == 2


def test_t10_an_endless_line_is_answered_and_closed_and_takes_no_memory(site):
    before = site.server.memory(), site.server.processor_seconds()
    with site.server.dial() as pop:
        pop.line()
        try:
            for _ in range(32):
                pop.send(b"x" * (1 << 20))
        except OSError:
            pass  # closed long before
        else:
            pytest.fail("32 MiB without a line end were taken")
    assert errors(before_login(site, b"x" * 100_000)) == 1
    assert site.server.memory() < before[0] + (1 << 20)
    # It is not searched again and again: that would be a minute.
    assert site.server.processor_seconds() < before[1] + 2


def test_t16_who_is_logged_in_stays_who_he_is(site):
    with site.server.login(site.maildrop(*TWO)) as pop:
        for line in (b"USER witness", b"PASS " + PASSWORD, b"APOP witness x", b"AUTH PLAIN", b"STLS"):
            assert pop.command(line).startswith(b"-ERR")
        assert pop.command(b"STAT") == b"+OK 2 42"


FOREIGN = [
    b"GET /index.html HTTP/1.1\r\nHost: pop.example.org\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nUSER witness\r\nPASS " + PASSWORD + b"\r\nDELE 1\r\nQUIT\r\n",
    b"EHLO me.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 110\r\nNOOP\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    b"a1 LOGIN witness x\r\na2 LIST * *\r\na3 LOGOUT\r\n",
]


@pytest.mark.parametrize("octets", FOREIGN, ids=lambda octets: octets[:5].hex())
def test_t21_another_protocol_is_closed_after_three_lines_and_reflected_in_nothing(site, octets):
    answered = before_login(site, octets)
    lines = answered.splitlines()
    assert sum(line.startswith(b"-ERR") for line in lines) <= 3
    assert not any(line.startswith(b"+OK") and line != b"+OK goodbye" for line in lines)
    words = {word for word in octets.replace(b"\r\n", b" ").split(b" ") if len(word) > 4}
    assert not any(word in answered for word in words)


def test_t23_listings_of_an_empty_maildrop_are_empty(site):
    with site.server.login(site.maildrop()) as pop:
        assert pop.command(b"STAT") == b"+OK 0 0"
        assert pop.multiline(b"LIST") == pop.multiline(b"UIDL") == b""
        assert pop.command(b"RETR 1").startswith(b"-ERR no such message")
    with site.server.login(site.maildrop(*TWO)) as pop:
        pop.mark([1, 2])
        assert pop.command(b"STAT") == b"+OK 0 0"
        assert pop.multiline(b"LIST") == pop.multiline(b"UIDL") == b""
        assert pop.command(b"DELE 1").startswith(b"-ERR message 1 is marked")


def test_t29_a_thousand_commands_in_one_write_are_answered_in_order(site):
    with site.server.login(site.maildrop(*TWO)) as pop:
        pop.send(b"".join(b"LIST %d\r\n" % number for number in range(1, 1001)))
        assert pop.line() == b"+OK 1 21"
        assert pop.line() == b"+OK 2 21"
        assert all(pop.line().startswith(b"-ERR no such message") for _ in range(998))


NAMES = [
    "..", ".", "../user0", "a/b", "/etc", "/", "%2e%2e", "~root", "~", ".hidden", "x" * 256, "x" * 300, "CON",
    "\uff0e\uff0e", "\u2024\u2024", "\u2025", "..\uff0fuser0", "witness/../user0", "witness/cur", "\u202e", "user0/",
]  # fmt: skip


def test_t34_no_name_leads_out_of_the_root(place, serve):
    """Each name has a line in the password file, so that nothing but the store stands between it and the disk."""
    root = place / "mail"
    make_root(root, ["user0"])
    make_maildir(root / "user0", TWO)
    # What ".." and "." would open, were they opened.
    make_maildir(place, TWO)
    make_maildir(root, TWO)
    lines = b"".join(b"%s:{PLAIN}%s\n" % (name.encode(), PASSWORD) for name in [*NAMES, "user0"])
    (root / "passwords").write_bytes(lines)
    here = {path: path.stat().st_ctime_ns for path in place.rglob("*")}
    server = serve()
    for name in NAMES:
        with server.dial() as pop:
            pop.line()
            reply = pop.login(name, PASSWORD)
            assert reply.startswith((b"-ERR [SYS/", b"-ERR [AUTH]")), (name, reply)
            assert b"/" not in reply[10:]
    for name in ("\x00", "user0\x00", ""):
        with server.dial() as pop:
            pop.line()
            assert pop.login(name, PASSWORD).startswith(b"-ERR")
    with server.login("user0") as pop:
        assert pop.command(b"STAT") == b"+OK 2 42"
    changed = {path for path in place.rglob("*") if path.stat().st_ctime_ns != here.get(path)}
    assert {path.relative_to(place).as_posix() for path in changed} <= {
        "server0.log",
        "mail/user0",
        "mail/user0/geventpop3.index",
    }
    assert "Traceback" not in server.written()


@pytest.mark.parametrize("name", ["WITNESS", "Witness", "witness@example.org", "witness.", "witness@", "w\u0131tness"])
def test_t35_a_user_has_one_name(site, name):
    with site.server.dial() as pop:
        pop.line()
        assert pop.login(name, PASSWORD) == b"-ERR [AUTH] authentication failed"


def test_t35_blanks_around_a_name_are_not_part_of_it_for_the_lock_either(site):
    owner = site.maildrop()
    with site.server.login(owner), site.server.dial() as pop:
        pop.line()
        assert pop.login(f"  {owner} ", PASSWORD).startswith(b"-ERR [IN-USE]")


def test_t39_a_digest_is_good_for_one_connection(site):
    def digest(greeting):
        timestamp = greeting[greeting.index(b"<") : greeting.index(b">") + 1]
        return hashlib.md5(timestamp + PASSWORD).hexdigest().encode()

    owner = site.maildrop(*TWO).encode()
    with site.server.dial() as first, site.server.dial() as second:
        one, two = digest(first.line()), digest(second.line())
        assert one != two
        assert second.command(b"APOP " + owner + b" " + one).startswith(b"-ERR [AUTH]")
        assert first.command(b"APOP " + owner + b" " + one).startswith(b"+OK")
    with site.server.dial() as third:
        third.line()
        assert third.command(b"APOP " + owner + b" " + two).startswith(b"-ERR [AUTH]")
