"""Routes: the plugins and listeners of each event, cached until any of them changes."""

from __future__ import annotations

from dataclasses import dataclass

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import generation, signal
from geventpop3.pipeline.listeners import Listener, Listeners, Subscriber
from geventpop3.pipeline.names import ALL, Names
from geventpop3.pipeline.pipeline import Pipeline, Slot
from geventpop3.pipeline.plugin import Handler, Plugin, Subscription, callable_name


@dataclass(slots=True)
class Route:
    """Plugins and listeners of one event, in call order."""

    plugins: tuple[tuple[Slot, Handler], ...]
    receivers: tuple[Listener | Subscriber, ...]
    wanted: bool
    """True if there is any plugin or listener."""
    only_reports: bool
    """True if no plugin can eat the event (``EventSignal.only_reports``)."""

    def names(self) -> str:
        """Return the names of the plugins and listeners, for the log."""
        return ", ".join([f"plugin {slot.alias!r}" for slot, _ in self.plugins] + [str(one) for one in self.receivers])


class Routes(dict[str, Route]):
    """Routes by event name, each computed when it is first needed; they hold for one *generation*."""

    __slots__ = ("_listeners", "_names", "_pipeline", "_subscriptions", "generation")

    def __init__(self, names: Names, pipeline: Pipeline, subscriptions: Subscriptions, listeners: Listeners) -> None:
        super().__init__()
        # First: a change while a route is computed then makes all routes outdated, and leaves no wrong one valid.
        self.generation = generation.latest
        self._names = names
        self._pipeline = pipeline
        self._subscriptions = subscriptions
        self._listeners = listeners

    def __missing__(self, name: str) -> Route:
        self._names.require(name)
        handlers = ((slot, self._subscriptions.handler(slot, name)) for slot in self._pipeline)
        plugins = tuple((slot, handler) for slot, handler in handlers if handler is not None)
        receivers = self._listeners.receivers(name)
        route = self[name] = Route(plugins, receivers, bool(plugins or receivers), signal(name).only_reports)
        return route


class Subscriptions:
    """Event subscriptions of the plugins in one pipeline."""

    def __init__(self) -> None:
        self._by_slot: dict[Slot, Subscription] = {}

    def add(self, slot: Slot) -> Subscription:
        """Subscribe a plugin to the events it handles, once it has joined. Raises PipelineError if it handles none."""
        handlers = slot.plugin.plugin_handlers()
        if not handlers and type(slot.plugin).plugin_handlers is Plugin.plugin_handlers:  # else it is on purpose
            raise PipelineError(
                f"{callable_name(slot.plugin)} handles no event: mark a method with @handles('cmd_user')"
            )
        subscription = self._by_slot[slot] = Subscription(handlers)
        return subscription

    def remove(self, slot: Slot) -> None:
        """Unsubscribe a plugin from all events; one that is not subscribed stays so."""
        self._by_slot.pop(slot, None)

    def handler(self, slot: Slot, name: str) -> Handler | None:
        """Return the plugin's handler of the event, None if the plugin does not receive it."""
        subscription = self._by_slot.get(slot)
        return None if subscription is None else subscription.handler(name)

    def choose(self, slot: Slot, names: tuple[str, ...]) -> None:
        """Subscribe a plugin to *names*, of the events that it handles; without names, to all of them.

        Raises PipelineError, and changes nothing, if it does not handle one.
        """
        for name in self._checked(slot, names):
            self._by_slot[slot].choose(name)

    def refuse(self, slot: Slot, names: tuple[str, ...]) -> None:
        """Unsubscribe a plugin from *names*; without names, from all. Raises PipelineError as ``choose`` does."""
        for name in self._checked(slot, names):
            self._by_slot[slot].refuse(name)

    def _checked(self, slot: Slot, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name != ALL and not self._by_slot[slot].handles(name):
                raise PipelineError(f"the plugin {slot.alias!r} has no method that handles {name!r}")
        return names or (ALL,)
