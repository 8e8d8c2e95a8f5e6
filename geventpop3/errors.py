"""Errors of this package. A refusal carries its reply; the server translates the errors in one place.

    PopError
    ├── Refusal(text, code)          -ERR [code] text
    │   ├── AuthenticationFailed     [AUTH]      the credentials are wrong
    │   ├── MaildropLocked           [IN-USE]    another session has the maildrop
    │   ├── NoSuchMessage                        no such message-number, or marked as deleted
    │   ├── StoreUnavailable         [SYS/TEMP]  cannot be done now, may succeed later
    │   │   └── RemovalIncomplete    [SYS/TEMP]  UPDATE left some marked messages in the maildrop
    │   └── StoreBroken              [SYS/PERM]  will not succeed until it is repaired
    ├── StoreMistake                             the author's mistake with a store
    ├── PipelineError                            the author's mistake with plugins, listeners or event names
    ├── HandedOverError                          the author's mistake in what a function or a plugin returned
    └── ConfigError                              the operator's mistake: one clear line

The response codes are those of RFC 2449 section 8 and RFC 3206. The texts of these errors, and *detail*, are logged
even where a password was processed: they must contain no secret.
"""

from __future__ import annotations

from enum import StrEnum


class PopError(Exception):
    """Base class of every error of this package."""


class Refusal(PopError):
    """A refusal: a listener, a store or an authenticator raises it to answer ``-ERR [code] text``.

    *detail* is for the log alone (a path, an errno text) and is never sent.
    """

    default_text: str = "refused"
    default_code: str | None = None

    def __init__(self, text: str | None = None, code: str | None = None, *, detail: str | None = None) -> None:
        self.text: str = self.default_text if text is None else text
        self.code: str | None = self.default_code if code is None else code
        self.detail: str | None = detail
        super().__init__(self.text)


class AuthenticationFailed(Refusal):
    """Wrong credentials; the text is the same for an unknown user (RFC 3206 section 6: ``[AUTH]``)."""

    default_text: str = "authentication failed"
    default_code: str | None = "AUTH"


class MaildropLocked(Refusal):
    """Exclusive-access lock held by another session (RFC 1939 section 4, RFC 2449 section 8.1.2)."""

    default_text: str = "the maildrop is in use by another session"
    default_code: str | None = "IN-USE"


class NoSuchMessage(Refusal):
    """A message-number out of range, or of a message that is marked as deleted (RFC 1939 section 5)."""

    default_text: str = "no such message"


class StoreUnavailable(Refusal):
    """Store or back end that cannot answer now (RFC 3206 section 4: ``[SYS/TEMP]``)."""

    default_text: str = "the maildrop is not available now, try again later"
    default_code: str | None = "SYS/TEMP"


class RemovalIncomplete(StoreUnavailable):
    """UPDATE that could not remove all marked messages (RFC 1939 section 6); *remaining* is the number left."""

    def __init__(self, remaining: int, *, detail: str | None = None) -> None:
        self.remaining = remaining
        noun = "message" if remaining == 1 else "messages"
        super().__init__(f"some deleted messages not removed: {remaining} {noun} left", detail=detail)


class StoreBroken(Refusal):
    """Store that needs repair (RFC 3206 section 4: ``[SYS/PERM]``)."""

    default_text: str = "the maildrop is damaged, ask your postmaster"
    default_code: str | None = "SYS/PERM"


class StoreMistake(PopError):
    """A store's result that the interface does not allow; the text names the message."""


class PipelineError(PopError):
    """A plugin, a listener or an event name that is not valid."""


class HandedOverError(PopError, TypeError, ValueError):
    """A value from an application that is of none of the types agreed; the text shows its type, never the value."""


class ConfigError(PopError):
    """A setting that cannot work; its text is one line for the operator."""


class ResponseCode(StrEnum):
    """Response code in the brackets before the text of a reply; a str, as ``Reply`` and ``Refusal`` take it.

    An application may use others too.
    """

    LOGIN_DELAY = "LOGIN-DELAY"
    """RFC 2449 section 8.1.1: the last login is not long enough ago."""
    IN_USE = "IN-USE"
    """RFC 2449 section 8.1.2: the credentials were right, another session has the maildrop."""
    SYS_TEMP = "SYS/TEMP"
    """RFC 3206 section 4: a fault of the system that is likely to pass."""
    SYS_PERM = "SYS/PERM"
    """RFC 3206 section 4: a fault of the system that needs repair."""
    AUTH = "AUTH"
    """RFC 3206 section 5: the credentials are wrong."""
    UTF8 = "UTF8"
    """RFC 6856 section 5: the message is available in UTF-8 mode alone."""
