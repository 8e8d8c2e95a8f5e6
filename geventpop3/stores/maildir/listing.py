"""Listings of ``new`` and ``cur``, complete even if other programs rename files meanwhile. Nothing is changed.

A rename during the read of a directory may hide a name from the reader. So one listing is enough only if the
directories' change times show no change; otherwise two listings are joined.
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
"""Age below which a change time may hide a second change: 2 s, the coarsest clock of a file system."""

ATTEMPTS = 4

Fingerprint = tuple[int, int, int, int]
"""Inode and change time (ns) of new and of cur. Not the modification time: tools such as rsync set that back."""


class Listing(NamedTuple):
    """The messages found in a maildir.

    *tails*: the rest of the path by unique-id (see ``path_of``). *fingerprint*: of the directories as listed; None if
    they were changing, or changed too recently to be sure. *shared*: unique-ids made of a base name that several files
    share; no file has them.
    """

    tails: dict[str, str]
    fingerprint: Fingerprint | None
    shared: frozenset[str] = frozenset()


def fingerprint_of(root: int) -> Fingerprint:
    """Return the fingerprint of the maildir *root*. Raises OSError."""
    new = system.stat("new", dir_fd=root, follow_symlinks=False)
    cur = system.stat("cur", dir_fd=root, follow_symlinks=False)
    if not (stat.S_ISDIR(new.st_mode) and stat.S_ISDIR(cur.st_mode)):
        raise NotADirectoryError(
            errno.ENOTDIR, "new or cur is not a directory, or is a symbolic link, which is not followed"
        )
    return new.st_ino, new.st_ctime_ns, cur.st_ino, cur.st_ctime_ns


def list_maildir(maildir: Parts) -> Listing:
    """List the maildir, twice or more if it changes meanwhile. Raises OSError, StoreBroken."""
    tails: dict[str, str] = {}
    shared: frozenset[str] = frozenset()
    now = system.now_ns()
    before = fingerprint_of(maildir.root)
    for attempt in range(ATTEMPTS):
        earlier, before_shared = tails, shared
        tails, shared = _list_once(maildir)
        after = fingerprint_of(maildir.root)
        if before == after:
            if now - max(after[1], after[3]) > RACY_NS:
                return Listing(tails, after, shared)
            if attempt:
                break
        before = after
    return Listing(earlier | tails, None, before_shared | shared)


class Finder:
    """A search of a listing for messages seen before, even if their unique-ids are different there.

    The unique-id of a file changes when it begins or ceases to share its base name with others.
    """

    def __init__(self, listed: Listing) -> None:
        self._listed = listed
        self._alone: dict[str, str] | None = None

    def path(self, unique_id: str, inode: int) -> str | None:
        """Return the path of the message that had that unique-id and inode; None if the listing lacks it.

        Another file may have that name now.
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
    # new before cur: a file that moves from new to cur in between is seen twice, never missed.
    names = {part: [name for name in maildir.names(part) if name[0] != "."] for part in PARTS}
    tails = _tails("n", names["new"])
    tails.update(_tails("c", names["cur"]))
    if len(tails) < len(names["new"]) + len(names["cur"]):
        return tails, frozenset(_tell_apart(tails, names, maildir))
    return tails, frozenset()


def _tell_apart(tails: dict[str, str], names: Mapping[str, Collection[str]], maildir: Parts) -> Iterator[str]:
    """Give each file that shares a base name its own unique-id in *tails*; yield the unique-id of the base name alone.

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
    """Return, by base name, the paths of the files that share it."""
    paths: dict[str, list[str]] = {}
    # *tails* has one of several files, so the others show which base names are shared. The rest takes no memory.
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
    """Return the tail of a message whose unique-id is not its base name."""
    return path[0] + path[4:]


def _tails(directory: str, names: Iterable[str]) -> dict[str, str]:
    tails = {}
    for name in names:
        base, colon, info = name.partition(":")
        key = unique_id(base)
        # Most tails are equal: the flags of a message that was read.
        tails[key] = directory + name if key != base else sys.intern(directory + colon + info)
    return tails
