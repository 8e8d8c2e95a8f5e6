"""Tables of the configuration file: what keys may be, and secrets that are kept in files of their own."""

from __future__ import annotations

import re

import pytest

from geventpop3.cli.tables import KeptSecret, Key, read_table
from geventpop3.cli.values import (
    count,
    count_or_off,
    delay,
    delays,
    duration,
    networks,
    secret,
    switch,
    table,
    text,
    whole_number,
)
from geventpop3.errors import ConfigError

KEYS = {"host_name": Key(is_needed=True), "pass_word": Key(is_secret=True), "count": Key(count)}


def test_what_is_given_is_read_by_name_and_what_is_not_is_not_there():
    assert read_table({"host-name": "x", "count": 3}, KEYS) == {"host_name": "x", "count": 3}
    assert read_table({"host_name": "x"}, KEYS) == {"host_name": "x"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "host-name must be given"),
        ({"host-name": 3}, "host-name: 3 is not a string"),
        ({"host-name": "x", "count": 0}, "count: 0 is not a whole number, at least 1"),
        ({"hostname": "x"}, "'hostname': unknown key: did you mean host-name?"),
        ({"host-name": "x", "pass-wrd-file": "x"}, "'pass-wrd-file': unknown key: did you mean pass-word-file?"),
        ({"host-name": "x", "q\nz": "x"}, r"'q\nz': unknown key"),
        ({"host-name": "x", "host_name": "x"}, "host-name: is given twice, with - and with _"),
        (
            {"host-name": "x", "pass-word": "canary", "pass-word-file": "x"},
            "give pass-word or pass-word-file, not both",
        ),
        ({"host-name": "x", "pass-word": ["canary"]}, "pass-word: is not a string, but a list"),
        ({"host-name": "x", "pass-word-file": ""}, "pass-word-file: the string '' is empty"),
    ],
)
def test_what_is_wrong_is_one_line_that_holds_no_secret(content, words):
    with pytest.raises(ConfigError) as caught:
        read_table(content, KEYS)
    assert words in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_that_is_needed_may_be_in_a_file(tmp_path):
    keys = {"secret": Key(is_needed=True, is_secret=True)}
    with pytest.raises(ConfigError, match="secret must be given, or secret-file"):
        read_table({}, keys)
    (tmp_path / "secret").write_bytes("gr\u00fcn \r\n".encode())
    assert read_table({"secret-file": str(tmp_path / "secret")}, keys)["secret"].read() == "gr\u00fcn "
    given = read_table({"secret": "canary"}, keys)["secret"]
    assert given.read() == "canary"
    assert "canary" not in repr(given)


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbfcanary\r\n")
    assert KeptSecret(path=str(path)).read() == "canary"
    path.write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(ConfigError, match="must contain the secret in one line"):
        KeptSecret(path=str(path)).read()


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "must contain the secret in one line"),
        (b"\n", "must contain the secret in one line"),
        (b"one\ntwo\n", "must contain the secret in one line"),
        (b"a\0b", "must contain the secret in one line"),
        (b"x" * 4097, "must contain the secret in one line"),
        (b"\xe9", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_secret_is_told_by_its_path(tmp_path, octets, words):
    path = tmp_path / "secret"
    path.write_bytes(octets)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {words}")):
        KeptSecret(path=str(path)).read()


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (text, "x", "x"),
        (secret, "x", "x"),
        (switch, True, True),
        (duration, 0.5, 0.5),
        (delay, 0, 0),
        (delays, [1, 2.5], (1, 2.5)),
        (delays, [], ()),
        (count_or_off, False, None),
        (count_or_off, 7, 7),
        (whole_number, 0, 0),
        (networks, "10.0.0.0/8", ("10.0.0.0/8",)),
        (table, {"a": 1}, {"a": 1}),
    ],
)
def test_what_may_be_is_taken(check, value, result):
    assert check(value) == result


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (duration, 0),
        (duration, float("inf")),
        (duration, True),
        (delay, -1),
        (delay, float("nan")),
        (delays, 3),
        (delays, [1, "x"]),
        (count_or_off, True),
        (count_or_off, 0),
        (whole_number, True),
        (table, []),
    ],
)
def test_what_may_not_be_is_refused(check, value):
    with pytest.raises(ConfigError):
        check(value)
