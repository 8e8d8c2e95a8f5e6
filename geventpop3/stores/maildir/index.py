"""The index: what a scan found, in columns, and the same as a file. Losing the file costs time, never mail.

The file is one header, four columns of 64-bit numbers in the machine's own order, and two joined strings; a checksum
covers all of it. Any file that is not exactly that is no index. The owner can write one too, so a long one is read only
if its maildir holds enough for it, and no call works on so much of it at once that other threads would notice.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, compress
from typing import NamedTuple

from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.listing import Fingerprint
from geventpop3.stores.maildir.names import path_of
from geventpop3.stores.store import UNIQUE_ID_OCTETS, Snapshot

FILE = "geventpop3.index"

UNKNOWN = 2**64 - 1
"""The file size of a message that could not be measured, or was found changed: measured again by the next scan."""

AT_ONCE = 1 << 20
"""Octets of an index that are read without asking what its maildir holds: some ten thousand messages."""

LONGEST = 1 << 28
"""Octets of the longest index that is read at all."""

TIMES_HELD = 10
"""A long index may tell of so many times the messages that its maildir holds. Then a login after a restart counts a
tenth of them, and the owner of few messages cannot make the server keep many."""

HELD_OCTETS = 1024
"""A long index may have so many octets for each message that its maildir holds: three times what the longest takes."""

_MAGIC, _MAGIC_1 = (b"geventpop3 index %d %b\n" % (version, sys.byteorder[:3].encode()) for version in (2, 1))
"""Version 1 had no inodes."""
_HEADER = struct.Struct("=QQQQQQQQ")
_CHECKSUM = struct.Struct("=L")
_START_OCTETS = len(_MAGIC) + _CHECKSUM.size + _HEADER.size

_SEPARATOR = "/"
"""Between strings: the one octet besides NUL that no file name holds, so that no path can be smuggled in."""

_SORTED_AT_ONCE = 4096
_SPLIT_AT_ONCE = 1 << 16
_COPIED_AT_ONCE = 1 << 20

_LARGEST = 1 << 40
"""Octets of a file that no message has."""


class Row(NamedTuple):
    """One message as measured; rows sort oldest first. *time*: of delivery, microseconds. *size*: of the file.

    *inode*: of the file that was measured. A copy has another one.
    """

    time: int
    unique_id: str
    octets: int
    size: int
    inode: int = 0


class Index:
    """Immutable columns, oldest message first, shared by all sessions that find the maildir unchanged.

    *fingerprint*: of the directories that are known to hold exactly these messages; None if the next session must
    list them again.
    """

    def __init__(
        self,
        fingerprint: Fingerprint | None,
        times: array[int],
        sizes: array[int],
        inodes: array[int],
        snapshot: Snapshot,
        tails: Sequence[str] | bytes | bytearray,
    ) -> None:
        self.fingerprint = None if UNKNOWN in sizes else fingerprint
        self.times = times
        self.sizes = sizes
        self.inodes = inodes
        self.snapshot = snapshot
        self.counted = bytearray(len(sizes))
        """By place: whether the message was read since, and has the octets that are said here."""
        # Made when first asked for; two threads may both make them, which costs less than a lock.
        self._tails = tails
        self._places: dict[str, int] | None = None

    @classmethod
    def empty(cls) -> Index:
        """What is known of a maildir that was never scanned."""
        return cls(None, array("Q"), array("Q"), array("Q"), Snapshot([], array("Q")), [])

    def unmeasured(self, tails: Mapping[str, str]) -> dict[str, str]:
        """Those of *tails* whose size is not known here."""
        places, sizes = self.places, self.sizes
        return {
            unique_id: tail
            for unique_id, tail in tails.items()
            if (place := places.get(unique_id)) is None or sizes[place] == UNKNOWN
        }

    def updated(self, tails: Mapping[str, str], rows: Sequence[Row], fingerprint: Fingerprint | None) -> Index:
        """The index of what is in *tails*: the messages known here, and the *rows* of those that were not.

        Whole columns are worked on, because a great maildrop has mostly changed by a message or two at its end.
        """
        new = _sorted(rows)
        kept = [
            size != UNKNOWN and unique_id in tails
            for unique_id, size in zip(self.snapshot.unique_ids, self.sizes, strict=True)
        ]
        unique_ids = [*compress(self.snapshot.unique_ids, kept), *(row.unique_id for row in new)]
        times, octets, sizes, inodes = (
            array("Q", chain(compress(column, kept), added))
            for column, added in (
                (self.times, (row.time for row in new)),
                (self.snapshot.octets, (row.octets for row in new)),
                (self.sizes, (row.size for row in new)),
                (self.inodes, (row.inode for row in new)),
            )
        )
        old = len(times) - len(new)
        if old and new and (times[old - 1], unique_ids[old - 1]) > (times[old], unique_ids[old]):
            order = list(merge(range(old), range(old, len(times)), key=lambda place: (times[place], unique_ids[place])))
            unique_ids = [unique_ids[place] for place in order]
            times, octets, sizes, inodes = (
                array("Q", [column[place] for place in order]) for column in (times, octets, sizes, inodes)
            )
        here = [tails[unique_id] for unique_id in unique_ids]
        return Index(fingerprint, times, sizes, inodes, Snapshot(unique_ids, octets), here)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def tails(self) -> Sequence[str]:
        """The rest of each message's path (see ``listing.path_of``)."""
        if isinstance(self._tails, bytes | bytearray):
            joined = self._tails
            self._tails = [
                sys.intern(each)
                for part in _parts(joined, 0, len(joined))
                for each in os.fsdecode(part).split(_SEPARATOR)
            ]
        return self._tails

    @property
    def places(self) -> dict[str, int]:
        """The place of each unique-id."""
        if self._places is None:
            self._places = {unique_id: place for place, unique_id in enumerate(self.snapshot.unique_ids)}
        return self._places

    def path(self, place: int) -> str:
        """The path of a message, relative to the maildir, as of the scan."""
        return path_of(self.snapshot.unique_ids[place], self.tails[place])

    def without_sizes(self, places: Iterable[int]) -> Index:
        """This index, less what it knows of some messages, so that the next scan measures them again."""
        sizes = self.sizes[:]
        for place in places:
            sizes[place] = UNKNOWN
        return Index(None, self.times, sizes, self.inodes, self.snapshot, self._tails)

    def encode(self) -> bytes:
        """The content of the index file."""
        unique_ids = _SEPARATOR.join(self.snapshot.unique_ids).encode("ascii")
        tails = os.fsencode(_SEPARATOR.join(self.tails))
        fingerprint = self.fingerprint or (0, 0, 0, 0)
        header = _HEADER.pack(len(self), len(unique_ids), len(tails), bool(self.fingerprint), *fingerprint)
        columns = [column.tobytes() for column in (self.times, self.sizes, self.snapshot.octets, self.inodes)]
        body = b"".join((header, *columns, unique_ids, tails))
        return _MAGIC + _CHECKSUM.pack(zlib.crc32(body)) + body


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """The rows, oldest first. One call of ``sort`` lets no other thread run, so many rows are sorted in parts."""
    parts = [sorted(rows[start : start + _SORTED_AT_ONCE]) for start in range(0, len(rows), _SORTED_AT_ONCE)]
    return parts[0] if len(parts) == 1 else list(merge(*parts))


def read(root: int, count_held: Callable[[int], int]) -> bytes | None:
    """Return the content of the index file of the maildir *root*; None if there is none.

    *count_held* counts the messages of the maildir, as far as it is asked to. Raises OSError: EFBIG if the file is
    longer, or tells of many more messages, than the maildir may need.
    """
    try:
        fd = system.openat(FILE, system.OWN_READ, dir_fd=root)
    except FileNotFoundError:
        return None
    try:
        size = system.fstat(fd).st_size
        count = None
        if size > AT_ONCE:
            count = _count(system.pread(fd, _START_OCTETS, 0))
            enough = max(-(-size // HELD_OCTETS), -(-count // TIMES_HELD))
            if size > LONGEST or count > size or count_held(enough) < enough:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), FILE)
        pieces, left = [], size
        while left and (piece := system.read(fd, left)):
            pieces.append(piece)
            left -= len(piece)
        content = b"".join(pieces)
        # Whoever wrote into it meanwhile made it none.
        return content if count is None or count == _count(content) else b""
    finally:
        system.close(fd)


def _count(content: bytes) -> int:
    """Return of how many messages an index tells that begins like this; 0 if it is none."""
    if len(content) < _START_OCTETS:
        return 0
    count: int = _HEADER.unpack_from(content, _START_OCTETS - _HEADER.size)[0]
    return count


def decode(content: bytes) -> Index | None:
    """Return the index in an index file's content; None if it is torn, damaged or of another version or machine."""
    width = 4 if content.startswith(_MAGIC) else 3
    if width == 3 and not content.startswith(_MAGIC_1):
        return None
    start = len(_MAGIC) + _CHECKSUM.size
    view = memoryview(content)
    if len(view) < _START_OCTETS:
        return None
    (checksum,) = _CHECKSUM.unpack_from(view, len(_MAGIC))
    if zlib.crc32(view[start:]) != checksum:
        return None
    count, unique_ids_octets, tails_octets, settled, *stamps = _HEADER.unpack_from(view, start)
    start += _HEADER.size
    if len(view) - start != 8 * width * count + unique_ids_octets + tails_octets:
        return None
    columns = [array("Q") for _ in range(width)]
    for column in columns:
        for piece in _pieces(view[start : start + 8 * count]):
            column.frombytes(piece)
        start += 8 * count
    times, sizes, octets = columns[:3]
    inodes = columns[3] if width == 4 else array("Q", bytes(8 * count))
    unique_ids = _unique_ids(content, start, start + unique_ids_octets) if count else []
    tails = _tails(view[start + unique_ids_octets :], count)
    # Whoever may write to the maildir could forge the checksum too: these keep replies and paths well formed.
    if unique_ids is None or tails is None or len(unique_ids) != count or not _are_sizes(sizes, octets):
        return None
    fingerprint = (stamps[0], stamps[1], stamps[2], stamps[3]) if settled else None
    return Index(fingerprint, times, sizes, inodes, Snapshot(unique_ids, octets), tails if count else [])


def _pieces(view: memoryview) -> Iterator[memoryview]:
    """Yield a part of an index, some at a time: to copy all at once lets no other thread run."""
    for start in range(0, len(view), _COPIED_AT_ONCE):
        yield view[start : start + _COPIED_AT_ONCE]


def _tails(view: memoryview, count: int) -> bytearray | None:
    joined, separators = bytearray(), 0
    for piece in map(bytes, _pieces(view)):
        if b"\0" in piece:
            return None
        separators += piece.count(_SEPARATOR.encode())
        joined += piece
    return joined if separators == max(count - 1, 0) else None


def _are_sizes(sizes: array[int], octets: array[int]) -> bool:
    """Return whether files of these sizes can have so many octets as sent: each may be a line end, and one may lack."""
    for size, sent in zip(sizes, octets, strict=True):
        if not (size <= sent <= 2 * size + 2 and size < _LARGEST) and size != UNKNOWN:
            return False
    return True


def _unique_ids(content: bytes, start: int, end: int) -> list[str] | None:
    unique_ids: list[str] = []
    for part in _parts(content, start, end):
        text = part.decode("ascii", "replace")
        if not (text.isascii() and text.isprintable()) or " " in text:
            return None
        here = text.split(_SEPARATOR)
        if "" in here or max(map(len, here)) > UNIQUE_ID_OCTETS:
            return None
        unique_ids += here
    return unique_ids


def _parts(joined: bytes | bytearray, start: int, stop: int) -> Iterator[bytes]:
    """Yield strings that were joined, still joined, some at a time: to split all at once lets no other thread run."""
    separator = _SEPARATOR.encode()
    while start <= stop:
        end = joined.find(separator, start + _SPLIT_AT_ONCE, stop)
        end = stop if end < 0 else end
        yield bytes(joined[start:end])
        start = end + 1
