"""A misspelling fails when it is registered, with the name that was probably meant."""

from __future__ import annotations

from typing import Any

import pytest
from table import each

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import CATALOGUE
from geventpop3.pipeline.names import Names
from geventpop3.protocol.commands import CommandSpec, State


@pytest.fixture
def names() -> Names:
    return Names(CATALOGUE)


def test_it_knows_the_catalogue_in_its_order(names: Names) -> None:
    assert list(names) == list(CATALOGUE)
    assert "cmd_user" in names
    assert "cmd_usre" not in names
    for name in names:
        names.check(name)
        names.require(name)


@each(
    ("wrong", "meant"),
    [
        ("conection", "connection"),
        ("disconect", "disconnected"),
        ("session_finish", "session_finished"),
        ("comand_finished", "command_finished"),
        ("user", "cmd_user"),
        ("plugin_added", "plugin_add"),
        ("zzz", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(wrong: str, meant: str) -> None:
    names = Names(CATALOGUE)
    with pytest.raises(PipelineError, match=rf"unknown event '{wrong}': did you mean {meant}.*add_event"):
        names.check(wrong)


def test_with_nothing_known_there_is_no_nearest() -> None:
    with pytest.raises(PipelineError, match=r"unknown event 'my_event': \(add_event\('my_event'\) declares it\)"):
        Names(()).check("my_event")


@each(("wrong", "meant"), [("cmd_usre", "cmd_user"), ("cmd_delete", "cmd_dele"), ("cmd_users", "cmd_user")])
def test_a_verb_that_resembles_a_known_one_is_taken_for_a_misspelling(wrong: str, meant: str) -> None:
    names = Names(CATALOGUE)
    message = rf"did you mean {meant}\? \(add_event\('{wrong}'\) declares it as a new verb\)"
    with pytest.raises(PipelineError, match=message):
        names.check(wrong)


@each("verb", ["cmd_xfoo", "cmd_xuser", "cmd_quota", "cmd_id", "cmd_" + 40 * "z", "cmd_9"])
def test_a_verb_that_resembles_none_is_new_but_not_declared_by_looking(verb: str) -> None:
    names = Names(CATALOGUE)
    names.check(verb)
    assert verb not in names
    with pytest.raises(PipelineError, match="is not declared: add_event"):
        names.require(verb)


@each("verb", ["X", "9", "XFOO", 40 * "Z", 41 * "Z", "X-FOO", "X_FOO", "", "XF\u00d6\u00d6"])
def test_each_verb_has_its_event_and_each_event_its_verb(verb: str) -> None:
    names = Names(CATALOGUE)
    try:
        event = CommandSpec(verb, frozenset(State)).event
    except ValueError:
        with pytest.raises(PipelineError):
            names.add(f"cmd_{verb.lower()}")
    else:
        names.add(event)


def test_a_name_that_was_added_is_known(names: Names) -> None:
    names.add("cmd_usre")
    names.check("cmd_usre")
    names.require("cmd_usre")
    assert list(names)[-1] == "cmd_usre"


def test_names_may_be_added_while_they_are_looked_through(names: Names) -> None:
    for name in names:
        names.add(f"my_{name}")
    assert "my_cmd_quit" in names


@each(
    ("name", "why"),
    [
        (None, "must be a str"),
        (len, "must be a str"),
        ("all", "means every event"),
        ("", "a-z"),
        ("my-event", "a-z"),
        ("2nd", "a-z"),
        ("my event", "a-z"),
        ("cmd_é", "a-z"),
        ("cmd_user\n", "a-z"),
        ("cmd_USER", "did you mean cmd_user"),
        ("cmd_", "1 to 40 letters or digits"),
        ("cmd_x_y", "1 to 40 letters or digits"),
        ("cmd_" + 41 * "z", "1 to 40 letters or digits"),
    ],
)
def test_what_no_event_can_be_called(name: Any, why: str) -> None:
    names = Names(CATALOGUE)
    with pytest.raises(PipelineError, match=why):
        names.check(name)
    with pytest.raises(PipelineError, match=why):
        names.add(name)
