"""Removing files of a maildir that other programs rename meanwhile: done when no listing shows one of them."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from geventpop3.stores.maildir.listing import find, path_of
from geventpop3.stores.maildir.opening import Parts

PASSES = 8

_PASSING = frozenset(
    {
        *(errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETIMEDOUT),
        *(errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.EINTR, errno.EAGAIN),
    }
)


def unlink_all(tails: Mapping[str, str], maildir: Parts) -> dict[str, OSError]:
    """Unlinks these messages (tails by unique-id; a tail may be out of date), wherever they are by now.

    Returns what is left: the reason by unique-id. Raises OSError if the maildir cannot be listed.
    """
    failed: dict[str, OSError] = {}
    removed: dict[str, int] = {}
    others: set[str] = set()
    left = dict(tails)
    for _ in range(PASSES):
        for unique_id, tail in left.items():
            path = path_of(unique_id, tail)
            try:
                inode = maildir.stat(path).st_ino
                if removed.get(unique_id, inode) != inode:
                    # Another file that has the name of the one that is gone now: a message that nobody marked.
                    others.add(unique_id)
                    continue
                maildir.unlink(path)
            except FileNotFoundError:
                continue  # gone, or renamed: the listing tells
            except OSError as error:
                failed[unique_id] = OSError(error.errno, error.strerror, path)
            else:
                removed[unique_id] = inode
        found = find([each for each in tails if each not in others], maildir)
        left = {each: tail for each, tail in found.items() if each not in failed}
        if not left:
            return {each: reason for each, reason in failed.items() if each in found}
    return failed | {each: OSError(errno.EAGAIN, "renamed again and again", path_of(each, left[each])) for each in left}


def passing(reason: OSError) -> bool:
    """Whether the system is unwell now, or busy, rather than the one file such that it cannot be removed."""
    return reason.errno in _PASSING
