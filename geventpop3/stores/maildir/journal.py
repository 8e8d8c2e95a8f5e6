"""The journal of an UPDATE: while it is there, the messages it names are being removed, whatever crashes.

It is complete and on the disk before it gets its name, so that under its name it can be torn only by damage, and then
nothing is removed: no message is removed by guess.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterable

from geventpop3.stores.maildir import index, system

FILE = "geventpop3.update"
DAMAGED = "geventpop3.update.damaged"

_TITLE = "geventpop3 update 1"


def exists(root: int) -> bool:
    """Whether an UPDATE was begun and not finished. Raises OSError."""
    try:
        system.stat(FILE, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write(unique_ids: Iterable[str], root: int, *, durable: bool) -> None:
    """The commit point: on return the messages will be removed, by this process or the next. Raises OSError."""
    content = encode(unique_ids)
    try:
        system.replace_file(FILE, content, root, durable=durable)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # People remove mail when the disk is full. The index is larger than any journal, and can be made anew.
        system.remove_file(index.FILE, root)
        system.replace_file(FILE, content, root, durable=durable)


def encode(unique_ids: Iterable[str]) -> bytes:
    """The content of a journal: a title with the checksum of the rest, then a unique-id a line."""
    body = "".join(f"{unique_id}\n" for unique_id in unique_ids).encode("ascii")
    return f"{_TITLE} {zlib.crc32(body):08x}\n".encode("ascii") + body


def decode(content: bytes) -> list[str] | None:
    """The unique-ids in a journal's content; None if it is damaged."""
    title, newline, body = content.partition(b"\n")
    if not newline or title != f"{_TITLE} {zlib.crc32(body):08x}".encode("ascii") or not body.isascii():
        return None
    return body.decode("ascii").splitlines()
