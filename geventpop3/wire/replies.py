"""Replies as values: status indicator, text, response code and body. Only this module encodes their status lines.

For any text of an application, the status line has no control octet and at most 512 octets. It begins with a response
code only if the reply has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from geventpop3.errors import HandedOverError
from geventpop3.wire.fast_path import plain_status_line

STATUS_LINE_OCTETS = 512
"""Octets of the longest status line. RFC 2449 section 4: "The maximum length of the first line of a command response
(including the initial greeting) ... is 512 octets (including the terminating CRLF)"."""

_CONTROLS = bytes.maketrans(bytes([*range(32), 127]), b"?" * 33)


class Reply(NamedTuple):
    """The answer to a command. It is immutable: ``reply._replace(text=...)`` returns a changed copy.

    *text* excludes the status indicator and the response code. A *body* makes it a multi-line response: chunks of
    octets with any line ends. CRLF, byte-stuffing and the termination octet are added when it is sent.
    """

    positive: bool
    text: str = ""
    code: str | None = None
    body: Iterable[bytes] | None = None

    @property
    def status_line(self) -> bytes:
        """The first line in octets, with CRLF."""
        return status_line(self)

    @classmethod
    def parse(cls, line: str | bytes) -> Reply:
        """Return the Reply that a line such as ``-ERR [AUTH] go away`` means.

        Raises HandedOverError if it begins with neither ``+OK`` nor ``-ERR``. Its text shows nothing of other lines,
        which may hold, for example, a password.
        """
        if isinstance(line, bytes):
            line = line.decode("utf-8", "surrogateescape")
        status, _, text = line.rstrip("\r\n").partition(" ")
        if status not in ("+OK", "-ERR"):
            is_near = status.strip("+-").upper() in ("OK", "ERR")
            found = f"not with {status!r}" if is_near else f"and these {len(line)} characters do not"
            raise HandedOverError(f"a reply must begin with +OK or -ERR, {found}: use ok(), err() or multiline()")
        code = None
        if text.startswith("[") and "]" in text:
            code, _, text = text[1:].partition("]")
            text = text.removeprefix(" ")
        return cls(status == "+OK", text, code)


def status_line(reply: Reply) -> bytes:
    """Return the first line of *reply* in octets, with CRLF."""
    positive, text, code, _ = reply
    if code is None and (plain := plain_status_line(positive, text, STATUS_LINE_OCTETS)) is not None:
        return plain
    if code is not None:
        text = f"[{code}] {text}"
    elif text[:1] == "[":
        # RFC 2449 section 3: the client reads text that begins with "[" as a response code.
        text = "\\" + text
    if not text:
        return b"+OK\r\n" if positive else b"-ERR\r\n"
    line = f"+OK {text}\r\n" if positive else f"-ERR {text}\r\n"
    if text.isascii() and text.isprintable() and len(line) <= STATUS_LINE_OCTETS:
        return line.encode("ascii")
    octets = _utf8(line[:-2]).translate(_CONTROLS)
    if len(octets) > STATUS_LINE_OCTETS - 2:
        octets = _cut(octets, STATUS_LINE_OCTETS - 2)
    return octets + b"\r\n"


def ok(text: str = "", code: str | None = None) -> Reply:
    """Return a positive single-line reply: ``+OK text``. Raises TypeError for a text or code that is not a str.

    A control character in the text is sent as ``?``: texts often hold data, which must not turn answers into failures.
    """
    if type(text) is not str or code is not None:
        _check_words(text, code)
    return Reply(True, text, code)


def err(text: str, code: str | None = None) -> Reply:
    """Return a negative reply: ``-ERR [code] text``. Raises TypeError for a text or code that is not a str."""
    if type(text) is not str or code is not None:
        _check_words(text, code)
    return Reply(False, text, code)


def multiline(text: str, body: Iterable[bytes] | bytes | bytearray | memoryview) -> Reply:
    """Return a positive reply with a body: octets, or an iterable of chunks of octets, with any line ends.

    Raises HandedOverError for anything else, also for a str, because its encoding is unknown.
    """
    if type(text) is not str:
        _check_words(text, None)
    given: object = body  # else a type checker considers the checks below unreachable
    if isinstance(given, str):
        raise HandedOverError("a body must be bytes or an iterable of bytes, not str: encode it")
    if not isinstance(given, Iterable):
        raise HandedOverError(f"a body must be bytes or an iterable of bytes, not {type(given).__name__}")
    return Reply(True, text, None, (bytes(body),) if isinstance(body, (bytes, bytearray, memoryview)) else body)


def _check_words(text: object, code: object) -> None:
    """Raise TypeError unless the text and the code of a reply are str."""
    if isinstance(text, (bytes, bytearray)):
        raise TypeError(
            f"the text of a reply must be a str, not {type(text).__name__}: decode it, or give a body to multiline()"
        )
    if not isinstance(text, str):
        raise TypeError(f"the text of a reply must be a str, not {type(text).__name__}")
    if code is not None and not isinstance(code, str):
        raise TypeError(f"the response code of a reply must be a str such as 'AUTH', not {type(code).__name__}")


def _utf8(line: str) -> bytes:
    """Return the line in UTF-8, surrogate escapes as their octets; other surrogates (JSON may hold them) become "?"."""
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")


def _cut(octets: bytes, limit: int) -> bytes:
    """Return the first *limit* octets, without a UTF-8 sequence that the cut would break."""
    octets = octets[:limit]
    at = len(octets)
    while at and octets[at - 1] & 0xC0 == 0x80 and len(octets) - at < 3:
        at -= 1
    if at and octets[at - 1] >= 0xC0:
        lead = octets[at - 1]
        wanted = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        if len(octets) - at + 1 < wanted:
            return octets[: at - 1]
    return octets
