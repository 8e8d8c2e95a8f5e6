"""Plugins: what they handle, how they are added and removed, and what they choose to hear."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from table import each

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.pipeline.plugin import (
    EAT_ALL,
    EAT_CLIENT,
    EAT_NONE,
    EAT_PLUGIN,
    Eat,
    FunctionPlugin,
    Plugin,
    handlers_of,
    handles,
)


class Recorder(Plugin):
    """Writes down what it hears, and is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @handles("cmd_user", "cmd_pass")
    def login(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(event.name)

    @handles("plugin_add", "plugin_del")
    def company(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(f"{event.name} {event.args[0]}")

    def plugin_register(self, pop3d: Pluggable) -> bool | None:
        self.heard.append("register")
        return None

    def plugin_unregister(self, pop3d: Pluggable) -> None:
        self.heard.append("unregister")


class Idle(Plugin):
    """A plugin that receives none of the tested events."""

    @handles("unregistered")
    def ignore(self, pop3d: Pluggable, event: Event) -> None: ...


class Everything(Plugin):
    def __init__(self) -> None:
        self.heard: list[str] = []

    @handles("cmd_user")
    def user(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append("user")

    @handles("all")
    def default(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(event.name)


@pytest.fixture
def pop3d() -> Pluggable:
    return Pluggable()


class TestEat:
    def test_the_codes_are_the_seeds(self) -> None:
        assert [EAT_NONE, EAT_CLIENT, EAT_PLUGIN, EAT_ALL] == [1, 2, 3, 4]
        assert list(Eat) == [EAT_NONE, EAT_CLIENT, EAT_PLUGIN, EAT_ALL]


class TestHandles:
    def test_it_returns_the_method_unchanged(self) -> None:
        def method(self: object, pop3d: object, event: object) -> None: ...

        assert handles("cmd_user")(method) is method

    @each("names", [(), (len,), ("cmd_user", 3)])
    def test_it_needs_names(self, names: Any) -> None:
        with pytest.raises(PipelineError, match="needs the names of events"):
            handles(*names)

    def test_it_refuses_what_nobody_would_await(self) -> None:
        async def method(self: object, pop3d: object, event: object) -> None: ...

        with pytest.raises(PipelineError, match=r"method is a coroutine function"):
            handles("cmd_user")(method)

    def test_marks_on_one_method_add_up(self) -> None:
        class Stacked:
            @handles("cmd_user")
            @handles("cmd_pass", "cmd_user")
            def login(self, pop3d: object, event: object) -> None: ...

        assert set(handlers_of(Stacked())) == {"cmd_user", "cmd_pass"}

    def test_an_override_handles_the_same_events(self) -> None:
        class Louder(Recorder):
            def login(self, pop3d: Pluggable, event: Event) -> None:
                self.heard.append(event.name.upper())

        plugin = Louder()
        handlers_of(plugin)["cmd_user"](None, Event("cmd_user"))
        assert plugin.heard == ["CMD_USER"]

    def test_an_override_that_is_marked_handles_what_it_says(self) -> None:
        class Other(Recorder):
            @handles("cmd_quit")
            def login(self, pop3d: Pluggable, event: Event) -> None: ...

        assert set(handlers_of(Other())) == {"cmd_quit", "plugin_add", "plugin_del"}

    def test_an_override_by_no_method_handles_nothing(self) -> None:
        class Mute(Recorder):
            login = None  # type: ignore[assignment]  # the case under test

        assert set(handlers_of(Mute())) == {"plugin_add", "plugin_del"}

    def test_static_and_class_methods_may_be_marked_on_either_side(self) -> None:
        class Odd:
            @staticmethod
            @handles("cmd_user")
            def inside(pop3d: object, event: object) -> str:
                return "static"

            @handles("cmd_pass")
            @classmethod
            def outside(cls, pop3d: object, event: object) -> str:
                return cls.__name__

        assert {name: handler(None, None) for name, handler in handlers_of(Odd()).items()} == {
            "cmd_user": "static",
            "cmd_pass": "Odd",
        }

    def test_two_methods_for_one_event_are_a_mistake(self, pop3d: Pluggable) -> None:
        class Twice(Plugin):
            @handles("cmd_user")
            def one(self, pop3d: Pluggable, event: Event) -> None: ...

            @handles("cmd_user")
            def two(self, pop3d: Pluggable, event: Event) -> None: ...

        with pytest.raises(PipelineError, match="Twice: one and two both handle 'cmd_user'"):
            pop3d.plugin_add("twice", Twice())
        assert pop3d.plugin_order() == []


class TestAdd:
    def test_it_registers_then_hears(self, pop3d: Pluggable) -> None:
        plugin = Recorder()
        assert pop3d.plugin_add("recorder", plugin) == 1
        pop3d.send_event("cmd_user", "alice")
        pop3d.send_event("cmd_quit")
        assert plugin.heard == ["register", "plugin_add recorder", "cmd_user"]

    def test_the_priority_given_overrides_the_plugins(self, pop3d: Pluggable) -> None:
        pop3d.plugin_add("one", Recorder())
        pop3d.plugin_add("two", Recorder(), priority=-1)
        assert list(pop3d.plugin_list()) == ["two", "one"]

    def test_the_pipeline_does_the_same(self, pop3d: Pluggable) -> None:
        plugin = Recorder()
        pop3d.pipeline.push("recorder", plugin)
        pop3d.send_event("cmd_user")
        pop3d.pipeline.pop()
        pop3d.send_event("cmd_user")
        assert plugin.heard == ["register", "plugin_add recorder", "cmd_user", "unregister"]

    def test_listeners_are_told(self, pop3d: Pluggable) -> None:
        told: list[tuple[str, str, object]] = []

        @pop3d.on("plugin_add", "plugin_del")
        def listen(pop3d: Pluggable, event: Event) -> None:
            told.append((event.name, *event.args))

        plugin = Recorder()
        pop3d.plugin_add("recorder", plugin)
        pop3d.plugin_del("recorder")
        assert told == [("plugin_add", "recorder", plugin), ("plugin_del", "recorder", plugin)]

    @each("mistake", [False, ValueError("no such file")])
    def test_one_that_does_not_register_leaves_nothing_behind(self, mistake: Any) -> None:
        pop3d = Pluggable()

        class Unwilling(Everything):
            def plugin_register(self, pop3d: Pluggable) -> bool | None:
                if isinstance(mistake, Exception):
                    raise mistake
                return bool(mistake)

        plugin = Unwilling()
        with pytest.raises(PipelineError, match=r"False|no such file") as caught:
            pop3d.plugin_add("unwilling", plugin)
        assert caught.value.__cause__ is (mistake or None)
        pop3d.send_event("cmd_user")
        assert plugin.heard == []
        assert pop3d.plugin_list() == {}
        assert not pop3d.wanted("cmd_user")
        assert pop3d.plugin_add("unwilling", Recorder()) == 1

    def test_one_that_handles_an_unknown_event_is_refused_and_unregistered(self, pop3d: Pluggable) -> None:
        class Misspelt(Recorder):
            @handles("cmd_usre", "cmd_xfine")
            def refuse(self, pop3d: Pluggable, event: Event) -> None: ...

        plugin = Misspelt()
        with pytest.raises(PipelineError, match="did you mean cmd_user"):
            pop3d.plugin_add("misspelt", plugin)
        assert plugin.heard == ["register", "unregister"]
        assert pop3d.plugin_order() == []

    def test_it_may_declare_its_own_events_when_it_registers(self, pop3d: Pluggable) -> None:
        class Own(Plugin):
            heard = 0

            @handles("my_event")
            def mine(self, pop3d: Pluggable, event: Event) -> None:
                self.heard += 1

            def plugin_register(self, pop3d: Pluggable) -> None:
                pop3d.add_event("my_event")

        plugin = Own()
        pop3d.plugin_add("own", plugin)
        pop3d.send_event("my_event")
        assert plugin.heard == 1

    def test_it_hears_nothing_before_it_has_registered(self, pop3d: Pluggable) -> None:
        class Eager(Everything):
            def plugin_register(self, pop3d: Pluggable) -> None:
                pop3d.send_event("cmd_user")
                self.heard.append("registered")

        plugin = Eager()
        pop3d.plugin_add("eager", plugin)
        assert plugin.heard == ["registered", "plugin_add"]

    def test_events_while_its_handlers_are_asked_for_pass_it(self, pop3d: Pluggable) -> None:
        class Chatty(Plugin):
            def plugin_handlers(self) -> dict[str, Any]:
                pop3d.send_event("cmd_user")
                return {}

        assert pop3d.plugin_add("chatty", Chatty()) == 1

    def test_one_that_handles_nothing_is_a_mistake_and_is_not_added(self, pop3d: Pluggable) -> None:
        class Forgotten(Plugin):
            def user(self, pop3d: Pluggable, event: Event) -> None: ...

            def plugin_register(self, pop3d: Pluggable) -> None:
                raise AssertionError

        with pytest.raises(
            PipelineError, match=r"Forgotten handles no event: mark a method with @handles\('cmd_user'\)"
        ):
            pop3d.plugin_add("forgotten", Forgotten())
        assert pop3d.plugin_order() == []

    def test_the_order_is_of_the_plugins_themselves(self, pop3d: Pluggable) -> None:
        last, first = Idle(), Idle()
        pop3d.plugin_add("last", last)
        pop3d.plugin_add("first", first, priority=-1)
        assert pop3d.plugin_order() == [first, last]
        assert list(pop3d.plugin_list()) == ["first", "last"]

    def test_one_that_is_removed_while_it_registers_is_not_added(self, pop3d: Pluggable) -> None:
        class Shy(Recorder):
            def plugin_register(self, pop3d: Pluggable) -> None:
                pop3d.plugin_del(self)

        plugin = Shy()
        with pytest.raises(PipelineError, match="was removed while it was being added"):
            pop3d.plugin_add("shy", plugin)
        assert plugin.heard == ["unregister"]


class TestRemove:
    def test_it_unregisters_and_hears_no_more(self, pop3d: Pluggable) -> None:
        plugin = Recorder()
        pop3d.plugin_add("recorder", plugin)
        plugin.heard.clear()
        assert pop3d.plugin_del("recorder") is plugin
        pop3d.send_event("cmd_user")
        assert plugin.heard == ["unregister"]

    def test_it_is_removed_even_if_it_fails_at_that(self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
        class Stubborn(Idle):
            def plugin_unregister(self, pop3d: Pluggable) -> None:
                raise ValueError("never")

        errors: list[list[Any]] = []
        pop3d.on("plugin_error")(lambda pop3d, event: errors.append(event.args))
        pop3d.plugin_add("stubborn", Stubborn())
        pop3d.plugin_del("stubborn")
        assert pop3d.plugin_order() == []
        assert [(str(error), *rest) for error, *rest in errors] == [("never", "stubborn", "plugin_unregister")]
        assert "plugin 'stubborn' failed at plugin_unregister" in caplog.text

    def test_all_are_removed_with_the_listeners(self, pop3d: Pluggable) -> None:
        plugins = [Recorder(), Recorder()]
        heard: list[Any] = []
        pop3d.on("plugin_del", "cmd_user")(lambda pop3d, event: heard.append(event.args[0]))
        pop3d.plugin_add("one", plugins[0])
        pop3d.plugin_add("two", plugins[1])
        pop3d._unregister_all()
        assert heard == ["two", "one"]
        assert [plugin.heard[-1] for plugin in plugins] == ["unregister", "unregister"]
        assert not pop3d.wanted("cmd_user")

    def test_one_may_take_another_with_it(self, pop3d: Pluggable) -> None:
        class Leader(Idle):
            def plugin_unregister(self, pop3d: Pluggable) -> None:
                pop3d.plugin_del("one")

        pop3d.plugin_add("one", Idle())
        pop3d.plugin_add("leader", Leader())
        pop3d._unregister_all()
        assert pop3d.plugin_order() == []


class TestAskAfter:
    def test_by_alias_and_by_the_plugin_itself(self, pop3d: Pluggable) -> None:
        one, two = Recorder(), Everything()
        pop3d.plugin_add("one", one)
        pop3d.plugin_add("two", two)
        assert pop3d.plugin_get("one") is one
        assert pop3d.plugin_get(two) is two
        assert pop3d.plugin_list() == {"one": one, "two": two}
        assert list(pop3d.plugin_list()) == ["one", "two"]
        pop3d.pipeline.bump_up("two")
        assert list(pop3d.plugin_list()) == ["two", "one"]

    def test_what_is_not_there_is_an_error(self, pop3d: Pluggable) -> None:
        with pytest.raises(PipelineError, match="no plugin 'x'"):
            pop3d.plugin_get("x")


class TestChoose:
    @pytest.fixture
    def plugin(self, pop3d: Pluggable) -> Everything:
        plugin = Everything()
        pop3d.plugin_add("everything", plugin)
        plugin.heard.clear()
        return plugin

    def hears(self, pop3d: Pluggable, plugin: Everything) -> list[str]:
        plugin.heard.clear()
        for name in ("cmd_user", "cmd_pass", "cmd_quit"):
            pop3d.send_event(name)
        return plugin.heard

    def test_it_hears_all_it_handles(self, pop3d: Pluggable, plugin: Everything) -> None:
        assert self.hears(pop3d, plugin) == ["user", "cmd_pass", "cmd_quit"]

    def test_it_may_be_told_to_leave_one_out(self, pop3d: Pluggable, plugin: Everything) -> None:
        pop3d.plugin_unregister("everything", "cmd_pass")
        assert self.hears(pop3d, plugin) == ["user", "cmd_quit"]
        pop3d.plugin_register(plugin, "cmd_pass")
        assert self.hears(pop3d, plugin) == ["user", "cmd_pass", "cmd_quit"]

    @pytest.mark.parametrize("names", [(), ("all",)])
    def test_it_may_be_told_to_hear_nothing_but_one(
        self, pop3d: Pluggable, plugin: Everything, names: tuple[str, ...]
    ) -> None:
        pop3d.plugin_unregister("everything", *names)
        assert not pop3d.wanted("cmd_user")
        pop3d.plugin_register("everything", "cmd_pass")
        assert self.hears(pop3d, plugin) == ["cmd_pass"]
        pop3d.plugin_unregister("everything", "cmd_pass")
        assert self.hears(pop3d, plugin) == []
        pop3d.plugin_register("everything", *names)
        assert self.hears(pop3d, plugin) == ["user", "cmd_pass", "cmd_quit"]

    def test_saying_it_twice_changes_nothing(self, pop3d: Pluggable, plugin: Everything) -> None:
        pop3d.plugin_register("everything", "cmd_pass")
        pop3d.plugin_unregister("everything", "cmd_user")
        pop3d.plugin_unregister("everything", "cmd_user")
        assert self.hears(pop3d, plugin) == ["cmd_pass", "cmd_quit"]

    def test_what_it_does_not_handle_it_cannot_hear(self, pop3d: Pluggable) -> None:
        pop3d.plugin_add("recorder", Recorder())
        with pytest.raises(PipelineError, match="'recorder' has no method that handles 'cmd_quit'"):
            pop3d.plugin_register("recorder", "cmd_quit")

    def test_a_misspelling_is_refused(self, pop3d: Pluggable, plugin: Everything) -> None:
        with pytest.raises(PipelineError, match="did you mean cmd_user"):
            pop3d.plugin_unregister("everything", "cmd_usre")

    @each(
        ("chosen", "refused", "heard"),
        [
            (("cmd_user", "cmd_quit"), (), ["user", "cmd_quit"]),
            (("all",), (), ["user", "cmd_pass", "cmd_quit"]),
            ((), ("cmd_user",), ["cmd_pass", "cmd_quit"]),
            (("cmd_user", "cmd_quit"), ("cmd_quit",), ["user"]),
        ],
    )
    def test_what_it_chooses_while_it_registers_is_all_it_hears(
        self, chosen: tuple[str, ...], refused: tuple[str, ...], heard: list[str]
    ) -> None:
        pop3d = Pluggable()

        class Choosy(Everything):
            def plugin_register(self, pop3d: Pluggable) -> None:
                if chosen:
                    pop3d.plugin_register(self, *chosen)
                if refused:
                    pop3d.plugin_unregister(self, *refused)

        plugin = Choosy()
        pop3d.plugin_add("choosy", plugin)
        assert self.hears(pop3d, plugin) == heard


class TestFunctionPlugin:
    def test_the_decorator_returns_the_function_unchanged(self, pop3d: Pluggable) -> None:
        def refuse(pop3d: Pluggable, event: Event) -> Eat:
            event.reply = "-ERR go away"
            return EAT_ALL

        assert pop3d.plugin("cmd_user", priority=-3)(refuse) is refuse
        assert list(pop3d.plugin_list()) == ["refuse"]
        assert pop3d.plugin_get("refuse").priority == -3
        event = pop3d.send_event("cmd_user", "alice")
        assert (event.eaten, event.reply and event.reply.text) == (True, "go away")

    def test_an_alias_may_be_given(self, pop3d: Pluggable) -> None:
        pop3d.plugin("cmd_user", alias="bouncer")(lambda pop3d, event: EAT_NONE)
        assert list(pop3d.plugin_list()) == ["bouncer"]

    def test_what_has_no_name_needs_an_alias(self, pop3d: Pluggable) -> None:
        class Call:
            def __call__(self, pop3d: Pluggable, event: Event) -> None: ...

        with pytest.raises(PipelineError, match="an alias must be a non-empty str"):
            pop3d.plugin("cmd_user")(Call())

    @each("names", [(), (len,)])
    def test_it_needs_names(self, names: Any) -> None:
        pop3d = Pluggable()
        with pytest.raises(PipelineError, match=r"needs the names of events: @pop3d\.plugin\('cmd_user'\)"):
            pop3d.plugin(*names)
        with pytest.raises(PipelineError, match="give the names of events"):
            FunctionPlugin(lambda pop3d, event: EAT_NONE)

    def test_one_that_cannot_be_called_is_refused(self, pop3d: Pluggable) -> None:
        with pytest.raises(PipelineError, match=r"\(event\) must accept the arguments \(pop3d, event\)"):
            pop3d.plugin("cmd_user", alias="short")(lambda event: EAT_NONE)
        assert pop3d.plugin_order() == []

    def test_it_may_hear_everything(self, pop3d: Pluggable) -> None:
        heard: list[str] = []
        pop3d.plugin_add("ear", FunctionPlugin(lambda pop3d, event: heard.append(event.name), "all"))
        pop3d.send_event("registered")
        assert heard == ["plugin_add", "registered"]

    def test_it_is_refused_if_nobody_would_await_it(self, pop3d: Pluggable) -> None:
        async def refuse(pop3d: Pluggable, event: Event) -> None: ...

        with pytest.raises(PipelineError, match="coroutine function"):
            pop3d.plugin("cmd_user")(refuse)


def test_a_handler_table_of_ones_own_may_name_new_verbs(pop3d: Pluggable, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        pop3d.plugin_add("verbs", FunctionPlugin(lambda pop3d, event: EAT_NONE, "cmd_xone", "cmd_xtwo"))
    assert pop3d.wanted("cmd_xone")
    assert caplog.records == []
