"""The seed's semantics that concern the pipeline, kept or mended: a test for each row, named after it."""

from __future__ import annotations

from typing import Any

import pytest

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.pipeline.plugin import EAT_ALL, EAT_CLIENT, EAT_NONE, EAT_PLUGIN, FunctionPlugin, Plugin, handles


class Named(Plugin):
    """Hears cmd_user, and keeps a common log with the others."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    @handles("cmd_user")
    def user(self, pop3d: Pluggable, event: Event) -> None:
        self.log.append(self.name)

    def plugin_unregister(self, pop3d: Pluggable) -> None:
        self.log.append(f"{self.name} unregistered")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def pop3d(log: list[str]) -> Pluggable:
    """With the plugins a, b, c, d."""
    pop3d = Pluggable()
    for name in "abcd":
        pop3d.plugin_add(name, Named(name, log))
    return pop3d


class TestKept:
    def test_event_order_is_plugins_in_order_then_listeners(self, pop3d: Pluggable, log: list[str]) -> None:
        pop3d.on("cmd_user")(lambda pop3d, event: log.append("listener"))
        pop3d.send_event("cmd_user")
        assert log == ["a", "b", "c", "d", "listener"]

    def test_mangling_rewrites_what_the_next_one_sees(self, pop3d: Pluggable) -> None:
        seen: list[str] = []
        pop3d.plugin("cmd_user", priority=-1)(lambda pop3d, event: event.args.__setitem__(0, "bob"))
        pop3d.on("cmd_user")(lambda pop3d, event: seen.append(event.argument))
        pop3d.send_event("cmd_user", "alice")
        assert seen == ["bob"]

    def test_extra_arguments_reach_the_listeners(self, pop3d: Pluggable) -> None:
        seen: list[list[Any]] = []
        pop3d.plugin("cmd_user", priority=-1)(lambda pop3d, event: event.args.append("extra"))
        pop3d.on("cmd_user")(lambda pop3d, event: seen.append(event.args))
        pop3d.send_event("cmd_user", "alice")
        assert seen == [["alice", "extra"]]

    def test_eat_codes_are_1_to_4(self) -> None:
        assert [int(code) for code in (EAT_NONE, EAT_CLIENT, EAT_PLUGIN, EAT_ALL)] == [1, 2, 3, 4]

    def test_eat_client_then_eat_plugin_is_eat_all(self, pop3d: Pluggable, log: list[str]) -> None:
        pop3d.plugin("cmd_user", priority=-2, alias="client")(lambda pop3d, event: EAT_CLIENT)
        pop3d.plugin("cmd_user", priority=-1, alias="plugin")(lambda pop3d, event: EAT_PLUGIN)
        pop3d.on("cmd_user")(lambda pop3d, event: log.append("listener"))
        assert pop3d.send_event("cmd_user").eaten
        assert log == []

    def test_default_hears_what_no_other_method_handles(self, pop3d: Pluggable, log: list[str]) -> None:
        class WithDefault(Named):
            @handles("all")
            def default(self, pop3d: Pluggable, event: Event) -> None:
                self.log.append(f"default {event.name}")

        pop3d.plugin_add("e", WithDefault("e", log))
        log.clear()
        pop3d.send_event("cmd_user")
        pop3d.send_event("cmd_quit")
        assert log == ["a", "b", "c", "d", "e", "default cmd_quit"]

    def test_plugin_register_by_event_name_or_all(self, pop3d: Pluggable, log: list[str]) -> None:
        pop3d.plugin_unregister("b", "cmd_user")
        pop3d.plugin_unregister("c", "all")
        pop3d.send_event("cmd_user")
        assert log == ["a", "d"]
        log.clear()
        pop3d.plugin_register("b", "cmd_user")
        pop3d.plugin_register("c", "all")
        pop3d.send_event("cmd_user")
        assert log == ["a", "b", "c", "d"]

    def test_pipeline_return_values(self, pop3d: Pluggable, log: list[str]) -> None:
        pipeline = pop3d.pipeline
        a, e, f = pop3d.plugin_get("a"), Named("e", log), Named("f", log)
        assert pipeline.push("e", e) == 5
        assert pipeline.unshift("f", f) == 6
        assert pipeline.shift() == (f, "f")
        assert pipeline.pop() == (e, "e")
        assert pipeline.get("a") == pipeline.get(a) == (a, "a")
        assert pipeline.get_index("d") == 3
        assert pipeline.bump_up("d", 2) == 1
        assert pipeline.bump_down("d") == 2
        assert pipeline.remove(a) == (a, "a")


class TestMended:
    def test_bump_up_past_the_head_stops_at_the_head(self, pop3d: Pluggable) -> None:
        assert pop3d.pipeline.bump_up("b", 3) == 0
        assert list(pop3d.plugin_list()) == ["b", "a", "c", "d"]

    def test_replace_to_a_taken_alias_is_refused_before_anything_is_done(
        self, pop3d: Pluggable, log: list[str]
    ) -> None:
        with pytest.raises(PipelineError, match="the alias 'c' is used by"):
            pop3d.pipeline.replace("b", "c", Named("new", log))
        assert log == []
        assert list(pop3d.plugin_list()) == ["a", "b", "c", "d"]
        pop3d.send_event("cmd_user")
        assert log == ["a", "b", "c", "d"]

    def test_a_plugin_whose_register_failed_does_not_keep_its_alias(self, pop3d: Pluggable, log: list[str]) -> None:
        class Failing(Named):
            def plugin_register(self, pop3d: Pluggable) -> None:
                raise OSError("no such file")

        failing = Failing("e", log)
        with pytest.raises(PipelineError, match="'e' could not be added: no such file"):
            pop3d.plugin_add("e", failing)
        with pytest.raises(PipelineError, match="'e' could not be added"):
            pop3d.pipeline.insert_before("a", "e", failing)
        assert list(pop3d.plugin_list()) == ["a", "b", "c", "d"]
        pop3d.plugin_add("e", Named("e", log))
        pop3d.send_event("cmd_user")
        assert log == ["a", "b", "c", "d", "e"]

    def test_plugins_edited_while_an_event_runs_change_the_next_event(self, pop3d: Pluggable, log: list[str]) -> None:
        def edit(pop3d: Pluggable, event: Event) -> None:
            pop3d.plugin_del("edit")
            pop3d.plugin_del("b")
            pop3d.pipeline.bump_up("d", 9)
            pop3d.plugin_add("e", Named("e", log))

        pop3d.plugin_add("edit", FunctionPlugin(edit, "cmd_user", priority=-1))
        pop3d.send_event("cmd_user")
        assert log == ["b unregistered", "a", "c", "d"]
        log.clear()
        pop3d.send_event("cmd_user")
        assert log == ["d", "a", "c", "e"]

    def test_plugin_error_names_the_plugin_that_failed(
        self, pop3d: Pluggable, caplog: pytest.LogCaptureFixture
    ) -> None:
        failure = ValueError("oops")

        def fail(pop3d: Pluggable, event: Event) -> None:
            raise failure

        reports: list[list[Any]] = []
        pop3d.on("plugin_error")(lambda pop3d, event: reports.append(event.args))
        pop3d.plugin("cmd_user", alias="culprit")(fail)
        pop3d.send_event("cmd_user")
        assert reports == [[failure, "culprit", "cmd_user"]]

    def test_a_misspelt_event_name_fails_when_it_is_registered(self, pop3d: Pluggable) -> None:
        with pytest.raises(PipelineError, match="did you mean cmd_user"):
            pop3d.on("cmd_usre")(lambda pop3d, event: None)
        with pytest.raises(PipelineError, match="did you mean cmd_user"):
            pop3d.plugin("cmd_usre", alias="x")(lambda pop3d, event: None)
