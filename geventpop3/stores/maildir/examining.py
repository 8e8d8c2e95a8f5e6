"""Examination of a maildir before a login, for calls of the first session that would fail. Nothing is changed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from geventpop3.errors import StoreBroken
from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.opening import PARTS, Parts, check_owner, open_root

_EFFECTIVE = os.access in os.supports_effective_ids
_NO_MESSAGE = (errno.ENOENT, errno.ELOOP, errno.ENXIO)


class Examination:
    """The state of the maildir at *path*; its *fixed* part belongs to the operator."""

    def __init__(self, path: str, fixed: str) -> None:
        self.path = path
        self.missing = False
        """True if the first login would make the maildir, or a part of it."""
        self.complaints: list[str] = []
        self._fixed = fixed

    def root(self, steps: Sequence[str], *, create: bool) -> None:
        """Examine the maildir at *steps*; *create* is the option of MaildirStore."""
        try:
            root = open_root(steps)
        except FileNotFoundError as error:
            if not create:
                self._complain(error)
                return
            self.missing = True
            self._above(steps)
        except (OSError, StoreBroken) as error:
            self._complain(error)
        else:
            try:
                self._root(root, create=create)
            finally:
                system.close(root)

    def _above(self, steps: Sequence[str]) -> None:
        """Examine the existing directory in which the first login would make the missing ones."""
        for count in range(len(steps) - 1, 0, -1):
            path = os.path.join(*steps[:count])
            try:
                opened = open_root(steps[:count], flags=system.WAY)
            except FileNotFoundError:
                continue
            except (OSError, StoreBroken) as error:
                self._complain(error)
                return
            try:
                check_owner(system.fstat(opened).st_uid, None, path)
                self._need_writable(".", opened, path)
            except StoreBroken as error:
                self._complain(error)
            finally:
                system.close(opened)
            return
        self._need_writable(self._fixed, None, self._fixed)

    def _root(self, root: int, *, create: bool) -> None:
        # Without write access there is no index and no removal of several messages.
        self._need_writable(".", root, self.path)
        parts = Parts(root, self.path)
        try:
            for part in PARTS:
                try:
                    self._part(part, parts)
                except FileNotFoundError as error:
                    if create:
                        self.missing = True
                    else:
                        self._complain(error)
                except (OSError, StoreBroken) as error:
                    self._complain(error)
        finally:
            parts.close()

    def _part(self, part: str, parts: Parts) -> None:
        names = parts.names(part)
        if not self._need_writable(part, parts.root, f"{self.path}/{part}"):
            return
        for path in (f"{part}/{name}" for name in names if name[0] != "."):
            try:
                system.close(parts.open(path))
            except OSError as error:
                if error.errno not in _NO_MESSAGE and stat.S_ISREG(parts.stat(path).st_mode):
                    self.complaints.append(f"{self.path}/{path}: {error.strerror}")
                    return

    def _need_writable(self, name: str, parent: int | None, path: str) -> bool:
        rights = os.W_OK | os.X_OK
        if system.access(name, rights, dir_fd=parent, effective_ids=_EFFECTIVE, follow_symlinks=parent is None):
            return True
        self.complaints.append(f"{path}: no permission to write and search")
        return False

    def _complain(self, error: OSError | StoreBroken) -> None:
        if isinstance(error, StoreBroken):
            self.complaints.append(str(error.detail))
        else:
            where = error.filename if error.filename not in PARTS else f"{self.path}/{error.filename}"
            self.complaints.append(f"{where}: {error.strerror}")
