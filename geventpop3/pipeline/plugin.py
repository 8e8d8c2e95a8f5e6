"""A plugin is an object whose methods carry ``@handles``; it hears events before any listener and may eat them."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from geventpop3.errors import PipelineError
from geventpop3.pipeline.names import ALL
from geventpop3.wire.replies import Reply

Handler = Callable[[Any, Any], Any]
"""Called ``(pop3d, event)``."""


class Eat(enum.IntEnum):
    """What a plugin says when it has seen an event."""

    NONE = 1
    """Go on. None, what a function returns that returns nothing, means the same."""
    CLIENT = 2
    """The other plugins still see it, the listeners do not."""
    PLUGIN = 3
    """No other plugin sees it, the listeners do (unless an earlier plugin said CLIENT)."""
    ALL = 4
    """Nobody else sees it. Without ``event.reply`` the client gets no answer at all."""


EAT_NONE = Eat.NONE
EAT_CLIENT = Eat.CLIENT
EAT_PLUGIN = Eat.PLUGIN
EAT_ALL = Eat.ALL


AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
ListenerFunction = TypeVar("ListenerFunction", bound=Callable[[Any, Any], Reply | str | bytes | None])
PluginFunction = TypeVar("PluginFunction", bound=Callable[[Any, Any], Eat | None])


def name_of(function: object) -> str:
    """Where a callable is found in the source; never its repr, which may show what it holds."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def handles(*names: str, priority: int | None = None) -> Callable[[AnyFunction], AnyFunction]:
    """Mark a method as the one that is called ``(pop3d, event)`` for these events; the method is returned unchanged.

    ``"all"``: every event that no other method of the object handles (the seed's ``_default``). A method that overrides
    a marked one handles the same events, unless it is marked itself. Marks on one method add up. *priority*: of this
    method among listeners, in place of the object's; a plugin has one for all its methods.
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
    """Raise PipelineError unless there are names: without parentheses the function itself comes in their place."""
    if not names or not all(isinstance(name, str) for name in names):
        raise PipelineError(f"{decorator} needs the names of events: @{decorator}('cmd_user')")


def plain_function(function: AnyFunction) -> AnyFunction:
    """Return *function* itself. Raises PipelineError if a call makes a coroutine or a generator, which nobody runs."""
    called = getattr(type(function), "__call__", None)  # noqa: B004  # it is looked at, not asked for
    for each in (function, called):
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            name = name_of(function)
            raise PipelineError(f"{name} is a coroutine function, and nobody would await it: write def, not async def")
        if inspect.isgeneratorfunction(each):
            raise PipelineError(
                f"{name_of(function)} is a generator function, and nobody would run it: return the reply, and keep "
                f"yield for a function whose chunks are the body of multiline()"
            )
    return function


def called_with_event(function: AnyFunction) -> AnyFunction:
    """*function* itself. Raises PipelineError if it cannot be called ``(pop3d, event)``, or nobody would await it."""
    plain_function(function)
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (ValueError, NameError):  # it has none, or its annotations have names that only a type checker knows
        return function
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise PipelineError(
            f"{name_of(function)}{_parameters(signature)} cannot be called (pop3d, event): {error}"
        ) from None
    return function


def _parameters(signature: inspect.Signature) -> str:
    # names alone: a default's repr may show what nobody should see
    return f"({', '.join(signature.parameters)})"


def handlers_of(subject: object) -> dict[str, Handler]:
    """The methods of *subject* that carry ``@handles``, bound, by the event they handle; empty if there is none.

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
                    f"{type(subject).__name__}: {methods[name]} and {attribute} both handle {name!r}, only one can"
                )
            handlers[name] = method
            methods[name] = attribute
    return handlers


def _unwrapped(method: Any) -> Any:
    # staticmethod and classmethod do not show the attributes of the function they hold
    return method.__func__ if isinstance(method, (staticmethod, classmethod)) else method


class Plugin:
    """The base of all plugins; nothing of it need be overridden.

    A handler returns an Eat code or None; at an event that only tells what has happened (``EventSignal.tells``) every
    code means EAT_NONE. A Refusal that it raises is the reply, and the event is eaten; in ``response`` it takes the
    place of the reply. Any other exception, and a Refusal at an event that only tells, is logged, reported by
    ``plugin_error``, and counts as EAT_NONE, unless ``fail_closed`` says otherwise.
    """

    priority: int = 0
    """The lower, the earlier."""

    fail_closed: bool = False
    """Whether an exception that is no Refusal refuses wherever a Refusal does: ``-ERR [SYS/TEMP]``, the event is eaten.

    In ``response`` that takes the place of the reply. Returning what is no Eat code counts as an exception."""

    def plugin_register(self, pop3d: Any) -> bool | None:  # noqa: ARG002  for those who override it
        """Called when it is added to *pop3d*: False or an exception, and it is not added."""
        return None

    def plugin_unregister(self, pop3d: Any) -> None:
        """Called when it is removed from *pop3d*."""

    def plugin_handlers(self) -> Mapping[str, Handler]:
        """What is called for which event; asked once, when the plugin is added."""
        return handlers_of(self)


class FunctionPlugin(Plugin):
    """One function as a plugin."""

    def __init__(self, function: Handler, *names: str, priority: int = 0, fail_closed: bool = False) -> None:
        if not names:
            raise PipelineError("name the events that the plugin shall hear, or 'all'")
        self.priority = priority
        self.fail_closed = fail_closed
        self._handlers = dict.fromkeys(names, called_with_event(function))

    def plugin_handlers(self) -> Mapping[str, Handler]:
        return self._handlers


class Hearing:
    """Which of the events it handles a plugin hears: all, unless something was chosen."""

    __slots__ = ("_all", "_chosen", "_exceptions", "handlers", "joined")

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers
        self.joined = False
        self._all = True
        self._chosen = False
        self._exceptions: set[str] = set()

    def handles(self, name: str) -> bool:
        return name in self.handlers or ALL in self.handlers

    def choose(self, name: str) -> None:
        """Hear this too. What a plugin chooses before it has joined is all it hears, as in the seed."""
        if not (self.joined or self._chosen):
            self._all = False
        self._set(name, heard=True)

    def refuse(self, name: str) -> None:
        """Hear this no more."""
        self._set(name, heard=False)

    def handler(self, name: str) -> Handler | None:
        """What is called for the event; None if the plugin does not hear it."""
        if not self.joined or (name in self._exceptions) is self._all:
            return None
        return self.handlers.get(name, self.handlers.get(ALL))

    def _set(self, name: str, *, heard: bool) -> None:
        self._chosen = True
        if name == ALL:
            self._all = heard
            self._exceptions.clear()
        elif heard is self._all:
            self._exceptions.discard(name)
        else:
            self._exceptions.add(name)
