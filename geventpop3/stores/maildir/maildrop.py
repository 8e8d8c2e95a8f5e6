"""One session with a Maildir: a snapshot at login, reads that follow renames, one journalled UPDATE.

Nothing in the maildir is changed before UPDATE but our own index. Order in UPDATE: journal durable (the commit point),
unlink, directories durable, journal away. A journal that is found is finished first, under the lock.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice

from geventpop3.errors import NoSuchMessage, RemovalIncomplete, StoreBroken, StoreUnavailable
from geventpop3.stores.maildir import index as indexes
from geventpop3.stores.maildir import journal, lock, system
from geventpop3.stores.maildir.body import CHUNK_OCTETS, Body, Counted, let_go, read_at_hand
from geventpop3.stores.maildir.cache import Cache
from geventpop3.stores.maildir.index import UNKNOWN, Index
from geventpop3.stores.maildir.listing import find, fingerprint, listing, path_of
from geventpop3.stores.maildir.measure import measure
from geventpop3.stores.maildir.names import states_octets
from geventpop3.stores.maildir.removal import passing, sync, unlink_all
from geventpop3.stores.store import Chunks, Maildrop, Snapshot
from geventpop3.wire.stuffing import count_octets

logger = logging.getLogger(__name__)

ATTEMPTS = 4
"""How often a message that was renamed is looked for."""

RELIST_AT_ONCE = 1_000
"""Messages that are listed within a millisecond or two: a larger maildrop's ``retrieve``, which lists again when a
message was renamed, is called in a thread."""

_BEFORE_SCAN = frozenset({"scan", "retrieve", "remove"})
_LARGE = frozenset({"retrieve", "remove"})
_SMALL = frozenset({"remove"})

_BROKEN = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def refusal(error: OSError, path: str) -> StoreUnavailable | StoreBroken:
    """What an error of the file system is to the client; the path is for the log."""
    kind = StoreBroken if error.errno in _BROKEN else StoreUnavailable
    where = f"{path!r}" if error.filename in (None, path) else f"{path!r}: {error.filename!r}"
    return kind(detail=f"maildir {where}: {error.strerror}")


class MaildirMaildrop(Maildrop):
    """The maildir at *path*, open as *root*; with the lock if *exclusive*. Made by MaildirStore alone."""

    counted = True

    def __init__(self, path: str, root: int, cache: Cache, *, exclusive: bool, durable: bool) -> None:
        self._path = path
        self._root = root
        self._cache = cache
        self._exclusive = exclusive
        self._durable = durable
        self._moved: Mapping[str, str] | None = None
        self._index: Index | None = None
        self.blocking = _BEFORE_SCAN
        known = cache.get(path)
        if known is not None and not journal.exists(root) and known.fingerprint == fingerprint(root):
            self._use(known)

    def scan(self) -> Snapshot:
        return self._scanned().snapshot

    def retrieve(self, unique_id: str) -> tuple[bytes] | Chunks:
        index = self._index or self._scanned()
        place = index.places.get(unique_id)
        if place is None:
            raise NoSuchMessage
        try:
            fd, path = self._open(unique_id, path_of(unique_id, index.tails[place]))
        except OSError as error:
            raise refusal(error, self._path) from error
        size = index.sizes[place]
        doubtful = states_octets(path) and not index.counted[place]
        if size < CHUNK_OCTETS:
            try:
                content = read_at_hand(fd, size)
            except BaseException:
                let_go(fd)
                raise
            if content is not None:
                let_go(fd)
                if doubtful:
                    if count_octets((content,)) != index.snapshot.octets[place]:
                        raise self._mistaken(place, path)
                    index.counted[place] = True
                return (content,)
        body = Body(fd, size, self._path, path)
        if body.intact():
            return Counted(body, index, place, partial(self._mistaken, place, path)) if doubtful else body
        body.close()
        self._forget(place)
        raise StoreUnavailable("the message has changed, log in again", detail=f"{self._path!r}: {path!r}")

    def remove(self, unique_ids: Iterable[str]) -> None:
        index = self._scanned()
        wanted = list(dict.fromkeys(unique_ids))
        if any(unique_id not in index.places for unique_id in wanted):
            raise NoSuchMessage
        if not wanted:
            return
        moved = self._moved or {}
        tails = {unique_id: moved.get(unique_id) or index.tails[index.places[unique_id]] for unique_id in wanted}
        try:
            with self._locked():
                self._finish_update()
                self._update(tails)
        except OSError as error:
            raise refusal(error, self._path) from error

    def close(self) -> None:
        root, self._root = self._root, -1
        if root >= 0:
            system.close(root)

    # -- the scan ---------------------------------------------------------------------------------------------------

    def _scanned(self) -> Index:
        if self._index is not None:
            return self._index
        try:
            return self._use(self._scan())
        except OSError as error:
            self._cache.drop(self._path)
            raise refusal(error, self._path) from error

    def _use(self, index: Index) -> Index:
        self._index = index
        self.blocking = _LARGE if len(index) > RELIST_AT_ONCE else _SMALL
        return index

    def _scan(self) -> Index:
        if journal.exists(self._root):
            with self._locked():
                self._finish_update()
        known = self._cache.get(self._path)
        if known is None:
            known = self._load()
        found, news = known, False
        if known.fingerprint is None or known.fingerprint != fingerprint(self._root):
            found, news = self._list(known)
        self._cache.put(self._path, found)
        self._tidy(found if news else None)
        return found

    def _list(self, known: Index) -> tuple[Index, bool]:
        """What is in the maildir now, and whether that is worth writing to the disk."""
        tails, stamp = listing(self._root)
        rows, missing = measure(known.unmeasured(tails), self._root, known.places)
        for _ in range(ATTEMPTS):
            if not missing:
                break
            # Renamed or removed since it was listed; what else a second listing lacks may only be hidden from it.
            later, stamp = listing(self._root).tails, None
            tails.update(later)
            again = {each: later[each] for each in missing if each in later}
            more, missing = measure(again, self._root, known.places)
            rows += more
        return known.updated(tails, rows, stamp), bool(rows) or stamp is not None

    def _load(self) -> Index:
        try:
            content = system.read_file(indexes.FILE, self._root)
        except OSError as error:
            logger.warning("index of maildir %r not read: %s", self._path, error.strerror)
            content = None
        found = None if content is None else indexes.decode(content)
        if found is None:
            if content is not None:
                logger.warning("index of maildir %r is damaged or of another version: made anew", self._path)
            return Index.empty()
        return found

    def _tidy(self, index: Index | None) -> None:
        """Clears away what a crash may have left, and writes *index* if there is one; unless another is at it."""
        try:
            if not self._exclusive and not lock.acquire(self._root):
                return
            try:
                for name in (journal.FILE, indexes.FILE):
                    system.remove_file(system.temporary_name(name), self._root)
                if index is not None:
                    system.replace_file(indexes.FILE, index.encode(), self._root, durable=False)
            finally:
                if not self._exclusive:
                    lock.release(self._root)
        except OSError as error:
            logger.warning("index of maildir %r not written: %s", self._path, error.strerror)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _open(self, unique_id: str, path: str) -> tuple[int, str]:
        """Opens a message at *path* or wherever it was renamed to."""
        if self._moved is not None:
            tail = self._moved.get(unique_id)
            path = path if tail is None else path_of(unique_id, tail)
        for _ in range(ATTEMPTS):
            try:
                return system.openat(path, system.MESSAGE, dir_fd=self._root), path
            except FileNotFoundError:
                self._moved, stamp = listing(self._root)
                tail = self._moved.get(unique_id)
                if tail is not None:
                    path = path_of(unique_id, tail)
                elif stamp is not None:
                    break
        raise StoreUnavailable("the message is gone", detail=f"{self._path!r}: {path!r}")

    def _forget(self, place: int, *others: int) -> None:
        """Has the next scan measure a message that is not what the index says, and *others* that may not be either."""
        index = self._scanned()
        if index.sizes[place] != UNKNOWN:
            self._index = index.without_sizes((place,))
            later = self._index.without_sizes(others)
            self._cache.put(self._path, later)
            self._tidy(later)

    def _mistaken(self, place: int, path: str) -> StoreUnavailable:
        """The name of a message tells lies about its size: the next scan believes no name that is here now."""
        logger.error("maildir %r: the size in the name of %r is wrong: such messages are read again", self._path, path)
        index = self._scanned()
        self._forget(place, *(other for other in range(len(index)) if states_octets(index.path(other))))
        where = f"{self._path!r}: {path!r}"
        return StoreUnavailable("the size of the message was not known, log in again", detail=where)

    # -- UPDATE -----------------------------------------------------------------------------------------------------

    def _update(self, tails: Mapping[str, str]) -> None:
        # One message needs no journal: it is there or it is not.
        if len(tails) > 1:
            self._commit(tails)
        left = unlink_all(tails, self._root)
        if self._durable and len(left) < len(tails):
            sync(self._root)
        self._clear_journal()
        if len(left) == len(tails):
            raise StoreUnavailable("no message was removed, try again later", detail=self._reasons(left))
        if left:
            raise RemovalIncomplete(len(left), detail=self._reasons(left))

    def _commit(self, unique_ids: Iterable[str]) -> None:
        try:
            journal.write(unique_ids, self._root, durable=self._durable)
        except OSError:
            # Nothing is removed yet, and nothing shall be: not by the next session either.
            self._clear_journal()
            raise

    def _clear_journal(self) -> None:
        try:
            system.remove_file(journal.FILE, self._root)
        except OSError as error:
            logger.warning("journal of maildir %r stays for the next session: %s", self._path, error.strerror)

    def _finish_update(self) -> None:
        """Finishes the UPDATE that a crash interrupted, if there is one; called under the lock."""
        content = system.read_file(journal.FILE, self._root)
        if content is None:
            return
        unique_ids = journal.decode(content)
        if unique_ids is None:
            logger.error("journal of maildir %r is damaged: moved aside, nothing removed", self._path)
            system.rename(journal.FILE, journal.DAMAGED, src_dir_fd=self._root, dst_dir_fd=self._root)
            return
        left = unlink_all(find(unique_ids, self._root), self._root)
        if any(map(passing, left.values())):
            raise StoreUnavailable(detail=self._reasons(left))
        if left:
            # No later try would do better, and the owner is not kept out for it: no client was told that they are gone.
            logger.error("UPDATE that was interrupted is given up: %s", self._reasons(left))
        if self._durable:
            sync(self._root)
        self._clear_journal()

    def _reasons(self, left: Mapping[str, OSError]) -> str:
        reasons = "; ".join(f"{error.filename!r}: {error.strerror}" for error in islice(left.values(), 3))
        return f"maildir {self._path!r}: {len(left)} messages not removed: {reasons}"

    # -- common -----------------------------------------------------------------------------------------------------

    def _locked(self) -> AbstractContextManager[None]:
        return nullcontext() if self._exclusive else lock.held(self._root)
