"""The kernel as the maildir store sees it, with a hook before every call: to fail, to stop, to rename meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from geventpop3.stores.maildir import system

CALLS = (
    "openat",
    "read",
    "pread",
    "preadv",
    "write",
    "fsync",
    "fstat",
    "stat",
    "listdir",
    "scandir",
    "mkdir",
    "makedirs",
    "unlink",
    "rename",
    "flock",
    "prefetch",
)
"""All but ``close``: the kernel closes what a dead process had open, so that is what the tests do too. ``geteuid`` and
``access`` change nothing and cannot fail."""


class Crash(BaseException):
    """The process dies here."""


class Kernel:
    """Records the calls (name and first argument) and asks *before* about each, by number; fsync does nothing.

    A first argument that is relative to an open ``new`` or ``cur`` is recorded with its name: ``cur/1.h:2,S``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.before: Callable[[int, str, Any], None] | None = None
        for name in CALLS:
            real = (lambda *_: None) if name == "fsync" else getattr(system, name)
            monkeypatch.setattr(system, name, self._wrap(name, real))

        self.disk: Disk | None = None

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = len(self.calls)
            first = args[0]
            part = os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) if (fd := kwargs.get("dir_fd")) else None
            if part in ("new", "cur"):
                first = f"{part}/{first}"
            self.calls.append((name, first))
            if self.before is not None:
                self.before(number, name, first)
            if self.disk is not None:
                self.disk.note(name, *args, **kwargs)
            return real(*args, **kwargs)

        return call

    @property
    def names(self) -> list[str]:
        """The names of the calls so far."""
        return [name for name, _ in self.calls]

    def reset(self) -> None:
        """Nothing was called, and nothing is asked."""
        self.calls.clear()
        self.before = None

    def crash_at(self, step: int) -> None:
        """The process dies at call number *step*: that one and all later ones are never made."""
        self.reset()

        def before(number: int, *_: Any) -> None:
            if number >= step:
                raise Crash

        self.before = before

    def fail_at(self, step: int, code: int) -> None:
        """Call number *step* fails with that errno."""
        self.reset()

        def before(number: int, *_: Any) -> None:
            if number == step:
                raise OSError(code, os.strerror(code))

        self.before = before

    def fail(self, name: str, code: int, argument: Callable[[Any], bool] = lambda _: True) -> None:
        """Every call of that name (and such a first argument) fails with that errno."""
        self.reset()

        def before(_: int, called: str, first: Any) -> None:
            if called == name and argument(first):
                raise OSError(code, os.strerror(code))

        self.before = before

    def do_before(self, name: str, action: Callable[[], object], *, nth: int = 1) -> None:
        """Runs *action* once, before the *nth* call of that name from now on."""
        self.reset()
        seen = 0

        def before(_: int, called: str, __: Any) -> None:
            nonlocal seen
            if called == name:
                seen += 1
                if seen == nth:
                    action()

        self.before = before


class Disk:
    """What a power cut may undo: the unlinks and renames in directories that were not synced since.

    A file system writes changes in their order, so a cut undoes the last few of them; those that were synced stay.
    """

    def __init__(self, spare: Path) -> None:
        self._spare = spare
        self._spare.mkdir()
        self._copies = 0
        self._changes: list[_Change] = []

    def note(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Takes down a call that is about to be made, with what it takes to undo it."""
        if name == "fsync":
            synced = os.readlink(f"/proc/self/fd/{args[0]}")
            self._changes = [change for change in self._changes if change.directory != synced]
        elif name in ("unlink", "rename"):
            descriptor = kwargs.get("dir_fd", kwargs.get("src_dir_fd"))
            directory = os.readlink(f"/proc/self/fd/{descriptor}")
            if os.path.lexists(os.path.join(directory, args[0])):
                self._changes.append(_Change(directory, {each: self._kept(directory, each) for each in args}))

    def after_cuts(self, maildir: Path) -> Iterator[Path]:
        """Yields a copy of the maildir, of the same files, for each moment whose state the disk may be left in."""
        for kept in range(len(self._changes)):
            self._copies += 1
            copy = maildir.with_name(f"cut{self._copies}")
            shutil.copytree(maildir, copy, copy_function=os.link)
            for change in reversed(self._changes[kept:]):
                directory = copy / os.path.relpath(change.directory, maildir)
                for name, spare in change.before.items():
                    (directory / name).unlink(missing_ok=True)
                    if spare is not None:
                        os.link(spare, directory / name)
            yield copy

    def _kept(self, directory: str, name: str) -> Path | None:
        self._copies += 1
        spare = self._spare / str(self._copies)
        try:
            os.link(os.path.join(directory, name), spare)
        except FileNotFoundError:
            return None
        return spare


class _Change(NamedTuple):
    directory: str
    before: dict[str, Path | None]


class Clock:
    """The store's clock: *ahead* nanoseconds late for the file system's."""

    QUIET = 3_600_000_000_000
    """So far ahead that every directory has been left alone for long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = self.QUIET
        self.pauses: list[float] = []
        real = system.now_ns
        monkeypatch.setattr(system, "now_ns", lambda: real() + self.ahead)
        monkeypatch.setattr(system, "pause", self.pauses.append)


def make_maildir(path: Path) -> Path:
    """An empty maildir."""
    for part in ("new", "cur", "tmp"):
        (path / part).mkdir(parents=True)
    return path


def names(path: Path) -> set[str]:
    """The messages of a maildir, as relative paths."""
    return {f"{part}/{name}" for part in ("new", "cur") for name in os.listdir(path / part)}


def left_over(path: Path) -> set[str]:
    """What else there is in a maildir."""
    return set(os.listdir(path)) - {"new", "cur", "tmp"} | {f"tmp/{name}" for name in os.listdir(path / "tmp")}
