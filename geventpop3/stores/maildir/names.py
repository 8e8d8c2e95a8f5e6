"""The content of a Maildir file name: the unique-id, the delivery time, the size. The functions are pure.

A name is ``base[:info]``. Other programs rename ``new/base`` to ``cur/base:2,S`` and back when flags change, but the
base never changes. So the unique-id is made of the base alone, unless several files share it.
"""

from __future__ import annotations

import hashlib
import os
import re

from geventpop3.stores.store import is_unique_id

_HASHED = "sha256:"
"""Prefix of the unique-id of a base that is not legal itself. No base holds a colon, so none has this prefix."""

_SHARED = "inode"

_DIGEST = 40
"""Hexadecimal digits of a base's hash in a shared unique-id; a ``sha256:`` unique-id begins with the same digits."""

_TIME = re.compile(r"(\d{1,12})\.(?:[^.,]*?M(\d{1,6})(?!\d))?", re.ASCII)
_SIZE = re.compile(r",([SW])=(\d{1,18})(?=,|$)", re.ASCII)


def unique_id(base: str) -> str:
    """Return the unique-id of the message with that base name: the base itself if it is a legal one."""
    if is_unique_id(base):
        return base
    return _HASHED + hashlib.sha256(os.fsencode(base)).hexdigest()[:60]


def shared_unique_id(base: str, inode: int) -> str:
    """Return the unique-id of one of several files with that base name, which are different messages."""
    return shared_as(unique_id(base), inode)


def shared_as(unique_id: str, inode: int) -> str:
    """Return the unique-id of the file with that inode while others share the base of *unique_id*."""
    return f"{_SHARED}{inode}:{base_digest(unique_id)}"


def base_digest(unique_id: str) -> str:
    """Return the digest that is the same for all unique-ids of one base name, alone or shared."""
    if is_base(unique_id):
        return hashlib.sha256(unique_id.encode("ascii")).hexdigest()[:_DIGEST]
    return unique_id.partition(":")[2][:_DIGEST]


def is_shared(unique_id: str) -> bool:
    """Return whether a unique-id is one of ``shared_unique_id``."""
    return unique_id.startswith(_SHARED) and ":" in unique_id


def is_base(unique_id: str) -> bool:
    """Return whether a unique-id is the base name itself."""
    return ":" not in unique_id


def delivery_time(base: str) -> int | None:
    """Return the microseconds since 1970 at the start of a name (``seconds.M<microseconds>P<pid>.host``), or None."""
    found = _TIME.match(base)
    if found is None:
        return None
    return int(found[1]) * 1_000_000 + int(found[2] or 0)


def states_octets(name: str) -> bool:
    """Return whether a name may state the size that ``stated_octets`` reads."""
    return ",W=" in name


def stated_octets(base: str, size: int) -> int | None:
    """Return the size with CRLF line ends that the deliverer wrote into the name (``,W=``).

    None if there is none, or the file's *size* excludes it. The size does not count a missing final line end.
    """
    if not states_octets(base):
        return None
    stated = dict(_SIZE.findall(base))
    if "W" not in stated or int(stated.get("S", size)) != size:
        return None
    octets = int(stated["W"])
    return octets if size <= octets <= 2 * size else None


def path_of(unique_id: str, tail: str) -> str:
    """Return the path, relative to the maildir, of the message with that unique-id and tail."""
    directory = "new/" if tail.startswith("n") else "cur/"
    return directory + unique_id + tail[1:] if is_base(unique_id) else directory + tail[1:]


def base_of(unique_id: str, tail: str) -> str:
    """Return the base name of the message with that unique-id and tail."""
    return unique_id if is_base(unique_id) else tail[1:].partition(":")[0]
