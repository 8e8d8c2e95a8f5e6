"""The Store of Maildirs: it finds an owner's maildir and takes its lock."""

from __future__ import annotations

from time import monotonic
from typing import Literal

from geventpop3.errors import ConfigError, MaildropLocked, StoreBroken
from geventpop3.stores.maildir import lock
from geventpop3.stores.maildir.cache import Cache
from geventpop3.stores.maildir.examining import Examination
from geventpop3.stores.maildir.lock import Roots
from geventpop3.stores.maildir.maildrop import MaildirMaildrop, refusal
from geventpop3.stores.maildir.mounts import THREADS_FOR, Mount, Mounts, ThreadsFor
from geventpop3.stores.maildir.paths import Template
from geventpop3.stores.store import Maildrop, Store


class MaildirStore(Store):
    """Maildirs at *template*: a path with ``{user}``, ``{local}`` (before the last @) and ``{domain}``.

    *lock*: ``"exclusive"`` admits one session at a time to a maildrop (RFC 1939 section 4). ``"none"`` admits several
    and separates only their UPDATEs. *durable*: messages that QUIT removed stay removed after a power cut too.
    *create*: make a missing maildir. Raises ConfigError.

    *threads_for*: the calls that a service makes in threads, so that they delay no other session. ``"never"``: only
    calls that read much. ``"auto"``: also calls to network file systems, to FUSE and to recently slow mounts.
    ``"always"``: all calls.

    No symbolic link is followed below the template's fixed part. Each directory there must belong to the owner of the
    maildir, to root or to this process's user.
    """

    def __init__(
        self,
        template: str,
        *,
        lock: Literal["exclusive", "none"] = "exclusive",
        durable: bool = True,
        create: bool = False,
        threads_for: ThreadsFor = "auto",
    ) -> None:
        if lock not in ("exclusive", "none"):
            raise ConfigError(f'maildir lock {lock!r}: must be "exclusive" or "none"')
        self._template = Template(template)
        self._exclusive = lock == "exclusive"
        self._durable = durable
        self._create = create
        self._cache = Cache()
        self._roots = Roots()
        if threads_for not in THREADS_FOR:
            raise ConfigError(f"maildir threads_for {threads_for!r}: must be one of {', '.join(THREADS_FOR)}")
        self._mounts = Mounts(self._template.fixed, threads_for)

    def open(self, owner: str) -> Maildrop:
        path = self._template.path(owner)
        is_cold = path not in self._cache
        if is_cold:
            self._mounts.refresh()
        mount = self._mounts.of(path)
        began = monotonic()
        try:
            root = self._roots.open(self._template.steps(path), make=self._create and is_cold)
        except OSError as error:
            self._cache.drop(path)
            raise refusal(error, path) from error
        finally:
            mount.record_duration(monotonic() - began)
        locked = False
        try:
            if self._exclusive and not (locked := lock.acquire(root)):
                raise MaildropLocked
            return MaildirMaildrop(
                path,
                root,
                self._roots,
                self._cache,
                mount,
                self._mounts,
                exclusive=self._exclusive,
                durable=self._durable,
            )
        except BaseException as error:
            self._roots.close(root, self._roots.known, locked=locked)
            if isinstance(error, OSError):
                self._cache.drop(path)
                raise refusal(error, path) from error
            raise

    @property
    def fixed(self) -> str:
        """The directory that holds the maildirs: the template's path before the component of its first placeholder."""
        return self._template.fixed

    def examine(self, owner: str) -> Examination:
        """Return what the first login of *owner* would find, without a change or a lock."""
        try:
            path = self._template.path(owner)
        except StoreBroken as error:
            found = Examination(self.fixed, self.fixed)
            found.complaints.append(str(error.detail))
            return found
        found = Examination(path, self.fixed)
        found.root(self._template.steps(path), create=self._create)
        return found

    def place(self, owner: str) -> Mount | None:
        """Return the mount of the owner's maildir."""
        try:
            return self._mounts.of(self._template.path(owner))
        except StoreBroken:
            return None

    def opens_at_once(self, owner: str) -> bool:
        """Return whether the cache has the maildir's index and calls to its mount do not wait.

        Then ``open`` makes only a few system calls.
        """
        try:
            path = self._template.path(owner)
        except StoreBroken:
            return False
        return path in self._cache and not self._mounts.waits(self._mounts.of(path))
