"""What is said of files and addresses that cannot be had tells what to do."""

from __future__ import annotations

import errno
import os
import re

import pytest

from geventpop3.cli import hints
from geventpop3.cli.settings import load_settings
from geventpop3.errors import ConfigError

SETTINGS = load_settings({"maildir": "/m/{user}", "passwords": "/p"}, {})


@pytest.mark.parametrize(
    ("number", "place", "words"),
    [
        (
            errno.EADDRINUSE,
            "127.0.0.1:110",
            "127.0.0.1:110: Address already in use; another program listens at this address: ",
        ),
        (errno.EADDRNOTAVAIL, "192.0.2.1:110", "192.0.2.1:110: Cannot assign requested address; no network interface"),
        (
            errno.EACCES,
            "0.0.0.0:110",
            "0.0.0.0:110: Permission denied; "
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE, and this process runs as ",
        ),
        (
            errno.EACCES,
            "unix:/run/x",
            "unix:/run/x: Permission denied; its directory must be writable, and this process runs as ",
        ),
        (errno.EIO, "127.0.0.1:110", "127.0.0.1:110: Input/output error (from the default)"),
    ],
)
def test_an_address_that_cannot_be_bound_is_told_with_what_to_do(number, place, words):
    with pytest.raises(ConfigError, match="^listen: " + re.escape(words)), hints.bind_errors(SETTINGS, "listen"):
        raise OSError(number, os.strerror(number), place)


def test_what_fails_without_a_word_of_the_system_is_told_as_it_is():
    with pytest.raises(ConfigError, match=r"^listen: None: odd"), hints.bind_errors(SETTINGS, "listen"):
        raise OSError("odd")


def said(path, error):
    with pytest.raises(ConfigError) as caught, hints.file_errors(str(path), "make it"):
        raise error
    return str(caught.value)


def test_a_file_that_is_missing_is_told_with_how_to_make_it(tmp_path):
    path = tmp_path / "missing"
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert said(path, missing) == f"{path}: No such file or directory; create it with: make it"
    assert said(path, ConfigError("as it was said")) == "as it was said; create it with: make it"


def test_a_file_that_may_not_be_read_is_told_with_who_would_read_it(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.touch()
    assert said(path, ConfigError("odd")) == "odd"
    monkeypatch.setattr(hints.os, "access", lambda path, mode: False)
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert said(path, denied) == f"{path}: Permission denied; {hints.process_user()} must be able to read it"
    inside = path / "in what is no folder"
    assert said(inside, ConfigError("odd")) == f"odd; this process runs as {hints.process_user()}"


def test_who_has_no_account_is_a_number(monkeypatch):
    monkeypatch.setattr(hints.os, "geteuid", lambda: 3_000_017)
    assert hints.process_user() == "the user 3000017"
