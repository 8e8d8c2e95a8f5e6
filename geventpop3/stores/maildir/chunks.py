"""A message file being read: exactly as many octets as it had when it was measured, or an exception."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from geventpop3.errors import StoreUnavailable
from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.index import Index
from geventpop3.stores.store import Chunks
from geventpop3.wire.stuffing import Counter

CHUNK_OCTETS = 128 * 1024

_NOT_AT_HAND = (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


_PAGE_OCTETS = 4096
"""The smallest page of the page cache there is."""


_buffers: list[memoryview] = []
"""Those that nobody uses; threads share the list, whose operations are atomic."""


def read_at_hand(fd: int, size: int) -> bytes | None:
    """The whole file, if it is *size* octets long and all of it in the page cache; None to have ``Body`` see to it.

    *size* is less than ``CHUNK_OCTETS``.
    """
    if _NOWAIT is None:
        return None
    # A buffer that was used lately is in the processor's cache; one for each thread that reads at this moment.
    try:
        buffer = _buffers.pop()
    except IndexError:
        buffer = memoryview(bytearray(CHUNK_OCTETS))
    try:
        # One octet more than there should be, to see that there is none.
        if system.preadv(fd, (buffer[: size + 1],), 0, _NOWAIT) != size:
            return None
        # At the end of a page the kernel may have stopped because the next is not at hand: that looks like the end.
        if size and size % _PAGE_OCTETS == 0 and system.fstat(fd).st_size != size:
            return None
        return bytes(buffer[:size])
    except OSError:
        return None
    finally:
        _buffers.append(buffer)


def let_go(fd: int) -> None:
    """Closes a file that was only read: whatever ``close`` says, nothing is lost, and the descriptor is gone."""
    try:
        system.close(fd)
    except OSError:
        return


class Body(Chunks):
    """Reads the open file *fd*, *path* in *maildir*, which was *size* octets long, and closes it at the end."""

    __slots__ = ("_buffer", "_fd", "_maildir", "_offset", "_path", "_size", "complete")

    def __init__(self, fd: int, size: int, maildir: str, path: str) -> None:
        self._fd = fd
        self._size = size
        self._maildir = maildir
        self._path = path
        self._offset = 0
        self.complete = False
        self._buffer = bytearray()

    def intact(self) -> bool:
        """Whether the file is a regular one and as long as it was. Raises StoreUnavailable."""
        try:
            status = system.fstat(self._fd)
        except OSError as error:
            raise self._failed(error) from error
        return status.st_size == self._size and stat.S_ISREG(status.st_mode)

    def ready(self) -> bytes | None:
        """Reads from the page cache alone, where the kernel can say so (``RWF_NOWAIT``)."""
        if self.complete:
            return b""
        if _NOWAIT is None:
            return None
        # The first chunk is the largest, so its buffer does for all.
        buffer = self._buffer = self._buffer or bytearray(self._wanted())
        try:
            got = system.preadv(self._fd, (buffer,), self._offset, _NOWAIT)
        except OSError as error:
            if error.errno in _NOT_AT_HAND:
                return None
            raise self._failed(error) from error
        return self._taken(bytes(memoryview(buffer)[:got]), len(buffer))

    def __next__(self) -> bytes:
        if self.complete:
            raise StopIteration
        wanted = self._wanted()
        try:
            chunk = system.pread(self._fd, wanted, self._offset)
        except OSError as error:
            raise self._failed(error) from error
        if not self._taken(chunk, wanted):
            raise StopIteration
        return chunk

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            let_go(fd)

    def __del__(self) -> None:
        self.close()

    def _wanted(self) -> int:
        # One octet more than should be left, to see that there is none.
        return min(CHUNK_OCTETS, self._size - self._offset + 1)

    def _taken(self, chunk: bytes, wanted: int) -> bytes:
        left = self._size - self._offset - len(chunk)
        if left < 0 or (left and not chunk):
            self.close()
            raise StoreUnavailable("the message changed while it was read", detail=self._where())
        self._offset += len(chunk)
        if not left and len(chunk) < wanted:
            self.complete = True
            self.close()
        return chunk

    def _failed(self, error: OSError) -> StoreUnavailable:
        self.close()
        return StoreUnavailable("the message cannot be read now", detail=f"{self._where()}: {error.strerror}")

    def _where(self) -> str:
        return f"maildir {self._maildir!r}: {self._path!r}"


class Counted(Chunks):
    """A Body whose octets as sent *index* has from the name of its file alone: counted while it is read.

    If that is another number, *mistaken* is called and makes the exception that is raised instead of the last chunk.
    """

    __slots__ = ("_body", "_counter", "_index", "_mistaken", "_place", "_wrong", "complete")

    def __init__(self, body: Body, index: Index, place: int, mistaken: Callable[[], StoreUnavailable]) -> None:
        self._body = body
        self._index = index
        self._place = place
        self._mistaken = mistaken
        self._counter = Counter()
        self._wrong = False
        self.complete = False

    def ready(self) -> bytes | None:
        """As of Body; that the number is wrong is left to ``next``, because an index has to be written."""
        chunk = self._body.ready()
        if chunk is not None:
            self._count(chunk)
        return None if self._wrong else chunk

    def __next__(self) -> bytes:
        chunk = next(self._body, b"")
        self._count(chunk)
        if self._wrong:
            raise self._mistaken()
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._body.close()

    def _count(self, chunk: bytes) -> None:
        self._counter.feed(chunk)
        if self._body.complete:
            right = self._counter.octets == self._index.snapshot.octets[self._place]
            self.complete = self._index.counted[self._place] = right
            self._wrong = not right
