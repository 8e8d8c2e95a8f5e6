"""All system calls of this package, by name, so that a test can make each one fail or be the last.

``openat`` and the others take paths relative to an open maildir (``dir_fd``). So a session keeps the same maildir even
if that is renamed or replaced meanwhile.
"""

import fcntl
import os
import posix
import time
from contextlib import suppress

openat = os.open
close = posix.close
"""The unpatched ``close``. The ``os.close`` that gevent patches closes a directory some time later, and holds the lock
until then. The patch is for files that an event loop watches, and none watches these."""
read = os.read
pread = os.pread
preadv = os.preadv
write = os.write
fsync = os.fsync
fstat = os.fstat
stat = os.stat
listdir = os.listdir
scandir = os.scandir
mkdir = os.mkdir
makedirs = os.makedirs
unlink = os.unlink
rename = os.rename
flock = fcntl.flock
geteuid = os.geteuid
access = os.access
now_ns = time.time_ns
pause = time.sleep

if hasattr(os, "posix_fadvise"):

    def prefetch(fd: int, octets: int) -> None:
        """Make the kernel begin to read, without waiting for it. Raises OSError."""
        os.posix_fadvise(fd, 0, octets, os.POSIX_FADV_WILLNEED)

else:  # pragma: no cover

    def prefetch(fd: int, octets: int) -> None:
        """Do nothing: this system has no such call."""


PART = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open a maildir and its ``new`` and ``cur``. They and messages must not be symbolic links: an owner who may
write to one maildir must not make the server read another."""

WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open the directories above a maildir, which need only the right to search."""

MESSAGE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags to open a message; O_NONBLOCK, so that the open of a FIFO in its place does not wait."""

OWN_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OWN_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags to open the index and the journal. Only a new file is written: an old one may be a link to another's."""


def replace_file(name: str, content: bytes, root: int, *, durable: bool) -> None:
    """Write *content* to a file of ours atomically; *durable*: put it on the disk before it gets its name.

    Only an fsync of *root* puts the name on the disk too. Raises OSError, and then the file is as it was.
    """
    temporary = temporary_name(name)
    try:
        fd = _new_file(temporary, root)
        try:
            view = memoryview(content)
            while view:
                view = view[write(fd, view) :]
            if durable:
                fsync(fd)
        finally:
            close(fd)
        rename(temporary, name, src_dir_fd=root, dst_dir_fd=root)
    except OSError:
        with suppress(OSError):
            remove_file(temporary, root)
        raise


def _new_file(name: str, root: int) -> int:
    """Create a file of ours and open it for writing; remove any old file of that name. Raises OSError."""
    try:
        return openat(name, OWN_WRITE, 0o600, dir_fd=root)
    except FileExistsError:
        # A crash left it, or somebody planted a link to another file.
        remove_file(name, root)
        return openat(name, OWN_WRITE, 0o600, dir_fd=root)


def remove_file(name: str, root: int) -> bool:
    """Remove a file of ours; return whether it existed. Raises OSError."""
    try:
        unlink(name, dir_fd=root)
    except FileNotFoundError:
        return False
    return True


def temporary_name(name: str) -> str:
    """Return the name under which a file of ours is written before its rename. The writer holds the lock."""
    return f"{name}.tmp"
