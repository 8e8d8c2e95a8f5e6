"""Mounts of file systems, and whether calls to them may run in the event loop or need a thread.

A call to a warm local file system takes microseconds, less than a thread costs. A call to a network file system, to
FUSE, or to a failing disk may take seconds, and all sessions would wait for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from time import monotonic
from typing import Literal, NamedTuple

ThreadsFor = Literal["auto", "always", "never"]
THREADS_FOR: tuple[ThreadsFor, ...] = ("auto", "always", "never")

SLOW_SECONDS = 0.05
"""Seconds of a call; a longer call makes its mount slow for ``SLOW_FOR`` seconds."""

SLOW_FOR = 60.0

TABLE = "/proc/self/mountinfo"
TABLE_SECONDS = 10.0
"""Seconds for which a copy of the table of mounts is valid."""

_BLOCKING_TYPES = re.compile(
    r"9p|afs|autofs|beegfs.*|ceph|cifs|coda|davfs|fuse.*|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|smb.*|virtiofs"
)
"""Types of file systems whose calls wait for another machine or process (statfs(2), filesystems(5))."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount:
    """A file system mounted at *point*; *kind* is its type in the kernel's table."""

    __slots__ = ("_slow_until", "_waits", "point")

    def __init__(self, point: str, kind: str) -> None:
        self.point = point
        self._waits = _BLOCKING_TYPES.fullmatch(kind) is not None
        self._slow_until = 0.0

    def __repr__(self) -> str:
        return f"<Mount {self.point}>"

    def waits(self) -> bool:
        """Return whether calls may wait, because of the type or because a recent call was slow."""
        return self._waits or (self._slow_until > 0.0 and monotonic() < self._slow_until)

    def record_duration(self, seconds: float) -> bool:
        """Record the duration of a call that should take microseconds; return whether it was slow."""
        is_slow = seconds > SLOW_SECONDS
        if is_slow:
            self._slow_until = monotonic() + SLOW_FOR
        return is_slow


class _Table(NamedTuple):
    """The mount of a directory, and the mounts below it by path, the longest path first."""

    base: Mount
    below: tuple[tuple[str, Mount], ...]
    until: float


class Mounts:
    """The mounts at and below the directory *fixed*; *threads_for* "always" or "never" decides for all of them."""

    def __init__(self, fixed: str, threads_for: ThreadsFor = "auto") -> None:
        self._fixed = fixed
        self._threads_for = threads_for
        self._known: dict[str, Mount] = {}
        self._table = self._read()

    def of(self, path: str) -> Mount:
        """Return the mount of a path below the directory, without a system call."""
        table = self._table
        for prefix, mount in table.below:
            if path.startswith(prefix):
                return mount
        return table.base

    def waits(self, mount: Mount) -> bool:
        """Return whether calls to *mount* need a thread."""
        return mount.waits() if self._threads_for == "auto" else self._threads_for == "always"

    def refresh(self) -> None:
        """Read the kernel's table again if the copy is old. A mount that still exists keeps its record."""
        if monotonic() >= self._table.until:
            self._table = self._read()

    def _read(self) -> _Table:
        fixed = os.path.realpath(self._fixed)
        at, below = "/", []
        kinds = {"/": "unknown", **dict(_mounted())}
        for point in kinds:
            if _is_within(fixed, point):
                at = max(at, point, key=len)
            elif _is_within(point, fixed):
                # The path as the template writes it, because the kernel's table has links in the fixed part resolved.
                shown = os.path.join(self._fixed, os.path.relpath(point, fixed), "")
                below.append((shown, self._mount(point, kinds[point])))
        below.sort(key=lambda each: len(each[0]), reverse=True)
        return _Table(self._mount(at, kinds[at]), tuple(below), monotonic() + TABLE_SECONDS)

    def _mount(self, point: str, kind: str) -> Mount:
        key = f"{kind} {point}"
        mount = self._known.get(key)
        if mount is None:
            mount = self._known[key] = Mount(point, kind)
        return mount


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory if directory == "/" else f"{directory}/")


def _mounted() -> Iterable[tuple[str, str]]:
    """Yield each mount point and its file system's type; of several at one point, the last is visible."""
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as table:
            lines = table.readlines()
    except OSError:
        return  # a system without the table: then only slow calls mark a mount
    for line in lines:
        # proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4 and after:
            yield _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]), after.split(" ")[0]
