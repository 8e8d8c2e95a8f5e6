"""The size of a message as sent, from its name if the deliverer wrote it there, else by reading it once."""

from __future__ import annotations

import errno
import stat

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.index import UNKNOWN, Row
from geventpop3.stores.maildir.listing import base_of, path_of
from geventpop3.stores.maildir.names import delivery_time, stated_octets
from geventpop3.wire.stuffing import Counter

READ_OCTETS = 1 << 20

_NO_MESSAGE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO)


def measure(unique_id: str, tail: str, root: int) -> Row | None:
    """The row of one message; None for what is no regular file.

    A message that cannot be read has a row nevertheless, of UNKNOWN size: it is in the maildrop, only RETR refuses.
    Raises FileNotFoundError if it is not there (any more), OSError if nothing can be read now.
    """
    path = path_of(unique_id, tail)
    try:
        fd = system.openat(path, system.MESSAGE, dir_fd=root)
    except OSError as error:
        if error.errno in _NO_MESSAGE:
            return None
        if error.errno in _UNREADABLE:
            return _unreadable(unique_id, tail, root)
        raise
    try:
        status = system.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        base = base_of(unique_id, tail)
        stated = stated_octets(base, status.st_size)
        octets, size = (
            _counted(fd, status.st_size) if stated is None else (_ended(fd, status.st_size, stated), status.st_size)
        )
    except OSError as error:
        if error.errno in _UNREADABLE:
            return _unreadable(unique_id, tail, root)
        raise
    finally:
        system.close(fd)
    return Row(_time(base, status.st_mtime_ns), unique_id, octets, size)


def _unreadable(unique_id: str, tail: str, root: int) -> Row | None:
    status = system.stat(path_of(unique_id, tail), dir_fd=root, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        return None
    return Row(_time(base_of(unique_id, tail), status.st_mtime_ns), unique_id, status.st_size, UNKNOWN)


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


def _ended(fd: int, size: int, octets: int) -> int:
    """*octets* with the line end that the last line may lack, which ``,W=`` does not count and RETR adds."""
    if size and system.pread(fd, 1, size - 1) != b"\n":
        return octets + 2
    return octets


def _time(base: str, modified_ns: int) -> int:
    named = delivery_time(base)
    return max(modified_ns // 1000, 0) if named is None else named
