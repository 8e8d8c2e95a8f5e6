"""The [limits] table: the rules of the plugin, and what processes share."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import required

from geventpop3.cli.build import RULES, make_limits
from geventpop3.errors import ConfigError
from geventpop3.plugins.limits import MemoryLedger, RedisLedger, Rules


def test_every_rule_is_a_key():
    assert list(RULES) == [field.name for field in dataclasses.fields(Rules)]


def test_an_empty_table_is_the_rules_by_default_in_memory():
    limits = make_limits({})
    assert limits.rules == Rules()
    assert isinstance(limits.ledger, MemoryLedger)


def test_rules_are_what_the_table_says_and_false_switches_off():
    limits = make_limits(
        {
            "delays": [1, 2.5],
            "user-delays": [],
            "window": 60,
            "ban-after": False,
            "at-once": 2,
            "address-logins-per-minute": False,
            "user-logins-per-minute": 6,
            "trusted": "10.0.0.0/8",
        }
    )
    assert limits.rules == Rules(
        delays=(1, 2.5),
        user_delays=(),
        window=60,
        ban_after=None,
        at_once=2,
        address_logins_per_minute=None,
        user_logins_per_minute=6,
        trusted=("10.0.0.0/8",),
    )
    assert make_limits({"trusted": []}).rules.trusted == ()


def test_processes_share_redis_and_the_key_of_fingerprints(tmp_path):
    required.module("redis")
    (tmp_path / "redis").write_text("redis://:canary@127.0.0.1:1/0\n")
    (tmp_path / "key").write_text("32 octets\n")
    table = {"redis-file": str(tmp_path / "redis"), "key-file": str(tmp_path / "key"), "prefix": "{pop3}:"}
    limits = make_limits(table)
    assert isinstance(limits.ledger, RedisLedger)
    assert limits.ledger._prefix == "{pop3}:"
    assert limits._key == b"32 octets"
    assert isinstance(make_limits({"redis": "redis://127.0.0.1:1/0"}).ledger, RedisLedger)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"ban-afer": 3}, "'ban-afer': unknown key: did you mean ban-after?"),
        ({"ban-after": 0}, "ban-after: 0 is neither a whole number, at least 1, nor false"),
        ({"at-once": False}, "at-once: false is not a whole number"),
        ({"delays": 3}, "delays: 3 is not a list of seconds"),
        ({"ban-seconds": 0}, "ban-seconds: 0 is not a number of seconds, more than 0"),
        ({"trusted": ["x"]}, "trusted: 'x' does not appear to be an IPv4 or IPv6 network"),
        ({"prefix": "x:"}, "prefix: has no effect without redis"),
        ({"redis": "http://127.0.0.1"}, "the address of Redis"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(table, words):
    required.module("redis")
    with pytest.raises(ConfigError) as caught:
        make_limits(table)
    assert words in str(caught.value)


def test_a_missing_extra_is_told_by_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"geventpop3\[redis\]"):
        make_limits({"redis": "redis://127.0.0.1"})
