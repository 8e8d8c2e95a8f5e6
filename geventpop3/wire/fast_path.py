"""The fast path for plain command lines and plain status lines, which are nearly all traffic.

A function returns None for input that is not plain. The caller then uses the general code, which accepts all input and
gives the same result for plain input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

Plain: TypeAlias = tuple[str, list[str], bytes, int]
"""Verb, arguments, line without its line end, and index in the octets of the next line."""

_LINE: Final = re.compile(rb"([A-Z0-9]{1,40})(?: ([A-Za-z0-9]+))?\r?\n")


def plain_command_in_python(octets: bytes, start: int, limit: int) -> Plain | None:
    """Return the line at *start*, if it is an upper-case verb and at most one word, in at most *limit* octets."""
    found = _LINE.match(octets, start)
    if found is None or found.end() - start > limit:
        return None
    verb, word = found.groups()
    args = [] if word is None else [word.decode("ascii")]
    return verb.decode("ascii"), args, found[0].rstrip(b"\r\n"), found.end()


def plain_status_line_in_python(positive: bool, text: str, limit: int) -> bytes | None:
    """Return the status line, if *text* is printable ASCII without a response code, in *limit* octets with CRLF."""
    if not text or text[0] == "[" or not text.isascii() or not text.isprintable():
        return None
    line = f"+OK {text}\r\n" if positive else f"-ERR {text}\r\n"
    return line.encode("ascii") if len(line) <= limit else None


plain_command: Callable[[bytes, int, int], Plain | None]
plain_status_line: Callable[[bool, str, int], bytes | None]
try:
    from geventpop3.wire._speedups import plain_command, plain_status_line
except ImportError:
    plain_command, plain_status_line = plain_command_in_python, plain_status_line_in_python
