"""Strict parsing of command arguments: bounded ASCII decimals, one message for each mistake.

Arguments are parsed after the plugins ran, so an argument that a plugin rewrote is checked like the client's. No
message repeats the argument: no part of the input is ever echoed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from geventpop3.errors import Refusal

# str.isdigit() and int() accept signs, blanks, underscores and other scripts' digits; these patterns do not.
_MESSAGE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")
_LINE_COUNT: Final = re.compile(r"[0-9]{1,10}")
_DIGITS: Final = re.compile(r"[0-9]+")
_NEGATIVE: Final = re.compile(r"-[0-9]+")

_TOO_MANY: Final = ("no argument is allowed", "only one argument is allowed")


def message_number(argument: str) -> int:
    """Return the message-number, from 1 (RFC 1939 section 4); raise Refusal for anything else."""
    if _MESSAGE_NUMBER.fullmatch(argument):
        return int(argument)
    if _NEGATIVE.fullmatch(argument):
        raise Refusal("a message-number is not negative")
    if not _DIGITS.fullmatch(argument):
        raise Refusal("a message-number is made of decimal digits")
    if not argument.strip("0"):
        raise Refusal("message-numbers begin at 1")
    if argument.startswith("0"):
        raise Refusal("a message-number has no leading zero")
    raise Refusal("a message-number has at most ten digits")


def line_count(argument: str) -> int:
    """Return the number of body lines, from 0 (RFC 1939 section 7, TOP); raise Refusal for anything else."""
    if _LINE_COUNT.fullmatch(argument):
        return int(argument)
    if _NEGATIVE.fullmatch(argument):
        raise Refusal("a number of lines is not negative")
    if not _DIGITS.fullmatch(argument):
        raise Refusal("a number of lines is made of decimal digits")
    raise Refusal("a number of lines has at most ten digits")


def expect(arguments: Sequence[str], at_least: int, at_most: int | None = None) -> None:
    """Raise Refusal unless the number of arguments is *at_least*, or from *at_least* to *at_most*."""
    given = len(arguments)
    if given == at_least:
        return
    if at_most is None:
        at_most = at_least
    if given < at_least:
        raise Refusal("an argument is missing" if at_least == 1 else f"{at_least} arguments are needed")
    if given > at_most:
        raise Refusal(f"at most {at_most} arguments are allowed" if at_most > 1 else _TOO_MANY[at_most])
