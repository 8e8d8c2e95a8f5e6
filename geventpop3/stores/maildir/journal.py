"""The journal of an UPDATE: while it is there, the messages it names are being removed, whatever crashes.

It is complete and on the disk before it gets its name, so that under its name it can be torn only by damage, and then
nothing is removed: no message is removed by guess. The owner can write one too: it is read in pieces, and what is kept
of it is no more than the maildir holds.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from collections.abc import Mapping
from contextlib import suppress

from geventpop3.stores.maildir import index, system
from geventpop3.stores.maildir.index import UNKNOWN
from geventpop3.stores.maildir.listing import Finder
from geventpop3.stores.maildir.removal import Marked

FILE = "geventpop3.update"
DAMAGED = "geventpop3.update.damaged"

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""There is no room for a journal, so messages are removed without one."""

MOST = 1_000_000
"""Messages in a journal: one of another length than ours costs its reader no more than a second or two. Those of a
larger UPDATE are removed without one."""

PIECE_OCTETS = 1 << 13
"""Octets of a journal that are read at once: the lines in them take a millisecond or two, and then others may run."""

_TITLE = re.compile(rb"geventpop3 update [12] ([0-9a-f]{8})\n")
_LINE = re.compile(rb"([!-~]{1,70})(?: (\d{1,20}) (\d{1,20}))?\n")
"""A line is a unique-id, the inode and the size of the file; version 1 had no more than the unique-id."""

_LINE_OCTETS = 113


def exists(root: int) -> bool:
    """Return whether an UPDATE was begun and not finished. Raises OSError.

    What is no file there is none of ours: the owner put it there.
    """
    try:
        return stat.S_ISREG(system.stat(FILE, dir_fd=root, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def is_obstructed(root: int) -> bool:
    """Return whether a directory keeps a journal from its place. All else gives way to a new file."""
    for name in (FILE, system.temporary_name(FILE)):
        with suppress(OSError):
            if stat.S_ISDIR(system.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
                return True
    return False


def write(marked: Mapping[str, Marked], root: int, *, durable: bool) -> None:
    """The commit point: on return the messages will be removed, by this process or the next. Raises OSError.

    What is raised may come after the journal got its name.
    """
    if len(marked) > MOST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), FILE)
    content = encode(marked)
    try:
        _write(content, root, durable=durable)
    except OSError as error:
        if error.errno not in FULL:
            raise
        # People remove mail when the disk is full. The index is larger than any journal, and can be made anew.
        for name in (index.FILE, system.temporary_name(index.FILE)):
            with suppress(IsADirectoryError):
                system.remove_file(name, root)
        _write(content, root, durable=durable)


def withdraw(root: int, *, durable: bool, doubted: bool) -> None:
    """Take the journal away; *durable*: so that it does not come back after a power cut. Raises OSError.

    One that came back would name messages that are gone, and remove what was restored from a backup by then.
    *doubted*: it was taken away before, but perhaps not for good.
    """
    try:
        removed = system.remove_file(FILE, root)
    except OSError:
        if exists(root):
            raise
        removed = False
    if (removed or doubted) and durable:
        system.fsync(root)


def set_aside(root: int) -> None:
    """Give a damaged journal a name under which nothing reads it. Raises OSError."""
    try:
        system.rename(FILE, DAMAGED, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        # The owner put that there, and then it is of no use to keep what he can write himself.
        system.remove_file(FILE, root)


def encode(marked: Mapping[str, Marked]) -> bytes:
    """Return the content of a journal: a title with the checksum of the rest, then a line for each message."""
    body = "".join(f"{unique_id} {each.inode} {each.size}\n" for unique_id, each in marked.items()).encode("ascii")
    return b"geventpop3 update 2 %08x\n" % zlib.crc32(body) + body


def read(finder: Finder, root: int) -> dict[str, Marked] | None:
    """Return those messages of the journal that *finder* finds, by unique-id; None if it is damaged.

    Raises OSError, FileNotFoundError if there is no journal.
    """
    found: dict[str, Marked] = {}
    stated, checksum, count, held = None, 0, 0, b""
    fd = system.openat(FILE, system.OWN_READ, dir_fd=root)
    try:
        while piece := system.read(fd, PIECE_OCTETS):
            held += piece
            if stated is None:
                title = _TITLE.match(held)
                if title is None:
                    return None
                stated, held = int(title[1], 16), held[title.end() :]
            end = held.rfind(b"\n") + 1
            lines, held = held[:end], held[end:]
            checksum = zlib.crc32(lines, checksum)
            count += lines.count(b"\n")
            if count > MOST or len(held) > _LINE_OCTETS or not _read_lines(lines, finder, found):
                return None
    finally:
        system.close(fd)
    return found if stated == checksum and not held else None


def _read_lines(lines: bytes, finder: Finder, found: dict[str, Marked]) -> bool:
    """Add what *finder* finds of these lines to *found*; return False if one is none."""
    start = 0
    while start < len(lines):
        line = _LINE.match(lines, start)
        if line is None:
            return False
        start = line.end()
        unique_id = line[1].decode("ascii")
        inode, size = (int(line[2]), int(line[3])) if line[2] else (0, UNKNOWN)
        path = finder.path(unique_id, inode)
        if path is not None:
            found[unique_id] = Marked(path, inode, size)
    return True


def _write(content: bytes, root: int, *, durable: bool) -> None:
    system.replace_file(FILE, content, root, durable=durable)
    if durable:
        system.fsync(root)
