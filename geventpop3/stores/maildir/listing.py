"""What is in ``new`` and ``cur`` right now, however much other programs rename meanwhile. Changes nothing.

A rename that is made while a directory is read may hide a name from the reader, so a listing counts only if the
directories' change times say that nothing moved, and otherwise for half: two of them are joined.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.names import is_base, is_shared, shared_unique_id, unique_id
from geventpop3.stores.maildir.opening import PARTS, Parts

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
        raise NotADirectoryError(errno.ENOTDIR, "new or cur is no directory, or a symbolic link, and none is followed")
    return new.st_ino, new.st_ctime_ns, cur.st_ino, cur.st_ctime_ns


def listing(maildir: Parts) -> Listing:
    """List the maildir, twice or more if it is changing. Raises OSError, StoreBroken."""
    tails: dict[str, str] = {}
    now = system.now_ns()
    before = fingerprint(maildir.root)
    for attempt in range(ATTEMPTS):
        earlier, tails = tails, _list_once(maildir)
        after = fingerprint(maildir.root)
        if before == after:
            if now - max(after[1], after[3]) > RACY_NS:
                return Listing(tails, after)
            if attempt:
                break
        before = after
    return Listing(earlier | tails, None)


def find(unique_ids: Collection[str], maildir: Parts) -> dict[str, str]:
    """The tails of those of these messages that are in the maildir now. Raises OSError, StoreBroken."""
    tails = listing(maildir).tails
    found = {each: tails[each] for each in unique_ids if each in tails}
    lost = {each for each in unique_ids if each not in tails and is_shared(each)}
    if lost:
        # What shared its name may by now be the last that has it, and then goes by another unique-id.
        for each, tail in tails.items():
            path, base = path_of(each, tail), base_of(each, tail)
            status = _status(path, maildir)
            if status is not None and (shared := shared_unique_id(base, status.st_ino)) in lost:
                found[shared] = _whole(path)
    return found


def path_of(unique_id: str, tail: str) -> str:
    """The path, relative to the maildir, of the message with that unique-id and tail."""
    directory = "new/" if tail.startswith("n") else "cur/"
    return directory + unique_id + tail[1:] if is_base(unique_id) else directory + tail[1:]


def base_of(unique_id: str, tail: str) -> str:
    """The base name of the message with that unique-id and tail."""
    return unique_id if is_base(unique_id) else tail[1:].partition(":")[0]


def _list_once(maildir: Parts) -> dict[str, str]:
    # new before cur: what moves from the one to the other in between is seen twice, not never.
    names = {part: [name for name in maildir.names(part) if name[0] != "."] for part in PARTS}
    tails = _tails("n", names["new"])
    tails.update(_tails("c", names["cur"]))
    if len(tails) < len(names["new"]) + len(names["cur"]):
        _tell_apart(tails, names, maildir)
    return tails


def _tell_apart(tails: dict[str, str], names: Mapping[str, Iterable[str]], maildir: Parts) -> None:
    """Gives each of several files that share a base name a unique-id of its own.

    One file that was seen under several names, because it was renamed meanwhile or has links, stays one message.
    """
    paths: dict[str, list[str]] = {}
    for part, listed in names.items():
        for name in listed:
            paths.setdefault(name.partition(":")[0], []).append(f"{part}/{name}")
    for base, sharing in paths.items():
        if len(sharing) == 1:
            continue
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
            tails.update((shared_unique_id(base, inode), _whole(path)) for inode, path in files.items())


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
        tails[key] = directory + (name if key != base else colon + info)
    return tails
