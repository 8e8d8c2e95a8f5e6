"""The plugins in order: slots are always sorted by priority, and aliases and plugins are unique.

The pipeline knows nothing of events. Three callbacks notify its owner of a plugin that is joining, has joined or has
left.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import generation
from geventpop3.pipeline.plugin import Plugin


class Slot:
    """A plugin's place: its alias, and its priority here, which its neighbours may have given it."""

    __slots__ = ("alias", "in_pipeline", "plugin", "priority")

    def __init__(self, alias: str, plugin: Plugin, priority: int) -> None:
        self.alias = alias
        self.plugin = plugin
        self.priority = priority
        self.in_pipeline = False
        """True while it is in the pipeline: an event that is under way does not call a removed plugin."""


def _priority(slot: Slot) -> int:
    return slot.priority


class Pipeline:
    """Plugins in order, each addressed by alias or by the object itself.

    An operation that is not possible raises PipelineError. The head receives events first. ``push`` goes by priority
    (lower first, then order of arrival). An operation that names a place gives the plugin the priority of its new
    neighbour.
    """

    def __init__(
        self,
        joining: Callable[[Slot], None],
        joined: Callable[[Slot], None],
        left: Callable[[Slot], None],
    ) -> None:
        """Set the callbacks. If *joining* raises, the plugin is removed again and nothing is left behind."""
        self._slots: list[Slot] = []
        self._joining = joining
        self._joined = joined
        self._left = left

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        """Return the slots in order, as they are now: later changes of the pipeline do not affect the iteration."""
        return iter(tuple(self._slots))

    def push(self, alias: str, plugin: Plugin, priority: int | None = None) -> int:
        """Add *plugin* behind all of the same priority (its own, if none is given); return the new size."""
        slot = self._new(alias, plugin, priority)
        return self._add(slot, bisect.bisect_right(self._slots, slot.priority, key=_priority))

    def unshift(self, alias: str, plugin: Plugin) -> int:
        """Add *plugin* at the head; return the new size."""
        return self._add(self._new(alias, plugin, self._slots[0].priority if self._slots else None), 0)

    def insert_before(self, neighbour: str | Plugin, alias: str, plugin: Plugin) -> int:
        """Add *plugin* just before *neighbour*; return the new size."""
        at = self.get_index(neighbour)
        return self._add(self._new(alias, plugin, self._slots[at].priority), at)

    def insert_after(self, neighbour: str | Plugin, alias: str, plugin: Plugin) -> int:
        """Add *plugin* just after *neighbour*; return the new size."""
        at = self.get_index(neighbour)
        return self._add(self._new(alias, plugin, self._slots[at].priority), at + 1)

    def pop(self) -> tuple[Plugin, str]:
        """Remove the last plugin; return it and its alias."""
        return self._remove(self._end(-1))

    def shift(self) -> tuple[Plugin, str]:
        """Remove the first plugin; return it and its alias."""
        return self._remove(self._end(0))

    def remove(self, which: str | Plugin) -> tuple[Plugin, str]:
        """Remove a plugin; return it and its alias."""
        return self._remove(self._slots[self.get_index(which)])

    def replace(self, old: str | Plugin, alias: str, plugin: Plugin) -> tuple[Plugin, str]:
        """Put *plugin* in the place of *old*; return the old one and its alias.

        The old one is removed once the new one has joined. So it stays if that fails, and no event misses both. The new
        alias may be the old one's.
        """
        at = self.get_index(old)
        leaving = self._slots[at]
        slot = self._new(alias, plugin, leaving.priority, leaving)
        self._enter(slot, at + 1)
        if leaving.in_pipeline:
            self._remove(leaving)
        self._joined(slot)
        return leaving.plugin, leaving.alias

    def bump_up(self, which: str | Plugin, steps: int = 1) -> int:
        """Move a plugin towards the head, at most to it; return its new index."""
        return self._move(which, -steps, steps)

    def bump_down(self, which: str | Plugin, steps: int = 1) -> int:
        """Move a plugin towards the tail, at most to it; return its new index."""
        return self._move(which, steps, steps)

    def get(self, which: str | Plugin) -> tuple[Plugin, str]:
        """Return a plugin and its alias."""
        slot = self.slot(which)
        return slot.plugin, slot.alias

    def get_index(self, which: str | Plugin) -> int:
        """Return the index of a plugin; 0 is the head."""
        for index, slot in enumerate(self._slots):
            if slot.plugin is which or (isinstance(which, str) and slot.alias == which):
                return index
        raise PipelineError(f"no plugin {which!r} in the pipeline: it has {self._aliases()}")

    def slot(self, which: str | Plugin) -> Slot:
        """Return a plugin's slot."""
        return self._slots[self.get_index(which)]

    def changed(self) -> None:
        """Invalidate all cached routes."""
        generation.changed()

    def _aliases(self) -> str:
        return ", ".join(repr(slot.alias) for slot in self._slots) or "none"

    def _end(self, index: int) -> Slot:
        if not self._slots:
            raise PipelineError("the pipeline is empty")
        return self._slots[index]

    def _add(self, slot: Slot, at: int) -> int:
        self._enter(slot, at)
        self._joined(slot)
        return len(self._slots)

    def _new(self, alias: str, plugin: Plugin, priority: int | None, leaving: Slot | None = None) -> Slot:
        if not isinstance(plugin, Plugin):
            raise PipelineError(f"{plugin!r} is not an instance of Plugin")
        if not isinstance(alias, str) or not alias:
            raise PipelineError(f"an alias must be a non-empty str, not {alias!r}")
        for other in self._slots:
            if other.plugin is plugin:
                raise PipelineError(f"this plugin is in the pipeline already, as {other.alias!r}")
            if other.alias == alias and other is not leaving:
                raise PipelineError(f"the alias {alias!r} is used by {other.plugin!r}")
        if priority is None:
            priority = plugin.priority
        if not isinstance(priority, int):
            raise PipelineError(f"the priority of the plugin {alias!r} must be an int, not {type(priority).__name__}")
        return Slot(alias, plugin, priority)

    def _enter(self, slot: Slot, at: int) -> None:
        # It takes its place before it joins, so that changes of the pipeline during the joining move it too.
        self._slots.insert(at, slot)
        slot.in_pipeline = True
        try:
            self._joining(slot)
        except BaseException:
            if slot.in_pipeline:
                self._take(slot)
            raise
        if not slot.in_pipeline:
            raise PipelineError(f"the plugin {slot.alias!r} was removed while it was being added")
        self.changed()

    def _take(self, slot: Slot) -> None:
        self._slots.remove(slot)
        slot.in_pipeline = False
        self.changed()

    def _remove(self, slot: Slot) -> tuple[Plugin, str]:
        self._take(slot)
        self._left(slot)
        return slot.plugin, slot.alias

    def _move(self, which: str | Plugin, by: int, steps: int) -> int:
        if steps < 1:
            raise PipelineError(f"the number of steps must be 1 or more, not {steps}")
        at = self.get_index(which)
        to = min(max(at + by, 0), len(self._slots) - 1)
        if to != at:
            slot = self._slots.pop(at)
            slot.priority = self._slots[to if by < 0 else to - 1].priority
            self._slots.insert(to, slot)
            self.changed()
        return to
