"""The directories of a maildir, opened one below the other and never through a symbolic link.

An owner who may write to a maildir may replace any name in it by a link to the mail of another owner. So each
directory is opened relative to its open parent, and each message relative to ``new`` or ``cur``. An open directory
stays the same even if it is renamed. The owner of a message is not checked, because deliverers run as their own
users.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from geventpop3.errors import StoreBroken
from geventpop3.stores.maildir import system

PARTS = ("new", "cur")

LINK = "is a symbolic link, which is not followed: replace it by the directory, or mount the directory there"

_MADE = (*PARTS, "tmp")
_MODE = 0o700
_NO_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)


def open_root(steps: Sequence[str], *, make: bool = False, flags: int = system.PART) -> int:
    """Open the maildir at *steps* (see ``Template.steps``) with *flags* and return its descriptor.

    *make*: make each missing directory. Raises OSError, whose filename is a path, and StoreBroken.
    """
    if len(steps) == 1 and not make:
        return _open(steps[0], flags, None, steps[0])
    *above, last = steps
    path, parent = "", None
    owners: list[tuple[str, int]] = []
    try:
        for step in above:
            path = os.path.join(path, step)
            opened = _open(step, system.WAY, parent, path, owners if make else None)
            parent, done = opened, parent
            if done is not None:
                system.close(done)
            owners.append((path, system.fstat(opened).st_uid))
        root = _open(last, flags, parent, os.path.join(path, last), owners if make else None)
    finally:
        if parent is not None:
            system.close(parent)
    try:
        for path, uid in owners:
            check_owner(uid, root, path)
        if make:
            for part in _MADE:
                with suppress(FileExistsError):
                    system.mkdir(part, _MODE, dir_fd=root)
    except BaseException:
        system.close(root)
        raise
    return root


def check_owner(uid: int, root: int | None, path: str) -> None:
    """Raise StoreBroken unless *uid*, the owner of the directory *path*, may own a part of the maildir *root*.

    The maildir's owner, root and this process's user may; another user could have planted the directory. *root* is None
    for a maildir that is yet to be made, which this process's user will own.
    """
    own = system.geteuid()
    if uid in (0, own):
        return
    owner = own if root is None else system.fstat(root).st_uid
    if uid != owner:
        rule = (
            f"expected uid {owner} (the maildir's), root or this server's: if you trust its content, change its owner"
        )
        raise StoreBroken(detail=f"{path!r} is owned by uid {uid}; {rule}")


def _open(name: str, flags: int, parent: int | None, path: str, above: Sequence[tuple[str, int]] | None = None) -> int:
    """Open the directory *name* in *parent*; errors name it *path*.

    If it is missing and *above* is not None, make it. Raises StoreBroken instead if one of the directories in *above*
    has a wrong owner.
    """
    try:
        try:
            return system.openat(name, flags, dir_fd=parent)
        except FileNotFoundError:
            if above is None:
                raise
        for place, uid in above:
            check_owner(uid, None, place)
        with suppress(FileExistsError):  # another session made it just now
            _make(name, parent)
        return system.openat(name, flags, dir_fd=parent)
    except OSError as error:
        reason = LINK if error.errno in _NO_DIRECTORY and _is_link(name, parent) else error.strerror
        raise OSError(error.errno, reason, path) from error


def _make(name: str, parent: int | None) -> None:
    try:
        system.mkdir(name, _MODE, dir_fd=parent)
    except FileNotFoundError:
        if parent is not None:
            raise
        # The fixed part of the template belongs to the operator, so links in it are followed.
        system.makedirs(os.path.dirname(name), exist_ok=True)
        system.mkdir(name, _MODE)


def _is_link(name: str, parent: int | None) -> bool:
    try:
        return stat.S_ISLNK(system.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


class Parts:
    """The ``new`` and ``cur`` of the maildir open as *root*: each is opened on first use and kept until ``close``.

    Paths are those of ``names.path_of``. *maildir* is the path of the maildir, for the log.
    """

    __slots__ = ("_cur", "_maildir", "_new", "root")

    def __init__(self, root: int, maildir: str) -> None:
        self.root = root
        self._maildir = maildir
        self._new = self._cur = -1

    def open(self, path: str) -> int:
        """Open a message for reading. Raises OSError, StoreBroken."""
        part = self._new if path[0] == "n" else self._cur
        return system.openat(path[4:], system.MESSAGE, dir_fd=self._opened(path[:3]) if part < 0 else part)

    def stat(self, path: str) -> os.stat_result:
        """Return the status of a message. Raises OSError, StoreBroken."""
        return system.stat(path[4:], dir_fd=self._opened(path[:3]), follow_symlinks=False)

    def unlink(self, path: str) -> None:
        """Remove a message. Raises OSError, StoreBroken."""
        system.unlink(path[4:], dir_fd=self._opened(path[:3]))

    def names(self, part: str) -> list[str]:
        """List *part*, opened again because another program may have replaced the directory.

        Raises OSError, StoreBroken.
        """
        return system.listdir(self._renewed(part))

    def count(self, enough: int) -> int:
        """Count the names in both, up to *enough*, and keep no name. Raises OSError, StoreBroken."""
        counted = 0
        for part in PARTS:
            with system.scandir(self._renewed(part)) as entries:
                counted += sum(1 for _ in islice(entries, enough - counted))
        return counted

    def renew(self) -> None:
        """Open both again. Raises OSError, StoreBroken."""
        for part in PARTS:
            self._renewed(part)

    def sync(self) -> None:
        """Make the unlinks durable. Raises OSError, StoreBroken."""
        for part in PARTS:
            system.fsync(self._opened(part))

    def close(self) -> None:
        """Close both; *root* belongs to the caller."""
        if self._new >= 0:
            self._keep("new", -1)
        if self._cur >= 0:
            self._keep("cur", -1)

    def _opened(self, part: str) -> int:
        opened = self._new if part == "new" else self._cur
        return self._renewed(part) if opened < 0 else opened

    def _renewed(self, part: str) -> int:
        opened = _open(part, system.PART, self.root, part)
        try:
            check_owner(system.fstat(opened).st_uid, self.root, f"{self._maildir}/{part}")
        except BaseException:
            system.close(opened)
            raise
        self._keep(part, opened)
        return opened

    def _keep(self, part: str, opened: int) -> None:
        if part == "new":
            done, self._new = self._new, opened
        else:
            done, self._cur = self._cur, opened
        if done >= 0:
            # It was only read, so an error of close loses nothing.
            with suppress(OSError):
                system.close(done)
