"""Every call to the kernel that this package makes, by name, so that a test can make each one fail or be the last.

``openat`` and the rest take paths relative to an open maildir (``dir_fd``): a maildir that is renamed or replaced
during a session stays the same one to that session.
"""

import fcntl
import os
import posix
import time
from contextlib import suppress

openat = os.open
close = posix.close
"""Not ``os.close``: in a process that gevent has patched, that one closes a directory some time later, and the lock
would be held until then. The patch is for what an event loop watches, and none watches these files."""
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
        """Has the kernel begin to read, without waiting for it. Raises OSError."""
        os.posix_fadvise(fd, 0, octets, os.POSIX_FADV_WILLNEED)

else:  # pragma: no cover

    def prefetch(fd: int, octets: int) -> None:
        """This system cannot be told."""


PART = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a maildir and its ``new`` and ``cur`` are opened. They, and messages, are never symbolic links: an owner who may
write to one maildir must not make the server read another."""

WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How the directories above a maildir are opened, of which only the right to search is needed."""

MESSAGE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""How a message is opened; O_NONBLOCK, so that a FIFO in its place keeps nobody waiting."""

OWN_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OWN_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How the index and the journal are opened. Only a new file is written: an old one may be a link to another's."""


def replace_file(name: str, content: bytes, root: int, *, durable: bool) -> None:
    """Make *content* a file of ours, at once as seen by others; *durable*: it is on the disk before it has its name.

    That the name is on the disk too takes an fsync of *root*. Raises OSError, and then the file is as it was.
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
    """Open a file of ours that is not there yet, for writing; whatever has its name is removed. Raises OSError."""
    try:
        return openat(name, OWN_WRITE, 0o600, dir_fd=root)
    except FileExistsError:
        # A crash left it, or somebody planted a link to write through.
        remove_file(name, root)
        return openat(name, OWN_WRITE, 0o600, dir_fd=root)


def remove_file(name: str, root: int) -> bool:
    """Remove a file of ours; return whether it was there. Raises OSError."""
    try:
        unlink(name, dir_fd=root)
    except FileNotFoundError:
        return False
    return True


def temporary_name(name: str) -> str:
    """Where a file of ours is written before it is renamed; only ever written to under the lock."""
    return f"{name}.tmp"
