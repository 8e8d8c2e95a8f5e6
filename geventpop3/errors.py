"""Errors know their reply; the server translates them once, at the border.

    PopError
    ├── Refusal(text, code)          -ERR [code] text
    │   ├── AuthenticationFailed     [AUTH]      the credentials are wrong
    │   ├── MaildropLocked           [IN-USE]    another session has the maildrop
    │   ├── NoSuchMessage                        no such message-number, or marked as deleted
    │   ├── StoreUnavailable         [SYS/TEMP]  cannot be done now, may succeed later
    │   │   └── RemovalIncomplete    [SYS/TEMP]  UPDATE left some marked messages in the maildrop
    │   └── StoreBroken              [SYS/PERM]  will not succeed until somebody mends it
    ├── StoreMistake                             the author's mistake with a store
    ├── PipelineError                            the author's mistake with plugins, listeners or event names
    ├── HandedOverError                          the author's mistake in what a function or a plugin returned
    └── ConfigError                              the operator's mistake: one clear line

The response codes are those of RFC 2449 section 8 and RFC 3206. The texts of these errors, and *detail*, go to the log
also where a password was on its way: whoever raises one puts no secret into it.
"""

from __future__ import annotations

from enum import StrEnum


class PopError(Exception):
    """What every error of this package is."""


class Refusal(PopError):
    """Raised by a listener, a store or an authenticator to answer ``-ERR [code] text``.

    *detail* is for the log alone (a path, an errno text) and never reaches the wire.
    """

    default_text = "refused"
    default_code: str | None = None

    def __init__(self, text: str | None = None, code: str | None = None, *, detail: str | None = None) -> None:
        self.text = self.default_text if text is None else text
        self.code = self.default_code if code is None else code
        self.detail = detail
        super().__init__(self.text)


class AuthenticationFailed(Refusal):
    """The same words for an unknown user and a wrong password (RFC 3206 section 6: ``[AUTH]``)."""

    default_text = "authentication failed"
    default_code = "AUTH"


class MaildropLocked(Refusal):
    """Another session holds the exclusive-access lock (RFC 1939 section 4, RFC 2449 section 8.1.2)."""

    default_text = "the maildrop is in use by another session"
    default_code = "IN-USE"


class NoSuchMessage(Refusal):
    """A message-number out of range, or of a message that is marked as deleted (RFC 1939 section 5)."""

    default_text = "no such message"


class StoreUnavailable(Refusal):
    """The store or the back end cannot answer now (RFC 3206 section 4: ``[SYS/TEMP]``)."""

    default_text = "the maildrop is not available now, try again later"
    default_code = "SYS/TEMP"


class RemovalIncomplete(StoreUnavailable):
    """UPDATE could not remove all marked messages (RFC 1939 section 6); *remaining* is how many are left."""

    def __init__(self, remaining: int, *, detail: str | None = None) -> None:
        self.remaining = remaining
        noun = "message" if remaining == 1 else "messages"
        super().__init__(f"some deleted messages not removed: {remaining} {noun} left", detail=detail)


class StoreBroken(Refusal):
    """The store needs mending (RFC 3206 section 4: ``[SYS/PERM]``)."""

    default_text = "the maildrop is damaged, ask your postmaster"
    default_code = "SYS/PERM"


class StoreMistake(PopError):
    """A store that hands over what the interface does not allow; its text names the message."""


class PipelineError(PopError):
    """A plugin, a listener or an event name that cannot be what its author meant."""


class HandedOverError(PopError, TypeError, ValueError):
    """What an application handed over is none of the things agreed; the text tells its type and never its value."""


class ConfigError(PopError):
    """A setting that cannot work; its text is one line for the operator."""


class ResponseCode(StrEnum):
    """What stands in brackets before the text of a reply; a str, as ``Reply`` and ``Refusal`` take it.

    An application may use others too.
    """

    LOGIN_DELAY = "LOGIN-DELAY"
    """RFC 2449 section 8.1.1: the last login is not long enough ago."""
    IN_USE = "IN-USE"
    """RFC 2449 section 8.1.2: the credentials were right, another session has the maildrop."""
    SYS_TEMP = "SYS/TEMP"
    """RFC 3206 section 4: a fault of the system that is likely to pass."""
    SYS_PERM = "SYS/PERM"
    """RFC 3206 section 4: a fault of the system that somebody must mend."""
    AUTH = "AUTH"
    """RFC 3206 section 5: the credentials are wrong."""
    UTF8 = "UTF8"
    """RFC 6856 section 5: the message can be had in UTF-8 mode alone."""
