"""The index: the result of a scan in columns, in memory and as a file. Losing the file costs time, never mail.

The file is one header, four columns of 64-bit numbers in the machine's byte order, and two joined strings. A checksum
covers all of it. Any file of another form is no index. The owner can write one too, so a long one is read only if its
maildir holds enough messages. No call works on so much of it at once that other threads would notice.
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
"""File size of a message that could not be measured or that changed: the next scan measures it again."""

AT_ONCE = 1 << 20
"""Octets of an index that are read without counting the maildir's messages: some ten thousand messages."""

MAX_OCTETS = 1 << 28
"""Octets of the longest index that is read."""

TIMES_HELD = 10
"""Largest ratio of a long index's messages to those that its maildir holds. Then a login after a restart counts a
tenth of them, and the owner of few messages cannot make the server keep many."""

HELD_OCTETS = 1024
"""Most octets of a long index for each message that its maildir holds: three times the longest entry."""

_MAGIC, _MAGIC_1 = (b"geventpop3 index %d %b\n" % (version, sys.byteorder[:3].encode()) for version in (2, 1))
"""Version 1 had no inodes."""
_HEADER = struct.Struct("=QQQQQQQQ")
_CHECKSUM = struct.Struct("=L")
_START_OCTETS = len(_MAGIC) + _CHECKSUM.size + _HEADER.size

_SEPARATOR = "/"
"""The separator of joined strings: the only octet besides NUL that no file name holds, so no path can be forged."""

_SORTED_AT_ONCE = 4096
_SPLIT_AT_ONCE = 1 << 16
_COPIED_AT_ONCE = 1 << 20

_LARGEST = 1 << 40
"""Octets of a file, more than any message has."""


class Row(NamedTuple):
    """One message as measured; rows sort oldest first.

    *time*: of delivery, microseconds. *size*: of the file. *inode*: of the measured file; a copy has another one.
    """

    time: int
    unique_id: str
    octets: int
    size: int
    inode: int = 0


class Index:
    """Immutable columns, oldest message first, shared by all sessions that find the maildir unchanged.

    *fingerprint*: of the directories when they held exactly these messages; None if the next session must list them
    again.
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
        """Flags by place: 1 if the message was read since, and has the octets stated here."""
        # Made on first use; two threads may both make them, which costs less than a lock.
        self._tails = tails
        self._places: dict[str, int] | None = None

    @classmethod
    def empty(cls) -> Index:
        """Return the index of a maildir that was never scanned."""
        return cls(None, array("Q"), array("Q"), array("Q"), Snapshot([], array("Q")), [])

    def unmeasured(self, tails: Mapping[str, str]) -> dict[str, str]:
        """Return the items of *tails* whose size this index does not have."""
        places, sizes = self.places, self.sizes
        return {
            unique_id: tail
            for unique_id, tail in tails.items()
            if (place := places.get(unique_id)) is None or sizes[place] == UNKNOWN
        }

    def updated(self, tails: Mapping[str, str], rows: Sequence[Row], fingerprint: Fingerprint | None) -> Index:
        """Return the index of the messages in *tails*: those known here, and the *rows* of the others.

        It works on whole columns, because a large maildrop has mostly changed by a message or two at its end.
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
        """The rest of each message's path (see ``names.path_of``)."""
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
        """Return the path of a message at the time of the scan, relative to the maildir."""
        return path_of(self.snapshot.unique_ids[place], self.tails[place])

    def without_sizes(self, places: Iterable[int]) -> Index:
        """Return this index without the sizes of some messages, so that the next scan measures them again."""
        sizes = self.sizes[:]
        for place in places:
            sizes[place] = UNKNOWN
        return Index(None, self.times, sizes, self.inodes, self.snapshot, self._tails)

    def encode(self) -> bytes:
        """Return the content of the index file."""
        unique_ids = _SEPARATOR.join(self.snapshot.unique_ids).encode("ascii")
        tails = os.fsencode(_SEPARATOR.join(self.tails))
        fingerprint = self.fingerprint or (0, 0, 0, 0)
        header = _HEADER.pack(len(self), len(unique_ids), len(tails), bool(self.fingerprint), *fingerprint)
        columns = [column.tobytes() for column in (self.times, self.sizes, self.snapshot.octets, self.inodes)]
        body = b"".join((header, *columns, unique_ids, tails))
        return _MAGIC + _CHECKSUM.pack(zlib.crc32(body)) + body


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, oldest first; sort many rows in parts, because one large sort blocks other threads."""
    parts = [sorted(rows[start : start + _SORTED_AT_ONCE]) for start in range(0, len(rows), _SORTED_AT_ONCE)]
    return parts[0] if len(parts) == 1 else list(merge(*parts))


def read_index(root: int, count_held: Callable[[int], int]) -> bytes | None:
    """Return the content of the index file of the maildir *root*; None if there is none.

    *count_held* counts the messages of the maildir, up to its argument. Raises OSError; EFBIG if the file is too long
    for the maildir or states too many messages.
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
            if size > MAX_OCTETS or count > size or count_held(enough) < enough:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), FILE)
        pieces, left = [], size
        while left and (piece := system.read(fd, left)):
            pieces.append(piece)
            left -= len(piece)
        content = b"".join(pieces)
        # A write during the read may have changed the count: then the file is no index.
        return content if count is None or count == _count(content) else b""
    finally:
        system.close(fd)


def _count(content: bytes) -> int:
    """Return the number of messages that an index with this beginning states; 0 if it is too short."""
    if len(content) < _START_OCTETS:
        return 0
    count: int = _HEADER.unpack_from(content, _START_OCTETS - _HEADER.size)[0]
    return count


def decode(content: bytes) -> Index | None:
    """Return the index decoded from a file's content; None if torn, damaged, or of another version or machine."""
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
    # The owner could forge the checksum too. These checks keep replies and paths well formed.
    if unique_ids is None or tails is None or len(unique_ids) != count or not _are_sizes(sizes, octets):
        return None
    fingerprint = (stamps[0], stamps[1], stamps[2], stamps[3]) if settled else None
    return Index(fingerprint, times, sizes, inodes, Snapshot(unique_ids, octets), tails if count else [])


def _pieces(view: memoryview) -> Iterator[memoryview]:
    """Yield *view* in pieces, because one large copy blocks other threads."""
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
    """Return whether the sizes allow these octets: each octet may be a line end, and the last may be missing."""
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
    """Yield parts of the joined strings, still joined, because one large split blocks other threads."""
    separator = _SEPARATOR.encode()
    while start <= stop:
        end = joined.find(separator, start + _SPLIT_AT_ONCE, stop)
        end = stop if end < 0 else end
        yield bytes(joined[start:end])
        start = end + 1
