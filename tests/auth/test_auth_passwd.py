"""The password file: what it lets in, what it logs, how it follows changes, how it is edited."""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import required
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth import ClearSecret, ScramSecret, passwd
from geventpop3.auth.passwd import PasswordFile, delete_user, set_password
from geventpop3.auth.schemes import (
    BlfCryptSecret,
    HashedSecret,
    Pbkdf2Secret,
    ScryptSecret,
    Sha512CryptSecret,
    YescryptSecret,
    hash_password,
)
from geventpop3.errors import ConfigError


def pbkdf2(password, rounds=2):
    secret = Pbkdf2Secret(b"salt", b"", rounds)
    return "{PBKDF2}" + Pbkdf2Secret(b"salt", secret.derive(password), rounds).text


def scrypt(password, log_n=1):
    secret = ScryptSecret(b"salt", b"", log_n, 1, 1)
    return "{CRYPT}" + ScryptSecret(b"salt", secret.derive(password), log_n, 1, 1).text


def scram(password, hash_name="SHA-256", iterations=2):
    return ScramSecret.of(password, hash_name, iterations=iterations).field


# The password is "x".
SSHA = "{SSHA}SXi0Zot6yvySYONp7pTmmPYioqBgCws2"
SHA256 = "{SHA256.HEX}2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "passwords"


def write(path, text, age=10.0):
    """Put *text* into the file in one step, as if it had been written *age* seconds ago."""
    octets = text if isinstance(text, bytes) else text.encode()
    new = path.with_name("new")
    new.write_bytes(octets)
    then = os.stat(new).st_mtime_ns - int(age * 10**9)
    os.utime(new, ns=(then, then))
    new.rename(path)


@pytest.fixture
def hashed(monkeypatch):
    """The costs of the checks that were made, in order."""
    costs = []
    for scheme in (HashedSecret, ScramSecret):

        def counted(self, password, matches=scheme.matches):
            costs.append(self.cost)
            return matches(self, password)

        monkeypatch.setattr(scheme, "matches", counted)
    return costs


def lines(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# What lets in


def test_right_password_opens_the_maildrop_of_that_name(path):
    write(path, f"alice:{{PLAIN}}secret\nbob:{pbkdf2(b'secret2')}:1000:1000::/home/bob:/bin/sh:userdb_quota=1\n")
    file = PasswordFile(path)
    assert file.authenticate("alice", "secret") == "alice"
    assert file.authenticate("bob", "secret2") == "bob"


def test_any_other_name_or_password_does_not(path):
    write(path, f"alice:{{PLAIN}}secret\nbob:{pbkdf2(b'secret2')}\n")
    file = PasswordFile(path)
    for name, password in [
        ("alice", "Secret"),
        ("alice", "secret "),
        ("alice", ""),
        ("Alice", "secret"),
        ("alice ", "secret"),
        ("bob", "secret"),
        ("", ""),
        ("", "secret"),
        ("bob:", "secret2"),
        ("%s%n{0.__class__}", "${jndi:x}"),
        ("\udcff", "secret"),
        ("alice", "\udcff"),
        ("alice", "\ud800"),
        ("\ud800", "\ud800"),
        ("bob", "x" * 1_000_000),
    ]:
        assert file.authenticate(name, password) is None


def test_password_is_octets_even_if_they_are_not_utf_8(path):
    write(path, f"alice:{pbkdf2(bytes([0xFF, 0x20]))}\n")
    assert PasswordFile(path).authenticate("alice", "\udcff ") == "alice"


def test_password_of_1024_octets_is_the_longest(path):
    write(path, f"alice:{pbkdf2(b'x' * 1024)}\nbob:{pbkdf2(b'x' * 1025)}\n")
    file = PasswordFile(path)
    assert file.authenticate("alice", "x" * 1024) == "alice"
    assert file.authenticate("bob", "x" * 1025) is None


def test_hash_of_the_empty_password_lets_nobody_in(path):
    write(path, f"alice:{pbkdf2(b'')}\n")
    assert PasswordFile(path).authenticate("alice", "") is None


def test_comments_blank_lines_and_crlf_are_tolerated(path):
    write(path, "# alice:{PLAIN}no\r\n\r\n   \nalice:{PLAIN}yes\r\n\nbob:{PLAIN}y:es")
    file = PasswordFile(path)
    assert file.authenticate("alice", "yes") == "alice"
    assert file.authenticate("bob", "y") == "bob"


# The same time for every failure


def test_failed_login_runs_every_cost_of_the_file_once_whoever_it_is(path, hashed):
    fields = [pbkdf2(b"x"), pbkdf2(b"x"), pbkdf2(b"x", 3), scrypt(b"x"), scrypt(b"x", 2), "{PLAIN}x"]
    write(path, "".join(f"{name}:{field}\n" for name, field in zip("abcdef", fields, strict=True)))
    file = PasswordFile(path)
    assert hashed == []  # decoys are made without hashing
    for name in ("a", "b", "c", "d", "e", "f", "nobody", "A", ""):
        for password in ("wrong", "", "y" * 5000, "\ud800"):
            hashed.clear()
            assert file.authenticate(name, password) is None
            assert len(hashed) == 4
            assert set(hashed) == {("PBKDF2", 2), ("PBKDF2", 3), ("scrypt", 1, 1, 1), ("scrypt", 2, 1, 1)}


@pytest.fixture
def schemes_of_all_kinds(monkeypatch):
    """Fields of the password "x", each of another cost."""
    required.module("bcrypt")
    monkeypatch.setattr(BlfCryptSecret, "new_parameters", (4,))
    monkeypatch.setattr(Sha512CryptSecret, "new_parameters", (1000,))
    monkeypatch.setattr(YescryptSecret, "new_parameters", (2, 1))
    made = [hash_password(b"x", name) for name in ("BLF-CRYPT", "SHA512-CRYPT", "YESCRYPT")]
    return [*made, pbkdf2(b"x"), scrypt(b"x"), scram(b"x"), scram(b"x", "SHA-1"), SSHA, SHA256]


def test_schemes_of_all_kinds_may_stand_in_one_file(path, schemes_of_all_kinds, hashed):
    fields = {f"user{n}": field for n, field in enumerate(schemes_of_all_kinds)}
    write(path, "".join(f"{name}:{field}\n" for name, field in fields.items()))
    file = PasswordFile(path)
    for name in fields:
        hashed.clear()
        assert file.authenticate(name, "x") == name
        assert len(hashed) == 1
    for name in (*fields, "nobody"):
        for password in ("wrong", "x\0", "x" * 73, "x" * 1000):
            hashed.clear()
            assert file.authenticate(name, password) is None
            assert len(hashed) == len(set(hashed)) == len(fields)


def test_right_password_is_hashed_once(path, hashed):
    write(path, f"a:{pbkdf2(b'x')}\nb:{pbkdf2(b'x')}\n")
    assert PasswordFile(path).authenticate("b", "x") == "b"
    assert hashed == [("PBKDF2", 2)]


def test_password_that_is_too_long_is_never_hashed(path, monkeypatch):
    write(path, f"a:{pbkdf2(b'x')}\n")
    file = PasswordFile(path)
    octets = []
    derive = Pbkdf2Secret.derive
    monkeypatch.setattr(
        Pbkdf2Secret, "derive", lambda self, password: octets.append(password) or derive(self, password)
    )
    assert file.authenticate("a", "x" * 1025) is None
    assert octets == [b""]


def test_many_different_costs_are_warned_of(path, caplog):
    write(path, "".join(f"u{n}:{pbkdf2(b'x', n)}\n" for n in range(1, 6)))
    PasswordFile(path)
    assert lines(caplog) == [
        f"{path}: the passwords have 5 different hash costs; each failed login computes all of them, so use fewer"
    ]


def test_costs_of_microseconds_are_not_warned_of(path, caplog):
    fields = [*(pbkdf2(b"x", n) for n in range(1, 5)), SSHA, SHA256, "{PLAIN}x"]
    write(path, "".join(f"u{n}:{field}\n" for n, field in enumerate(fields)))
    PasswordFile(path)
    assert lines(caplog) == []


# What it says of itself


def test_file_of_clear_secrets_and_plain_digests_only_answers_at_once(path):
    write(path, f"alice:{{PLAIN}}x\nbob:{SSHA}\ncarol:{SHA256}\n")
    assert PasswordFile(path).answers_at_once()


def test_file_with_one_hashed_secret_does_not_answer_at_once(path):
    write(path, f"alice:{{PLAIN}}x\nbob:{pbkdf2(b'x')}\n")
    assert not PasswordFile(path).answers_at_once()


def test_file_that_must_be_read_again_does_not_answer_at_once(path):
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)
    write(path, "alice:{PLAIN}y\n")
    assert not file.answers_at_once()
    assert file.authenticate("alice", "y") == "alice"
    assert file.answers_at_once()
    path.unlink()
    assert file.answers_at_once()


def test_clear_secrets_are_handed_out_and_others_are_not(path):
    write(path, f"alice:{{PLAIN}}x\nbob:{pbkdf2(b'x')}\n")
    file = PasswordFile(path)
    assert isinstance(file.secret("alice"), ClearSecret)
    assert file.secret("bob") is None
    assert file.secret("nobody") is None


@pytest.mark.parametrize(
    ("fields", "all_clear", "scram_alone"),
    [
        ([], False, True),
        (["{PLAIN}x"], True, False),
        (["{PLAIN}x", "{PLAIN}y"], True, False),
        (["{PLAIN}x", SSHA], False, False),
        (["{PLAIN}x", "{SCRAM}"], False, False),
        ([SSHA], False, True),
        (["{SCRAM}"], False, True),
    ],
)
def test_what_not_every_user_can_use_is_not_offered(path, fields, all_clear, scram_alone):
    lines = [f"u{n}:{scram(b'x') if field == '{SCRAM}' else field}" for n, field in enumerate(fields)]
    write(path, "\n".join(lines))
    file = PasswordFile(path)
    assert (file.has_clear_secrets(), file.has_scram_keys_alone()) == (all_clear, scram_alone)


def test_scram_keys_are_handed_out_and_check_passwords_too(path):
    write(path, f"alice:{scram(b'x')}\nbob:{SSHA}\n")
    file = PasswordFile(path)
    secret = file.secret("alice")
    assert isinstance(secret, ScramSecret)
    assert (secret.hash_name, secret.iterations) == ("SHA-256", 2)
    assert file.secret("bob") is None
    assert file.authenticate("alice", "x") == "alice"
    assert not file.has_clear_secrets()
    assert not file.answers_at_once()


def test_names_that_stand_in_the_file_are_known_and_no_others(path):
    write(path, f"alice:{{PLAIN}}x\nbob:{SSHA}\ncarol:junk\n")
    file = PasswordFile(path)
    assert [name for name in ("alice", "bob", "carol", "Alice", "", "\udcff") if file.knows(name)] == ["alice", "bob"]
    write(path, "carol:{PLAIN}x\n")
    assert file.knows("carol")
    assert not file.knows("alice")


@pytest.mark.parametrize(
    ("others", "counts"),
    [([], {"SHA-256": {2, 3}}), (["{PLAIN}x"], {"SHA-256": {2, 3}}), ([SSHA], {}), ([scram(b"x", "SHA-1", 4)], {})],
)
def test_iteration_counts_are_told_where_every_user_can_use_scram_with_that_hash_function(path, others, counts):
    fields = [scram(b"x"), scram(b"y"), scram(b"x", iterations=3), *others]
    write(path, "".join(f"u{n}:{field}\n" for n, field in enumerate(fields)))
    file = PasswordFile(path)
    found = {name: set(file.scram_iterations(name)) for name in ("SHA-1", "SHA-256", "SHA-512")}
    assert {name: those for name, those in found.items() if those} == counts


# Broken lines


BROKEN = [
    (b"alice", "no colon"),
    (b":{PLAIN}hunter2", "empty"),
    (b"alice:hunter2", "no {SCHEME}"),
    (b"alice::1000", "no {SCHEME}"),
    (b"alice:{FOO}hunter2", "unknown scheme"),
    (b"alice:{PBKDF2}$1$s$99999999999$00", "not a {PBKDF2}"),
    (b"alice:{PBKDF2}$1$s$900000000$" + b"0" * 40, "above the limits"),
    (b"alice:{PLAIN}", "empty"),
    (b"al\xffice:{PLAIN}hunter2", "not UTF-8"),
    (b"alice:{PLAIN}hunter2\xff", "not UTF-8"),
    (b" alice:{PLAIN}hunter2", "end with a blank"),
    (b"alice :{PLAIN}hunter2", "end with a blank"),
    (b"al\tice:{PLAIN}hunter2", "control"),
    (b"al\0ice:{PLAIN}hunter2", "control"),
    ("\ufeffalice:{PLAIN}hunter2".encode(), "control"),
    ("al\u2028ice:{PLAIN}hunter2".encode(), "control"),
    (b"alice:{PLAIN}hunter2::::::nologin", "extra field nologin"),
    (b"alice:{PLAIN}hunter2::::::userdb_mail=x allow_nets=127.0.0.1/8", "extra field allow_nets"),
    (b"alice:{PLAIN}hunter2::::::user=bob", "extra field user"),
]


@pytest.mark.parametrize(("line", "words"), BROKEN)
def test_broken_line_is_logged_with_its_number_and_costs_nobody_else_the_login(path, caplog, line, words):
    write(path, b"# one\n" + line + b"\nbob:{PLAIN}x\n")
    file = PasswordFile(path)
    assert file.authenticate("bob", "x") == "bob"
    assert file.authenticate("alice", "hunter2") is None
    (message,) = lines(caplog)
    assert message.startswith(f"{path} line 2: ")
    assert words in message
    assert "hunter2" not in message


def test_broken_lines_are_logged_once_for_each_time_the_file_is_read(path, caplog):
    write(path, "alice\nbob:{PLAIN}x\n")
    file = PasswordFile(path)
    for _ in range(3):
        file.authenticate("bob", "x")
    assert len(lines(caplog)) == 1
    write(path, "alice\nbob:{PLAIN}y\n")
    for _ in range(3):
        file.authenticate("bob", "y")
    assert len(lines(caplog)) == 2


def test_file_of_broken_lines_alone_logs_twenty(path, caplog):
    write(path, "alice:hunter2\n" * 100)
    PasswordFile(path)
    assert len(lines(caplog)) == 21
    assert lines(caplog)[-1] == f"{path}: 80 more lines with errors"


def test_first_of_two_lines_of_a_user_counts(path, caplog):
    write(path, "alice:{PLAIN}one\nalice:{PLAIN}two\n")
    file = PasswordFile(path)
    assert file.authenticate("alice", "one") == "alice"
    assert file.authenticate("alice", "two") is None
    assert lines(caplog) == [f"{path} line 2: this user is in line 1 already; the first line is used"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [b"alice:{PLAIN}x", b"alice:", b"#", b"::::::::", b"\xef\xbb\xbf", b"a:{PBKDF2}$1$s$1$", b"\r"]
            ),
        ),
        max_size=8,
    )
)
def test_no_content_breaks_the_reading_of_it(content):
    users = passwd._parse("passwords", b"zoe:{PLAIN}x\n" + b"\n".join(content), "domain")
    assert users["zoe"].matches(b"x")


# A file that cannot be read


def test_file_that_is_missing_at_the_start_is_a_config_error_of_one_line(path):
    with pytest.raises(ConfigError) as caught:
        PasswordFile(path)
    assert str(caught.value) == f"{path}: No such file or directory"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_a_config_error_and_never_waited_for(path, kind):
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    words = {"folder": "Is a directory", "pipe": "Not a regular file"}[kind]
    with pytest.raises(ConfigError, match=words):
        PasswordFile(path)


def test_relative_path_is_kept_when_the_process_moves(path, monkeypatch):
    write(path, "alice:{PLAIN}x\n")
    monkeypatch.chdir(path.parent)
    file = PasswordFile("passwords")
    monkeypatch.chdir("/")
    write(path, "alice:{PLAIN}y\n")
    assert file.authenticate("alice", "y") == "alice"


def test_file_that_vanishes_is_logged_once_and_what_was_read_stays_in_force(path, caplog):
    caplog.set_level(logging.INFO, "geventpop3.auth")
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)
    kept = path.rename(path.with_name("kept"))
    caplog.clear()
    for _ in range(3):
        assert file.authenticate("alice", "x") == "alice"
    assert lines(caplog) == [f"{path}: No such file or directory; the content that was read last stays in force"]
    caplog.clear()
    kept.rename(path)
    for _ in range(3):
        assert file.authenticate("alice", "x") == "alice"
    assert f"{path}: the file can be read again" in lines(caplog, logging.INFO)
    assert lines(caplog) == []


def test_file_that_cannot_be_opened_any_more_is_logged_once(path, caplog, monkeypatch):
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)
    write(path, "alice:{PLAIN}y\n")
    with monkeypatch.context() as patch:

        def refuse(*args):
            raise PermissionError(errno.EACCES, "Permission denied")

        patch.setattr(passwd.os, "open", refuse)
        for _ in range(3):
            assert file.authenticate("alice", "x") == "alice"
    assert lines(caplog) == [f"{path}: Permission denied; the content that was read last stays in force"]
    assert file.authenticate("alice", "y") == "alice"


# Reload


def test_change_is_seen_at_the_next_login(path):
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)
    assert file.authenticate("alice", "x") == "alice"
    write(path, "alice:{PLAIN}y\nbob:{PLAIN}x\n")
    assert file.authenticate("alice", "x") is None
    assert file.authenticate("alice", "y") == "alice"
    assert file.secret("bob") is not None


def test_file_that_has_not_changed_is_not_read_again(path, monkeypatch):
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)

    def refuse(*args):
        raise AssertionError("read again")

    monkeypatch.setattr(passwd, "_read", refuse)
    assert file.authenticate("alice", "x") == "alice"


def test_young_file_is_read_again_even_if_its_stamp_is_the_same(path, monkeypatch):
    monkeypatch.setattr(passwd, "_stamp", lambda status: (status.st_size,))
    monkeypatch.setattr(passwd, "RACY_SECONDS", 1_000_000)
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)
    monkeypatch.undo()
    monkeypatch.setattr(passwd, "_stamp", lambda status: (status.st_size,))
    write(path, "alice:{PLAIN}y\n")  # the same size, and as it were within one tick
    assert file.authenticate("alice", "y") == "alice"
    write(path, "alice:{PLAIN}z\n")
    assert file.authenticate("alice", "z") is None  # settled: the stamp alone is looked at


@pytest.mark.parametrize(
    ("age", "is_settled"),
    [(passwd.RACY_SECONDS, True), (passwd.RACY_SECONDS - 0.1, False), (0, False), (-1, False), (-10, True)],
)
def test_file_is_settled_once_its_stamp_is_two_seconds_from_now_on_either_side(path, monkeypatch, age, is_settled):
    write(path, "alice:{PLAIN}x\n")
    modified = os.stat(path).st_mtime_ns
    monkeypatch.setattr(passwd.time, "time_ns", lambda: modified + int(age * 10**9))
    assert passwd._read(path, None, "domain").is_settled is is_settled


def test_same_content_is_not_parsed_again(path, monkeypatch):
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)

    def refuse(*args):
        raise AssertionError("parsed again")

    monkeypatch.setattr(passwd, "_parse", refuse)
    path.touch()
    assert file.authenticate("alice", "x") == "alice"


def test_who_logs_in_while_another_thread_reads_the_file_gets_the_table_that_is(path, monkeypatch):
    write(path, "alice:{PLAIN}x\n")
    file = PasswordFile(path)
    write(path, "alice:{PLAIN}y\n")
    reading, go_on = threading.Event(), threading.Event()
    read = passwd._read

    def slow(*args):
        reading.set()
        assert go_on.wait(20)
        return read(*args)

    monkeypatch.setattr(passwd, "_read", slow)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(file.authenticate, "alice", "y")
        assert reading.wait(20)
        assert file.authenticate("alice", "x") == "alice"
        go_on.set()
        assert reader.result(20) == "alice"
    assert file.authenticate("alice", "x") is None


def test_many_threads_may_authenticate_while_the_file_changes(path):
    write(path, "alice:{PLAIN}x\nbob:{PLAIN}0\n")
    file = PasswordFile(path)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(file.authenticate, "alice", "x") for _ in range(200)]
        for n in range(10):
            write(path, f"alice:{{PLAIN}}x\nbob:{{PLAIN}}{n}\n")
            answers += [pool.submit(file.authenticate, "alice", "x") for _ in range(20)]
        assert {answer.result(20) for answer in answers} == {"alice"}
    assert file.authenticate("bob", "9") == "bob"


# Editing


def test_new_file_has_mode_0600_and_the_users_line(path):
    assert set_password(path, "alice", "{PLAIN}x") is True
    assert path.read_text() == "alice:{PLAIN}x\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_other_lines_comments_and_fields_stay_as_they_are(path):
    before = b"# users\r\n\r\nalice:{PLAIN}x:1:2:g:/h:/s:e=1\r\nalicex:{PLAIN}x\n\xff\xfe\r mac\nalice:{PLAIN}again"
    path.write_bytes(before)
    assert set_password(path, "alice", "{PLAIN}y") is False
    assert path.read_bytes() == before.replace(b"{PLAIN}x:1", b"{PLAIN}y:1")
    assert set_password(path, "bob", "{PLAIN}z") is True
    assert path.read_bytes() == before.replace(b"{PLAIN}x:1", b"{PLAIN}y:1") + b"\nbob:{PLAIN}z\n"


def test_mode_and_ownership_are_kept(path, monkeypatch):
    path.write_text("alice:{PLAIN}x\n")
    path.chmod(0o640)
    owners = []
    real = os.fstat

    def elsewhere(file):
        status = list(real(file))
        if status[stat.ST_SIZE] == len("alice:{PLAIN}x\n") and status[stat.ST_MODE] & 0o040:
            status[stat.ST_UID], status[stat.ST_GID] = 4711, 4712
        return os.stat_result(status)

    monkeypatch.setattr(passwd.os, "fstat", elsewhere)
    monkeypatch.setattr(passwd.os, "fchown", lambda file, user, group: owners.append((user, group)))
    set_password(path, "alice", "{PLAIN}longer")
    assert owners == [(4711, 4712)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_symbolic_link_stays_one(path):
    real = path.with_name("real")
    real.write_text("")
    path.symlink_to(real)
    set_password(path, "alice", "{PLAIN}x")
    assert path.is_symlink()
    assert real.read_text() == "alice:{PLAIN}x\n"


def test_nothing_is_written_if_nothing_changes(path):
    set_password(path, "alice", "{PLAIN}x")
    before = path.stat()
    set_password(path, "alice", "{PLAIN}x")
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("name", ["", "a:b", "#alice", "a\nb", " alice", "a\0b"])
def test_name_that_no_line_can_hold_is_refused(path, name):
    for attempt in (lambda: set_password(path, name, "{PLAIN}x"), lambda: delete_user(path, name)):
        with pytest.raises(ConfigError, match="name"):
            attempt()
    assert not path.exists()


def test_deleting_removes_every_line_of_the_user(path):
    path.write_text("alice:{PLAIN}x\nbob:{PLAIN}x\n# alice:\nalice:{PLAIN}old\n")
    assert delete_user(path, "alice") is True
    assert path.read_text() == "bob:{PLAIN}x\n# alice:\n"
    assert delete_user(path, "alice") is False


def test_deleting_from_a_file_that_is_missing_is_a_config_error_and_creates_none(path):
    with pytest.raises(ConfigError) as caught:
        delete_user(path, "alice")
    assert str(caught.value) == f"{path}: No such file or directory"
    assert not path.exists()


def test_failure_leaves_the_file_as_it_was_and_nothing_beside_it(path, monkeypatch):
    path.write_text("alice:{PLAIN}x\n")

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(passwd.os, "fsync", full)
    with pytest.raises(ConfigError) as caught:
        set_password(path, "alice", "{PLAIN}y")
    assert str(caught.value) == f"{path}: No space left on device"
    assert path.read_text() == "alice:{PLAIN}x\n"
    assert os.listdir(path.parent) == ["passwords"]


@pytest.mark.parametrize("step", ["write", "fchmod", "fsync", "rename"])
@pytest.mark.parametrize(
    "edit", [lambda path: set_password(path, "alice", "{PLAIN}y"), lambda path: delete_user(path, "alice")]
)
def test_no_step_that_fails_looks_like_success(path, monkeypatch, step, edit):
    path.write_text("alice:{PLAIN}x\n")
    failed = []

    def full(*args, **options):
        # Once only: what comes after it would work.
        if failed:
            return proper(*args, **options)
        failed.append(step)
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "write":
        proper = passwd.os.fdopen

        def opened(file, mode, **options):
            stream = proper(file, mode, **options)
            if mode != "wb":
                return stream
            broken = types.SimpleNamespace(write=full)
            return contextlib.closing(types.SimpleNamespace(close=stream.close, **vars(broken)))

        monkeypatch.setattr(passwd.os, "fdopen", opened)
    else:
        proper = getattr(os, step)
        monkeypatch.setattr(passwd.os, step, full)
    with pytest.raises(ConfigError) as caught:
        edit(path)
    assert failed == [step]
    assert str(caught.value) == f"{path}: No space left on device"
    assert path.read_text() == "alice:{PLAIN}x\n"
    assert os.listdir(path.parent) == ["passwords"]


def test_a_folder_that_cannot_be_synchronised_is_said(path, monkeypatch):
    path.write_text("alice:{PLAIN}x\n")

    def refused(file, proper=os.fsync):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        proper(file)

    monkeypatch.setattr(passwd.os, "fsync", refused)
    with no_descriptor_left(), pytest.raises(ConfigError, match="Input/output error"):
        delete_user(path, "alice")


def test_folder_that_vanishes_meanwhile_is_a_config_error(path, monkeypatch):
    path.write_text("alice:{PLAIN}x\n")

    def vanished(**how):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(passwd.tempfile, "mkstemp", vanished)
    with pytest.raises(ConfigError) as caught:
        set_password(path, "alice", "{PLAIN}y")
    assert str(caught.value) == f"{path}: No such file or directory"


def test_edits_at_the_same_time_are_all_kept(path):
    names = [f"user{n}" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: set_password(path, name, "{PLAIN}x"), names))
    assert sorted(path.read_text().split()) == sorted(f"{name}:{{PLAIN}}x" for name in names)


@pytest.mark.parametrize("fate", ["replaced", "gone"])
def test_editor_that_waited_takes_the_lock_of_the_file_that_is_there_now(path, monkeypatch, fate):
    path.write_text("alice:{PLAIN}x\n")
    locked = []
    flock = fcntl.flock

    def waited(file, operation):
        flock(file, operation)
        locked.append(file)
        if len(locked) == 1:
            path.unlink()
            if fate == "replaced":
                write(path, "bob:{PLAIN}x\n")

    monkeypatch.setattr(passwd.fcntl, "flock", waited)
    set_password(path, "carol", "{PLAIN}x")
    assert len(locked) == 2
    assert path.read_text() == ("bob:{PLAIN}x\n" if fate == "replaced" else "") + "carol:{PLAIN}x\n"


def test_what_is_set_lets_in(path):
    set_password(path, "alice", pbkdf2(b"x"))
    set_password(path, "bob", scrypt(b"y"))
    file = PasswordFile(path)
    assert file.authenticate("alice", "x") == "alice"
    assert file.authenticate("bob", "y") == "bob"


@contextmanager
def no_descriptor_left():
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_descriptor_is_left_open(path):
    with no_descriptor_left():
        set_password(path, "alice", "{PLAIN}x")
        file = PasswordFile(path)
        set_password(path, "alice", "{PLAIN}y")
        file.authenticate("alice", "y")
        delete_user(path, "alice")


# Spellings of one name


ACCENTED = "z\u00e9@ex.org"
DECOMPOSED = "ze\u0301@ex.org"


def test_spellings_that_are_one_name_are_one_user(path):
    write(path, f"alice@Example.ORG:{{PLAIN}}secret\nBob:{{PLAIN}}secret\n{DECOMPOSED}:{{PLAIN}}secret\n")
    file = PasswordFile(path)
    for name in ("alice@Example.ORG", "alice@example.org", "alice@EXAMPLE.org"):
        assert file.authenticate(name, "secret") == "alice@example.org"
        assert (file.knows(name), file.owner(name)) == (True, "alice@example.org")
        assert file.secret(name).matches(b"secret")
    assert file.authenticate(ACCENTED, "secret") == file.authenticate(DECOMPOSED, "secret") == ACCENTED
    for name in ("Alice@example.org", "bob", "nobody"):
        assert file.authenticate(name, "secret") is None
        assert (file.knows(name), file.owner(name), file.secret(name)) == (False, None, None)
    lower, keep = PasswordFile(path, username_case="lower"), PasswordFile(path, username_case="keep")
    assert lower.authenticate("ALICE@example.org", "secret") == "alice@example.org"
    assert lower.owner("BOB") == "bob"
    assert keep.authenticate("alice@Example.ORG", "secret") == "alice@Example.ORG"
    assert keep.authenticate("alice@example.org", "secret") is None
    assert keep.owner(DECOMPOSED) == ACCENTED


@pytest.mark.parametrize(("case", "numbers"), [("domain", [3]), ("lower", [3, 4]), ("keep", [])])
def test_lines_that_are_spellings_of_one_name_are_an_error_that_names_both(path, caplog, case, numbers):
    write(path, "# one\na@x.org:{PLAIN}one\na@X.org:{PLAIN}two\nA@x.org:{PLAIN}three\n")
    file = PasswordFile(path, username_case=case)
    assert lines(caplog) == [
        f"{path} line {number}: this user is in line 2 in another spelling (username-case is {case}); "
        "the first line is used, rename or remove one"
        for number in numbers
    ]
    assert file.authenticate("a@x.org", "one") == "a@x.org"
    assert file.authenticate("a@X.org", "two") == ("a@X.org" if case == "keep" else None)


def test_a_new_user_who_is_there_in_another_spelling_is_refused(path):
    write(path, f"# a@X.org:\n{ACCENTED}:{{PLAIN}}x\nalice@Example.org:{{PLAIN}}x\n")
    before = path.read_text()
    for name, number in [("alice@example.ORG", 3), (DECOMPOSED, 2)]:
        with pytest.raises(ConfigError) as caught:
            set_password(path, name, "{PLAIN}y")
        assert str(caught.value) == f"{path}: line {number} has this user in another spelling: give {name!r}"
    assert path.read_text() == before
    assert set_password(path, "alice@Example.org", "{PLAIN}y") is False
    assert set_password(path, "a@x.org", "{PLAIN}y") is True
    assert delete_user(path, "alice@example.org") is False


# A byte order mark, with which some editors begin a file

MARK = b"\xef\xbb\xbf"


def test_a_byte_order_mark_is_no_part_of_the_first_name(path, caplog):
    write(path, MARK + b"alice:{PLAIN}x\nbob:{PLAIN}y\n")
    file = PasswordFile(path)
    assert file.authenticate("alice", "x") == "alice"
    assert file.authenticate("bob", "y") == "bob"
    assert lines(caplog) == []
    write(path, MARK + b"# only a comment\n" + MARK + b"carol:{PLAIN}z\n")
    assert file.authenticate("carol", "z") is None
    assert "control characters" in lines(caplog)[0]


def test_a_byte_order_mark_goes_when_the_file_is_edited(path):
    path.write_bytes(MARK + b"alice:{PLAIN}x:1000\r\nbob:{PLAIN}y\n")
    assert set_password(path, "alice", "{PLAIN}z") is False
    assert path.read_bytes() == b"alice:{PLAIN}z:1000\r\nbob:{PLAIN}y\n"
    path.write_bytes(MARK + b"alice:{PLAIN}x\nbob:{PLAIN}y\n")
    assert delete_user(path, "nobody") is False
    assert path.read_bytes().startswith(MARK)
    assert delete_user(path, "alice") is True
    assert path.read_bytes() == b"bob:{PLAIN}y\n"
