"""``check --login`` and serving agree: what the one complains of the other refuses, and nothing else."""

from __future__ import annotations

import grp
import os
import pwd
import re
from contextlib import suppress

import pytest
import required

from geventpop3.auth import Authenticator
from geventpop3.cli.build import make_server, no_sockets
from geventpop3.cli.check import check_known, check_maildir
from geventpop3.cli.main import main
from geventpop3.cli.settings import load_settings
from geventpop3.errors import ConfigError, StoreUnavailable
from geventpop3.testing import play


@pytest.fixture
def site(tmp_path):
    """Settings for maildirs in mail/DOMAIN/USER, of which alice's is there."""
    for part in ("new", "cur", "tmp"):
        (tmp_path / "mail/example.org/alice" / part).mkdir(parents=True)
    (tmp_path / "users").write_text("".join(f"{name}:{{PLAIN}}sesame\n" for name in NAMES))

    def settings(**more):
        given = {"maildir": f"{tmp_path}/mail/{{domain}}/{{local}}", "passwords": str(tmp_path / "users"), **more}
        return load_settings(given, {})

    settings.mail = tmp_path / "mail"
    settings.alice = tmp_path / "mail/example.org/alice"
    return settings


NAMES = ["alice@example.org", "bob@example.org", "bob@example.net", "bob"]


def in_native_thread(path):
    path.rename(path.parent / "in_native_thread")
    path.symlink_to(path.parent / "in_native_thread")


def taken_away(path):
    for part in path.iterdir():
        part.rmdir()
    path.rmdir()


CHANGES = {
    "nothing": lambda _: None,
    "the maildir is a link": lambda site: in_native_thread(site.alice),
    "the domain is a link": lambda site: in_native_thread(site.alice.parent),
    "a part is a link": lambda site: in_native_thread(site.alice / "cur"),
    "a part is missing": lambda site: (site.alice / "new").rmdir(),
    "the maildir is missing": lambda site: taken_away(site.alice),
    "a part is a file": lambda site: ((site.alice / "cur").rmdir(), (site.alice / "cur").write_bytes(b"")),
    "a link to the fixed part": lambda site: in_native_thread(site.mail),
    "a part of another": lambda site: os.geteuid() or os.chown(site.alice / "cur", 12_001, -1),
}


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_complained_of_is_what_a_login_refuses(site, change, name, create):
    CHANGES[change](site)
    settings = site(create_maildirs=create)
    before, there = sorted(site.mail.parent.rglob("*")), folders(site.mail)
    try:
        said, complaint = check_maildir(settings, name), None
    except ConfigError as error:
        said, complaint = None, str(error)
    assert sorted(site.mail.parent.rglob("*")) == before
    pop3d = make_server(settings, no_sockets)
    reply = "S: +OK 0 messages (0 octets)" if complaint is None else "S: -ERR ..."
    try:
        play(pop3d, f"S: +OK ...\nC: USER {name}\nS: +OK ...\nC: PASS sesame\n{reply}")
    finally:
        pop3d.shutdown(0)
    if said is not None:
        assert ("creates what is missing" in said) == (folders(site.mail) != there)


def folders(path):
    return [each for each in sorted(path.rglob("*")) if each.is_dir()]


@pytest.mark.parametrize("create", [False, True])
def test_the_fixed_part_is_never_made_by_serving(site, create):
    settings = site(maildir=f"{site.mail}/{{{{x}}}}/{{user}}", create_maildirs=create)
    for look in (lambda: make_server(settings, no_sockets), lambda: check_maildir(settings, "alice")):
        with pytest.raises(
            ConfigError, match=rf"maildir: {re.escape(str(site.mail))}/{{x}}: No such file or directory"
        ):
            look()


def test_the_command_says_what_it_saw(site, capsys):
    path = site.mail.parent / "pop3.toml"
    path.write_text(f'maildir = "{site.mail}/{{domain}}/{{local}}"\npasswords = "{site.mail.parent}/users"\n')
    assert main(["check", str(path), "--login", "alice@example.org"]) == 0
    user = pwd.getpwuid(os.geteuid()).pw_name
    line = f"the Maildir of alice@example.org, as the user {user}: {site.alice}"
    assert capsys.readouterr().out == f"{line}\n{path}: no errors\n"
    in_native_thread(site.alice / "cur")
    assert main(["check", str(path), "--login", "alice@example.org"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("geventpop3: error: maildir: the Maildir of alice@example.org, as the user ")
    assert f"{site.alice}/cur: is a symbolic link" in error
    assert error.count("\n") == 1


class Directory(Authenticator):
    """A back end that another server answers for."""

    def __init__(self, answer):
        self.answer = answer

    def authenticate(self, name, password):
        raise AssertionError("no password is tried")

    def knows(self, name):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_user_is_unknown_only_if_a_back_end_says_so():
    for answer in (True, None):
        check_known(Directory(answer), "eve")
    check_known(Directory(False), "eve", offline=True)
    with pytest.raises(ConfigError, match="the user 'eve' is unknown to the password file and every other back end"):
        check_known(Directory(False), "eve")
    with pytest.raises(ConfigError, match="no back end can tell whether the user 'eve' exists: later"):
        check_known(Directory(StoreUnavailable("later", detail="a secret")), "eve")


class TestWorkersOfAnotherUser:
    """Root's workers become another user, so the look is that user's."""

    @pytest.fixture
    def became(self, monkeypatch):
        """The calls by which the process would become another user, in order. None of them takes effect."""
        required.module("gunicorn")
        became = []
        monkeypatch.setattr(os, "getgroups", lambda: [3, 4])
        monkeypatch.setattr(os, "getegid", lambda: 7)
        for name in ("setgroups", "initgroups", "setegid", "seteuid"):
            monkeypatch.setattr(os, name, lambda *args, name=name: became.append((name, *args)))
        return became

    def test_takes_the_user_s_groups(self, site, monkeypatch, became):
        account = pwd.getpwnam("nobody")
        settings = site(workers="2", user="nobody")
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 0)
            check_maildir(settings, NAMES[0])
        taken = [("initgroups", "nobody", account.pw_gid), ("setegid", account.pw_gid), ("seteuid", account.pw_uid)]
        assert became == [*taken, ("seteuid", 0), ("setegid", 7), ("setgroups", [3, 4])]

    def test_takes_a_group_alone(self, site, monkeypatch, became):
        gid = pwd.getpwnam("nobody").pw_gid
        group = grp.getgrgid(gid).gr_name
        settings = site(workers="2", group=group)
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 0)
            check_maildir(settings, NAMES[0])
        assert became[:3] == [("setgroups", [gid]), ("setegid", gid), ("seteuid", 0)]

    def test_takes_nothing_without_the_right_to(self, site, monkeypatch, became):
        settings = site(workers="2", user="nobody")
        monkeypatch.setattr(os, "geteuid", lambda: 12_001)
        with suppress(ConfigError):  # for that user root's directories are another's
            check_maildir(settings, NAMES[0])
        assert became == []

    def test_of_root_finds_what_root_would_not(self, site):
        required.module("gunicorn")
        settings = site(workers="2", user="nobody")
        site.mail.chmod(0o700)
        own = os.geteuid()
        if own == 0:
            with pytest.raises(ConfigError, match=r"as the user nobody: .*: Permission denied"):
                check_maildir(settings, NAMES[0])
        else:
            check_maildir(settings, NAMES[0])
        assert os.geteuid() == own
