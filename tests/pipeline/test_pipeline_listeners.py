"""Listeners: who may listen, to what, in which order, and how long."""

from __future__ import annotations

import functools
import gc
import inspect
import weakref
from functools import partial
from typing import Any

import pytest
from table import each

from geventpop3.errors import PipelineError
from geventpop3.pipeline import events
from geventpop3.pipeline.events import CATALOGUE, Event, signal
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.pipeline.plugin import Plugin, handles


class Declared(Pluggable):
    def __init__(self) -> None:
        super().__init__()
        self.declared: list[str] = []

    def _event_declared(self, name: str) -> None:
        self.declared.append(name)


class Service:
    """What an application registers as a whole."""

    priority = 1000

    def __init__(self) -> None:
        self.heard: list[str] = []

    @handles("cmd_user", "cmd_pass")
    def login(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(f"login {event.name}")

    @handles("cmd_quit")
    def quit(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append("quit")


class Default(Service):
    @handles("all")
    def default(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(event.name)


class Ear:
    """A listener that writes down the events it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(event.name)

    def method(self, pop3d: Pluggable, event: Event) -> None:
        self.heard.append(event.name)


@pytest.fixture
def pop3d() -> Declared:
    return Declared()


@pytest.fixture
def ear() -> Ear:
    return Ear()


class TestCallables:
    def test_one_hears_the_events_it_named(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "cmd_user", "cmd_pass", "cmd_user")
        for name in ("cmd_user", "cmd_pass", "cmd_quit"):
            pop3d.send_event(name)
        assert ear.heard == ["cmd_user", "cmd_pass"]

    def test_the_decorator_returns_the_function_unchanged(self, pop3d: Declared) -> None:
        def listen(pop3d: Pluggable, event: Event) -> str:
            return f"+OK {event.argument}"

        assert pop3d.on("cmd_user")(listen) is listen
        event = pop3d.send_event("cmd_user", "alice")
        assert event.reply is not None
        assert event.reply.text == "alice"

    def test_all_hears_every_event_but_response(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "all")
        for name in CATALOGUE:
            pop3d.send_event(name)
        assert ear.heard == [name for name in CATALOGUE if name != "response"]

    def test_all_hears_what_is_declared_later_too(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "all")
        pop3d.add_event("my_event")
        pop3d.register(lambda pop3d, event: None, "cmd_xlater")
        pop3d.send_event("my_event")
        pop3d.send_event("cmd_xlater")
        assert ear.heard == ["my_event", "cmd_xlater"]

    def test_all_does_not_hear_twice_what_it_hears_anyway(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "cmd_user")
        pop3d.register(ear, "cmd_pass", "cmd_xfirst", "all")
        for name in ("cmd_user", "cmd_pass", "cmd_xfirst"):
            pop3d.send_event(name)
        assert ear.heard == ["cmd_user", "cmd_pass", "cmd_xfirst"]

    def test_bound_methods_and_partials_are_callables(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear.method, "cmd_user")
        pop3d.register(functools.partial(Ear.method, ear), "cmd_user")
        pop3d.send_event("cmd_user")
        assert ear.heard == ["cmd_user", "cmd_user"]

    @each("names", [("cmd_user",), ("all",), ("cmd_quit", "cmd_user")])
    def test_one_that_hears_an_event_already_is_refused(self, names: tuple[str, ...]) -> None:
        pop3d = Declared()
        ear = Ear()
        pop3d.register(ear.method, "cmd_user")
        if names == ("all",):
            pop3d.register(ear.method, "all")
        with pytest.raises(PipelineError, match=r"Ear\.method is registered for '(cmd_user|all)' already"):
            pop3d.register(ear.method, *names)
        pop3d.send_event("cmd_quit")
        assert ear.heard == (["cmd_quit"] if names == ("all",) else [])

    def test_one_that_hears_all_cannot_name_a_new_verb_on_top(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "all")
        with pytest.raises(PipelineError, match="is registered for 'cmd_xnew' already"):
            pop3d.register(ear, "cmd_xnew")
        assert pop3d.declared == []

    def test_what_cannot_listen_is_refused(self, pop3d: Declared) -> None:
        async def asynchronous(pop3d: Pluggable, event: Event) -> None: ...

        def yielding(pop3d: Pluggable, event: Event) -> Any:
            yield b"octets"

        async def generator(pop3d: Pluggable, event: Event) -> Any:
            yield

        class Asynchronous:
            async def __call__(self, pop3d: Pluggable, event: Event) -> None: ...

        def plain(pop3d: Pluggable, event: Event) -> None: ...

        mistakes: list[tuple[Any, Any, str]] = [
            (object(), ("cmd_user",), "builtins.object is not callable and no method of it carries @handles"),
            (plain, (), "give the names of events for .*plain"),
            (asynchronous, ("cmd_user",), "coroutine function"),
            (yielding, ("cmd_user",), "generator function, which is not run: return the reply"),
            (partial(yielding), ("cmd_user",), "generator function"),
            (partial(asynchronous), ("cmd_user",), "coroutine function"),
            (generator, ("cmd_user",), "coroutine function"),
            (Asynchronous(), ("cmd_user",), "Asynchronous is a coroutine function.*: write def instead of async def"),
            (Ear, ("cmd_user",), "Ear is a class: register an instance of it"),
            (
                lambda event: None,
                ("cmd_user",),
                r"<lambda>\(event\) must accept the arguments \(pop3d, event\): too many",
            ),
            ([].append, ("cmd_user",), r"list\.append\(object\) must accept the arguments \(pop3d, event\)"),
            (Plugin(), (), "Plugin is a Plugin: add it with plugin_add"),
            (plain, ("response",), "'response' is for plugins only"),
            (plain, (plain,), "an event's name must be a str"),
            (plain, ("cmd_usre",), "did you mean cmd_user"),
            (plain, ("USER",), "did you mean cmd_user"),
            (plain, ("user",), r"did you mean cmd_user\?"),
            (plain, ("Quit",), "did you mean cmd_quit"),
            (plain, ("CMD_QUIT",), "did you mean cmd_quit"),
            (plain, ("STLS",), "did you mean cmd_stls"),
        ]
        for listener, names, why in mistakes:
            with pytest.raises(PipelineError, match=why):
                pop3d.register(listener, *names)

    def test_a_method_that_cannot_be_called_is_refused(self, pop3d: Declared) -> None:
        class Short:
            @handles("cmd_user")
            def user(self, event: Event) -> None: ...

        with pytest.raises(PipelineError, match=r"user\(event\) must accept the arguments \(pop3d, event\)"):
            pop3d.register(Short())

    def test_it_is_the_callable_itself_that_must_take_them(self, pop3d: Declared) -> None:
        heard: list[str] = []

        def inner(pop3d: Pluggable, event: Event, what: str) -> None:
            heard.append(what)

        @functools.wraps(inner)
        def wrapper(*args: Any) -> None:
            inner(*args, "wrapped")

        pop3d.on("cmd_user")(wrapper)
        pop3d.send_event("cmd_user")
        assert heard == ["wrapped"]

    def test_one_without_a_signature_may_listen(self, pop3d: Declared) -> None:
        # 3.12.1 has other words than the others.
        with pytest.raises(ValueError, match=r"(no|invalid) signature"):
            inspect.signature(getattr)
        pop3d.on("cmd_user")(getattr)
        assert pop3d.wanted("cmd_user")

    @each("names", [(), (len,), (["cmd_user"],)])
    def test_the_decorator_needs_names(self, names: Any) -> None:
        pop3d = Declared()
        with pytest.raises(PipelineError, match=r"pop3d\.on needs the names of events: @pop3d\.on\('cmd_user'\)"):
            pop3d.on(*names)

    def test_a_misspelling_among_others_registers_nothing(self, pop3d: Declared, ear: Ear) -> None:
        with pytest.raises(PipelineError, match="did you mean cmd_pass"):
            pop3d.register(ear, "cmd_user", "cmd_xnew", "cmd_psas")
        assert not pop3d.wanted("cmd_user")
        assert pop3d.declared == []


class TestObjects:
    def test_its_marked_methods_listen(self, pop3d: Declared) -> None:
        service = Service()
        pop3d.register(service)
        for name in ("cmd_user", "cmd_pass", "cmd_quit", "cmd_noop"):
            pop3d.send_event(name)
        assert service.heard == ["login cmd_user", "login cmd_pass", "quit"]

    def test_names_narrow_them_down(self, pop3d: Declared) -> None:
        service = Service()
        pop3d.register(service, "cmd_pass")
        for name in ("cmd_user", "cmd_pass", "cmd_quit"):
            pop3d.send_event(name)
        assert service.heard == ["login cmd_pass"]

    @each("names", [(), ("all",)])
    def test_a_default_hears_what_no_other_method_does(self, names: tuple[str, ...]) -> None:
        pop3d = Declared()
        service = Default()
        pop3d.register(service, *names)
        pop3d.add_event("my_event")
        for name in ("cmd_user", "cmd_noop", "my_event"):
            pop3d.send_event(name)
        assert service.heard == ["login cmd_user", "cmd_noop", "my_event"]

    def test_a_default_may_be_narrowed_down(self, pop3d: Declared) -> None:
        service = Default()
        pop3d.register(service, "cmd_stat", "cmd_user")
        for name in ("cmd_user", "cmd_stat", "cmd_noop"):
            pop3d.send_event(name)
        assert service.heard == ["login cmd_user", "cmd_stat"]

    def test_a_name_it_has_no_method_for_is_refused(self, pop3d: Declared) -> None:
        with pytest.raises(PipelineError, match="Service has no method that handles 'cmd_stat'"):
            pop3d.register(Service(), "cmd_stat")

    @each("names", [("all", "cmd_usr"), ("cmd_usr", "all"), ("all", "cmd_user", "cmd_usr")])
    def test_a_misspelling_beside_all_is_refused(self, pop3d: Declared, names: tuple[str, ...]) -> None:
        service = Service()
        with pytest.raises(PipelineError, match="did you mean"):
            pop3d.register(service, *names)
        pop3d.send_event("cmd_user")
        assert service.heard == []

    def test_a_misspelt_mark_is_refused(self, pop3d: Declared) -> None:
        class Misspelt:
            @handles("sesion_finished")
            def finished(self, pop3d: Pluggable, event: Event) -> None: ...

        with pytest.raises(PipelineError, match="did you mean session_finished"):
            pop3d.register(Misspelt())

    def test_response_is_refused(self, pop3d: Declared) -> None:
        class Nosy:
            @handles("response")
            def response(self, pop3d: Pluggable, event: Event) -> None: ...

        with pytest.raises(PipelineError, match="for plugins only"):
            pop3d.register(Nosy())

    def test_twice_is_refused(self, pop3d: Declared) -> None:
        service = Service()
        pop3d.register(service)
        with pytest.raises(PipelineError, match=r"Service\.login is registered for 'cmd_user' already"):
            pop3d.register(service)


class TestOrder:
    def test_the_lowest_priority_is_first_then_order_of_arrival(self, pop3d: Declared) -> None:
        calls: list[str] = []
        for name, priority in [("c", 5), ("a", -5), ("b", 0), ("d", 5)]:
            pop3d.on("cmd_user", priority=priority)(lambda pop3d, event, name=name: calls.append(name))
        pop3d.send_event("cmd_user")
        assert calls == ["a", "b", "c", "d"]

    def test_an_object_has_its_own_priority_unless_one_is_given(self, pop3d: Declared, ear: Ear) -> None:
        order: list[str] = []
        late, early = Service(), Service()
        late.heard = early.heard = order
        pop3d.register(late)
        pop3d.on("cmd_quit", priority=500)(lambda pop3d, event: order.append("between"))
        pop3d.register(early, "cmd_quit", priority=-1)
        pop3d.send_event("cmd_quit")
        assert order == ["quit", "between", "quit"]

    def test_the_priority_is_zero_if_none_is_given(self, pop3d: Declared) -> None:
        heard: list[str] = []

        def ear(name: str) -> Any:
            def listen(pop3d: Pluggable, event: Event) -> None:
                heard.append(name)

            return listen

        class Whole:
            @handles("cmd_user")
            def user(self, pop3d: Pluggable, event: Event) -> None:
                heard.append("object")

        for name in ("a", "b"):
            pop3d.register(ear(f"{name} zero"), "cmd_user", priority=0)
            pop3d.register(ear(f"{name} one"), "cmd_user", priority=1)
            pop3d.register(ear(f"{name} before"), "cmd_user", priority=-1)
            pop3d.register(ear(f"{name} none"), "cmd_user")
            pop3d.on("cmd_user")(ear(f"{name} on"))
            pop3d.register(Whole())
        pop3d.send_event("cmd_user")
        zero = ["a zero", "a none", "a on", "object", "b zero", "b none", "b on", "object"]
        assert heard == ["a before", "b before", *zero, "a one", "b one"]

    def test_a_priority_is_a_number(self, pop3d: Declared) -> None:
        service = Service()
        service.priority = "last"  # type: ignore[assignment]  # the mistake under test
        with pytest.raises(PipelineError, match="must be an int, not str"):
            pop3d.register(service)


class TestUnregister:
    def test_from_one_event(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear.method, "cmd_user", "cmd_pass")
        pop3d.unregister(ear.method, "cmd_user")
        pop3d.send_event("cmd_user")
        pop3d.send_event("cmd_pass")
        assert ear.heard == ["cmd_pass"]

    @each("names", [(), ("all",)])
    def test_from_all_events(self, names: tuple[str, ...]) -> None:
        pop3d = Declared()
        ear = Ear()
        pop3d.register(ear, "all")
        pop3d.unregister(ear, *names)
        pop3d.add_event("my_event")
        pop3d.send_event("cmd_user")
        pop3d.send_event("my_event")
        assert ear.heard == []

    def test_from_one_of_all_and_back(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "all")
        pop3d.unregister(ear, "cmd_user")
        pop3d.send_event("cmd_user")
        pop3d.register(ear, "cmd_user")
        pop3d.send_event("cmd_user")
        assert ear.heard == ["cmd_user"]

    def test_from_what_is_yet_to_come_when_nothing_else_is_left(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "all")
        pop3d.unregister(ear, *(name for name in CATALOGUE if name != "response"))
        pop3d.unregister(ear)
        pop3d.add_event("my_event")
        assert not pop3d.wanted("my_event")

    def test_an_object_as_a_whole(self, pop3d: Declared) -> None:
        service = Default()
        pop3d.register(service)
        pop3d.unregister(service)
        assert not any(pop3d.wanted(name) for name in CATALOGUE)

    def test_others_stay(self, pop3d: Declared) -> None:
        one, two = Ear(), Ear()
        pop3d.register(one.method, "cmd_user")
        pop3d.register(two.method, "cmd_user")
        pop3d.unregister(one.method)
        pop3d.send_event("cmd_user")
        assert (one.heard, two.heard) == ([], ["cmd_user"])

    def test_what_is_not_registered_is_an_error_and_nothing_happens(self, pop3d: Declared, ear: Ear) -> None:
        with pytest.raises(PipelineError, match="Ear is not registered for any event"):
            pop3d.unregister(ear)
        pop3d.register(ear, "cmd_user")
        with pytest.raises(PipelineError, match="Ear is not registered for cmd_pass, cmd_quit"):
            pop3d.unregister(ear, "cmd_user", "cmd_quit", "cmd_pass")
        pop3d.send_event("cmd_user")
        assert ear.heard == ["cmd_user"]

    def test_a_listener_that_is_gone_is_not_kept(self, pop3d: Declared) -> None:
        ear = Ear()
        gone = weakref.ref(ear)
        pop3d.register(ear, "cmd_user")
        pop3d.send_event("cmd_user")
        pop3d.unregister(ear)
        del ear
        gc.collect()
        assert gone() is None


class TestDeclaring:
    def test_a_verb_is_declared_once_when_somebody_listens_to_it(self, pop3d: Declared) -> None:
        for _ in range(2):
            pop3d.register(Ear(), "cmd_xfoo")
        pop3d.add_event("cmd_xfoo")
        assert pop3d.declared == ["cmd_xfoo"]
        assert pop3d.send_event("cmd_xfoo").reply is None

    def test_what_resembles_a_known_verb_must_be_declared_first(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.add_event("cmd_usre")
        pop3d.register(ear, "cmd_usre")
        pop3d.send_event("cmd_usre")
        assert (ear.heard, pop3d.declared) == (["cmd_usre"], ["cmd_usre"])

    def test_a_plugins_verb_is_declared(self, pop3d: Declared) -> None:
        pop3d.plugin("cmd_xbar")(lambda pop3d, event: None)
        assert pop3d.declared == ["cmd_xbar"]

    def test_the_catalogue_is_known_already(self, pop3d: Declared) -> None:
        pop3d.add_event("cmd_user")
        assert pop3d.declared == []

    def test_what_one_server_declares_another_does_not_know(self, pop3d: Declared) -> None:
        Pluggable().add_event("my_event")
        with pytest.raises(PipelineError, match="unknown event 'my_event'"):
            pop3d.send_event("my_event")

    @each("name", ["all", "My Event", "cmd_"])
    def test_a_bad_name_is_not_declared(self, name: str) -> None:
        pop3d = Declared()
        with pytest.raises(PipelineError):
            pop3d.add_event(name)
        assert pop3d.declared == []

    def test_an_event_that_was_not_declared_is_not_sent(self, pop3d: Declared) -> None:
        with pytest.raises(PipelineError, match="'cmd_xfoo' is not declared"):
            pop3d.send_event("cmd_xfoo")
        with pytest.raises(PipelineError, match="unknown event"):
            pop3d.wanted("usre")


class TestBlinker:
    """Listeners are blinker receivers, and blinker's receivers are heard."""

    def test_a_receiver_of_this_server_hears_it(self, pop3d: Declared) -> None:
        heard: list[tuple[object, str]] = []

        @events.cmd_user.connect_via(pop3d)
        def receiver(sender: object, event: Event) -> None:
            heard.append((sender, event.argument))

        pop3d.send_event("cmd_user", "alice")
        Pluggable().send_event("cmd_user", "bob")
        assert heard == [(pop3d, "alice")]

    def test_a_receiver_of_any_sender_hears_every_server(self, pop3d: Declared) -> None:
        heard: list[object] = []
        other = Pluggable()
        with events.cmd_user.connected_to(lambda sender, event: heard.append(sender)):
            pop3d.send_event("cmd_user")
            other.send_event("cmd_user")
        pop3d.send_event("cmd_user")
        assert heard == [pop3d, other]

    def test_it_may_answer(self, pop3d: Declared) -> None:
        with events.cmd_user.connected_to(lambda sender, event: "+OK from blinker", sender=pop3d):
            reply = pop3d.send_event("cmd_user").reply
        assert reply is not None
        assert reply.text == "from blinker"

    def test_it_has_priority_zero(self, pop3d: Declared) -> None:
        order: list[str] = []
        pop3d.on("cmd_user", priority=-1)(lambda pop3d, event: order.append("before"))
        pop3d.on("cmd_user", priority=1)(lambda pop3d, event: order.append("after"))
        with events.cmd_user.connected_to(lambda sender, event: order.append("blinker")):
            pop3d.send_event("cmd_user")
        assert order == ["before", "blinker", "after"]

    def test_weak_receivers_that_died_are_skipped_and_forgotten(self, pop3d: Declared) -> None:
        ear = Ear()
        function = functools.partial(ear.heard.append, "never")
        events.cmd_user.connect(ear.method, sender=pop3d)
        events.cmd_user.connect(function, sender=pop3d)
        assert pop3d.wanted("cmd_user")
        gone = weakref.ref(ear)
        del ear, function
        gc.collect()
        assert gone() is None
        assert pop3d.send_event("cmd_user").reply is None
        assert not pop3d.wanted("cmd_user")

    def test_bound_methods_are_heard(self, pop3d: Declared) -> None:
        ear = Ear()
        events.cmd_user.connect(ear.method, sender=pop3d)
        pop3d.send_event("cmd_user")
        assert ear.heard == ["cmd_user"]

    def test_what_cannot_be_referred_to_weakly_is_heard(self, pop3d: Declared) -> None:
        class Rigid:
            __slots__ = ("calls",)

            def __init__(self) -> None:
                self.calls = 0

            def __call__(self, sender: object, event: Event) -> None:
                self.calls += 1

        rigid = Rigid()
        events.cmd_user.connect(rigid, sender=pop3d, weak=False)
        pop3d.send_event("cmd_user")
        events.cmd_user.disconnect(rigid)
        pop3d.send_event("cmd_user")
        assert rigid.calls == 1

    def test_a_muted_signal_is_heard_by_no_listener(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "cmd_user")
        assert pop3d.wanted("cmd_user")
        with events.cmd_user.muted():
            assert not pop3d.wanted("cmd_user")
            pop3d.send_event("cmd_user")
        assert ear.heard == []
        pop3d.send_event("cmd_user")
        assert ear.heard == ["cmd_user"]

    def test_listeners_are_receivers(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "cmd_user")
        assert events.cmd_user.has_receivers_for(pop3d)
        events.cmd_user.send(pop3d, event=Event("cmd_user"))
        events.cmd_user.send(Pluggable(), event=Event("cmd_user"))
        assert ear.heard == ["cmd_user"]

    def test_an_event_that_is_declared_has_a_signal(self, pop3d: Declared) -> None:
        heard: list[list[Any]] = []
        pop3d.add_event("my_event")
        with signal("my_event").connected_to(lambda sender, event: heard.append(event.args)):
            pop3d.send_event("my_event", 1, 2)
        assert heard == [[1, 2]]

    def test_a_server_that_is_done_with_leaves_no_listener(self, pop3d: Declared, ear: Ear) -> None:
        pop3d.register(ear, "all")
        pop3d.register(Service())
        pop3d._unregister_all()
        assert [receiver for one in CATALOGUE.values() for receiver in one.receivers_for(pop3d)] == []
        pop3d.send_event("cmd_user")
        assert ear.heard == []

    def test_a_server_that_is_forgotten_leaves_no_listener(self) -> None:
        gc.collect()  # else what earlier tests left goes meanwhile
        before = {name: len(one.receivers) for name, one in CATALOGUE.items()}

        def forgotten_server() -> weakref.ref[Pluggable]:
            pop3d = Pluggable()
            held: list[Pluggable] = []
            pop3d.on("all")(lambda _, event: held.append(pop3d))
            pop3d.send_event("cmd_user")
            return weakref.ref(pop3d)

        gone = forgotten_server()
        gc.collect()
        assert gone() is None
        assert {name: len(one.receivers) for name, one in CATALOGUE.items()} == before
