"""Reading of a message file: exactly as many octets as it had when measured, or an exception."""

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

_NOT_CACHED = (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


_PAGE_OCTETS = 4096
"""Octets of the smallest page of any page cache."""


_buffers: list[memoryview] = []
"""Buffers not in use; threads share the list, whose operations are atomic."""


def read_cached(fd: int, size: int) -> bytes | None:
    """Return the whole file if it has *size* octets, all in the page cache; None if ``FileChunks`` must read it.

    *size* is less than ``CHUNK_OCTETS``.
    """
    if _NOWAIT is None:
        return None
    # A recently used buffer is in the processor's cache. Each thread that reads now has its own.
    try:
        buffer = _buffers.pop()
    except IndexError:
        buffer = memoryview(bytearray(CHUNK_OCTETS))
    try:
        # One octet more than expected, to detect a longer file.
        if system.preadv(fd, (buffer[: size + 1],), 0, _NOWAIT) != size:
            return None
        # At the end of a page the kernel may have stopped because the next page is not cached; that looks like the end.
        if size and size % _PAGE_OCTETS == 0 and system.fstat(fd).st_size != size:
            return None
        return bytes(buffer[:size])
    except OSError:
        return None
    finally:
        _buffers.append(buffer)


def close_quietly(fd: int) -> None:
    """Close a file that was only read; an error is ignored, because nothing is lost and the descriptor is closed."""
    try:
        system.close(fd)
    except OSError:
        return


class FileChunks(Chunks):
    """A reader of the open file *fd*, *path* in *maildir*, which had *size* octets; it closes the file at the end."""

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
        """Return whether the file is regular and as long as when measured. Raises StoreUnavailable."""
        try:
            status = system.fstat(self._fd)
        except OSError as error:
            raise self._failed(error) from error
        return status.st_size == self._size and stat.S_ISREG(status.st_mode)

    def ready(self) -> bytes | None:
        """Return the next chunk from the page cache alone, if the kernel supports that (``RWF_NOWAIT``)."""
        if self.complete:
            return b""
        if _NOWAIT is None:
            return None
        # The first chunk is the largest, so its buffer fits all.
        buffer = self._buffer = self._buffer or bytearray(self._wanted())
        try:
            got = system.preadv(self._fd, (buffer,), self._offset, _NOWAIT)
        except OSError as error:
            if error.errno in _NOT_CACHED:
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
            close_quietly(fd)

    def __del__(self) -> None:
        self.close()

    def _wanted(self) -> int:
        # One octet more than expected, to detect a longer file.
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


class CountedFileChunks(Chunks):
    """``FileChunks`` whose octets in *index* come from the file name alone, so they are counted during the read.

    If the count differs, *mistaken* makes the exception that is raised instead of the last chunk.
    """

    __slots__ = ("_body", "_counter", "_index", "_mistaken", "_place", "_wrong", "complete")

    def __init__(self, body: FileChunks, index: Index, place: int, mistaken: Callable[[], StoreUnavailable]) -> None:
        self._body = body
        self._index = index
        self._place = place
        self._mistaken = mistaken
        self._counter = Counter()
        self._wrong = False
        self.complete = False

    def ready(self) -> bytes | None:
        """Return the chunk of ``FileChunks``; None if the count is wrong, because ``next`` must then write an index."""
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
