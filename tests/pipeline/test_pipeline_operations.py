"""Every operation of the pipeline, by itself and in any sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.errors import PipelineError
from geventpop3.pipeline.pipeline import Pipeline, Slot
from geventpop3.pipeline.plugin import Plugin


class Numbered(Plugin):
    def __init__(self, priority: int = 0) -> None:
        self.priority = priority


class Told:
    """A pipeline whose owner writes down what it is told."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.on_joining: Callable[[Slot], object] = lambda slot: None
        self.pipeline = Pipeline(self._joining, self._note("joined"), self._note("left"))

    def _joining(self, slot: Slot) -> None:
        self.log.append(("joining", slot.alias))
        self.on_joining(slot)

    def _note(self, what: str) -> Callable[[Slot], None]:
        return lambda slot: self.log.append((what, slot.alias))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def pipeline(told: Told) -> Pipeline:
    """a, b and c, of the priorities 0, 10 and 20."""
    for alias, priority in [("a", 0), ("b", 10), ("c", 20)]:
        told.pipeline.push(alias, Numbered(priority))
    told.log.clear()
    return told.pipeline


def order(pipeline: Pipeline) -> str:
    return "".join(slot.alias for slot in pipeline)


def priorities(pipeline: Pipeline) -> list[int]:
    return [slot.priority for slot in pipeline]


class TestPush:
    def test_it_returns_the_new_size(self, pipeline: Pipeline) -> None:
        assert pipeline.push("d", Numbered(30)) == 4
        assert len(pipeline) == 4

    def test_the_lower_priority_comes_first(self, pipeline: Pipeline) -> None:
        pipeline.push("d", Numbered(-5))
        pipeline.push("e", Numbered(15))
        assert order(pipeline) == "dabec"

    def test_equal_priorities_stand_in_order_of_arrival(self, pipeline: Pipeline) -> None:
        pipeline.push("d", Numbered(10))
        pipeline.push("e", Numbered(10))
        assert order(pipeline) == "abdec"

    def test_a_priority_given_overrides_the_plugins(self, pipeline: Pipeline) -> None:
        pipeline.push("d", Numbered(30), priority=-1)
        assert order(pipeline) == "dabc"

    def test_joining_comes_before_joined(self, told: Told) -> None:
        told.pipeline.push("a", Numbered())
        assert told.log == [("joining", "a"), ("joined", "a")]

    def test_a_taken_alias_is_refused(self, pipeline: Pipeline) -> None:
        with pytest.raises(PipelineError, match="alias 'b' is used by"):
            pipeline.push("b", Numbered())
        assert order(pipeline) == "abc"

    def test_a_plugin_stands_in_a_pipeline_once(self, pipeline: Pipeline) -> None:
        with pytest.raises(PipelineError, match="already, as 'a'"):
            pipeline.push("other", pipeline.get("a")[0])

    @each("alias", ["", None, 7])
    def test_an_alias_is_text(self, alias: Any) -> None:
        told = Told()
        with pytest.raises(PipelineError, match="an alias must be a non-empty str"):
            told.pipeline.push(alias, Numbered())

    @each("plugin", [None, object(), Numbered])
    def test_only_plugins_are_added(self, plugin: Any) -> None:
        told = Told()
        with pytest.raises(PipelineError, match="is not an instance of Plugin"):
            told.pipeline.push("a", plugin)

    def test_a_priority_is_a_number(self, told: Told) -> None:
        with pytest.raises(PipelineError, match="must be an int, not str"):
            told.pipeline.push("a", Numbered("first"))  # type: ignore[arg-type]  # the mistake under test

    def test_a_plugin_that_may_not_join_leaves_nothing_behind(self, told: Told, pipeline: Pipeline) -> None:
        def refuse(slot: Slot) -> None:
            raise PipelineError("no")

        told.on_joining = refuse
        with pytest.raises(PipelineError, match="no"):
            pipeline.push("d", Numbered())
        assert order(pipeline) == "abc"
        assert told.log == [("joining", "d")]
        told.on_joining = lambda slot: None
        assert pipeline.push("d", Numbered()) == 4

    def test_a_plugin_that_is_removed_while_it_joins_is_not_added(self, told: Told, pipeline: Pipeline) -> None:
        told.on_joining = lambda slot: pipeline.remove(slot.alias)
        with pytest.raises(PipelineError, match="'d' was removed while it was being added"):
            pipeline.push("d", Numbered())
        assert told.log == [("joining", "d"), ("left", "d")]
        assert order(pipeline) == "abc"

    def test_a_plugin_that_removes_itself_and_fails_is_not_added(self, told: Told, pipeline: Pipeline) -> None:
        def leave_and_fail(slot: Slot) -> None:
            pipeline.remove(slot.plugin)
            raise PipelineError("changed my mind")

        told.on_joining = leave_and_fail
        with pytest.raises(PipelineError, match="changed my mind"):
            pipeline.push("d", Numbered())
        assert order(pipeline) == "abc"

    def test_what_others_do_meanwhile_does_not_shift_it(self, told: Told, pipeline: Pipeline) -> None:
        told.on_joining = lambda slot: pipeline.shift() if slot.alias == "d" else None
        pipeline.insert_after("b", "d", Numbered())
        assert order(pipeline) == "bdc"


class TestUnshift:
    def test_it_stands_at_the_head_with_the_heads_priority(self, pipeline: Pipeline) -> None:
        pipeline.bump_down("a")
        assert pipeline.unshift("d", Numbered(99)) == 4
        assert order(pipeline) == "dbac"
        assert priorities(pipeline) == [10, 10, 10, 20]

    def test_alone_it_keeps_its_own(self, told: Told) -> None:
        told.pipeline.unshift("d", Numbered(99))
        assert priorities(told.pipeline) == [99]


class TestPop:
    def test_it_removes_the_last(self, told: Told, pipeline: Pipeline) -> None:
        last = pipeline.get("c")[0]
        assert pipeline.pop() == (last, "c")
        assert order(pipeline) == "ab"
        assert told.log == [("left", "c")]

    def test_of_nothing_is_an_error(self, told: Told) -> None:
        with pytest.raises(PipelineError, match="empty"):
            told.pipeline.pop()


class TestShift:
    def test_it_removes_the_first(self, told: Told, pipeline: Pipeline) -> None:
        first = pipeline.get("a")[0]
        assert pipeline.shift() == (first, "a")
        assert order(pipeline) == "bc"
        assert told.log == [("left", "a")]

    def test_of_nothing_is_an_error(self, told: Told) -> None:
        with pytest.raises(PipelineError, match="empty"):
            told.pipeline.shift()


class TestInsertBefore:
    def test_it_takes_the_neighbours_priority(self, pipeline: Pipeline) -> None:
        assert pipeline.insert_before("b", "d", Numbered(99)) == 4
        assert order(pipeline) == "adbc"
        assert priorities(pipeline) == [0, 10, 10, 20]

    def test_nobody_is_an_error(self, told: Told, pipeline: Pipeline) -> None:
        with pytest.raises(PipelineError, match=r"no plugin 'x' in the pipeline: it has 'a', 'b', 'c'"):
            pipeline.insert_before("x", "d", Numbered())
        assert told.log == []


class TestInsertAfter:
    def test_it_takes_the_neighbours_priority(self, pipeline: Pipeline) -> None:
        assert pipeline.insert_after(pipeline.get("b")[0], "d", Numbered(99)) == 4
        assert order(pipeline) == "abdc"
        assert priorities(pipeline) == [0, 10, 10, 20]

    def test_nobody_is_an_error(self, pipeline: Pipeline) -> None:
        with pytest.raises(PipelineError, match="no plugin 'x'"):
            pipeline.insert_after("x", "d", Numbered())


class TestBumpUp:
    def test_it_returns_the_new_index(self, pipeline: Pipeline) -> None:
        assert pipeline.bump_up("c") == 1
        assert order(pipeline) == "acb"
        assert priorities(pipeline) == [0, 10, 10]

    def test_by_several_steps(self, pipeline: Pipeline) -> None:
        assert pipeline.bump_up("c", 2) == 0
        assert order(pipeline) == "cab"
        assert priorities(pipeline) == [0, 0, 10]

    def test_the_first_stays_as_it_is(self, pipeline: Pipeline) -> None:
        assert pipeline.bump_up("a") == 0
        assert priorities(pipeline) == [0, 10, 20]

    @pytest.mark.parametrize("steps", [0, -1])
    def test_it_moves_at_least_one_step(self, pipeline: Pipeline, steps: int) -> None:
        with pytest.raises(PipelineError, match="steps must be 1 or more"):
            pipeline.bump_up("c", steps)


class TestBumpDown:
    def test_it_returns_the_new_index(self, pipeline: Pipeline) -> None:
        assert pipeline.bump_down("a") == 1
        assert order(pipeline) == "bac"
        assert priorities(pipeline) == [10, 10, 20]

    def test_the_tail_stops_it(self, pipeline: Pipeline) -> None:
        assert pipeline.bump_down("a", 99) == 2
        assert order(pipeline) == "bca"
        assert priorities(pipeline) == [10, 20, 20]


class TestReplace:
    def test_the_new_one_stands_where_the_old_one_stood(self, told: Told, pipeline: Pipeline) -> None:
        old = pipeline.get("b")[0]
        assert pipeline.replace("b", "d", Numbered(99)) == (old, "b")
        assert order(pipeline) == "adc"
        assert priorities(pipeline) == [0, 10, 20]
        assert told.log == [("joining", "d"), ("left", "b"), ("joined", "d")]

    def test_the_alias_may_stay(self, pipeline: Pipeline) -> None:
        new = Numbered()
        pipeline.replace("b", "b", new)
        assert order(pipeline) == "abc"
        assert pipeline.get("b") == (new, "b")

    def test_the_old_one_stays_if_the_new_one_may_not_join(self, told: Told, pipeline: Pipeline) -> None:
        def refuse(slot: Slot) -> None:
            raise PipelineError("no")

        told.on_joining = refuse
        with pytest.raises(PipelineError, match="no"):
            pipeline.replace("b", "d", Numbered())
        assert order(pipeline) == "abc"
        assert told.log == [("joining", "d")]

    def test_the_new_one_may_remove_the_old_one_itself(self, told: Told, pipeline: Pipeline) -> None:
        told.on_joining = lambda slot: pipeline.remove("b")
        pipeline.replace("b", "d", Numbered())
        assert order(pipeline) == "adc"
        assert told.log == [("joining", "d"), ("left", "b"), ("joined", "d")]


class TestRemove:
    def test_by_alias(self, told: Told, pipeline: Pipeline) -> None:
        plugin = pipeline.get("b")[0]
        assert pipeline.remove("b") == (plugin, "b")
        assert order(pipeline) == "ac"
        assert told.log == [("left", "b")]

    def test_by_the_plugin_itself(self, pipeline: Pipeline) -> None:
        plugin = pipeline.get("b")[0]
        assert pipeline.remove(plugin) == (plugin, "b")

    def test_twice_is_an_error(self, pipeline: Pipeline) -> None:
        pipeline.remove("b")
        with pytest.raises(PipelineError, match="no plugin 'b'"):
            pipeline.remove("b")


class TestGet:
    def test_by_alias_and_by_the_plugin_itself(self, pipeline: Pipeline) -> None:
        plugin, alias = pipeline.get("b")
        assert alias == "b"
        assert pipeline.get(plugin) == (plugin, "b")

    def test_what_is_not_there_is_an_error(self, told: Told) -> None:
        with pytest.raises(PipelineError, match=r"no plugin 'b' in the pipeline: it has none"):
            told.pipeline.get("b")


class TestGetIndex:
    def test_by_alias_and_by_the_plugin_itself(self, pipeline: Pipeline) -> None:
        assert [pipeline.get_index(alias) for alias in "abc"] == [0, 1, 2]
        assert pipeline.get_index(pipeline.get("c")[0]) == 2

    def test_what_is_not_there_is_an_error(self, pipeline: Pipeline) -> None:
        with pytest.raises(PipelineError, match="no plugin"):
            pipeline.get_index(Numbered())


ALIASES = st.sampled_from("abcdefgh")
PRIORITIES = st.integers(-2, 2)
OPERATIONS = st.one_of(
    st.tuples(st.just("push"), ALIASES, PRIORITIES),
    st.tuples(st.just("unshift"), ALIASES, PRIORITIES),
    st.tuples(st.sampled_from(["insert_before", "insert_after", "replace"]), ALIASES, ALIASES, PRIORITIES),
    st.tuples(st.sampled_from(["bump_up", "bump_down"]), ALIASES, st.integers(1, 9)),
    st.tuples(st.just("remove"), ALIASES),
    st.tuples(st.sampled_from(["pop", "shift"])),
)


def perform(pipeline: Pipeline, name: str, *args: Any) -> Any:
    operations: dict[str, Callable[..., Any]] = {
        "push": lambda alias, priority: pipeline.push(alias, Numbered(priority)),
        "unshift": lambda alias, priority: pipeline.unshift(alias, Numbered(priority)),
        "insert_before": lambda old, alias, priority: pipeline.insert_before(old, alias, Numbered(priority)),
        "insert_after": lambda old, alias, priority: pipeline.insert_after(old, alias, Numbered(priority)),
        "replace": lambda old, alias, priority: pipeline.replace(old, alias, Numbered(priority)),
        "bump_up": pipeline.bump_up,
        "bump_down": pipeline.bump_down,
        "remove": pipeline.remove,
        "pop": pipeline.pop,
        "shift": pipeline.shift,
    }
    return operations[name](*args)


@given(st.lists(OPERATIONS, max_size=25))
def test_slots_are_sorted_and_aliases_unique_whatever_is_done(operations: list[tuple[Any, ...]]) -> None:
    told = Told()
    pipeline = told.pipeline
    for operation in operations:
        before, size = [(slot.alias, slot.priority) for slot in pipeline], len(told.log)
        try:
            result = perform(pipeline, *operation)
        except PipelineError:
            # refused: nothing has changed and nobody was told of anything
            assert [(slot.alias, slot.priority) for slot in pipeline] == before
            assert len(told.log) == size
            continue
        aliases = [slot.alias for slot in pipeline]
        assert priorities(pipeline) == sorted(priorities(pipeline))
        assert len(set(aliases)) == len(aliases)
        assert all(slot.in_pipeline for slot in pipeline)
        if operation[0].startswith("bump"):
            assert result == pipeline.get_index(operation[1])
            assert sorted(aliases) == sorted(alias for alias, _ in before)
    left = [alias for what, alias in told.log if what == "left"]
    joined = [alias for what, alias in told.log if what == "joined"]
    assert sorted(joined) == sorted(left + [slot.alias for slot in pipeline])
