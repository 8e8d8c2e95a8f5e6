"""The response codes that are registered (RFC 2449 section 8), so that a misspelt one is an error and not a new one."""

from __future__ import annotations

from enum import StrEnum


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
