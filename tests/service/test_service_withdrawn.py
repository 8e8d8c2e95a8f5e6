"""A ``+OK`` that does not go out takes back what its command did, whoever withdraws it and however."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from geventpop3 import EAT_ALL, err, ok
from geventpop3.pipeline.events import Event

WAYS = ["refused", "eaten", "refused by a listener", "unsaid by a listener"]


@pytest.fixture(params=WAYS)
def withdrawn(request, app) -> Callable[..., Any]:
    """Have the positive replies to the commands of these numbers withdrawn; the number of the first is 1."""

    def withdraw(*numbers: int) -> Any:
        def is_withdrawn(event: Event) -> bool:
            positive = event.reply is not None and event.reply.positive
            return positive and event.client.summary.commands in numbers

        def late(pop3d: Any, event: Event) -> None:
            if is_withdrawn(event):
                event.reply = None if request.param == "unsaid by a listener" else err("no")

        def hook(pop3d: Any, event: Event) -> Any:
            if event.args[0] == "connection" or not is_withdrawn(event):
                return None
            if request.param == "eaten":
                return EAT_ALL
            event.reply = err("no")
            return None

        if "listener" in request.param:
            app.pop3d.register(late, *[f"cmd_{verb.lower()}" for verb in app.pop3d.commands], priority=2000)
        else:
            app.pop3d.plugin("response")(hook)
        return app

    return withdraw


def replies_to(app: Any, *lines: str) -> list[str]:
    """The positive and final replies: a withdrawn one is -ERR, or is not there."""
    return [reply for reply in app.talk("USER alice", "PASS alice", *lines) if reply not in ("-ERR no", UNSAID)][2:]


UNSAID = "-ERR not supported here"


def test_a_mark_is_taken_back_and_no_other(withdrawn):
    app = withdrawn(4)
    lines = replies_to(app, "DELE 1", "DELE 2", "DELE 3", "STAT", "LIST 2", "QUIT")
    assert lines == [
        "+OK message 1 marked as deleted",
        "+OK message 3 marked as deleted",
        "+OK 1 45",
        "+OK 2 45",
        "+OK goodbye, 2 messages removed",
    ]
    assert [content[:12] for content in app.store.messages("alice")] == [b"Subject: two"]


def test_the_only_mark_is_taken_back(withdrawn):
    app = withdrawn(3)
    assert replies_to(app, "DELE 1", "QUIT") == ["+OK goodbye"]
    assert len(app.store.messages("alice")) == 3


def test_marks_that_a_withdrawn_rset_lifted_come_back(withdrawn):
    app = withdrawn(5)
    lines = replies_to(app, "DELE 1", "DELE 3", "RSET", "STAT", "QUIT")
    assert lines[2:] == ["+OK 1 45", "+OK goodbye, 2 messages removed"]


def test_only_the_answer_of_the_service_is_its_to_take_back(withdrawn):
    app = withdrawn(4, 6)

    @app.pop3d.on("cmd_dele", "cmd_rset")
    def instead(pop3d: Any, event: Event) -> Any:
        return ok("done elsewhere") if event.client.summary.commands in (4, 6) else None

    assert replies_to(app, "DELE 1", "DELE 2", "STAT", "RSET", "STAT")[1:] == ["+OK 2 48", "+OK 2 48"]


def test_a_name_is_forgotten(withdrawn):
    lines = withdrawn(1).talk("USER alice", "PASS alice")
    assert lines[-1] == "-ERR say USER first"


@pytest.mark.parametrize("login", ["PASS alice", "AUTH PLAIN AGFsaWNlAGFsaWNl"])
def test_a_login_is_none_and_the_lock_is_free_before_the_client_knows(withdrawn, login):
    app = withdrawn(2)
    owners: list[Any] = []

    @app.pop3d.on("cmd_capa", priority=-1)
    def look(pop3d: Any, event: Event) -> None:
        app.store.open("alice").close()
        owners.append(event.client.owner)

    lines = app.talk("USER alice", login, "CAPA", "USER alice", "PASS alice", "STAT")
    assert owners == [None]
    assert lines[-1] == "+OK 3 71"


def test_a_list_of_mechanisms_that_is_withdrawn_leaves_the_login(withdrawn):
    app = withdrawn(3)
    app.pop3d.strict = False
    assert replies_to(app, "AUTH", "STAT")[-1] == "+OK 3 71"


def test_utf8_mode_is_off_again(withdrawn, monkeypatch):
    app = withdrawn(1)
    app.service.site.present = present = object()
    modes: list[Any] = []
    app.pop3d.on("cmd_noop")(
        lambda pop3d, event: modes.append(
            (app.service._sessions[event.client.id].utf8, app.service._sessions[event.client.id].transaction.present)
        )
    )
    app.talk("UTF8", "USER alice", "PASS alice", "NOOP")
    assert modes == [(False, present)]


def test_utf8_said_after_login_is_taken_back_too(withdrawn):
    app = withdrawn(3)
    app.pop3d.strict = False
    app.service.site.present = present = object()
    modes: list[Any] = []
    app.pop3d.on("cmd_noop")(
        lambda pop3d, event: modes.append(app.service._sessions[event.client.id].transaction.present)
    )
    app.talk("USER alice", "PASS alice", "UTF8", "NOOP", "UTF8", "NOOP")
    assert modes == [present, None]


def test_utf8_said_again_is_no_news_so_that_the_mode_stays(withdrawn):
    app = withdrawn(2)
    modes: list[bool] = []
    app.pop3d.on("cmd_capa")(lambda pop3d, event: modes.append(app.service._sessions[event.client.id].utf8))
    app.talk("UTF8", "UTF8", "CAPA")
    assert modes == [True]


def test_the_language_is_the_one_before(withdrawn):
    app = withdrawn(2)
    lines = app.talk("LANG de", "LANG en", "XYZZY")
    assert lines[-1] == "-ERR unbekannter Befehl"


def test_a_message_that_was_kept_back_does_not_count(withdrawn):
    app = withdrawn(4)
    told: list[int] = []
    app.pop3d.on("session_finished")(lambda pop3d, event: told.append(event.args[0].retrieved))
    app.login("RETR 1", "RETR 2")
    assert told == [1]


def test_what_quit_removed_is_gone_so_that_it_says_so_and_closes(withdrawn):
    app = withdrawn(4)
    assert replies_to(app, "DELE 1", "QUIT", "NOOP") == [
        "+OK message 1 marked as deleted",
        "+OK goodbye, 1 message removed",
    ]
    app.store.open("alice").close()


def test_quit_before_login_changed_nothing_and_may_be_refused(app):
    app.pop3d.on("cmd_quit", priority=2000)(lambda pop3d, event: setattr(event, "reply", err("stay")))
    assert app.talk("QUIT") == ["-ERR stay"]


def test_a_greeting_that_was_eaten_told_nobody_a_timestamp(make):
    from test_service_commands import Clear

    app = make(authenticator=Clear())
    app.pop3d.plugin("response")(lambda pop3d, event: EAT_ALL if event.args == ["connection"] else None)
    stamps: list[Any] = []
    app.pop3d.on("cmd_capa")(
        lambda pop3d, event: stamps.append(app.service._sessions[event.client.id].timestamp) or ok()
    )
    app.talk("CAPA")
    assert stamps == [None]


def test_an_application_gets_the_event_whose_answer_was_withdrawn(withdrawn):
    app = withdrawn(4)
    marks: set[str] = set()

    @app.pop3d.on("cmd_dele")
    def mark(pop3d: Any, event: Event) -> Any:
        marks.add(event.args[0])
        return ok("marked")

    @app.pop3d.on("reply_withdrawn")
    def unmark(pop3d: Any, event: Event) -> None:
        name, withdrawn = event.args
        assert (name, withdrawn.name, withdrawn.client) == ("cmd_dele", "cmd_dele", event.client)
        marks.discard(withdrawn.args[0])

    app.login("DELE 1", "DELE 2")
    assert marks == {"1"}


def test_nothing_is_taken_back_where_another_positive_reply_goes_out(app):
    told: list[Any] = []
    app.pop3d.on("reply_withdrawn")(lambda pop3d, event: told.append(event.args[0]))
    app.pop3d.on("cmd_dele", priority=2000)(lambda pop3d, event: setattr(event, "reply", err("no")))
    app.pop3d.on("cmd_dele", priority=2001)(lambda pop3d, event: setattr(event, "reply", ok("yes after all")))
    assert app.login("DELE 1", "STAT") == ["+OK yes after all", "+OK 2 48"]
    assert told == []
