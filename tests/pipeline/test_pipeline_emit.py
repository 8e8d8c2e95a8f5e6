"""How an event is answered: Eat codes, the first answer, isolation, the response hook, and what is never logged."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.errors import (
    AuthenticationFailed,
    ConfigError,
    HandedOverError,
    PipelineError,
    Refusal,
    StoreUnavailable,
)
from geventpop3.pipeline import events
from geventpop3.pipeline.events import CATALOGUE, Event, discard, signal
from geventpop3.pipeline.failures import new_reference
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.pipeline.plugin import EAT_ALL, EAT_CLIENT, EAT_NONE, EAT_PLUGIN, Eat, Plugin, handles
from geventpop3.wire.replies import Reply, err, multiline, ok

SECRET = "sesame-7f3a"
INTERNAL = re.compile(r"-ERR \[SYS/TEMP\] internal error, reference ([0-9a-f]{8})\r\n")


class SomeClient:
    id = 7
    peer = ("192.0.2.7", 50000)


def some_client() -> Any:
    return SomeClient()


class Body:
    """A body that knows whether it was closed."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.closed = 0
        self.failure = failure

    def __iter__(self) -> Iterator[bytes]:
        return iter((b"octets",))

    def close(self) -> None:
        self.closed += 1
        if self.failure is not None:
            raise self.failure


class Idle(Plugin):
    """A plugin that is there and handles nothing."""

    @handles("unregistered")
    def ignore(self, pop3d: Pluggable, event: Event) -> None: ...


@pytest.fixture
def pop3d() -> Pluggable:
    return Pluggable()


def plugin(pop3d: Pluggable, name: str, *results: Any) -> list[int]:
    """Plugins for *name*, one for each result: returned, called, or raised. The list says which of them were asked."""
    asked: list[int] = []
    for index, result in enumerate(results):

        def ask(pop3d: Pluggable, event: Event, index: int = index, result: Any = result) -> Any:
            asked.append(index)
            if isinstance(result, Exception):
                raise result
            return result(event) if callable(result) else result

        pop3d.plugin(name, alias=f"plugin{index}")(ask)
    return asked


def listener(pop3d: Pluggable, name: str, result: Any = None, priority: int = 0) -> list[Reply | None]:
    """A listener that answers or raises *result*; the list has what ``event.reply`` was when it was called."""
    heard: list[Reply | None] = []

    @pop3d.on(name, priority=priority)
    def listen(pop3d: Pluggable, event: Event) -> Any:
        heard.append(event.reply)
        if isinstance(result, BaseException):
            raise result
        return result

    return heard


def line(event: Event) -> str:
    assert event.reply is not None
    return event.reply.status_line.decode()


class TestEat:
    def test_none_goes_on(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", EAT_NONE, None, EAT_NONE)
        heard = listener(pop3d, "cmd_user")
        event = pop3d.send_event("cmd_user")
        assert (asked, heard, event.eaten) == ([0, 1, 2], [None], False)

    def test_client_keeps_it_from_listeners_only(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", EAT_CLIENT, EAT_NONE)
        heard = listener(pop3d, "cmd_user")
        event = pop3d.send_event("cmd_user")
        assert (asked, heard, event.eaten) == ([0, 1], [], True)

    def test_plugin_goes_straight_to_the_listeners(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", EAT_PLUGIN, EAT_NONE)
        heard = listener(pop3d, "cmd_user")
        event = pop3d.send_event("cmd_user")
        assert (asked, heard, event.eaten) == ([0], [None], False)

    def test_all_stops_everything(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", EAT_ALL, EAT_NONE)
        heard = listener(pop3d, "cmd_user")
        event = pop3d.send_event("cmd_user")
        assert (asked, heard, event.eaten, event.reply) == ([0], [], True, None)

    def test_plugin_after_client_ends_as_all(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", EAT_CLIENT, EAT_PLUGIN, EAT_NONE)
        heard = listener(pop3d, "cmd_user")
        event = pop3d.send_event("cmd_user")
        assert (asked, heard, event.eaten) == ([0, 1], [], True)

    def test_who_eats_may_answer(self, pop3d: Pluggable) -> None:
        def refuse(event: Event) -> Eat:
            event.reply = err("go away")
            return EAT_ALL

        plugin(pop3d, "cmd_user", refuse)
        assert line(pop3d.send_event("cmd_user")) == "-ERR go away\r\n"

    def test_an_answer_that_was_not_eaten_stands_and_listeners_hear_it(self, pop3d: Pluggable) -> None:
        def answer(event: Event) -> None:
            event.reply = ok("mine")

        plugin(pop3d, "cmd_user", answer)
        heard = listener(pop3d, "cmd_user", ok("theirs"))
        assert line(pop3d.send_event("cmd_user")) == "+OK mine\r\n"
        assert heard == [ok("mine")]

    @each("code", [EAT_CLIENT, EAT_PLUGIN, EAT_ALL])
    @each("name", [name for name, one in CATALOGUE.items() if one.only_reports])
    def test_what_only_tells_is_heard_by_everybody(
        self, caplog: pytest.LogCaptureFixture, name: str, code: Eat
    ) -> None:
        caplog.clear()
        pop3d = Pluggable()
        asked = plugin(pop3d, name, code, None)
        asked.clear()  # what they were told of each other
        heard = listener(pop3d, name)
        with caplog.at_level(logging.DEBUG):
            event = pop3d.send_event(name)
        assert (asked, heard, event.eaten) == ([0, 1], [None], False)
        assert f"plugin 'plugin0' cannot eat {name}: it only reports what has happened" in caplog.text

    def test_only_what_can_be_answered_can_be_eaten(self, pop3d: Pluggable) -> None:
        eatable = {name for name, one in CATALOGUE.items() if not one.only_reports}
        assert eatable == {"connection", "response", "credentials"} | {
            name for name in CATALOGUE if name.startswith("cmd_")
        }
        pop3d.add_event("my_event")
        plugin(pop3d, "my_event", EAT_ALL)
        assert pop3d.send_event("my_event").eaten

    @given(
        st.lists(st.sampled_from([None, EAT_NONE, EAT_CLIENT, EAT_PLUGIN, EAT_ALL, ValueError("oops"), 3]), max_size=6)
    )
    def test_any_sequence_is_what_the_seed_makes_of_it(self, codes: list[Any]) -> None:
        pop3d = Pluggable()
        asked = plugin(pop3d, "cmd_user", *codes)
        heard = listener(pop3d, "cmd_user")
        logging.disable()
        try:
            event = pop3d.send_event("cmd_user")
        finally:
            logging.disable(logging.NOTSET)
        stop = next((at for at, code in enumerate(codes) if code is EAT_PLUGIN or code is EAT_ALL), len(codes))
        eaten = EAT_CLIENT in codes[:stop] or codes[stop : stop + 1] == [EAT_ALL]
        assert asked == list(range(min(stop + 1, len(codes))))
        assert (event.eaten, len(heard)) == (eaten, 0 if eaten else 1)


class TestMangling:
    def test_listeners_hear_the_arguments_as_plugins_left_them(self, pop3d: Pluggable) -> None:
        plugin(
            pop3d,
            "cmd_user",
            lambda event: event.args.__setitem__(0, event.args[0].lower()),
            lambda event: event.args.append("extra"),
        )
        seen: list[list[str]] = []
        pop3d.on("cmd_user")(lambda pop3d, event: seen.append(list(event.args)))
        pop3d.send_event("cmd_user", "ALICE")
        assert seen == [["alice", "extra"]]


class TestAnswers:
    @each(
        ("answer", "wire"),
        [
            (ok("fine"), "+OK fine\r\n"),
            ("+OK fine", "+OK fine\r\n"),
            (b"-ERR [AUTH] no", "-ERR [AUTH] no\r\n"),
            (Refusal("no such thing"), "-ERR no such thing\r\n"),
            (AuthenticationFailed(), "-ERR [AUTH] authentication failed\r\n"),
        ],
    )
    def test_a_listener_answers(self, answer: Any, wire: str) -> None:
        pop3d = Pluggable()
        listener(pop3d, "cmd_user", answer)
        event = pop3d.send_event("cmd_user")
        assert (line(event), event.eaten, event.reference) == (wire, False, None)

    def test_the_first_answer_is_the_answer_and_the_rest_hear_it(self, pop3d: Pluggable) -> None:
        silent = listener(pop3d, "cmd_user")
        listener(pop3d, "cmd_user", ok("first"))
        late = listener(pop3d, "cmd_user", ok("second"))
        later = listener(pop3d, "cmd_user", Refusal("third"))
        assert line(pop3d.send_event("cmd_user")) == "+OK first\r\n"
        assert (silent, late, later) == ([None], [ok("first")], [ok("first")])

    def test_nobody_answers(self, pop3d: Pluggable) -> None:
        event = pop3d.send_event("cmd_user")
        assert (event.reply, event.eaten, event.reference) == (None, False, None)

    def test_a_second_body_is_closed_and_the_first_is_not(self, pop3d: Pluggable) -> None:
        first, second = Body(), Body()
        listener(pop3d, "cmd_retr", multiline("one", first))
        listener(pop3d, "cmd_retr", multiline("two", second))
        pop3d.on("cmd_retr")(lambda pop3d, event: event.reply)
        event = pop3d.send_event("cmd_retr")
        assert event.reply == multiline("one", first)
        assert (first.closed, second.closed) == (0, 1)

    def test_a_negative_answer_has_no_body_and_the_one_it_came_with_is_closed(self, pop3d: Pluggable) -> None:
        body = Body()
        listener(pop3d, "cmd_retr", Reply(False, "no", body=body))
        assert pop3d.send_event("cmd_retr").reply == err("no")
        assert body.closed == 1

    def test_a_listener_that_turns_an_answer_to_a_negative_one_closes_its_body(self, pop3d: Pluggable) -> None:
        body = Body()
        listener(pop3d, "cmd_retr", multiline("here", body))

        @pop3d.on("cmd_retr")
        def refuse(pop3d: Pluggable, event: Event) -> None:
            event.reply = event.reply._replace(positive=False, text="no")

        assert pop3d.send_event("cmd_retr").reply == err("no")
        assert body.closed == 1

    def test_a_refusals_detail_is_logged_and_not_sent(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        listener(pop3d, "cmd_stat", StoreUnavailable(detail="/srv/mail/alice: EIO"))
        event = pop3d.send_event("cmd_stat", client=some_client())
        assert line(event) == "-ERR [SYS/TEMP] the maildrop is not available now, try again later\r\n"
        assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]
        assert "listen refused cmd_stat of address=192.0.2.7 id=7: /srv/mail/alice: EIO" in caplog.text


class TestListenersThatFail:
    @each("mistake", [ValueError("oops"), PipelineError("oops"), 7, True, "hello", b"", EAT_ALL])
    def test_the_client_gets_a_reference_that_is_in_the_log(
        self, caplog: pytest.LogCaptureFixture, mistake: Any
    ) -> None:
        caplog.clear()
        pop3d = Pluggable()
        listener(pop3d, "cmd_stat", mistake)
        event = pop3d.send_event("cmd_stat", client=some_client())
        match = INTERNAL.fullmatch(line(event))
        assert match is not None
        assert match[1] == event.reference
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert f"failed at cmd_stat of address=192.0.2.7 id=7, reference {event.reference}" in caplog.text
        assert "listener test_pipeline_emit.listener.<locals>.listen" in caplog.text
        assert "Traceback" in caplog.text

    def test_the_others_still_hear_it(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        listener(pop3d, "cmd_stat", ValueError("oops"))
        heard = listener(pop3d, "cmd_stat", ok("too late"))
        event = pop3d.send_event("cmd_stat")
        assert heard == [event.reply]
        assert INTERNAL.fullmatch(line(event))

    def test_an_answer_that_was_given_stands(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        listener(pop3d, "cmd_stat", ok("0 0"))
        listener(pop3d, "cmd_stat", ValueError("oops"))
        event = pop3d.send_event("cmd_stat")
        assert line(event) == "+OK 0 0\r\n"
        assert event.reference is not None
        assert event.reference in caplog.text

    def test_the_first_failures_reference_is_the_events(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        listener(pop3d, "cmd_stat", ValueError("first"))
        listener(pop3d, "cmd_stat", ValueError("second"))
        event = pop3d.send_event("cmd_stat")
        assert event.reference is not None
        assert event.reference in line(event)
        assert [event.reference in record.getMessage() for record in caplog.records] == [True, False]

    @each("failure", [ValueError("oops"), Refusal("no"), StoreUnavailable(detail="EIO")])
    def test_a_blinker_receiver_that_fails_is_logged_and_answers_nothing(
        self, caplog: pytest.LogCaptureFixture, failure: Exception
    ) -> None:
        caplog.clear()
        pop3d = Pluggable()

        def receiver(sender: object, event: Event) -> None:
            raise failure

        with events.cmd_stat.connected_to(receiver):
            event = pop3d.send_event("cmd_stat")
        assert (event.reply, event.reference) == (None, None)
        assert "receiver test_pipeline_emit" in caplog.text
        assert "failed at cmd_stat, reference " in caplog.text

    @each("result", [7, True, "OK", b"1", [SECRET]])
    def test_what_a_blinker_receiver_returns_by_accident_is_no_answer(
        self, caplog: pytest.LogCaptureFixture, result: Any
    ) -> None:
        caplog.clear()
        pop3d = Pluggable()
        heard = listener(pop3d, "cmd_quit", ok("goodbye"), priority=1000)
        with caplog.at_level(logging.DEBUG), events.cmd_quit.connected_to(lambda sender, event: result):
            event = pop3d.send_event("cmd_quit")
        assert (heard, event.reply, event.reference) == ([None], ok("goodbye"), None)
        assert [record.levelname for record in caplog.records] == ["DEBUG"]
        assert "returned no valid answer to cmd_quit: " in caplog.text
        assert SECRET not in caplog.text

    def test_what_is_isolated_is_data_of_the_class(self, caplog: pytest.LogCaptureFixture) -> None:
        class Deadline(BaseException):
            """As gevent's Timeout, no Exception."""

        class Server(Pluggable):
            _isolated = (Exception, Deadline)

        class Late(Idle):
            def plugin_register(self, pop3d: Pluggable) -> None:
                raise Deadline

        class LateToLeave(Idle):
            def plugin_unregister(self, pop3d: Pluggable) -> None:
                raise Deadline

        def late(pop3d: Pluggable, event: Event) -> None:
            raise Deadline

        pop3d = Server()
        errors = listener(pop3d, "plugin_error")
        pop3d.plugin("disconnected")(late)
        pop3d.on("disconnected")(late)
        heard = listener(pop3d, "disconnected", priority=1000)
        event = pop3d.send_event("disconnected")
        assert (len(errors), heard) == (1, [event.reply])
        assert INTERNAL.fullmatch(line(event))
        with pytest.raises(PipelineError, match="'late one' could not be added"):
            pop3d.plugin_add("late one", Late())
        pop3d.plugin_add("leaving", LateToLeave())
        pop3d.plugin_del("leaving")
        assert (list(pop3d.plugin_list()), len(errors)) == (["late"], 2)

        other = Pluggable()
        other.on("disconnected")(late)
        with pytest.raises(Deadline):
            other.send_event("disconnected")

    def test_what_is_no_exception_gets_through(self, pop3d: Pluggable) -> None:
        listener(pop3d, "cmd_stat", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            pop3d.send_event("cmd_stat")


class TestPluginsThatFail:
    @each("mistake", [ValueError("oops"), 3, True, ok("no answer")])
    def test_it_counts_as_none_and_is_reported(self, caplog: pytest.LogCaptureFixture, mistake: Any) -> None:
        caplog.clear()
        pop3d = Pluggable()
        reports: list[Event] = []
        pop3d.on("plugin_error")(lambda pop3d, event: reports.append(event))
        asked = plugin(pop3d, "cmd_user", mistake if isinstance(mistake, Exception) else lambda event: mistake, None)
        heard = listener(pop3d, "cmd_user")
        client = some_client()
        event = pop3d.send_event("cmd_user", client=client)
        assert (asked, heard, event.eaten, event.reply) == ([0, 1], [None], False, None)
        assert event.reference is not None
        assert (
            f"plugin 'plugin0' failed at cmd_user of address=192.0.2.7 id=7, reference {event.reference}" in caplog.text
        )
        [report] = reports
        assert report.client is client
        exception, alias, name = report.args
        assert (alias, name) == ("plugin0", "cmd_user")
        if isinstance(mistake, Exception):
            assert exception is mistake
        else:
            assert str(exception).startswith(f"a plugin must return an Eat code or None, not {type(mistake).__name__}")

    @each("answer", [err("no"), "-ERR no", b"-ERR no"])
    def test_one_that_returns_an_answer_learns_how_to_give_it(
        self, caplog: pytest.LogCaptureFixture, answer: Any
    ) -> None:
        pop3d = Pluggable()
        plugin(pop3d, "cmd_user", answer)
        heard = listener(pop3d, "cmd_user", ok())
        assert line(pop3d.send_event("cmd_user")) == "+OK\r\n"
        assert heard == [None]
        assert "to answer, set event.reply and return EAT_ALL, or raise Refusal" in caplog.text

    def test_the_body_of_an_answer_that_it_returns_is_closed(self, pop3d: Pluggable) -> None:
        body = Body()
        plugin(pop3d, "cmd_retr", multiline("here", body))
        pop3d.send_event("cmd_retr")
        assert body.closed == 1

    @each("wrong", [True, 4, err("no"), "-ERR no"])
    def test_one_that_fails_closed_refuses_if_it_returns_no_eat_code(self, wrong: Any) -> None:
        pop3d = Pluggable()
        pop3d.plugin("cmd_user", alias="wrong", fail_closed=True)(lambda pop3d, event: wrong)
        heard = listener(pop3d, "cmd_user", ok())
        event = pop3d.send_event("cmd_user")
        assert INTERNAL.fullmatch(line(event))
        assert (event.eaten, heard) == (True, [])

    def test_a_reply_that_is_none_is_the_plugins_failure(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        plugin(pop3d, "cmd_user", lambda event: setattr(event, "reply", 7))
        event = pop3d.send_event("cmd_user")
        assert (event.reply, event.reference is None) == (None, False)

    def test_one_that_fails_at_plugin_error_is_only_logged(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = plugin(pop3d, "plugin_error", ValueError("again"))
        pop3d.plugin("cmd_user")(lambda pop3d, event: 1 // 0)
        pop3d.plugin_add("bystander", Idle())
        pop3d.send_event("cmd_user")
        assert asked == [0]
        assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]

    def test_a_listener_that_fails_at_plugin_error_is_only_logged(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        heard = listener(pop3d, "plugin_error", ValueError("again"))
        plugin(pop3d, "cmd_user", ValueError("first"))
        pop3d.send_event("cmd_user")
        assert len(heard) == 1
        assert len(caplog.records) == 2


class TestRefusalsOfPlugins:
    def test_a_refusal_answers_a_command_and_eats_it(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        asked = plugin(pop3d, "cmd_user", Refusal("go away", "AUTH"), None)
        heard = listener(pop3d, "cmd_user", ok())
        errors = listener(pop3d, "plugin_error")
        event = pop3d.send_event("cmd_user", client=some_client())
        assert (asked, heard, errors, event.eaten, event.reference) == ([0], [], [], True, None)
        assert line(event) == "-ERR [AUTH] go away\r\n"
        assert caplog.records == []

    def test_its_detail_is_logged(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        plugin(pop3d, "connection", StoreUnavailable("later", detail="redis is down"))
        assert line(pop3d.send_event("connection", client=some_client())) == "-ERR [SYS/TEMP] later\r\n"
        assert caplog.messages == ["plugin 'plugin0' refused connection of address=192.0.2.7 id=7: redis is down"]

    def test_it_takes_the_place_of_a_reply_that_an_earlier_plugin_gave(self, pop3d: Pluggable) -> None:
        body = Body()
        plugin(pop3d, "cmd_retr", lambda event: setattr(event, "reply", multiline("here", body)), Refusal("no"))
        assert line(pop3d.send_event("cmd_retr")) == "-ERR no\r\n"
        assert body.closed == 1

    def test_in_the_response_hook_it_takes_the_place_of_the_reply(self, pop3d: Pluggable) -> None:
        body = Body()
        asked = plugin(pop3d, "response", Refusal("no"), None)
        event = Event("cmd_retr", some_client())
        event.reply = multiline("here", body)
        assert pop3d._respond(event) == err("no")
        assert (asked, body.closed) == ([0, 1], 1)

    def test_where_nothing_can_be_refused_it_is_a_failure(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = plugin(pop3d, "disconnected", Refusal("no"), None)
        heard = listener(pop3d, "disconnected")
        errors = listener(pop3d, "plugin_error")
        assert pop3d.send_event("disconnected").reply is None
        assert (asked, heard, errors) == ([0, 1], [None], [None])
        assert "plugin 'plugin0' failed at disconnected" in caplog.text

    @each("name", ["cmd_user", "cmd_xfoo", "connection", "credentials", "an_event_of_the_application"])
    def test_one_that_fails_closed_refuses_the_event(self, caplog: pytest.LogCaptureFixture, name: str) -> None:
        pop3d = Pluggable()
        pop3d.add_event(name)
        pop3d.plugin(name, fail_closed=True)(lambda pop3d, event: 1 // 0)
        heard = listener(pop3d, name, ok())
        errors = listener(pop3d, "plugin_error")
        event = pop3d.send_event(name)
        found = INTERNAL.fullmatch(line(event))
        assert found is not None
        assert (event.reference, event.eaten, heard, errors) == (found[1], True, [], [None])

    def test_a_class_may_fail_closed_and_does_so_wherever_a_refusal_would(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Strict(Plugin):
            fail_closed = True

            @handles("all")
            def fail(self, pop3d: Pluggable, event: Event) -> None:
                raise ValueError

        pop3d.plugin_add("strict", Strict())
        for name in ("disconnected", "reply_withdrawn", "authenticated", "plugin_error"):
            assert pop3d.send_event(name).reply is None
        for name in ("connection", "credentials", "cmd_noop"):
            assert INTERNAL.fullmatch(line(pop3d.send_event(name)))

    def test_one_that_fails_closed_withdraws_a_reply_that_it_cannot_look_at(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = Body()
        withdrawn: list[str] = []
        pop3d.on("reply_withdrawn")(lambda pop3d, event: withdrawn.append(event.args[0]))
        pop3d.plugin("response", alias="broken", fail_closed=True)(lambda pop3d, event: 1 // 0)
        event = Event("cmd_retr", some_client())
        event.reply = multiline("here", body)
        reply = pop3d._respond(event)
        assert reply is not None
        assert INTERNAL.fullmatch(reply.status_line.decode())
        assert (body.closed, withdrawn) == (1, ["cmd_retr"])

    @each("event_name", ["cmd_user", "disconnected"])
    def test_sys_exit_is_a_failure_as_any_other(self, caplog: pytest.LogCaptureFixture, event_name: str) -> None:
        pop3d = Pluggable()
        caplog.clear()

        def leave(pop3d: Pluggable, event: Event) -> None:
            sys.exit(3)

        pop3d.plugin(event_name)(leave)
        listener(pop3d, event_name, SystemExit(3))
        event = pop3d.send_event(event_name)
        assert INTERNAL.fullmatch(line(event))
        assert [record.exc_info is not None for record in caplog.records] == [True, True]

    def test_sys_exit_while_a_body_is_closed_is_a_failure_too(self, caplog: pytest.LogCaptureFixture) -> None:
        body = Body(SystemExit(3))
        discard(multiline("here", body))
        assert body.closed == 1
        assert "the body of an unsent reply could not be closed" in caplog.text

    def test_sys_exit_where_a_plugin_is_added_ends_the_program(self, pop3d: Pluggable) -> None:
        class Unusable(Idle):
            def plugin_register(self, pop3d: Any) -> None:
                sys.exit("no configuration")

        with pytest.raises(SystemExit):
            pop3d.plugin_add("unusable", Unusable())
        assert pop3d.plugin_list() == {}


class Killed(BaseException):
    """As what ends a greenlet: no Exception."""


class TestTheEndOfAGreenlet:
    """An exception that ends a greenlet ends it only after all receivers of a reporting event were called."""

    def test_a_fact_reaches_everybody_and_the_first_end_is_raised_then(self, pop3d: Pluggable) -> None:
        first = Killed()
        heard = listener(pop3d, "disconnected", first, priority=-1)
        again = listener(pop3d, "disconnected", Killed())
        last = listener(pop3d, "disconnected", priority=1)
        with pytest.raises(Killed) as caught:
            pop3d.send_event("disconnected")
        assert caught.value is first
        assert len(heard) == len(again) == len(last) == 1

    def test_plugins_keep_it_from_nobody_either(self, pop3d: Pluggable) -> None:
        def kill(event: Event) -> None:
            raise Killed(len(asked))

        asked = plugin(pop3d, "disconnected", kill, kill, None)
        heard = listener(pop3d, "disconnected")
        with pytest.raises(Killed, match="1"):
            pop3d.send_event("disconnected")
        assert (asked, len(heard)) == ([0, 1, 2], 1)

    def test_nor_does_who_is_killed_while_a_failure_is_told(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        plugin(pop3d, "disconnected", ValueError("oops"), None)
        errors = listener(pop3d, "plugin_error", Killed())
        heard = listener(pop3d, "disconnected")
        with pytest.raises(Killed):
            pop3d.send_event("disconnected")
        assert len(errors) == len(heard) == 1

    def test_anything_else_ends_there(self, pop3d: Pluggable) -> None:
        def kill(event: Event) -> None:
            raise Killed

        listener(pop3d, "cmd_noop", Killed())
        after = listener(pop3d, "cmd_noop")
        with pytest.raises(Killed):
            pop3d.send_event("cmd_noop")
        asked = plugin(pop3d, "cmd_noop", kill, None)
        with pytest.raises(Killed):
            pop3d.send_event("cmd_noop")
        assert (asked, after) == ([0], [])

    def test_the_body_of_a_reply_is_closed_if_the_response_hook_is_ended(self, pop3d: Pluggable) -> None:
        def kill(event: Event) -> None:
            raise Killed

        plugin(pop3d, "response", kill)
        body = Body()
        event = Event("cmd_retr", some_client())
        event.reply = multiline("here", body)
        with pytest.raises(Killed):
            pop3d._respond(event)
        assert body.closed == 1


class TestWithdrawnReplies:
    """``reply_withdrawn``: a ``+OK`` that no longer goes out."""

    @pytest.fixture
    def told(self, pop3d: Pluggable) -> list[list[Any]]:
        told: list[list[Any]] = []
        pop3d.on("reply_withdrawn")(lambda pop3d, event: told.append(event.args))
        return told

    @each("now", [None, err("no")])
    def test_another_listener_withdraws_it(self, now: Reply | None) -> None:
        pop3d, told = Pluggable(), []
        pop3d.on("reply_withdrawn")(lambda pop3d, event: told.append(event.args))
        listener(pop3d, "cmd_dele", ok())
        pop3d.on("cmd_dele")(lambda pop3d, event: setattr(event, "reply", now))
        listener(pop3d, "cmd_dele")
        event = pop3d.send_event("cmd_dele", client=some_client())
        assert event.reply == now
        assert told == [["cmd_dele", event]]

    def test_another_plugin_withdraws_it(self, pop3d: Pluggable, told: list[list[Any]]) -> None:
        plugin(pop3d, "cmd_dele", lambda event: setattr(event, "reply", ok()), Refusal("no"))
        event = pop3d.send_event("cmd_dele")
        assert told == [["cmd_dele", event]]

    @each("first", [err("no"), None])
    def test_what_was_no_positive_answer_is_not_withdrawn(self, first: Reply | None) -> None:
        pop3d, told = Pluggable(), []
        pop3d.on("reply_withdrawn")(lambda pop3d, event: told.append(event.args))
        listener(pop3d, "cmd_dele", first)
        listener(pop3d, "cmd_dele", err("no"))
        listener(pop3d, "cmd_dele")
        plugin(pop3d, "response", EAT_ALL)
        assert pop3d._respond(pop3d.send_event("cmd_dele")) is None
        assert told == []

    def test_who_cannot_take_it_back_insists(self, pop3d: Pluggable) -> None:
        listener(pop3d, "cmd_quit", ok("gone"))
        pop3d.on("reply_withdrawn")(lambda pop3d, event: setattr(event, "reply", ok("all is gone")))
        plugin(pop3d, "response", EAT_ALL)
        event = pop3d.send_event("cmd_quit")
        assert pop3d._respond(event) == ok("all is gone")
        pop3d.on("cmd_quit", priority=1)(lambda pop3d, event: setattr(event, "reply", err("no")))
        assert pop3d.send_event("cmd_quit").reply == ok("all is gone")

    @each("answer", [err("no"), ValueError("oops")])
    def test_what_else_is_answered_changes_nothing(self, caplog: pytest.LogCaptureFixture, answer: Any) -> None:
        pop3d = Pluggable()
        listener(pop3d, "reply_withdrawn", answer)
        listener(pop3d, "cmd_quit", ok())
        plugin(pop3d, "response", EAT_ALL)
        assert pop3d._respond(pop3d.send_event("cmd_quit")) is None

    def test_without_listeners_nothing_is_told(self, pop3d: Pluggable) -> None:
        listener(pop3d, "cmd_quit", ok())
        plugin(pop3d, "response", lambda event: setattr(event, "reply", err("no")))
        assert pop3d._respond(pop3d.send_event("cmd_quit")) == err("no")

    def test_answers_to_a_fact_are_none_and_are_not_withdrawn(self, pop3d: Pluggable, told: list[list[Any]]) -> None:
        plugin(
            pop3d, "disconnected", *[lambda event, now=now: setattr(event, "reply", now) for now in (ok(), None, ok())]
        )
        pop3d.on("disconnected")(lambda pop3d, event: setattr(event, "reply", err("no")))
        listener(pop3d, "disconnected")
        pop3d.send_event("disconnected")
        assert told == []


def password() -> Event:
    return Event("cmd_pass", some_client(), [SECRET], f"PASS {SECRET}".encode(), 0)


def quote(pop3d: Pluggable, event: Event) -> int:
    return int(event.argument)


def quote_and_chain(pop3d: Pluggable, event: Event) -> None:
    try:
        int(event.argument)
    except ValueError as error:
        raise KeyError(event.raw) from error


def pass_on(pop3d: Pluggable, event: Event) -> None:
    assert SECRET not in repr(event)
    raise event.args[0]


class TestSecrets:
    """Neither argument nor octets of a command get into a log record, whatever fails."""

    @each("failing", [quote, quote_and_chain])
    @each("as_plugin", [False, True])
    def test_an_exception_that_quotes_the_secret(
        self,
        caplog: pytest.LogCaptureFixture,
        failing: Callable[[Pluggable, Event], Any],
        as_plugin: bool,
    ) -> None:
        caplog.clear()
        pop3d = Pluggable()
        if as_plugin:
            pop3d.plugin("cmd_pass")(failing)
            pop3d.plugin("plugin_error", alias="passing it on")(pass_on)
        else:
            pop3d.on("cmd_pass")(failing)
        event = password()
        pop3d._emit(event)
        assert event.reference is not None
        assert event.reference in caplog.text
        assert failing.__name__ in caplog.text
        assert ("ValueError" if failing is quote else "KeyError") in caplog.text
        assert SECRET not in caplog.text
        for record in caplog.records:
            assert SECRET not in repr(vars(record))
            assert record.exc_info is None

    def test_an_answer_that_quotes_the_secret(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        listener(pop3d, "cmd_pass", [SECRET])
        event = password()
        pop3d._emit(event)
        assert INTERNAL.fullmatch(line(event))
        assert (
            "HandedOverError: an answer must be a Reply of ok(), err() or multiline(), "
            "or a line that begins with +OK or -ERR, not list" in caplog.text
        )
        assert SECRET not in caplog.text

    @each(
        ("failure", "words"),
        [
            (
                ConfigError("nobody can log in:\n give an authenticator"),
                "ConfigError: nobody can log in: give an authenticator",
            ),
            (HandedOverError("a function returned a list"), "HandedOverError: a function returned a list"),
            (StoreUnavailable("not now", detail="ldap: no answer"), "StoreUnavailable: not now (ldap: no answer)"),
            (Refusal("no"), "Refusal: no"),
        ],
    )
    @each("as_plugin", [False, True])
    def test_our_own_texts_are_logged(
        self, caplog: pytest.LogCaptureFixture, failure: Exception, words: str, as_plugin: bool
    ) -> None:
        pop3d = Pluggable()

        def fail(pop3d: Pluggable, event: Event) -> None:
            try:
                int(event.argument)
            except ValueError as error:
                raise failure from error

        caplog.clear()
        if as_plugin:
            if isinstance(failure, Refusal):
                return
            pop3d.plugin("cmd_pass")(fail)
        else:
            # No registered listener, whose refusals are answers.
            signal("cmd_pass").connect(fail, sender=pop3d)
        pop3d._emit(password())
        (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
        assert f": {words}, because of ValueError\n" in record.getMessage()
        assert SECRET not in repr(vars(record))

    def test_texts_of_classes_that_are_not_ours_are_not(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Mine(ConfigError):
            pass

        def circle(pop3d: Pluggable, event: Event) -> None:
            one, other = Mine(event.argument), PipelineError(event.argument)
            one.__cause__, other.__cause__ = other, one
            raise one

        pop3d.on("cmd_pass")(circle)
        pop3d._emit(password())
        assert "Mine, because of PipelineError\n" in caplog.text
        assert SECRET not in caplog.text

    def test_what_was_suppressed_stays_so(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        def fail(pop3d: Pluggable, event: Event) -> None:
            try:
                int(event.argument)
            except ValueError:
                raise KeyError from None

        pop3d.on("cmd_pass")(fail)
        pop3d._emit(password())
        assert "KeyError" in caplog.text
        assert "because of" not in caplog.text

    def test_a_plugin_that_returns_its_argument(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        pop3d.plugin("cmd_pass")(lambda pop3d, event: event.argument)
        pop3d._emit(password())
        assert "HandedOverError: a plugin must return an Eat code or None, not str" in caplog.text
        assert SECRET not in caplog.text

    def test_other_events_keep_the_whole_story(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        pop3d.on("cmd_retr")(quote)
        pop3d.send_event("cmd_retr", "two")
        assert "invalid literal for int() with base 10: 'two'" in caplog.text


class TestChangesWhileAnEventRuns:
    def test_a_plugin_that_was_removed_is_not_called(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", lambda event: pop3d.plugin_del("plugin1") and None, None, None)
        pop3d.send_event("cmd_user")
        assert asked == [0, 2]

    def test_a_plugin_that_was_added_hears_the_next_event(self, pop3d: Pluggable) -> None:
        heard: list[str] = []

        def add(event: Event) -> None:
            if "late" not in pop3d.plugin_list():
                pop3d.plugin("cmd_user", alias="late")(lambda pop3d, event: heard.append(event.argument))

        plugin(pop3d, "cmd_user", add)
        pop3d.send_event("cmd_user", "first")
        assert heard == []
        pop3d.send_event("cmd_user", "second")
        assert heard == ["second"]

    def test_a_plugin_that_moved_is_called_once(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "cmd_user", lambda event: pop3d.pipeline.bump_down("plugin0") and None, None, None)
        pop3d.send_event("cmd_user")
        assert asked == [0, 1, 2]
        assert list(pop3d.plugin_list()) == ["plugin1", "plugin0", "plugin2"]

    def test_a_listener_that_was_unregistered_is_not_called(self, pop3d: Pluggable) -> None:
        heard: list[str] = []

        def second(pop3d: Pluggable, event: Event) -> None:
            heard.append("second")

        @pop3d.on("cmd_user")
        def first(pop3d: Pluggable, event: Event) -> None:
            heard.append("first")
            pop3d.unregister(second)

        pop3d.register(second, "cmd_user")
        pop3d.send_event("cmd_user")
        assert heard == ["first"]

    def test_a_listener_that_was_registered_hears_the_next_event(self, pop3d: Pluggable) -> None:
        heard: list[str] = []

        @pop3d.on("cmd_user")
        def first(pop3d: Pluggable, event: Event) -> None:
            if event.argument == "first":
                pop3d.on("cmd_user")(lambda pop3d, event: heard.append(event.argument))

        pop3d.send_event("cmd_user", "first")
        pop3d.send_event("cmd_user", "second")
        assert heard == ["second"]

    def test_events_may_be_sent_while_one_runs(self, pop3d: Pluggable) -> None:
        pop3d.add_event("my_event")
        heard = listener(pop3d, "my_event", ok("inner"))

        @pop3d.on("cmd_user")
        def outer(pop3d: Pluggable, event: Event) -> Reply | None:
            return pop3d.send_event("my_event").reply

        assert line(pop3d.send_event("cmd_user")) == "+OK inner\r\n"
        assert heard == [None]


class TestResponse:
    def answered(self, reply: Reply | None) -> Event:
        event = Event("cmd_stat", some_client(), ["an argument"])
        event.reply = reply
        return event

    def test_without_plugins_the_reply_is_the_reply(self, pop3d: Pluggable) -> None:
        reply = ok("0 0")
        assert pop3d._respond(self.answered(reply)) is reply

    def test_without_a_reply_nobody_is_asked(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "response", None)
        assert pop3d._respond(self.answered(None)) is None
        assert asked == []

    def test_a_plugin_is_told_what_is_answered_and_may_change_the_reply(self, pop3d: Pluggable) -> None:
        seen: list[Event] = []

        def shout(event: Event) -> None:
            seen.append(event)
            assert event.reply is not None
            event.reply = event.reply._replace(text=event.reply.text.upper())

        plugin(pop3d, "response", shout)
        event = self.answered(err("no mail"))
        assert pop3d._respond(event) == err("NO MAIL")
        assert event.reply == err("no mail")
        assert [(hook.name, hook.client, hook.args) for hook in seen] == [("response", event.client, ["cmd_stat"])]

    @each("code", [EAT_CLIENT, EAT_ALL])
    def test_it_may_be_eaten_and_its_body_is_closed(self, code: Eat) -> None:
        pop3d = Pluggable()
        plugin(pop3d, "response", code)
        body = Body()
        assert pop3d._respond(self.answered(multiline("here", body))) is None
        assert body.closed == 1

    def test_plugins_may_be_cut_short(self, pop3d: Pluggable) -> None:
        asked = plugin(pop3d, "response", EAT_PLUGIN, None)
        assert pop3d._respond(self.answered(ok("0 0"))) == ok("0 0")
        assert asked == [0]

    @each("instead", [None, err("no")])
    def test_a_body_that_nothing_takes_the_place_of_is_closed(self, instead: Reply | None) -> None:
        pop3d = Pluggable()
        plugin(pop3d, "response", lambda event: setattr(event, "reply", instead))
        body = Body()
        assert pop3d._respond(self.answered(multiline("here", body))) == instead
        assert body.closed == 1

    def test_a_reply_turned_negative_loses_its_body(self, pop3d: Pluggable) -> None:
        plugin(
            pop3d,
            "response",
            lambda event: setattr(event, "reply", event.reply._replace(positive=False, text="no")),
            lambda event: setattr(event, "reply", event.reply._replace(text="no!")),
        )
        body = Body()
        assert pop3d._respond(self.answered(multiline("here", body))) == err("no!")
        assert body.closed == 1

    def test_a_body_that_a_negative_reply_brings_along_is_closed_as_is_the_old_one(self, pop3d: Pluggable) -> None:
        old, new = Body(), Body()
        plugin(pop3d, "response", lambda event: setattr(event, "reply", Reply(False, "no", body=new)))
        assert pop3d._respond(self.answered(multiline("here", old))) == err("no")
        assert (old.closed, new.closed) == (1, 1)

    def test_a_body_in_place_of_another_may_read_it(self, pop3d: Pluggable) -> None:
        def shout(event: Event) -> None:
            assert event.reply is not None
            old = event.reply.body
            assert old is not None
            event.reply = event.reply._replace(body=(chunk.upper() for chunk in old))

        plugin(pop3d, "response", shout)
        body = Body()
        reply = pop3d._respond(self.answered(multiline("here", body)))
        assert reply is not None
        assert reply.body is not None
        assert list(reply.body) == [b"OCTETS"]
        assert body.closed == 0

    def test_a_plugin_that_fails_leaves_the_reply_as_it_is(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        plugin(pop3d, "response", ValueError("oops"))
        assert pop3d._respond(self.answered(ok("0 0"))) == ok("0 0")
        assert "plugin 'plugin0' failed at response of address=192.0.2.7 id=7" in caplog.text

    def test_all_of_a_plugin_hears_responses_too(self, pop3d: Pluggable) -> None:
        class Ear(Plugin):
            def __init__(self) -> None:
                self.heard: list[str] = []

            @handles("all")
            def hear(self, pop3d: Pluggable, event: Event) -> None:
                self.heard.append(event.name)

        ear = Ear()
        pop3d.plugin_add("ear", ear)
        pop3d._respond(self.answered(ok("0 0")))
        assert ear.heard == ["plugin_add", "response"]


class TestDiscard:
    @each("reply", [None, ok("fine"), multiline("here", [b"octets"])])
    def test_what_cannot_be_closed_is_left_alone(self, reply: Reply | None, caplog: pytest.LogCaptureFixture) -> None:
        discard(reply)
        assert caplog.records == []

    def test_what_closing_raises_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        body = Body(failure=OSError("EIO"))
        discard(multiline("here", body))
        assert body.closed == 1
        assert "EIO" in caplog.text


class TestWanted:
    def test_nobody_wants_what_nobody_hears(self, pop3d: Pluggable) -> None:
        assert not pop3d.wanted("command_finished")
        assert not pop3d.wanted("response")

    def test_a_listener_wants_it_until_it_goes(self, pop3d: Pluggable) -> None:
        def listen(pop3d: Pluggable, event: Event) -> None: ...

        pop3d.register(listen, "command_finished")
        assert pop3d.wanted("command_finished")
        pop3d.unregister(listen)
        assert not pop3d.wanted("command_finished")

    def test_a_plugin_wants_it_until_it_goes(self, pop3d: Pluggable) -> None:
        plugin(pop3d, "response", None)
        assert pop3d.wanted("response")
        pop3d.plugin_del("plugin0")
        assert not pop3d.wanted("response")

    def test_another_servers_listener_does_not(self, pop3d: Pluggable) -> None:
        other = Pluggable()
        listener(other, "command_finished")
        assert (pop3d.wanted("command_finished"), other.wanted("command_finished")) == (False, True)


def test_references_differ() -> None:
    assert len({new_reference() for _ in range(100)}) == 100
