"""A message file being read: exactly as many octets as it had when it was opened, or an exception."""

from __future__ import annotations

import errno
import os
import stat

from geventpop3.errors import StoreUnavailable
from geventpop3.stores.maildir import system
from geventpop3.stores.store import Chunks

CHUNK_OCTETS = 256 * 1024

_NOT_AT_HAND = (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


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
            system.close(fd)

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
