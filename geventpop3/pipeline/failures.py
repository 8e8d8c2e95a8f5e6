"""Failures of plugins and listeners: their reply, their Eat code, and a log line with a reference id.

No line shows an argument or an octet of an event. At an event with a secret, the text of an exception may quote that
secret ("invalid literal for int(): 'sesame'"): then only the type and the place of the exception are logged.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Callable

from geventpop3.errors import ConfigError, HandedOverError, Refusal, ResponseCode
from geventpop3.pipeline.events import Event, answer_once, discard
from geventpop3.pipeline.interfaces import name_of_session
from geventpop3.pipeline.listeners import Listener, Subscriber
from geventpop3.pipeline.names import RESPONSE
from geventpop3.pipeline.pipeline import Slot
from geventpop3.pipeline.plugin import EAT_ALL, EAT_NONE, Eat
from geventpop3.wire.replies import Reply, err

logger = logging.getLogger("geventpop3.pipeline")

_PLUGIN_ERROR = "plugin_error"

_PACKAGE = __name__.partition(".")[0]

_QUOTING_NO_SECRET = (Refusal, ConfigError, HandedOverError)
"""Errors of this package whose texts are logged even for an event with a secret. PipelineError is not one: it quotes
its input, which at PASS may be the password."""


def new_reference() -> str:
    """Return an id for the client and for the log, so that a complaint leads to the failure."""
    return secrets.token_hex(4)


def internal_error(reference: str) -> Reply:
    """Return the reply to a command whose handler failed; *reference* is the id in the log."""
    return err(f"internal error, reference {reference}", ResponseCode.SYS_TEMP)


def title(event: Event) -> str:
    """Return the event's name and its session's, for the log."""
    return event.name if event.client is None else f"{event.name} of {name_of_session(event.client)}"


def log_failure(event: Event, who: str, exception: BaseException) -> str:
    """Log the failure of the plugin or listener *who*; return its reference id."""
    reference = new_reference()
    if event.secret_from is None:
        logger.error("%s failed at %s, reference %s", who, title(event), reference, exc_info=exception)
    else:
        trace = "".join(traceback.format_tb(exception.__traceback__))
        causes = _without_secrets(exception)
        logger.error("%s failed at %s, reference %s: %s\n%s", who, title(event), reference, causes, trace.rstrip())
    return reference


def plugin_raised(
    event: Event, slot: Slot, exception: BaseException, emit: Callable[[Event], None], *, only_reports: bool
) -> Eat:
    """Return the Eat code that an exception of a plugin stands for; a Refusal is the reply wherever there can be one.

    *only_reports*: the event cannot be answered (``EventSignal.only_reports``).
    """
    if isinstance(exception, Refusal) and not only_reports:
        if exception.detail is not None:
            logger.warning("plugin %r refused %s: %s", slot.alias, title(event), exception.detail)
        event.reply = err(exception.text, exception.code)
        return EAT_NONE if event.name == RESPONSE else EAT_ALL
    reference = plugin_failed(event, slot.alias, exception, emit)
    if not slot.plugin.fail_closed or only_reports:
        return EAT_NONE
    event.reply = internal_error(reference)
    return EAT_NONE if event.name == RESPONSE else EAT_ALL


def plugin_failed(event: Event, alias: str, exception: BaseException, emit: Callable[[Event], None]) -> str:
    """Log a plugin's failure and emit ``plugin_error``; return its reference id."""
    reference = log_failure(event, f"plugin {alias!r}", exception)
    event.reference = event.reference or reference
    if event.name != _PLUGIN_ERROR:
        # The exception may quote the secret, so the report is as secret as the event.
        secret_from = None if event.secret_from is None else 0
        emit(Event(_PLUGIN_ERROR, event.client, [exception, alias, event.name], b"", secret_from))
    return reference


def listener_failed(
    event: Event, receiver: Listener | Subscriber, exception: BaseException, isolated: tuple[type[BaseException], ...]
) -> None:
    """Log a listener's failure; answer the event with it, unless plain blinker code connected the receiver."""
    if isinstance(receiver, Listener) and isinstance(exception, Refusal):
        if exception.detail is not None:
            logger.warning("%s refused %s: %s", receiver, title(event), exception.detail)
        answer_once(event, err(exception.text, exception.code), isolated)
        return
    reference = log_failure(event, str(receiver), exception)
    if isinstance(receiver, Listener):
        event.reference = event.reference or reference
        answer_once(event, internal_error(reference), isolated)


def no_eat_code(returned: object, isolated: tuple[type[BaseException], ...]) -> HandedOverError:
    """Return the error for a plugin's result that is no Eat code, and close the body of that result."""
    kind = type(returned).__name__
    if not isinstance(returned, (Reply, str, bytes)):
        return HandedOverError(f"a plugin returns an Eat code or None, not {kind}")
    if isinstance(returned, Reply):
        discard(returned, isolated)
    return HandedOverError(
        f"a plugin returns an Eat code or None, not {kind}: to answer, set event.reply and return EAT_ALL, or raise "
        f"Refusal"
    )


def _without_secrets(exception: BaseException) -> str:
    """Return the type of a failure and of its causes, each with its text where that quotes no secret."""
    causes: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = exception
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        causes.append(_type_and_text(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ", because of ".join(causes)


def _type_and_text(exception: BaseException) -> str:
    kind = type(exception)
    # An application's subclass may put anything into its text.
    if not (issubclass(kind, _QUOTING_NO_SECRET) and kind.__module__.startswith(f"{_PACKAGE}.")):
        return kind.__name__
    detail = exception.detail if isinstance(exception, Refusal) else None
    words = " ".join(f"{exception}{f' ({detail})' if detail is not None else ''}".split())
    return f"{kind.__name__}: {words}"
