"""What a Maildir file name says: the unique-id, the delivery time, the size. Pure.

A name is ``base[:info]``; other programs rename ``new/base`` to ``cur/base:2,S`` and back as flags change, and the base
stays for ever. So the unique-id is made of the base alone.
"""

from __future__ import annotations

import hashlib
import os
import re

UNIQUE_ID_OCTETS = 70
"""RFC 1939 section 7: "The unique-id of a message is an arbitrary server-determined string, consisting of one to 70
characters in the range 0x21 to 0x7E"."""

HASHED = "sha256:"
"""Begins the unique-id of a base that is none itself; no base holds a colon, so none can be taken for another."""

_TIME = re.compile(r"(\d{1,12})\.(?:[^.,]*?M(\d{1,6})(?!\d))?", re.ASCII)
_SIZE = re.compile(r",([SW])=(\d{1,18})(?=,|$)", re.ASCII)


def unique_id(base: str) -> str:
    """The unique-id of the message with that base name: the base itself if it is a legal one."""
    if 0 < len(base) <= UNIQUE_ID_OCTETS and base.isascii() and base.isprintable() and " " not in base:
        return base
    return HASHED + hashlib.sha256(os.fsencode(base)).hexdigest()[:60]


def delivery_time(base: str) -> int | None:
    """The microseconds since 1970 that the name begins with (``seconds.M<microseconds>P<pid>.host``), or None."""
    found = _TIME.match(base)
    if found is None:
        return None
    return int(found[1]) * 1_000_000 + int(found[2] or 0)


def stated_octets(base: str, size: int) -> int | None:
    """The size with CRLF line ends that the deliverer wrote into the name (``,W=``), if *size*, the file's, allows it.

    A missing final line end is not in it.
    """
    if ",W=" not in base:
        return None
    stated = dict(_SIZE.findall(base))
    if "W" not in stated or int(stated.get("S", size)) != size:
        return None
    octets = int(stated["W"])
    return octets if size <= octets <= 2 * size else None
