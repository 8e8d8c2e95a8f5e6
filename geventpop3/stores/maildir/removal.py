"""Removal of files that other programs may rename meanwhile. It ends when a listing shows none of them.

A message is identified by its base name and, if several files share that, also by its inode.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import NamedTuple

from geventpop3.stores.maildir.index import UNKNOWN
from geventpop3.stores.maildir.listing import Finder, list_maildir
from geventpop3.stores.maildir.names import is_shared, shared_as
from geventpop3.stores.maildir.opening import Parts

PASSES = 8

_TRANSIENT = frozenset(
    {
        *(errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETIMEDOUT),
        *(errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.EINTR, errno.EAGAIN),
    }
)


class Marked(NamedTuple):
    """A message to be removed, as the session that marked it saw it.

    *path*: last known path, perhaps out of date. *inode*: 0 if not known. *size*: of the file, UNKNOWN if not known.
    """

    path: str
    inode: int = 0
    size: int = UNKNOWN


def unlink_all(marked: Mapping[str, Marked], maildir: Parts) -> dict[str, OSError]:
    """Unlink these messages (by unique-id) at their present paths, and no other files that have their names.

    Return the reason by unique-id for each message that is left. Raises OSError or StoreBroken if the maildir cannot be
    listed.
    """
    failed: dict[str, OSError] = {}
    removed: dict[str, int] = {}
    others: set[str] = set()
    left = {unique_id: each.path for unique_id, each in marked.items()}
    for turn in range(PASSES):
        for unique_id, path in left.items():
            try:
                status = maildir.stat(path)
                if not _is_marked(unique_id, marked[unique_id], status, removed.get(unique_id), listed=turn > 0):
                    if turn and (is_shared(unique_id) or unique_id in removed):
                        others.add(unique_id)
                    elif turn:
                        failed[unique_id] = OSError(errno.EEXIST, "another file has the same unique name", path)
                    continue
                maildir.unlink(path)
            except FileNotFoundError:
                continue  # gone or renamed: the listing shows which
            except OSError as error:
                failed[unique_id] = OSError(error.errno, error.strerror, path)
            else:
                removed[unique_id] = status.st_ino
        listed = list_maildir(maildir)
        finder = Finder(listed)
        found = {}
        for unique_id, each in marked.items():
            if unique_id in others:
                continue
            if (now := finder.path(unique_id, each.inode)) is not None:
                found[unique_id] = now
            elif unique_id in listed.shared and unique_id not in removed:
                failed[unique_id] = OSError(errno.EEXIST, "several other files have the same unique name", each.path)
                found[unique_id] = each.path
        left = {unique_id: path for unique_id, path in found.items() if unique_id not in failed}
        if not left:
            return {each: reason for each, reason in failed.items() if each in found}
    return failed | {
        each: OSError(errno.EAGAIN, "the file was renamed repeatedly", path) for each, path in left.items()
    }


def is_transient(reason: OSError) -> bool:
    """Return whether the reason is a fault or load of the system, which may pass, and not a property of the file."""
    return reason.errno in _TRANSIENT


def _is_marked(unique_id: str, marked: Marked, status: os.stat_result, removed: int | None, *, listed: bool) -> bool:
    """Return whether a file that has the name of a marked message is that message.

    *removed*: the inode of the file already unlinked under this unique-id. *listed*: a later listing shows no other
    file with that base name.
    """
    if marked.size not in (UNKNOWN, status.st_size):
        return False  # even if the inode is equal: file systems reuse the inodes of removed files
    if is_shared(unique_id):
        return shared_as(unique_id, status.st_ino) == unique_id
    # The inode differs after a copy (by a mover or a restore), or if the file system renumbers at each mount. The base
    # name is the message's identity, so the only file that has it is the message.
    return status.st_ino in (marked.inode, removed) or (listed and removed is None)
