"""The size of a message as sent, from its name if the deliverer wrote it there, else by reading it once.

The end of the message, which is read for its line end anyway, must bear out what the name says; RETR then counts.
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
"""One page of the file."""

_NO_MESSAGE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO)


class Measured(NamedTuple):
    """*missing*: the unique-ids of what was renamed or removed since it was listed."""

    rows: list[Row]
    missing: list[str]


def _nothing() -> None:
    """Go on."""


def measure(
    tails: Mapping[str, str], maildir: Parts, doubted: Container[str] = (), go_on: Callable[[], None] = _nothing
) -> Measured:
    """Measure these messages of the maildir; what is no regular file is left out.

    *doubted*: unique-ids of messages whose names are not believed. *go_on* is called now and then, and may raise.
    A message that cannot be read has a row nevertheless, of UNKNOWN size: it is in the maildrop, only RETR refuses.
    Raises OSError if nothing can be read now.
    """
    measured = Measured([], [])
    items = iter(tails.items())
    while batch := list(islice(items, BATCH)):
        go_on()
        if len(batch) > 1:
            # On a cold disk all of them are read at the same time: a third of the time, or less.
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
                octets = _borne_out(fd, size, octets)
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
    """The size as sent and the size of the file; *expected* saves a small message its second read."""
    counter = Counter()
    size = 0
    wanted = min(expected + 1, READ_OCTETS)
    while True:
        chunk = system.read(fd, wanted)
        counter.feed(chunk)
        size += len(chunk)
        if len(chunk) < wanted:
            return counter.octets, size


def _borne_out(fd: int, size: int, octets: int) -> int | None:
    """*octets* with the line end that the last line may lack, which ``,W=`` does not count and RETR adds.

    None if that cannot be for a message that ends as this one does; a small one is counted by this.
    """
    before = max(size - END_OCTETS, 0)
    end = system.pread(fd, END_OCTETS, before)
    if end and end[-1:] != b"\n":
        octets += 2
    counted = count_octets((end,))
    # What comes before may be all line ends or have none, and a CR at its end may belong to the first LF here.
    least = before + counted - (before > 0)
    return octets if least <= octets <= least + before + (before > 0) else None
