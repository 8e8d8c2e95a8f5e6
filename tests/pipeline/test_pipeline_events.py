"""Events, and signals that are blinker's in all but order and generation."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import blinker
import pytest

from geventpop3.errors import PipelineError
from geventpop3.pipeline import events
from geventpop3.pipeline.events import CATALOGUE, CommandSummary, Event, EventSignal, SessionSummary, generation, signal
from geventpop3.wire.replies import Reply, err, ok


class SomeClient:
    id = 7
    peer = ("192.0.2.7", 50000)


def some_client() -> Any:
    return SomeClient()


class TestEvent:
    def test_it_starts_unanswered(self) -> None:
        event = Event("cmd_noop")
        assert (event.client, event.args, event.raw, event.reply, event.eaten) == (None, [], b"", None, False)
        assert event.reference is None

    def test_its_arguments_are_the_list_that_was_given(self) -> None:
        args = ["1"]
        event = Event("cmd_retr", None, args)
        event.args.append("extra")
        assert args == ["1", "extra"]

    def test_it_has_the_summary_of_a_session_or_a_command(self) -> None:
        session, command = SessionSummary(owner="alice"), CommandSummary("NOOP", "", True, 6, 5, 0.1)
        assert Event("session_finished", None, [session]).session_summary is session
        assert Event("command_finished", None, [command]).command_summary is command

    @pytest.mark.parametrize("args", [[], ["alice"], [CommandSummary("NOOP", "", True, 6, 5, 0.1)]])
    def test_a_summary_that_it_does_not_have_is_an_error(self, args: list[Any]) -> None:
        with pytest.raises(PipelineError, match="'cmd_user' has no SessionSummary: 'session_finished' has one"):
            _ = Event("cmd_user", None, args).session_summary
        with pytest.raises(PipelineError, match="'cmd_user' has no CommandSummary: 'command_finished' has one"):
            _ = Event("cmd_user", None, ["alice"]).command_summary

    def test_its_argument_is_all_of_them(self) -> None:
        assert Event("cmd_top", None, ["1", "10"]).argument == "1 10"
        assert Event("connection", None, ["127.0.0.1", 40000]).argument == "127.0.0.1 40000"
        assert Event("cmd_list").argument == ""

    def test_its_reply_may_be_a_reply_or_a_line(self) -> None:
        event = Event("cmd_noop")
        event.reply = ok("fine")
        assert event.reply == Reply(True, "fine")
        event.reply = "-ERR [AUTH] no"
        assert event.reply == err("no", "AUTH")
        event.reply = b"+OK"
        assert event.reply == ok()
        event.reply = None
        assert event.reply is None

    def test_a_reply_that_is_none_fails_where_it_is_set(self) -> None:
        event = Event("cmd_noop")
        with pytest.raises(TypeError, match="not int"):
            event.reply = 7  # type: ignore[assignment]  # the mistake under test
        with pytest.raises(ValueError, match=r"\+OK"):
            event.reply = "hello"
        assert event.reply is None

    def test_a_negative_reply_has_no_body_and_only_one_that_is_not_the_events_yet_is_closed(self) -> None:
        closed = []

        class Body:
            def __init__(self, name: str) -> None:
                self.name = name

            def __iter__(self) -> Iterator[bytes]:
                return iter((b"x",))

            def close(self) -> None:
                closed.append(self.name)

        event = Event("cmd_top")
        event.reply = Reply(True, "here", None, Body("first"))
        event.reply = event.reply._replace(positive=False)  # who emits the event closes that body
        assert event.reply == err("here")
        assert closed == []
        event.reply = Reply(False, "no", None, Body("second"))
        assert event.reply == err("no")
        assert closed == ["second"]

    def test_its_repr_shows_client_and_arguments(self) -> None:
        assert repr(Event("cmd_retr", some_client(), ["2"])) == "<Event cmd_retr client=7 args=['2']>"
        assert repr(Event("registered")) == "<Event registered args=[]>"

    def test_its_repr_shows_no_argument_of_an_event_with_a_secret(self) -> None:
        event = Event("cmd_apop", None, ["alice", "digest"], b"APOP alice digest", 1)
        event.args.pop(0)
        assert repr(event) == "<Event cmd_apop args=['****']>"


class TestCatalogue:
    def test_it_has_every_documented_event(self) -> None:
        names = (
            "registered unregistered listener_failed connection disconnected cmd_user cmd_pass cmd_apop cmd_auth "
            "cmd_stls cmd_utf8 cmd_lang cmd_capa cmd_stat cmd_list cmd_retr cmd_dele cmd_noop cmd_rset cmd_top "
            "cmd_uidl cmd_quit "
            "response reply_withdrawn command_finished credentials challenge command_eaten authenticated "
            "authentication_failed tls_started certificates_reloaded session_finished "
            "plugin_add plugin_del plugin_error"
        )
        assert list(CATALOGUE) == names.split()

    def test_each_is_documented_and_an_attribute_of_the_module(self) -> None:
        for name, one in CATALOGUE.items():
            assert getattr(events, name) is one
            assert one.name == name
            assert one.__doc__ not in (None, EventSignal.__doc__)

    def test_a_signal_of_a_name_is_always_the_same(self) -> None:
        assert signal("cmd_user") is events.cmd_user
        assert signal("cmd_xsame") is signal("cmd_xsame")

    def test_a_signal_that_was_added_is_not_in_the_catalogue(self) -> None:
        signal("cmd_xadded")
        assert "cmd_xadded" not in CATALOGUE

    def test_nobody_can_connect_to_response(self) -> None:
        def receiver(sender: object, event: Event) -> None: ...

        with pytest.raises(PipelineError, match="for plugins only"):
            events.response.connect(receiver)
        with pytest.raises(PipelineError, match="for plugins only"):
            events.response.connect_via("anybody")(receiver)


class TestSignal:
    """Plain blinker, which keeps working."""

    @pytest.fixture
    def channel(self) -> EventSignal:
        return EventSignal("cmd_xplain", "For this test.")

    def test_receivers_are_called_in_order_of_connection(self, channel: EventSignal) -> None:
        calls: list[int] = []
        receivers = [lambda sender, number=number: calls.append(number) for number in range(20)]
        for receiver in receivers:
            channel.connect(receiver)
        channel.send(None)
        assert calls == list(range(20))

    def test_receivers_for_any_sender_come_first(self, channel: EventSignal) -> None:
        calls: list[str] = []

        @channel.connect_via("me")
        def mine(sender: object) -> None:
            calls.append("mine")

        def anyones(sender: object) -> None:
            calls.append("anyone's")

        channel.connect(anyones, sender=blinker.ANY)
        channel.connect(mine)
        channel.send("me")
        assert calls == ["anyone's", "mine"]
        channel.send("you")
        assert calls[2:] == ["anyone's", "mine"]

    def test_the_one_who_left_is_not_called(self, channel: EventSignal) -> None:
        def receiver(sender: object) -> str:
            return "heard"

        channel.connect(receiver, sender="me")
        assert [result for _, result in channel.send("me")] == ["heard"]
        assert channel.send("you") == []
        channel.disconnect(receiver, sender="me")
        assert channel.send("me") == []

    def test_weak_receivers_vanish(self, channel: EventSignal) -> None:
        def receiver(sender: object) -> None: ...

        channel.connect(receiver)
        assert channel.has_receivers_for("me")
        del receiver
        gc.collect()
        assert not channel.has_receivers_for("me")

    def test_connected_to_connects_for_a_while(self, channel: EventSignal) -> None:
        with channel.connected_to(lambda sender: "heard"):
            assert len(channel.send("me")) == 1
        assert channel.send("me") == []

    def test_muted_mutes_for_a_while(self, channel: EventSignal) -> None:
        with channel.connected_to(lambda sender: "heard"):
            with channel.muted():
                assert channel.is_muted
                assert channel.send("me") == []
            assert len(channel.send("me")) == 1

    def test_the_generation_changes_with_its_receivers(self, channel: EventSignal) -> None:
        seen = {generation.latest}

        def receiver(sender: object) -> None: ...

        channel.connect(receiver)
        seen.add(generation.latest)
        channel.disconnect(receiver)
        seen.add(generation.latest)
        with channel.muted():
            seen.add(generation.latest)
        seen.add(generation.latest)
        assert len(seen) == 5

    def test_its_set_has_the_rest_of_what_a_set_has(self, channel: EventSignal) -> None:
        members = channel.set_class([3, 1])
        members.add(2)
        copied = members.copy()
        members.discard(1)
        members.discard(9)
        assert list(members) == [3, 2]
        assert list(copied) == [3, 1, 2]
        assert list(members | channel.set_class([7, 3])) == [3, 2, 7]
        assert (len(members), 3 in members, 1 in members) == (2, True, False)


def test_a_session_summary_starts_at_nothing() -> None:
    assert SessionSummary(address="::1", port=1) == SessionSummary("::1", 1, None, 0, 0, 0, 0, 0, 0.0, "")


def test_a_receiver_that_nobody_would_await_is_not_connected() -> None:
    async def asynchronous(sender: object, event: Event) -> None: ...

    with pytest.raises(PipelineError, match=r"asynchronous is a coroutine function"):
        events.disconnected.connect(asynchronous)
    with pytest.raises(PipelineError, match=r"asynchronous is a coroutine function"):
        events.signal("cmd_xlater").connect_via(None)(asynchronous)
    assert not events.disconnected.receivers
