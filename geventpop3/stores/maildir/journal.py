"""The journal of an UPDATE: while it exists, the messages that it names are being removed, even after a crash.

It is complete and on the disk before it gets its name, so only damage can tear it. Nothing is removed by a damaged
journal, because that would be a guess. The owner can write one too, so it is read in pieces. No more of it is kept than
the maildir holds.
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
"""Errors that say there is no space for a journal: messages are removed without one."""

MAX_MESSAGES = 1_000_000
"""Most messages in a journal, so that a forged one costs its reader no more than a second or two. Those of a larger
UPDATE are removed without one."""

PIECE_OCTETS = 1 << 13
"""Octets of a journal read at once: their lines take a millisecond or two, and then other threads may run."""

_TITLE = re.compile(rb"geventpop3 update [12] ([0-9a-f]{8})\n")
_LINE = re.compile(rb"([!-~]{1,70})(?: (\d{1,20}) (\d{1,20}))?\n")
"""One line: the unique-id, the inode and the size of the file. Version 1 had only the unique-id."""

_LINE_OCTETS = 113


def exists(root: int) -> bool:
    """Return whether an UPDATE was begun and not finished. Raises OSError.

    Only a regular file counts: the owner made anything else of that name.
    """
    try:
        return stat.S_ISREG(system.stat(FILE, dir_fd=root, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def is_obstructed(root: int) -> bool:
    """Return whether a directory has a name that the journal needs. A new file replaces anything else."""
    for name in (FILE, system.temporary_name(FILE)):
        with suppress(OSError):
            if stat.S_ISDIR(system.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
                return True
    return False


def write(marked: Mapping[str, Marked], root: int, *, durable: bool) -> None:
    """Write the journal, the commit point: after it, this process or the next removes the messages. Raises OSError.

    An error may be raised after the journal got its name.
    """
    if len(marked) > MAX_MESSAGES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), FILE)
    content = encode(marked)
    try:
        _write(content, root, durable=durable)
    except OSError as error:
        if error.errno not in FULL:
            raise
        # Users remove mail when the disk is full. The index is larger than any journal, and can be made again.
        for name in (index.FILE, system.temporary_name(index.FILE)):
            with suppress(IsADirectoryError):
                system.remove_file(name, root)
        _write(content, root, durable=durable)


def withdraw(root: int, *, durable: bool, doubted: bool) -> None:
    """Remove the journal; *durable*: so that it does not come back after a power cut. Raises OSError.

    A journal that came back would remove messages restored from a backup meanwhile. *doubted*: sync even if it
    is gone already, because that removal may not be durable.
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
    """Rename a damaged journal, so that nothing reads it. Raises OSError."""
    try:
        system.rename(FILE, DAMAGED, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        # The owner made that directory. A journal that the owner can write need not be kept.
        system.remove_file(FILE, root)


def encode(marked: Mapping[str, Marked]) -> bytes:
    """Return the content of a journal: a title with the checksum of the rest, then a line for each message."""
    body = "".join(f"{unique_id} {each.inode} {each.size}\n" for unique_id, each in marked.items()).encode("ascii")
    return b"geventpop3 update 2 %08x\n" % zlib.crc32(body) + body


def read_journal(finder: Finder, root: int) -> dict[str, Marked] | None:
    """Return the messages of the journal that *finder* finds, by unique-id; None if the journal is damaged.

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
            if count > MAX_MESSAGES or len(held) > _LINE_OCTETS or not _read_lines(lines, finder, found):
                return None
    finally:
        system.close(fd)
    return found if stated == checksum and not held else None


def _read_lines(lines: bytes, finder: Finder, found: dict[str, Marked]) -> bool:
    """Add the messages of these lines that *finder* finds to *found*; return False if a line is malformed."""
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
