"""Dispatch of an event: plugins in pipeline order, then listeners by priority; each isolated from the others.

This module defines the meaning of the Eat codes and of a listener's answer, ``geventpop3.pipeline.failures`` that of an
exception. ``_emit`` raises nothing that a plugin or a listener raises, except what is not in ``_isolated``: the end of
a greenlet that is killed. An event that only reports reaches all receivers even then; the end is raised afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol

from geventpop3.errors import PipelineError
from geventpop3.pipeline.events import (
    CATALOGUE,
    FAILURES,
    Event,
    answer_once,
    as_reply,
    discard,
    discard_replaced,
    generation,
)
from geventpop3.pipeline.failures import listener_failed, no_eat_code, plugin_failed, plugin_raised
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.listeners import Listener, Listeners, calls_of, priority_of
from geventpop3.pipeline.names import ALL, RESPONSE, Names
from geventpop3.pipeline.pipeline import Pipeline, Slot
from geventpop3.pipeline.plugin import (
    EAT_CLIENT,
    EAT_NONE,
    EAT_PLUGIN,
    Eat,
    FunctionPlugin,
    Handler,
    ListenerFunction,
    Plugin,
    PluginFunction,
    Subscription,
    check_given,
)
from geventpop3.pipeline.routes import Route, Routes, Subscriptions
from geventpop3.wire.replies import Reply

logger = logging.getLogger("geventpop3.pipeline")

_REPLY_WITHDRAWN = "reply_withdrawn"


class Watch(Protocol):
    """An observer that calls plugins and listeners."""

    def call(self, who: object, function: Handler, pop3d: Any, event: Event) -> Any:
        """Return the result of ``function(pop3d, event)``; *who* is its name."""


class Pluggable:
    """Events, listeners and plugins of a server; usable without any server."""

    _isolated: ClassVar[tuple[type[BaseException], ...]] = FAILURES
    """Exceptions that plugins and listeners may raise without harm to others; all others get through. A subclass may
    add kinds of failure, such as a deadline that is no Exception."""

    _watch: Watch | None = None
    """Observer that calls plugins and listeners in our place, if a subclass sets one."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(self._plugin_joining, self._plugin_joined, self._plugin_left)
        self._event_names = Names(CATALOGUE)
        self._event_listeners = Listeners(self, self._event_names)
        self._subscriptions = Subscriptions()
        self._event_routes = self._new_routes()

    # Events

    def add_event(self, name: str) -> None:
        """Declare an event of the application, or a verb whatever it resembles; leave a known one as it is."""
        if name not in self._event_names:
            self._event_names.add(name)
            self._event_listeners.declared(name)
            self._event_declared(name)

    def _event_declared(self, name: str) -> None:
        """Handle a new name; called once for each that becomes known beyond the catalogue. For subclasses."""

    def send_event(self, name: str, *args: Any, client: ClientInterface | None = None) -> Event:
        """Emit an event with these arguments; return it when all receivers were called."""
        self._emit(event := Event(name, client, list(args)))
        return event

    def wanted(self, name: str) -> bool:
        """Return whether the event has a plugin or listener: if not, it need not even be made."""
        routes = self._event_routes  # as in _routes, without a call: each command asks several times
        if routes.generation != generation.latest:
            routes = self._new_routes()
        return routes[name].wanted

    def _emit(self, event: Event) -> None:
        """Call the plugins and listeners of *event*; its ``reply``, ``eaten`` and ``reference`` hold the result.

        A plugin or listener added meanwhile receives the next event; one removed meanwhile is not called any more.
        Raises PipelineError if this server knows no such event, and nothing that plugins or listeners raise.
        """
        routes = self._event_routes
        if routes.generation != generation.latest:
            routes = self._new_routes()
        route = routes[event.name]
        end: BaseException | None = None
        if route.plugins:
            try:
                event.eaten = self._ask_plugins(route, event)
            except BaseException as raised:
                if not route.only_reports:
                    raise
                end = raised
            if event.eaten:
                return
        positive: Reply | None = None
        for receiver in route.receivers:
            if not receiver.connected:
                continue
            before = event._reply  # the attribute itself: the property would cost a tenth more
            try:
                try:
                    if self._watch is None:
                        answer = receiver.function(self, event)
                    else:
                        answer = self._watch.call(receiver, receiver.function, self, event)
                    if answer is not None:
                        reply = answer if type(answer) is Reply else as_reply(answer)
                        if event._reply is None and reply.positive:
                            event._reply = reply  # as answer_once sets it, without its checks: most commands end here
                        else:
                            answer_once(event, reply, self._isolated)
                except self._isolated as failure:  # isolated from the other listeners
                    listener_failed(event, receiver, failure, self._isolated)
            except BaseException as raised:
                if not route.only_reports:
                    raise
                end = end or raised
            if before is not None:
                discard_replaced(before, event.reply, self._isolated)
                positive = before if before.positive else positive
        if positive is not None and not route.only_reports:
            self._withdraw(event)
        if end is not None:
            raise end

    def _emit_to(self, listener: Any, event: Event) -> None:
        """Emit *event*, which only reports, to what was registered as *listener* alone."""
        for receiver in self._routes()[event.name].receivers:
            if isinstance(receiver, Listener) and receiver.is_of(listener):
                try:
                    receiver.function(self, event)
                except self._isolated as failure:
                    listener_failed(event, receiver, failure, self._isolated)

    def _respond(self, event: Event) -> Reply | None:
        """Return the reply to send for *event* after the ``response`` hook, or None if it was eaten.

        A plugin that replaces a body by another owns the old one, to read it or to close it. A body without a
        replacement is closed here. A ``+OK`` that is not sent is reported as ``reply_withdrawn``.
        """
        reply = event.reply
        if reply is None:
            return None
        route = self._routes()[RESPONSE]
        if not route.plugins:
            return reply
        hook = Event(RESPONSE, event.client, [event.name])
        hook.reply = reply
        try:
            eaten = self._ask_plugins(route, hook)
        except BaseException:
            discard(hook.reply, self._isolated)
            raise
        if eaten:
            discard(hook.reply, self._isolated)
        now = None if eaten else hook.reply
        if reply.positive and (now is None or not now.positive):
            return self._report_withdrawn(event) or now
        return now

    def _withdraw(self, event: Event) -> None:
        """Have the effects of *event* undone if its answer, a ``+OK`` before, is none any more."""
        now = event.reply
        if now is None or not now.positive:
            event.reply = self._report_withdrawn(event) or now

    def _report_withdrawn(self, event: Event) -> Reply | None:
        """Report that the ``+OK`` to *event* is not sent; return the ``+OK`` of a listener that cannot undo it."""
        if not self.wanted(_REPLY_WITHDRAWN):
            return None
        reply = self.send_event(_REPLY_WITHDRAWN, event.name, event, client=event.client).reply
        return reply if reply is not None and reply.positive else None

    # Listeners

    def register(self, listener: Any, *names: str, priority: int | None = None) -> None:
        """Register *listener* for the events named, or for every event if ``"all"`` is named.

        A callable is called ``(pop3d, event)``. Of any other object, the methods that carry ``@handles`` are called for
        the events in these marks; *names*, if any, narrow them down. *priority*: the lowest is called first; the
        default is the object's ``priority`` attribute, or 0. An object that cannot serve raises an error in a method
        ``check_ready(pop3d)``; the server's ``start`` passes it on.

        Raises PipelineError, and registers nothing, if a name is unknown or is ``response``, or if the listener is
        registered for one of the events already.
        """
        self._event_names.check_all(names)
        calls = calls_of(listener, names)
        self._event_names.check_all(calls)
        if RESPONSE in calls:
            raise PipelineError(f"{RESPONSE!r} is for plugins only: write a Plugin that handles it")
        priority = priority_of(listener, priority)
        self._event_listeners.check(calls)
        self._declare_new(calls)
        self._event_listeners.add(calls, priority, listener)

    def unregister(self, listener: Any, *names: str) -> None:
        """Undo ``register``, for the events named or for all of them.

        Raises PipelineError, and does nothing, if the listener is not registered for one of them.
        """
        self._event_listeners.remove(listener, names)
        self._new_routes()

    def on(self, *names: str, priority: int = 0) -> Callable[[ListenerFunction], ListenerFunction]:
        """Register the decorated function as a listener; return it unchanged."""
        check_given("pop3d.on", names)

        def decorate(function: ListenerFunction) -> ListenerFunction:
            self.register(function, *names, priority=priority)
            return function

        return decorate

    def _check_ready(self) -> None:
        """Call the ``check_ready`` of each registered object that has one; it raises what keeps it from serving."""
        for origin in self._event_listeners.origins():
            check = getattr(origin, "check_ready", None)
            if check is not None:
                check(self)

    def _unregister_all(self) -> None:
        """Remove all plugins, last first, and unregister all listeners, when this server has ended.

        Receivers that plain blinker code connected are not ours and stay.
        """
        for slot in reversed(tuple(self.pipeline)):
            if slot.in_pipeline:
                self.pipeline.remove(slot.plugin)
        self._event_listeners.clear()
        self._new_routes()

    # Plugins

    def plugin(
        self, *names: str, priority: int = 0, alias: str | None = None, fail_closed: bool = False
    ) -> Callable[[PluginFunction], PluginFunction]:
        """Add the decorated function as a plugin, by its own name unless *alias* is given; return it unchanged.

        *fail_closed* as in ``Plugin``.
        """
        check_given("pop3d.plugin", names)

        def decorate(function: PluginFunction) -> PluginFunction:
            name: str = getattr(function, "__name__", "") if alias is None else alias
            self.plugin_add(name, FunctionPlugin(function, *names, priority=priority, fail_closed=fail_closed))
            return function

        return decorate

    def plugin_add(self, alias: str, plugin: Plugin, priority: int | None = None) -> int:
        """Add a plugin behind all of its priority; return the number of plugins.

        Raises PipelineError, and leaves nothing behind, if the alias is taken, or if the plugin handles no event or an
        unknown one. So it does if its ``plugin_register`` raises or returns False.
        """
        return self.pipeline.push(alias, plugin, priority)

    def plugin_del(self, which: str | Plugin) -> Plugin:
        """Remove a plugin, by alias or by the object itself; return it."""
        return self.pipeline.remove(which)[0]

    def plugin_get(self, which: str | Plugin) -> Plugin:
        """Return a plugin, by alias or by the object itself. Raises PipelineError if it is not there."""
        return self.pipeline.get(which)[0]

    def plugin_list(self) -> dict[str, Plugin]:
        """Return all plugins by alias, in order."""
        return {slot.alias: slot.plugin for slot in self.pipeline}

    def plugin_order(self) -> list[Plugin]:
        """Return the plugins in the order in which they receive events; ``plugin_list`` has their aliases."""
        return [slot.plugin for slot in self.pipeline]

    def plugin_register(self, which: str | Plugin, *names: str) -> None:
        """Subscribe a plugin to the events named, of those it handles; no name, or ``"all"``: all of them.

        By default a plugin receives all events it handles. If it calls this in its own ``plugin_register``, it receives
        only those it chose. Raises PipelineError for an event that it does not handle.
        """
        self._event_names.check_all(names)
        self._subscriptions.choose(self.pipeline.slot(which), names)
        self.pipeline.changed()

    def plugin_unregister(self, which: str | Plugin, *names: str) -> None:
        """Unsubscribe a plugin from the events named; no name, or ``"all"``: from all of them."""
        self._event_names.check_all(names)
        self._subscriptions.refuse(self.pipeline.slot(which), names)
        self.pipeline.changed()

    # Names

    def _declare_new(self, names: Iterable[str]) -> None:
        for name in names:
            if name != ALL:
                self.add_event(name)

    # Routes: plugins and listeners by event, cached until any of them changes

    def _routes(self) -> Routes:
        routes = self._event_routes
        return routes if routes.generation == generation.latest else self._new_routes()

    def _new_routes(self) -> Routes:
        self._event_routes = Routes(self._event_names, self.pipeline, self._subscriptions, self._event_listeners)
        return self._event_routes

    def _described(self, name: str) -> str:
        """Return the event's name with those of its plugins and listeners, for the log."""
        return f"{name} ({self._routes()[name].names()})"

    # Results of plugins

    def _ask_plugins(self, route: Route, event: Event) -> bool:
        """Call the plugins; return whether the event was eaten, so that the listeners are passed over."""
        eaten = False
        positive: Reply | None = None
        end: BaseException | None = None
        for slot, handler in route.plugins:
            if not slot.in_pipeline:
                continue
            before = event.reply
            eat: Eat | None = None
            try:
                try:
                    if self._watch is None:
                        eat = handler(self, event)
                    else:
                        eat = self._watch.call(f"plugin {slot.alias!r}", handler, self, event)
                    if eat is not None and not isinstance(eat, Eat):
                        raise no_eat_code(eat, self._isolated)
                except self._isolated as failure:  # isolated from the other plugins
                    eat = plugin_raised(event, slot, failure, self._emit, only_reports=route.only_reports)
            except BaseException as raised:
                if not route.only_reports:
                    raise
                end = end or raised
            if before is not None:
                discard_replaced(before, event.reply, self._isolated)
                positive = before if before.positive else positive
            if eat is None or eat is EAT_NONE:
                continue
            if route.only_reports:
                logger.debug("plugin %r cannot eat %s: it only reports what has happened", slot.alias, event.name)
                continue
            eaten = eaten or eat is not EAT_PLUGIN
            if eat is not EAT_CLIENT:
                break
        if positive is not None and not route.only_reports and event.name != RESPONSE:
            self._withdraw(event)
        if end is not None:
            raise end
        return eaten

    # Callbacks of the pipeline

    def _plugin_joining(self, slot: Slot) -> None:
        subscription = self._subscriptions.add(slot)
        try:
            self._admit(slot, subscription)
        except BaseException:
            self._subscriptions.remove(slot)
            raise

    def _admit(self, slot: Slot, subscription: Subscription) -> None:
        try:
            admitted = slot.plugin.plugin_register(self)
        except SystemExit:  # raised in the program that adds plugins, which wants to end
            raise
        except self._isolated as failure:
            raise PipelineError(f"the plugin {slot.alias!r} could not be added: {failure}") from failure
        if admitted is False:
            raise PipelineError(f"the plugin {slot.alias!r} was not added: its plugin_register returned False")
        try:
            # only now: the plugin may have declared events of its own
            self._event_names.check_all(subscription.handlers)
        except PipelineError:
            self._call_unregister(slot)
            raise
        self._declare_new(subscription.handlers)
        subscription.joined = True

    def _call_unregister(self, slot: Slot) -> None:
        try:
            slot.plugin.plugin_unregister(self)
        except self._isolated as failure:  # it is removed nevertheless
            plugin_failed(Event("plugin_unregister"), slot.alias, failure, self._emit)

    def _plugin_joined(self, slot: Slot) -> None:
        self.send_event("plugin_add", slot.alias, slot.plugin)

    def _plugin_left(self, slot: Slot) -> None:
        self._subscriptions.remove(slot)
        self._new_routes()
        self._call_unregister(slot)
        self.send_event("plugin_del", slot.alias, slot.plugin)
