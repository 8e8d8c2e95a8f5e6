"""What is in ``new`` and ``cur`` right now, however much other programs rename meanwhile. Changes nothing.

A rename that is made while a directory is read may hide a name from the reader, so a listing counts only if the
directories' change times say that nothing moved, and otherwise for half: two of them are joined.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable
from typing import NamedTuple

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.names import HASHED, unique_id

RACY_NS = 2_000_000_000
"""A change time younger than this (2 s, the coarsest clock of a file system) may hide a second change behind it."""

ATTEMPTS = 4

Fingerprint = tuple[int, int, int, int]
"""Inode and change time (ns) of new and of cur. Not the modification time, which tools such as rsync set back."""


class Listing(NamedTuple):
    """*tails*: the rest of the path by unique-id (see ``path_of``). *fingerprint*: of the directories as they were
    listed, or None if they were changing, or changed too lately to be sure of."""

    tails: dict[str, str]
    fingerprint: Fingerprint | None


def fingerprint(root: int) -> Fingerprint:
    """The fingerprint of the maildir *root*. Raises OSError."""
    new = system.stat("new", dir_fd=root, follow_symlinks=False)
    cur = system.stat("cur", dir_fd=root, follow_symlinks=False)
    if not (stat.S_ISDIR(new.st_mode) and stat.S_ISDIR(cur.st_mode)):
        raise NotADirectoryError(errno.ENOTDIR, "new or cur is not a directory")
    return new.st_ino, new.st_ctime_ns, cur.st_ino, cur.st_ctime_ns


def listing(root: int) -> Listing:
    """Lists the maildir *root*, twice or more if it is changing. Raises OSError."""
    tails: dict[str, str] = {}
    now = system.now_ns()
    before = fingerprint(root)
    for attempt in range(ATTEMPTS):
        earlier, tails = tails, _list_once(root)
        after = fingerprint(root)
        if before == after:
            if now - max(after[1], after[3]) > RACY_NS:
                return Listing(tails, after)
            if attempt:
                break
        before = after
    return Listing(earlier | tails, None)


def path_of(unique_id: str, tail: str) -> str:
    """The path, relative to the maildir, of the message with that unique-id and tail."""
    directory = "new/" if tail.startswith("n") else "cur/"
    if unique_id.startswith(HASHED):
        return directory + tail[1:]
    return directory + unique_id + tail[1:]


def base_of(unique_id: str, tail: str) -> str:
    """The base name of the message with that unique-id and tail."""
    return tail[1:].partition(":")[0] if unique_id.startswith(HASHED) else unique_id


def _list_once(root: int) -> dict[str, str]:
    # new before cur: what moves from the one to the other in between is seen twice, not never.
    tails = _tails("n", _names("new", root))
    tails.update(_tails("c", _names("cur", root)))
    return tails


def _names(part: str, root: int) -> list[str]:
    fd = system.openat(part, system.PART, dir_fd=root)
    try:
        return system.listdir(fd)
    finally:
        system.close(fd)


def _tails(directory: str, names: Iterable[str]) -> dict[str, str]:
    tails = {}
    for name in names:
        if name[0] == ".":
            continue
        base, colon, info = name.partition(":")
        key = unique_id(base)
        tails[key] = directory + (name if key != base else colon + info)
    return tails
