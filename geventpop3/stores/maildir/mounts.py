"""Mounts: whether calls to a file system may be made in an event loop, or wait and need a thread.

A call to a warm local file system takes microseconds, less than a thread costs. One to a network file system, to FUSE,
or to a disk that is failing may take seconds, and all sessions would wait for it.
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
"""A call that takes longer makes its mount slow for ``SLOW_FOR`` seconds."""

SLOW_FOR = 60.0

TABLE = "/proc/self/mountinfo"
TABLE_SECONDS = 10.0
"""Seconds for which the table of mounts is taken to be right."""

_WAITING = re.compile(
    r"9p|afs|autofs|beegfs.*|ceph|cifs|coda|davfs|fuse.*|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|smb.*|virtiofs"
)
"""The types of file systems whose calls wait for another machine or process (statfs(2), filesystems(5))."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount:
    """A mounted file system: *point* is where, *kind* its type as the kernel has it."""

    __slots__ = ("_slow_until", "_waits", "point")

    def __init__(self, point: str, kind: str) -> None:
        self.point = point
        self._waits = _WAITING.fullmatch(kind) is not None
        self._slow_until = 0.0

    def __repr__(self) -> str:
        return f"<Mount {self.point}>"

    def waits(self) -> bool:
        """Return whether calls may wait: always, or because one did lately."""
        return self._waits or (self._slow_until > 0.0 and monotonic() < self._slow_until)

    def took(self, seconds: float) -> bool:
        """Note how long a call took that should take microseconds; return whether that was long."""
        is_slow = seconds > SLOW_SECONDS
        if is_slow:
            self._slow_until = monotonic() + SLOW_FOR
        return is_slow


class _Table(NamedTuple):
    """The mount that a directory is on, and those below the directory by their paths, the longest first."""

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
        """Return the mount of a path below the directory; it asks the kernel for nothing."""
        table = self._table
        for prefix, mount in table.below:
            if path.startswith(prefix):
                return mount
        return table.base

    def waits(self, mount: Mount) -> bool:
        """Return whether calls to *mount* need a thread."""
        return mount.waits() if self._threads_for == "auto" else self._threads_for == "always"

    def refresh(self) -> None:
        """Read the kernel's table again if it is old. A mount that is still there keeps its record."""
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
                # As the template writes it: links in its fixed part are resolved in the kernel's table.
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
    """Yield the mount points and the types of their file systems; of several at one point the last is seen."""
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape") as table:
            lines = table.readlines()
    except OSError:
        return  # a system that has none: then only calls that took long tell
    for line in lines:
        # proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4 and after:
            yield _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]), after.split(" ")[0]
