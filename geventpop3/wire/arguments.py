"""Arguments of commands are read here, strictly: ASCII decimals, bounded, one message for each mistake.

They are read after the plugins had their say, so what a plugin rewrote is checked like what the client sent. No text
repeats the argument: nothing of the input is ever echoed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from geventpop3.errors import Refusal

# str.isdigit() and int() take signs, blanks, underscores and other scripts' digits; these do not.
_MESSAGE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")
_LINE_COUNT: Final = re.compile(r"[0-9]{1,10}")
_DIGITS: Final = re.compile(r"[0-9]+")
_NEGATIVE: Final = re.compile(r"-[0-9]+")

_TOO_MANY: Final = ("no argument is allowed", "only one argument is allowed")


def message_number(argument: str) -> int:
    """A message-number, from 1 (RFC 1939 section 4); raises Refusal for anything else."""
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
    """How many lines of the body, from 0 (RFC 1939 section 7, TOP); raises Refusal for anything else."""
    if _LINE_COUNT.fullmatch(argument):
        return int(argument)
    if _NEGATIVE.fullmatch(argument):
        raise Refusal("a number of lines is not negative")
    if not _DIGITS.fullmatch(argument):
        raise Refusal("a number of lines is made of decimal digits")
    raise Refusal("a number of lines has at most ten digits")


def expect(arguments: Sequence[str], at_least: int, at_most: int | None = None) -> None:
    """Raises Refusal unless there are so many arguments: *at_least*, or from *at_least* to *at_most*."""
    given = len(arguments)
    if given == at_least:
        return
    if at_most is None:
        at_most = at_least
    if given < at_least:
        raise Refusal("an argument is missing" if at_least == 1 else f"{at_least} arguments are needed")
    if given > at_most:
        raise Refusal(f"at most {at_most} arguments are allowed" if at_most > 1 else _TOO_MANY[at_most])
