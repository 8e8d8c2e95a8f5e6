"""Removing files of a maildir that other programs rename meanwhile: done when no listing shows one of them."""

from __future__ import annotations

from collections.abc import Mapping

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.listing import listing, path_of

PASSES = 8


def unlink_all(tails: Mapping[str, str], root: int) -> dict[str, str]:
    """Unlinks these messages (tails by unique-id; a tail may be out of date), wherever they are by now.

    Returns what is left: the reason by unique-id. Raises OSError if the maildir cannot be listed.
    """
    failed: dict[str, str] = {}
    left = dict(tails)
    for _ in range(PASSES):
        for unique_id, tail in left.items():
            try:
                system.unlink(path_of(unique_id, tail), dir_fd=root)
            except FileNotFoundError:
                continue  # gone, or renamed: the listing tells
            except OSError as error:
                failed[unique_id] = f"{path_of(unique_id, tail)!r}: {error.strerror}"
        found = listing(root).tails
        left = {unique_id: found[unique_id] for unique_id in tails if unique_id in found and unique_id not in failed}
        if not left:
            return {unique_id: reason for unique_id, reason in failed.items() if unique_id in found}
    return failed | dict.fromkeys(left, "renamed again and again")


def sync(root: int) -> None:
    """Makes what was unlinked durable. Raises OSError."""
    for part in ("new", "cur"):
        fd = system.openat(part, system.PART, dir_fd=root)
        try:
            system.fsync(fd)
        finally:
            system.close(fd)
