"""Plugins: objects whose methods carry ``@handles``. They receive events before any listener and may eat them."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from geventpop3.errors import PipelineError
from geventpop3.pipeline.names import ALL
from geventpop3.wire.replies import Reply

Handler = Callable[[Any, Any], Any]
"""Callable with the arguments ``(pop3d, event)``."""


class Eat(enum.IntEnum):
    """Result of a plugin's handler, which decides the delivery of the event to others."""

    NONE = 1
    """Delivery goes on. None, the result of a function that returns nothing, means the same."""
    CLIENT = 2
    """Delivery to the other plugins, but not to the listeners."""
    PLUGIN = 3
    """Delivery to no other plugin, but to the listeners (unless an earlier plugin returned CLIENT)."""
    ALL = 4
    """Delivery to nobody else. Without ``event.reply`` the client gets no answer at all."""


EAT_NONE = Eat.NONE
EAT_CLIENT = Eat.CLIENT
EAT_PLUGIN = Eat.PLUGIN
EAT_ALL = Eat.ALL


AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
ListenerFunction = TypeVar("ListenerFunction", bound=Callable[[Any, Any], Reply | str | bytes | None])
PluginFunction = TypeVar("PluginFunction", bound=Callable[[Any, Any], Eat | None])


def callable_name(function: object) -> str:
    """Return the qualified name of a callable; never its repr, which may show what it holds."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def handles(*names: str, priority: int | None = None) -> Callable[[AnyFunction], AnyFunction]:
    """Mark a method as the handler, called ``(pop3d, event)``, of these events; return the method unchanged.

    ``"all"``: every event that no other method of the object handles (``_default`` in POE::Component::Server::POP3). A
    method that overrides a marked one handles the same events, unless it is marked itself. Marks on one method add up.
    *priority* is that of this method among listeners, in place of the object's; a plugin has one for all its methods.
    """
    check_given("handles", names)

    def mark(function: AnyFunction) -> AnyFunction:
        marked: Any = plain_function(_unwrapped(function))
        marked.__handles__ = (*names, *getattr(marked, "__handles__", ()))
        if priority is not None:
            marked.__priority__ = priority
        return function

    return mark


def check_given(decorator: str, names: tuple[object, ...]) -> None:
    """Raise PipelineError unless names are given: without parentheses the function itself comes in their place."""
    if not names or not all(isinstance(name, str) for name in names):
        raise PipelineError(f"{decorator} needs the names of events: @{decorator}('cmd_user')")


def plain_function(function: AnyFunction) -> AnyFunction:
    """Return *function* itself. Raises PipelineError for a coroutine or generator function, which nothing would run."""
    called = getattr(type(function), "__call__", None)  # noqa: B004  # it is inspected, not tested for
    for each in (function, called):
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            name = callable_name(function)
            raise PipelineError(f"{name} is a coroutine function, which is not awaited: write def instead of async def")
        if inspect.isgeneratorfunction(each):
            raise PipelineError(
                f"{callable_name(function)} is a generator function, which is not run: return the reply, and "
                f"yield only in a function for the body of multiline()"
            )
    return function


def called_with_event(function: AnyFunction) -> AnyFunction:
    """Return *function* itself. Raises PipelineError if it is no plain function callable ``(pop3d, event)``."""
    plain_function(function)
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (ValueError, NameError):  # it has none, or its annotations have names that only a type checker knows
        return function
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise PipelineError(
            f"{callable_name(function)}{_parameters(signature)} must accept the arguments (pop3d, event): {error}"
        ) from None
    return function


def _parameters(signature: inspect.Signature) -> str:
    # names alone: a default's repr may show a secret
    return f"({', '.join(signature.parameters)})"


def handlers_of(subject: object) -> dict[str, Handler]:
    """Return the methods of *subject* that carry ``@handles``, bound, by the event they handle; empty if there is none.

    Raises PipelineError if two of them handle one event, or if one cannot be called ``(pop3d, event)``.
    """
    marks: dict[str, tuple[str, ...]] = {}
    for ancestor in reversed(type(subject).__mro__):
        for attribute, value in vars(ancestor).items():
            names = getattr(_unwrapped(value), "__handles__", None)
            if isinstance(names, tuple):
                marks[attribute] = names
            elif attribute in marks and not callable(_unwrapped(value)):
                del marks[attribute]
    handlers: dict[str, Handler] = {}
    methods: dict[str, str] = {}
    for attribute, names in marks.items():
        method = called_with_event(getattr(subject, attribute))
        for name in dict.fromkeys(names):
            if name in handlers:
                raise PipelineError(
                    f"{type(subject).__name__}: {methods[name]} and {attribute} both handle {name!r}: keep one"
                )
            handlers[name] = method
            methods[name] = attribute
    return handlers


def _unwrapped(method: Any) -> Any:
    # staticmethod and classmethod do not show the attributes of the function they hold
    return method.__func__ if isinstance(method, (staticmethod, classmethod)) else method


class Plugin:
    """The base class of all plugins; a subclass need override nothing of it.

    A handler returns an Eat code or None; at an event that only reports (``EventSignal.only_reports``) every code means
    EAT_NONE. A Refusal that a handler raises is the reply, and the event is eaten; in ``response`` it replaces the
    reply. Any other exception, and a Refusal at an event that only reports, is logged and reported by ``plugin_error``.
    It counts as EAT_NONE, unless ``fail_closed`` changes that.
    """

    priority: int = 0
    """Place in the order: the lowest number comes first."""

    fail_closed: bool = False
    """True if an exception that is no Refusal refuses wherever a Refusal does: ``-ERR [SYS/TEMP]``, the event is eaten.

    In ``response`` that replaces the reply. A result that is no Eat code counts as an exception.
    """

    def plugin_register(self, pop3d: Any) -> bool | None:  # noqa: ARG002  for subclasses
        """Prepare for *pop3d*, to which the plugin is being added. After False or an exception it is not added."""
        return None

    def plugin_unregister(self, pop3d: Any) -> None:
        """Clean up after the removal from *pop3d*."""

    def plugin_handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by event; called once, when the plugin is added."""
        return handlers_of(self)


class FunctionPlugin(Plugin):
    """A plugin made of one function."""

    def __init__(self, function: Handler, *names: str, priority: int = 0, fail_closed: bool = False) -> None:
        if not names:
            raise PipelineError("give the names of events for the plugin, or 'all'")
        self.priority = priority
        self.fail_closed = fail_closed
        self._handlers = dict.fromkeys(names, called_with_event(function))

    def plugin_handlers(self) -> Mapping[str, Handler]:
        return self._handlers


class Subscription:
    """A plugin's event subscriptions; by default all events it handles."""

    __slots__ = ("_all", "_exceptions", "_has_chosen", "handlers", "joined")

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers
        self.joined = False
        self._all = True
        self._has_chosen = False
        self._exceptions: set[str] = set()

    def handles(self, name: str) -> bool:
        return name in self.handlers or ALL in self.handlers

    def choose(self, name: str) -> None:
        """Subscribe to an event.

        Choices before the plugin has joined replace the default, as in POE::Component::Server::POP3.
        """
        if not (self.joined or self._has_chosen):
            self._all = False
        self._set(name, subscribed=True)

    def refuse(self, name: str) -> None:
        """Unsubscribe from an event."""
        self._set(name, subscribed=False)

    def handler(self, name: str) -> Handler | None:
        """Return the handler of the event; None if the plugin does not receive it."""
        if not self.joined or (name in self._exceptions) is self._all:
            return None
        return self.handlers.get(name, self.handlers.get(ALL))

    def _set(self, name: str, *, subscribed: bool) -> None:
        self._has_chosen = True
        if name == ALL:
            self._all = subscribed
            self._exceptions.clear()
        elif subscribed is self._all:
            self._exceptions.discard(name)
        else:
            self._exceptions.add(name)
