"""The listeners of one server: blinker receivers whose sender is the server, each with a priority.

The signals refer to them weakly and the server strongly, so a server that is freed takes its listeners with it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import Event, EventSignal, as_reply, signal
from geventpop3.pipeline.names import ALL, RESPONSE, Names
from geventpop3.pipeline.plugin import Handler, Plugin, callable_name, called_with_event, handlers_of
from geventpop3.wire.replies import Reply

logger = logging.getLogger("geventpop3.pipeline")


class Listener:
    """A callable that is registered for one event."""

    __slots__ = ("__weakref__", "connected", "function", "origin", "priority")

    def __init__(self, function: Handler, priority: int, origin: object) -> None:
        self.function = function
        self.priority = priority
        self.origin = origin
        """Object given to ``register``: the callable itself, or the object it is a method of."""
        self.connected = True
        """True until it is unregistered, which an earlier listener of the same event may do."""

    def is_of(self, origin: object) -> bool:
        """Return whether *origin* was given to ``register``."""
        return _same(self.origin, origin)

    def __call__(self, sender: Any, event: Event) -> Any:
        """Call the function; plain blinker code uses this."""
        return self.function(sender, event)

    def __str__(self) -> str:
        return f"listener {callable_name(self.function)}"


class Subscriber:
    """A receiver that plain blinker code connected; it has priority 0.

    It may know nothing of POP3: a return value that is no reply is no answer, and an exception is none either.

    The reference to it is weak even if blinker's is not: blinker keeps it alive as long as it is connected.
    """

    __slots__ = ("_reference", "_signal")

    priority = 0
    connected = True
    """True always: blinker does not report a disconnection."""

    def __init__(self, receiver: Callable[..., Any], connected_to: EventSignal) -> None:
        self._signal = connected_to
        self._reference: Callable[[], Callable[..., Any] | None]
        if isinstance(receiver, MethodType):
            self._reference = weakref.WeakMethod(receiver)
        else:
            try:
                self._reference = weakref.ref(receiver)
            except TypeError:  # then blinker could not refer to it weakly either
                self._reference = lambda: receiver

    def __str__(self) -> str:
        return f"receiver {callable_name(self._reference())}"

    def function(self, pop3d: Any, event: Event) -> Reply | None:
        """Call the receiver with *event*; return its answer if that is a reply."""
        receiver = self._reference()
        if receiver is None:
            self._signal.changed()
            return None
        answer = receiver(pop3d, event=event)
        if answer is None:
            return None
        try:
            return as_reply(answer)
        except (TypeError, ValueError) as mistake:
            logger.debug("%s returned no valid answer to %s: %s", self, event.name, mistake)
            return None


def _own_priority(function: Handler, priority: int) -> int:
    """Return the priority that ``@handles`` gave the method, or *priority* if it gave none."""
    own = getattr(function, "__priority__", None)
    return own if isinstance(own, int) else priority


def _priority(receiver: Listener | Subscriber) -> int:
    return receiver.priority


def calls_of(listener: Any, names: tuple[str, ...]) -> Mapping[str, Handler]:
    """Return the handlers of *listener* by event; ``"all"`` may be among the events.

    Raises PipelineError if it cannot be called ``(pop3d, event)``, or has no method for one of *names*.
    """
    if isinstance(listener, Plugin):
        raise PipelineError(f"{callable_name(listener)} is a Plugin: add it with plugin_add")
    if isinstance(listener, type):
        raise PipelineError(f"{listener.__name__} is a class: register an instance of it")
    handlers = handlers_of(listener)
    if not handlers:
        if not callable(listener):
            raise PipelineError(f"{callable_name(listener)} is not callable and no method of it carries @handles")
        if not names:
            raise PipelineError(f"give the names of events for {callable_name(listener)}, or 'all'")
        return dict.fromkeys(names, called_with_event(listener))
    if not names or ALL in names:
        return handlers
    calls = {}
    for name in names:
        handler = handlers.get(name, handlers.get(ALL))
        if handler is None:
            raise PipelineError(f"{callable_name(listener)} has no method that handles {name!r}")
        calls[name] = handler
    return calls


def priority_of(listener: Any, priority: int | None) -> int:
    """Return *priority*, by default that of the listener, or 0. Raises PipelineError if it is no int."""
    given: object = getattr(listener, "priority", 0) if priority is None else priority
    if not isinstance(given, int):
        raise PipelineError(f"the priority of {callable_name(listener)} must be an int, not {type(given).__name__}")
    return given


def _same(one: object, other: object) -> bool:
    # every access to a bound method makes a new object, equal to the last
    return one is other or (isinstance(one, MethodType) and isinstance(other, MethodType) and one == other)


class Listeners:
    """Listeners of one server by event; ``receivers`` returns those of one event in call order."""

    def __init__(self, sender: object, names: Names) -> None:
        self._sender = sender
        self._names = names
        self._by_event: dict[str, list[Listener]] = {}
        self._for_all_events: list[Listener] = []
        """Listeners for ``"all"``, which also receive the events that are declared later."""

    def check(self, calls: Mapping[str, Handler]) -> None:
        """Raise PipelineError if one of the callables is registered for one of its events already."""
        for name, function in calls.items():
            registered = self._by_event.get(name, ()) if name in self._names else self._for_all_events
            if any(_same(listener.function, function) for listener in registered):
                raise PipelineError(f"{callable_name(function)} is registered for {name!r} already")

    def add(self, calls: Mapping[str, Handler], priority: int, origin: object) -> None:
        """Connect *calls*, made by ``calls_of`` and passed by ``check``.

        ``"all"`` means each known event that *origin* does not receive yet.
        """
        for name, function in calls.items():
            if name != ALL:
                self._connect(name, Listener(function, _own_priority(function, priority), origin))
        if ALL in calls:
            for_all_events = Listener(calls[ALL], _own_priority(calls[ALL], priority), origin)
            self._for_all_events.append(for_all_events)
            for name in self._names:
                if name != RESPONSE and not self._receives(name, origin):
                    self._connect(name, Listener(for_all_events.function, for_all_events.priority, origin))

    def declared(self, name: str) -> None:
        """Connect the listeners for ``"all"`` to an event that was declared."""
        for listener in self._for_all_events:
            self._connect(name, Listener(listener.function, listener.priority, listener.origin))

    def remove(self, origin: object, names: tuple[str, ...]) -> None:
        """Disconnect *origin* from the events named, or from all.

        Raises PipelineError, and changes nothing, if it is not registered for one of them.
        """
        everything = not names or ALL in names
        found = [
            (name, listener)
            for name in (tuple(self._by_event) if everything else dict.fromkeys(names))
            for listener in self._by_event.get(name, ())
            if _same(listener.origin, origin)
        ]
        for_all_events = [
            listener for listener in self._for_all_events if everything and _same(listener.origin, origin)
        ]
        missing = {*names} - {ALL} - {name for name, _ in found}
        if missing or not (found or for_all_events):
            raise PipelineError(
                f"{callable_name(origin)} is not registered for {', '.join(sorted(missing)) or 'any event'}"
            )
        for name, listener in found:
            self._disconnect(name, listener)
        self._for_all_events = [listener for listener in self._for_all_events if listener not in for_all_events]

    def clear(self) -> None:
        """Disconnect all listeners."""
        for name, listeners in self._by_event.items():
            for listener in tuple(listeners):
                self._disconnect(name, listener)
        self._for_all_events.clear()

    def origins(self) -> list[object]:
        """Return the objects given to ``register``, each once, in order of arrival."""
        origins: list[object] = []
        for listeners in self._by_event.values():
            origins += [one.origin for one in listeners if not any(_same(one.origin, other) for other in origins)]
        return origins

    def receivers(self, name: str) -> tuple[Listener | Subscriber, ...]:
        """Return the receivers of the event by priority.

        At equal priority, receivers connected to any sender come first, then the order of arrival holds.
        """
        channel = signal(name)
        if channel.is_muted:
            return ()
        receivers = (
            receiver if isinstance(receiver, Listener) else Subscriber(receiver, channel)
            for receiver in channel.receivers_for(self._sender)
        )
        return tuple(sorted(receivers, key=_priority))

    def _receives(self, name: str, origin: object) -> bool:
        return any(_same(listener.origin, origin) for listener in self._by_event.get(name, ()))

    def _connect(self, name: str, listener: Listener) -> None:
        self._by_event.setdefault(name, []).append(listener)
        signal(name).connect(listener, sender=self._sender)

    def _disconnect(self, name: str, listener: Listener) -> None:
        listener.connected = False
        self._by_event[name].remove(listener)
        signal(name).disconnect(listener)
