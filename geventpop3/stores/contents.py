"""Messages as applications have them: octets with any line ends, text, or an EmailMessage."""

from __future__ import annotations

from email.message import Message as Email
from typing import TypeAlias

from geventpop3.wire.stuffing import count_octets

Content: TypeAlias = bytes | str | Email


def content_bytes(content: object) -> bytes:
    """Return the octets of a message; a str becomes UTF-8. Raises TypeError if *content* is no message."""
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if isinstance(content, str):
        return content.encode("utf-8", "surrogateescape")
    if isinstance(content, Email):
        return content.as_bytes()
    raise TypeError(f"a message must be bytes, str or an EmailMessage, not {type(content).__name__}")


def message_octets(content: Content) -> int:
    """Return the size of a message as STAT, LIST and RETR state it: octets as sent, with CRLF line ends.

    A final line end that is missing counts, byte-stuffing does not (RFC 1939 section 11). Raises TypeError.
    """
    return count_octets((content_bytes(content),))
