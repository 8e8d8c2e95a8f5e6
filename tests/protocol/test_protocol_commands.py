"""The command table says what RFC 1939 and its extensions say, and secrets are masked."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from table import each

from geventpop3.protocol.commands import COMMANDS, CommandSpec, State, redact

AUTHORIZATION, TRANSACTION, UPDATE = State

ALLOWED = {
    AUTHORIZATION: "USER PASS APOP AUTH STLS UTF8 LANG CAPA QUIT",
    TRANSACTION: "STAT LIST RETR DELE NOOP RSET TOP UIDL LANG CAPA QUIT",
    UPDATE: "",
}


@each("state", State)
def test_each_state_allows_the_verbs_of_the_rfcs(state: State) -> None:
    assert {verb for verb, spec in COMMANDS.items() if state in spec.states} == set(ALLOWED[state].split())


def test_only_a_login_and_quit_lead_anywhere() -> None:
    leads = {verb: dict(spec.then) for verb, spec in COMMANDS.items() if spec.then}
    login = {AUTHORIZATION: TRANSACTION}
    assert leads == {"PASS": login, "APOP": login, "AUTH": login, "QUIT": {TRANSACTION: UPDATE}}
    assert [verb for verb, spec in COMMANDS.items() if spec.closes] == ["QUIT"]


def test_each_verb_is_its_own_key_and_event() -> None:
    for verb, spec in COMMANDS.items():
        assert spec.verb == verb
        assert spec.event == f"cmd_{verb.lower()}"


def test_the_table_and_its_rows_are_not_changed_in_place() -> None:
    with pytest.raises(TypeError):
        COMMANDS["XFOO"] = COMMANDS["NOOP"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        COMMANDS["NOOP"].closes = True


@each("verb", ["", "noop", "X FOO", "X:", "X\t", "N\u00d6\u00d6P", "X\n", "X-FOO", "X_FOO", 41 * "X"])
def test_a_verb_that_no_line_could_match_is_refused(verb: str) -> None:
    with pytest.raises(ValueError, match="upper-case"):
        CommandSpec(verb, frozenset(State))


def test_a_state_is_the_same_after_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(State.UPDATE)) in {State.UPDATE}


@each(
    ("verb", "args", "line"),
    [
        ("USER", ["alice"], "alice"),
        ("PASS", [" two  words "], "****"),
        ("PASS", ["two", "words"], "****"),
        ("PASS", [], ""),
        ("APOP", ["alice", "c4c9334bac560ecc979e58001b3e22fb"], "alice ****"),
        ("APOP", ["alice"], "alice"),
        ("AUTH", ["PLAIN", "AGFsaWNlAHNlc2FtZQ=="], "PLAIN ****"),
        ("AUTH", ["PLAIN"], "PLAIN"),
        ("AUTH", ["PLAIN", "x", "y"], "PLAIN ****"),
        ("TOP", ["1", "0"], "1 0"),
    ],
)
def test_secret_arguments_are_masked(verb: str, args: list[str], line: str) -> None:
    assert redact(COMMANDS[verb], args) == line
