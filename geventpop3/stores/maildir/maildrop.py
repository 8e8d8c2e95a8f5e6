"""One session with a Maildir: a snapshot at login, reads that follow renames, one journalled UPDATE.

Before UPDATE, nothing in the maildir changes but our own index. The order in UPDATE: write a durable journal (the
commit point), unlink, make the directories durable, remove the journal, make that durable too. A session that finds a
journal first finishes it, under the lock. If it cannot be finished, the mail is served and nothing is removed.

A refusal of UPDATE is true at every later login. It says that messages are left only if no journal names them any more,
not even after a power cut. Otherwise it says that a later login may remove them.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import islice
from time import monotonic

from geventpop3.errors import NoSuchMessage, RemovalIncomplete, StoreBroken, StoreUnavailable
from geventpop3.stores.maildir import index as indexes
from geventpop3.stores.maildir import journal, lock, system
from geventpop3.stores.maildir.cache import Cache
from geventpop3.stores.maildir.chunks import CHUNK_OCTETS, CountedFileChunks, FileChunks, close_quietly, read_cached
from geventpop3.stores.maildir.index import UNKNOWN, Index
from geventpop3.stores.maildir.listing import Finder, fingerprint_of, list_maildir
from geventpop3.stores.maildir.lock import Roots
from geventpop3.stores.maildir.measure import measure
from geventpop3.stores.maildir.mounts import SLOW_SECONDS, Mount, Mounts
from geventpop3.stores.maildir.names import is_shared, path_of, shared_as, states_octets
from geventpop3.stores.maildir.opening import Parts
from geventpop3.stores.maildir.removal import Marked, is_transient, unlink_all
from geventpop3.stores.store import Chunks, Maildrop, Snapshot
from geventpop3.wire.stuffing import count_octets

logger = logging.getLogger(__name__)

ATTEMPTS = 4
"""Searches for a message that was renamed."""

RELIST_AT_ONCE = 1_000
"""Messages that are listed within a millisecond or two. In a larger maildrop ``retrieve`` is called in a thread,
because it lists again when a message was renamed."""

NOTHING_REMOVED = "no message was removed, try again later"
REMOVAL_INCOMPLETE = "the removal was begun but not completed, a later login may complete it"
REMOVAL_UNCERTAIN = "it is not certain that all deleted messages were removed, log in again to see"
EARLIER_REMOVAL_PENDING = "an earlier removal must be completed first, try again later"

_ALL = frozenset({"scan", "retrieve", "remove", "close"})
_BEFORE_SCAN = frozenset({"scan", "retrieve", "remove"})
_LARGE = frozenset({"retrieve", "remove"})
_SMALL = frozenset({"remove"})

_BROKEN = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def refusal(error: OSError, path: str) -> StoreUnavailable | StoreBroken:
    """Return the exception for a file system error; *path* is for the log."""
    kind = StoreBroken if error.errno in _BROKEN else StoreUnavailable
    where = f"{path!r}" if error.filename in (None, path) else f"{path!r}: {error.filename!r}"
    return kind(detail=f"maildir {where}: {error.strerror}")


class MaildirMaildrop(Maildrop):
    """The maildir at *path*, open as *root*, locked if *exclusive*. Only MaildirStore makes one."""

    counted = True

    def __init__(
        self,
        path: str,
        root: int,
        roots: Roots,
        cache: Cache,
        mount: Mount,
        mounts: Mounts,
        *,
        exclusive: bool,
        durable: bool,
    ) -> None:
        self._path = path
        self._root = root
        self._roots = roots
        self._known = roots.known
        self._parts = Parts(root, path)
        self._cache = cache
        self.place = mount
        self._mount = mount
        self._mounts = mounts
        self._is_interrupted = False
        self._exclusive = exclusive
        self._durable = durable
        self._moved: Mapping[str, str] | None = None
        self._index: Index | None = None
        known = cache.get(path)
        if known is not None and not journal.exists(root) and known.fingerprint == fingerprint_of(root):
            self._use(known)
        else:
            self.blocking = _ALL if mounts.waits(mount) else _BEFORE_SCAN

    def scan(self) -> Snapshot:
        return self._scanned().snapshot

    def retrieve(self, unique_id: str) -> tuple[bytes] | Chunks:
        index = self._index or self._scanned()
        place = index.places.get(unique_id)
        if place is None:
            raise NoSuchMessage
        began = monotonic()
        try:
            fd, path = self._open(unique_id, path_of(unique_id, index.tails[place]))
        except OSError as error:
            raise refusal(error, self._path) from error
        finally:
            seconds = monotonic() - began
            if seconds > SLOW_SECONDS:
                self._mount.record_duration(seconds)
                self._use(index)  # because the next call may need a thread
        size = index.sizes[place]
        doubtful = states_octets(path) and not index.counted[place]
        if size < CHUNK_OCTETS:
            try:
                content = read_cached(fd, size)
            except BaseException:
                close_quietly(fd)
                raise
            if content is not None:
                close_quietly(fd)
                if doubtful:
                    if count_octets((content,)) != index.snapshot.octets[place]:
                        raise self._wrong_size(place, path)
                    index.counted[place] = True
                return (content,)
        body = FileChunks(fd, size, self._path, path)
        if body.intact():
            return CountedFileChunks(body, index, place, partial(self._wrong_size, place, path)) if doubtful else body
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
        marked = {unique_id: self._marked(unique_id, index) for unique_id in wanted}
        try:
            with self._locked():
                # Before any removal: if one of them may not be opened, nothing is removed.
                self._parts.renew()
                if journal.exists(self._root) and not self._finish_update():
                    raise StoreUnavailable(
                        EARLIER_REMOVAL_PENDING, detail=f"maildir {self._path!r}: an interrupted UPDATE is not finished"
                    )
                self._update(marked)
        except OSError as error:
            raise refusal(error, self._path) from error

    def close(self) -> None:
        root, self._root = self._root, -1
        self._parts.close()
        self._roots.close(root, self._known, locked=self._exclusive)

    def interrupt(self) -> None:
        self._is_interrupted = True

    def disown(self) -> None:
        root, self._root = self._root, -1
        self._parts.close()
        self._roots.close(root, self._known, locked=False)

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
        if self._mounts.waits(self._mount):
            self.blocking = _ALL
        else:
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
        if known.fingerprint is None or known.fingerprint != fingerprint_of(self._root):
            found, news = self._list(known)
        self._cache.put(self._path, found)
        self._clean_up(found if news else None)
        return found

    def _list(self, known: Index) -> tuple[Index, bool]:
        """Return the index of the maildir's present content, and whether it is worth writing to the disk."""
        tails, stamp, _ = list_maildir(self._parts)
        rows, missing = measure(known.unmeasured(tails), self._parts, known.places, self._check_interrupted)
        for _ in range(ATTEMPTS):
            if not missing:
                break
            # These were renamed or removed since the listing. A second listing may miss others that still exist.
            later, stamp = list_maildir(self._parts).tails, None
            tails.update(later)
            again = {each: later[each] for each in missing if each in later}
            more, missing = measure(again, self._parts, known.places, self._check_interrupted)
            rows += more
        return known.updated(tails, rows, stamp), bool(rows) or stamp is not None

    def _check_interrupted(self) -> None:
        if self._is_interrupted:
            raise StoreUnavailable(detail=f"maildir {self._path!r}: the client disconnected, the scan was stopped")

    def _load(self) -> Index:
        try:
            content = self._read_index()
        except OSError as error:
            logger.warning("the index of maildir %r cannot be read: %s", self._path, error.strerror)
            content = None
        found = None if content is None else indexes.decode(content)
        if found is None:
            if content is not None:
                logger.warning("the index of maildir %r is damaged or has another version: it is rebuilt", self._path)
            return Index.empty()
        return found

    def _read_index(self) -> bytes | None:
        """Return the content of the index file; None if there is none or it is much too long for the maildir."""
        try:
            return indexes.read_index(self._root, self._parts.count)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
        logger.warning("the index of maildir %r is too long and is rebuilt", self._path)
        return None

    def _clean_up(self, index: Index | None) -> None:
        """Remove what a crash may have left and write *index* if given; do nothing if the lock is not free."""
        try:
            if not self._exclusive and not lock.acquire(self._root):
                return
            try:
                for name in (journal.FILE, indexes.FILE):
                    with suppress(IsADirectoryError):  # no crash leaves a directory
                        system.remove_file(system.temporary_name(name), self._root)
                if index is not None:
                    system.replace_file(indexes.FILE, index.encode(), self._root, durable=False)
            finally:
                if not self._exclusive:
                    lock.release(self._root)
        except OSError as error:
            logger.warning("the index of maildir %r cannot be written: %s", self._path, error.strerror)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _open(self, unique_id: str, path: str) -> tuple[int, str]:
        """Open a message at *path* or at its new path if it was renamed; return the descriptor and the path."""
        if self._moved is not None:
            tail = self._moved.get(unique_id)
            path = path if tail is None else path_of(unique_id, tail)
        for _ in range(ATTEMPTS):
            try:
                fd = self._parts.open(path)
                if not is_shared(unique_id) or shared_as(unique_id, system.fstat(fd).st_ino) == unique_id:
                    return fd, path
                # Files that share the base name have exchanged their names.
                close_quietly(fd)
                raise FileNotFoundError
            except FileNotFoundError:
                self._moved, stamp, _ = list_maildir(self._parts)
                tail = self._moved.get(unique_id)
                if tail is not None:
                    path = path_of(unique_id, tail)
                elif stamp is not None:
                    break
        raise StoreUnavailable("the message is gone", detail=f"{self._path!r}: {path!r}")

    def _forget(self, place: int, *others: int) -> None:
        """Make the next scan measure again a message that differs from the index, and *others* that may differ."""
        index = self._scanned()
        if index.sizes[place] != UNKNOWN:
            self._index = index.without_sizes((place,))
            later = self._index.without_sizes(others)
            self._cache.put(self._path, later)
            self._clean_up(later)

    def _wrong_size(self, place: int, path: str) -> StoreUnavailable:
        """Return the error for a name that states a wrong size; make the next scan trust no present name."""
        logger.error(
            "maildir %r: the file name %r states a wrong size: the sizes of such messages are determined again",
            self._path,
            path,
        )
        index = self._scanned()
        self._forget(place, *(other for other in range(len(index)) if states_octets(index.path(other))))
        where = f"{self._path!r}: {path!r}"
        return StoreUnavailable("the size of the message was not known, log in again", detail=where)

    # -- UPDATE -----------------------------------------------------------------------------------------------------

    def _marked(self, unique_id: str, index: Index) -> Marked:
        """Return the data that identify a message to be removed."""
        place = index.places[unique_id]
        tail = (self._moved or {}).get(unique_id) or index.tails[place]
        return Marked(path_of(unique_id, tail), index.inodes[place], index.sizes[place])

    def _update(self, marked: Mapping[str, Marked]) -> None:
        # One message needs no journal: its unlink is atomic.
        journalled = len(marked) > 1 and self._commit(marked)
        try:
            left = unlink_all(marked, self._parts)
            if self._durable and len(left) < len(marked):
                self._parts.sync()
        except (OSError, StoreBroken) as error:
            # Unlinked files may come back after a power cut; then a journal, if there is one, removes them.
            raise self._unfinished(REMOVAL_INCOMPLETE if journalled else REMOVAL_UNCERTAIN, error) from error
        if journalled and not self._withdraw(doubted=True) and left:
            raise StoreUnavailable(REMOVAL_INCOMPLETE, detail=self._reasons(left))
        if len(left) == len(marked):
            raise StoreUnavailable(NOTHING_REMOVED, detail=self._reasons(left))
        if left:
            raise RemovalIncomplete(len(left), detail=self._reasons(left))

    def _commit(self, marked: Mapping[str, Marked]) -> bool:
        """Write the journal; return False to remove without one: no space, too many messages, its name is taken."""
        try:
            journal.write(marked, self._root, durable=self._durable)
        except OSError as error:
            # The journal may have its name already. Nothing is removed yet; the next session must not remove any.
            withdrawn = self._withdraw(doubted=False)
            if error.errno in journal.FULL:
                return not withdrawn
            if withdrawn and journal.is_obstructed(self._root):
                logger.warning(
                    "maildir %r: messages are removed without a journal: a directory has the journal's name", self._path
                )
                return False
            raise self._unfinished(NOTHING_REMOVED if withdrawn else REMOVAL_INCOMPLETE, error) from error
        return True

    def _withdraw(self, *, doubted: bool) -> bool:
        """Remove the journal; return whether it is gone for ever."""
        try:
            journal.withdraw(self._root, durable=self._durable, doubted=doubted)
        except OSError as error:
            logger.warning(
                "the journal of maildir %r cannot be removed, the next session finishes it: %s",
                self._path,
                error.strerror,
            )
            return False
        return True

    def _finish_update(self) -> bool:
        """Finish the UPDATE that a crash or a fault interrupted; return False if that is impossible now.

        The caller holds the lock.
        """
        try:
            return self._replay_journal()
        except (OSError, StoreBroken) as error:
            reason = error.strerror if isinstance(error, OSError) else error.detail
            self._log_unfinished(f"maildir {self._path!r}: {reason}")
            return False

    def _replay_journal(self) -> bool:
        finder = Finder(list_maildir(self._parts))
        try:
            marked = journal.read_journal(finder, self._root)
        except FileNotFoundError:
            return True  # another session finished it
        if marked is None:
            logger.error(
                "the journal of maildir %r is damaged: it was moved aside, and nothing was removed", self._path
            )
            journal.set_aside(self._root)
            return True
        left = unlink_all(marked, self._parts)
        if any(map(is_transient, left.values())):
            self._log_unfinished(self._reasons(left))
            return False
        if left:
            # A later try would fail too and block other removals. No client received +OK for the removal of these.
            logger.error("an interrupted UPDATE was abandoned: %s", self._reasons(left))
        if self._durable:
            self._parts.sync()
        # A journal that stays is harmless if no message that it names is left.
        return self._withdraw(doubted=False) or not left

    def _log_unfinished(self, reason: str) -> None:
        text = "an interrupted UPDATE cannot be finished now: messages can be read but not removed: %s"
        logger.error(text, reason)

    def _unfinished(self, text: str, error: OSError | StoreBroken) -> StoreUnavailable:
        """Return the refusal of an UPDATE that *error* interrupted."""
        detail = refusal(error, self._path).detail if isinstance(error, OSError) else error.detail
        return StoreUnavailable(text, detail=detail)

    def _reasons(self, left: Mapping[str, OSError]) -> str:
        reasons = "; ".join(f"{error.filename!r}: {error.strerror}" for error in islice(left.values(), 3))
        return f"maildir {self._path!r}: {len(left)} messages not removed: {reasons}"

    # -- common -----------------------------------------------------------------------------------------------------

    def _locked(self) -> AbstractContextManager[None]:
        return nullcontext() if self._exclusive else lock.held(self._root)
