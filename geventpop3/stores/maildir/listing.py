"""What is in ``new`` and ``cur`` right now, however much other programs rename meanwhile. Changes nothing.

A rename that is made while a directory is read may hide a name from the reader, so a listing counts only if the
directories' change times say that nothing moved, and otherwise for half: two of them are joined.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.names import base_digest, is_base, is_shared, path_of, shared_as, unique_id
from geventpop3.stores.maildir.opening import PARTS, Parts

RACY_NS = 2_000_000_000
"""A change time younger than this (2 s, the coarsest clock of a file system) may hide a second change behind it."""

ATTEMPTS = 4

Fingerprint = tuple[int, int, int, int]
"""Inode and change time (ns) of new and of cur. Not the modification time, which tools such as rsync set back."""


class Listing(NamedTuple):
    """*tails*: the rest of the path by unique-id (see ``path_of``). *fingerprint*: of the directories as they were
    listed, or None if they were changing, or changed too lately to be sure of. *shared*: the unique-ids that one of
    several files with one base name would have if it were the only one."""

    tails: dict[str, str]
    fingerprint: Fingerprint | None
    shared: frozenset[str] = frozenset()


def fingerprint(root: int) -> Fingerprint:
    """The fingerprint of the maildir *root*. Raises OSError."""
    new = system.stat("new", dir_fd=root, follow_symlinks=False)
    cur = system.stat("cur", dir_fd=root, follow_symlinks=False)
    if not (stat.S_ISDIR(new.st_mode) and stat.S_ISDIR(cur.st_mode)):
        raise NotADirectoryError(errno.ENOTDIR, "new or cur is no directory, or a symbolic link, and none is followed")
    return new.st_ino, new.st_ctime_ns, cur.st_ino, cur.st_ctime_ns


def listing(maildir: Parts) -> Listing:
    """List the maildir, twice or more if it is changing. Raises OSError, StoreBroken."""
    tails: dict[str, str] = {}
    shared: frozenset[str] = frozenset()
    now = system.now_ns()
    before = fingerprint(maildir.root)
    for attempt in range(ATTEMPTS):
        earlier, before_shared = tails, shared
        tails, shared = _list_once(maildir)
        after = fingerprint(maildir.root)
        if before == after:
            if now - max(after[1], after[3]) > RACY_NS:
                return Listing(tails, after, shared)
            if attempt:
                break
        before = after
    return Listing(earlier | tails, None, before_shared | shared)


class Finder:
    """Where a listing has the messages that were seen before, also if they go by other unique-ids there.

    A file that got a second one beside it, or lost those that it shared its base name with, has another unique-id.
    """

    def __init__(self, listed: Listing) -> None:
        self._listed = listed
        self._alone: dict[str, str] | None = None

    def path(self, unique_id: str, inode: int) -> str | None:
        """Return the path of the message that had that unique-id and inode; None if it is not in the listing.

        The file there may be another one, which only has the name.
        """
        tails = self._listed.tails
        if unique_id in self._listed.shared:
            unique_id = shared_as(unique_id, inode)
        elif is_shared(unique_id) and unique_id not in tails:
            unique_id = self._names_alone().get(base_digest(unique_id), unique_id)
        tail = tails.get(unique_id)
        return None if tail is None else path_of(unique_id, tail)

    def _names_alone(self) -> dict[str, str]:
        if self._alone is None:
            self._alone = {base_digest(each): each for each in self._listed.tails if not is_shared(each)}
        return self._alone


def _list_once(maildir: Parts) -> tuple[dict[str, str], frozenset[str]]:
    # new before cur: what moves from the one to the other in between is seen twice, not never.
    names = {part: [name for name in maildir.names(part) if name[0] != "."] for part in PARTS}
    tails = _tails("n", names["new"])
    tails.update(_tails("c", names["cur"]))
    if len(tails) < len(names["new"]) + len(names["cur"]):
        return tails, frozenset(_tell_apart(tails, names, maildir))
    return tails, frozenset()


def _tell_apart(tails: dict[str, str], names: Mapping[str, Collection[str]], maildir: Parts) -> Iterator[str]:
    """Give each of several files that share a base name a unique-id of its own; yield the one that they do not have.

    One file that was seen under several names, because it was renamed meanwhile or has links, stays one message.
    """
    for base, sharing in _sharing(tails, names).items():
        files: dict[int, str] = {}
        for path in sharing:
            status = _status(path, maildir)
            if status is not None and stat.S_ISREG(status.st_mode):
                files[status.st_ino] = path
        if not files:
            continue
        key = unique_id(base)
        del tails[key]
        if len(files) == 1:
            (path,) = files.values()
            tails[key] = path[0] + path[4 + len(base) :] if is_base(key) else _whole(path)
        else:
            tails.update((shared_as(key, inode), _whole(path)) for inode, path in files.items())
            yield key


def _sharing(tails: Mapping[str, str], names: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return the paths by base name of the files whose base name is not theirs alone."""
    paths: dict[str, list[str]] = {}
    # Of several, *tails* has one: the others tell which base names these are. The rest takes no memory.
    for found in (False, True):
        for part, listed in names.items():
            for name in listed:
                base, path = name.partition(":")[0], f"{part}/{name}"
                if found:
                    if base in paths:
                        paths[base].append(path)
                elif path_of(key := unique_id(base), tails[key]) != path:
                    paths[base] = []
    return paths


def _status(path: str, maildir: Parts) -> os.stat_result | None:
    try:
        return maildir.stat(path)
    except FileNotFoundError:
        return None


def _whole(path: str) -> str:
    """The tail of a message whose unique-id is not its base name."""
    return path[0] + path[4:]


def _tails(directory: str, names: Iterable[str]) -> dict[str, str]:
    tails = {}
    for name in names:
        base, colon, info = name.partition(":")
        key = unique_id(base)
        # Most tails are alike: the flags of a message that was read.
        tails[key] = directory + name if key != base else sys.intern(directory + colon + info)
    return tails
