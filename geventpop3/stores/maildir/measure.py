"""The size of a message as sent: from its name if the deliverer wrote it there, otherwise by reading it once.

The end of the message is read for its line end anyway, and must agree with the size in the name; RETR then counts.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.index import UNKNOWN, Row
from geventpop3.stores.maildir.names import base_of, delivery_time, path_of, stated_octets
from geventpop3.stores.maildir.opening import Parts
from geventpop3.wire.stuffing import Counter, count_octets

BATCH = 32
READ_OCTETS = 1 << 20

END_OCTETS = 4096
"""Octets read at the end of a file: one page."""

_NO_MESSAGE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO)


class Measured(NamedTuple):
    """The result of ``measure``. *missing*: unique-ids of messages renamed or removed since the listing."""

    rows: list[Row]
    missing: list[str]


def _nothing() -> None:
    """Do nothing."""


def measure(
    tails: Mapping[str, str], maildir: Parts, doubted: Container[str] = (), go_on: Callable[[], None] = _nothing
) -> Measured:
    """Measure these messages of the maildir, but no file that is not regular.

    *doubted*: unique-ids of messages whose names are not trusted. *go_on* is called before each batch and may raise.
    An unreadable message has a row of UNKNOWN size: it is in the maildrop, and only RETR is refused. Raises OSError if
    nothing can be read now.
    """
    measured = Measured([], [])
    items = iter(tails.items())
    while batch := list(islice(items, BATCH)):
        go_on()
        if len(batch) > 1:
            # On a cold disk all are read in parallel, in a third of the time or less.
            for unique_id, tail in batch:
                with suppress(OSError):
                    _prefetch(path_of(unique_id, tail), maildir)
        for unique_id, tail in batch:
            try:
                row = _measure(unique_id, tail, maildir, believed=unique_id not in doubted)
            except FileNotFoundError:
                measured.missing.append(unique_id)
                continue
            if row is not None:
                measured.rows.append(row)
    return measured


def _prefetch(path: str, maildir: Parts) -> None:
    fd = maildir.open(path)
    try:
        system.prefetch(fd, READ_OCTETS)
    finally:
        system.close(fd)


def _measure(unique_id: str, tail: str, maildir: Parts, *, believed: bool) -> Row | None:
    path = path_of(unique_id, tail)
    base = base_of(unique_id, tail)
    try:
        fd = maildir.open(path)
        try:
            status = system.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None
            size = status.st_size
            octets = stated_octets(base, size) if believed else None
            if octets is not None:
                octets = _plausible_octets(fd, size, octets)
            if octets is None:
                octets, size = _counted(fd, size)
        finally:
            system.close(fd)
    except OSError as error:
        if error.errno in _NO_MESSAGE:
            return None
        if error.errno not in _UNREADABLE:
            raise
        status = maildir.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        octets, size = status.st_size, UNKNOWN
    time = delivery_time(base)
    time = max(status.st_mtime_ns // 1000, 0) if time is None else time
    return Row(time, unique_id, octets, size, status.st_ino)


def _counted(fd: int, expected: int) -> tuple[int, int]:
    """Return the size as sent and the size of the file; *expected* saves the second read of a small message."""
    counter = Counter()
    size = 0
    wanted = min(expected + 1, READ_OCTETS)
    while True:
        chunk = system.read(fd, wanted)
        counter.feed(chunk)
        size += len(chunk)
        if len(chunk) < wanted:
            return counter.octets, size


def _plausible_octets(fd: int, size: int, octets: int) -> int | None:
    """Return *octets*, plus the final line end if it is missing: ``,W=`` does not count it and RETR adds it.

    None if the end of the message shows that this cannot be right. A small message is counted completely.
    """
    before = max(size - END_OCTETS, 0)
    end = system.pread(fd, END_OCTETS, before)
    if end and end[-1:] != b"\n":
        octets += 2
    counted = count_octets((end,))
    # The part before may be all line ends or have none, and a CR at its end may belong to the first LF here.
    least = before + counted - (before > 0)
    return octets if least <= octets <= least + before + (before > 0) else None
