"""A password file: ``user:{SCHEME}secret[:uid:gid:gecos:home:shell:extra]``, as Dovecot's passwd-file driver reads it.

A malformed line is logged and skipped, never interpreted, and does not prevent other users' logins. A failed login runs
every scheme-with-parameters of the file once, so that an unknown user takes the same time as a known one. The table is
replaced as a whole when the file has changed, so readers need no lock.

Names have their canonical form (``owners``) in the table, and the owner is the name in that form. If two lines have the
same name in that form, the first counts. A byte order mark, with which some editors begin a file, is no part of a name.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Self

from geventpop3.auth.authenticator import CALLING_THREAD, SecretAuthenticator, Threads
from geventpop3.auth.credentials import spellings
from geventpop3.auth.schemes import DigestSecret, parse_secret
from geventpop3.auth.secret import (
    ClearSecret,
    PasswordSecret,
    ScramSecret,
    all_are_clear,
    none_is_clear,
    scram_iterations,
)
from geventpop3.errors import ConfigError
from geventpop3.owners import UsernameCase, canonical_name

log = logging.getLogger("geventpop3.auth")

RACY_SECONDS = 2
"""Seconds after a change in which the file may change again within one tick of its time stamp."""

MAX_LOGGED_ERRORS = 20
"""Maximum number of bad lines of one file that are logged each time it is read."""

MAX_COSTS = 4
"""Number of different costs above which a warning is logged, because each failed login pays them all."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

QUICK_SECRETS = (ClearSecret, DigestSecret)
"""Secrets that are checked in microseconds."""

RESTRICTING_FIELDS = frozenset(
    {
        "allow_nets",
        "allow_real_nets",
        "delay_until",
        "domain",
        "host",
        "login_user",
        "noauthenticate",
        "nologin",
        "proxy",
        "proxy_maybe",
        "user",
        "username",
    }
)
"""Dovecot's extra fields that forbid a login or make it another user's: a line with one is skipped."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A password file as it was read once; never changed."""

    stamp: tuple[int, ...]
    is_settled: bool
    content: int
    users: dict[str, PasswordSecret]
    decoys: dict[Hashable, PasswordSecret]
    is_quick: bool
    is_clear: bool

    def matches(self, name: str, password: str) -> bool:
        """Return whether *password* is that of *name*; take as long for a name that no user has."""
        secret = self.users.get(name)
        paid = None if secret is None else secret.cost
        for octets in spellings(password):
            if secret is not None and secret.matches(octets) and octets:
                return True
            for cost, decoy in self.decoys.items():
                if cost != paid:
                    decoy.matches(octets)
        return False


class PasswordFile(SecretAuthenticator):
    """An authenticator that uses a password file and follows its changes.

    *username_case* says which spellings are one name; the ``MaildropService`` has the same option. Raises ConfigError
    if the file cannot be read now. If it cannot be read later, the last table stays in force and one line is logged.
    Methods may be called from any number of threads at once.
    """

    def __init__(self, path: str | os.PathLike[str], *, username_case: UsernameCase = "domain") -> None:
        self.path = os.path.abspath(path)
        self.username_case: UsernameCase = username_case
        self._turn = [None]  # the thread that pops it reads the file; the others use the table they have
        self._trouble: str | None = None
        self._threads: Threads = CALLING_THREAD
        try:
            self._table = _read(self.path, None, username_case)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from None

    def authenticate(self, name: str, password: str) -> str | None:
        table, name = self._current(), self._key(name)
        if table.is_quick:
            return name if table.matches(name, password) else None
        return name if self._threads.compute(table.matches, name, password) else None

    def knows(self, name: str) -> bool:
        return self._key(name) in self._current().users

    def owner(self, name: str) -> str | None:
        name = self._key(name)
        return name if name in self._current().users else None

    def answers_at_once(self) -> bool:
        """Return True while the file holds no secret that is slow to check, and need not be read again."""
        if self._threads is not CALLING_THREAD:
            return True
        table = self._table
        if not table.is_quick:
            return False
        try:
            return table.is_settled and table.stamp == _stamp(os.stat(self.path))
        except OSError:
            return True

    def hashes(self) -> bool:
        return True

    def in_threads(self, threads: Threads) -> Self:
        """Return a reader of the same file that uses *threads* to hash, and to read the file after a change."""
        file = copy(self)
        file._threads, file._turn = threads, [None]
        return file

    def secret(self, name: str) -> ClearSecret | ScramSecret | None:
        """Return the clear-text secret or the SCRAM keys of *name*; None if the password is hashed otherwise."""
        secret = self._current().users.get(self._key(name))
        return secret if isinstance(secret, (ClearSecret, ScramSecret)) else None

    def has_clear_secrets(self) -> bool:
        return self._table.is_clear

    def scram_iterations(self, hash_name: str) -> tuple[int, ...]:
        return scram_iterations(self._table.decoys.values(), hash_name)

    def has_scram_keys_alone(self) -> bool:
        return none_is_clear(self._table.decoys.values())

    def _key(self, name: str) -> str:
        return canonical_name(name, self.username_case)

    def _current(self) -> _Table:
        table = self._table
        try:
            if table.is_settled and table.stamp == _stamp(os.stat(self.path)):
                self._log_recovery()
                return table
        except OSError as error:
            self._log_failure(error)
            return table
        try:
            self._turn.pop()
        except IndexError:
            return table
        try:
            self._table = table = self._threads.wait(_read, self.path, self._table, self.username_case)
            self._log_recovery()
        except OSError as error:
            self._log_failure(error)
        finally:
            self._turn.append(None)
        return table

    def _log_failure(self, error: OSError) -> None:
        trouble = error.strerror or str(error)
        if trouble != self._trouble:
            self._trouble = trouble
            log.error("%s: %s; the content that was read last stays in force", self.path, trouble)

    def _log_recovery(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("%s: the file can be read again", self.path)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _read(path: str, before: _Table | None, case: UsernameCase) -> _Table:
    """Return the table of the file now; content equal to that of *before* is neither parsed nor reported again."""
    with _opened(path) as file:
        status = os.fstat(file)
        is_settled = abs(time.time_ns() - status.st_mtime_ns) >= RACY_SECONDS * 10**9
        with os.fdopen(file, "rb", closefd=False) as stream:
            octets = stream.read()
    # The hash is random in each process, so it keeps nothing of the secrets.
    content = hash(octets)
    if before is not None and before.content == content:
        return replace(before, stamp=_stamp(status), is_settled=is_settled)
    users = _parse(path, octets, case)
    decoys: dict[Hashable, PasswordSecret] = {}
    for secret in users.values():
        if secret.cost not in decoys:
            decoys[secret.cost] = secret.decoy()
    slow = [decoy for decoy in decoys.values() if not isinstance(decoy, QUICK_SECRETS)]
    if len(slow) > MAX_COSTS:
        log.warning(
            "%s: the passwords have %d different hash costs; each failed login computes all of them, so use fewer",
            path,
            len(slow),
        )
    # The first reading is logged at DEBUG only, because the server may still fail to start; an empty file is a warning.
    level = logging.WARNING if not octets.strip() else logging.DEBUG if before is None else logging.INFO
    log.log(level, "password file %s: %d user%s", path, len(users), "" if len(users) == 1 else "s")
    is_clear = all_are_clear(decoys.values())
    return _Table(_stamp(status), is_settled, content, users, decoys, is_quick=not slow, is_clear=is_clear)


@contextmanager
def _opened(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open the regular file *path* as a descriptor; O_NONBLOCK keeps the opening of a pipe from waiting."""
    file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        yield file
    finally:
        os.close(file)


def _parse(path: str, octets: bytes, case: UsernameCase) -> dict[str, PasswordSecret]:
    users: dict[str, PasswordSecret] = {}
    first: dict[str, tuple[int, str]] = {}
    complaints: list[tuple[int, int, str]] = []
    for number, line in enumerate(_lines(octets), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        try:
            spelling, secret = _parse_line(line)
        except ConfigError as error:
            complaints.append((logging.ERROR, number, f"{error}; the line is skipped"))
            continue
        name = canonical_name(spelling, case)
        if name in users:
            line_before, spelling_before = first[name]
            if spelling == spelling_before:
                text = f"this user is in line {line_before} already; the first line is used"
                complaints.append((logging.WARNING, number, text))
            else:
                text = f"this user is in line {line_before} in another spelling (username-case is {case})"
                complaints.append((logging.ERROR, number, f"{text}; the first line is used, rename or remove one"))
            continue
        users[name], first[name] = secret, (number, spelling)
    for level, number, text in complaints[:MAX_LOGGED_ERRORS]:
        log.log(level, "%s line %d: %s", path, number, text)
    if len(complaints) > MAX_LOGGED_ERRORS:
        log.error("%s: %d more lines with errors", path, len(complaints) - MAX_LOGGED_ERRORS)
    return users


def _lines(octets: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in octets.removeprefix(BYTE_ORDER_MARK).split(b"\n")]


def _parse_line(line: bytes) -> tuple[str, PasswordSecret]:
    """Return the name and secret of a line. Raises ConfigError, whose text holds nothing of the line."""
    try:
        fields = line.decode("utf-8").split(":", 7)
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8") from None
    if len(fields) < 2:
        raise ConfigError("no colon after the user name")
    check_name(fields[0])
    secret = parse_secret(fields[1])
    extra = fields[7].split() if len(fields) == 8 else []
    for field in extra:
        if (key := field.partition("=")[0]) in RESTRICTING_FIELDS:
            raise ConfigError(f"the extra field {key} restricts this login, and such restrictions are not supported")
    return fields[0], secret


def check_name(name: str) -> None:
    """Raise ConfigError if *name* cannot be a user's name in a password file."""
    if not name:
        raise ConfigError("the user name is empty")
    if ":" in name or name.startswith("#"):
        raise ConfigError("a user name must not contain a colon or begin with #")
    if not name.isprintable() or name != name.strip():
        raise ConfigError("a user name must not contain control characters, or begin or end with a blank")


def set_password(path: str | os.PathLike[str], name: str, field: str) -> bool:
    """Set the secret *field* (of ``hash_password``) of *name* in a password file; return True if the user is new.

    Other lines, comments and the other fields of the user's line stay as they are; a byte order mark is removed. A
    missing file is created with mode 0600. Raises ConfigError, also if a new name is another spelling of an existing
    one.
    """
    check_name(name)
    key, value = name.encode("utf-8"), field.encode("utf-8")
    is_new = False

    def change(lines: list[bytes]) -> list[bytes]:
        nonlocal is_new
        for i, line in enumerate(lines):
            if _is_of(line, key):
                end = line[len(line.rstrip(b"\r\n")) :]
                rest = line[: len(line) - len(end)].split(b":", 2)[2:]
                return [*lines[:i], b":".join([key, value, *rest]) + end, *lines[i + 1 :]]
        if (number := _line_of_spelling(lines, name)) is not None:
            raise ConfigError(f"{os.fspath(path)}: line {number} has this user in another spelling: give {name!r}")
        is_new = True
        if lines and not lines[-1].endswith(b"\n"):
            lines = [*lines[:-1], lines[-1] + b"\n"]
        return [*lines, key + b":" + value + b"\n"]

    _edit(path, change, create=True)
    return is_new


def delete_user(path: str | os.PathLike[str], name: str) -> bool:
    """Remove every line of *name* from a password file; return False if there was none. Raises ConfigError."""
    check_name(name)
    key = name.encode("utf-8")
    was_there = False

    def change(lines: list[bytes]) -> list[bytes]:
        nonlocal was_there
        kept = [line for line in lines if not _is_of(line, key)]
        was_there = len(kept) < len(lines)
        return kept

    _edit(path, change, create=False)
    return was_there


def _line_of_spelling(lines: list[bytes], name: str) -> int | None:
    """Return the number of the line whose name equals *name* by the default of ``username-case``, or None."""
    wanted = canonical_name(name, "domain")
    for number, line in enumerate(lines, 1):
        spelling = line.partition(b":")[0].decode("utf-8", "surrogateescape")
        if not line.startswith(b"#") and canonical_name(spelling, "domain") == wanted:
            return number
    return None


def _is_of(line: bytes, key: bytes) -> bool:
    return line.startswith(key + b":")


def _edit(path: str | os.PathLike[str], change: Callable[[list[bytes]], list[bytes]], *, create: bool) -> None:
    """Replace the content of the file by ``change(its lines)``, atomically and under the editors' lock."""
    # A symbolic link stays one: its target is replaced.
    target = os.path.realpath(path)
    try:
        with _locked(target, os.O_RDWR | (os.O_CREAT if create else 0)) as file:
            with os.fdopen(file, "rb", closefd=False) as stream:
                before = BytesIO(stream.read().removeprefix(BYTE_ORDER_MARK)).readlines()
            after = change(before)
            if after != before:
                _replace(target, b"".join(after), os.fstat(file))
    except OSError as error:
        raise ConfigError(f"{os.fspath(path)}: {error.strerror}") from None


@contextmanager
def _locked(target: str, flags: int) -> Iterator[int]:
    """Open the file *target*, locked against other calls of ``_edit``, also in other processes."""
    while True:
        with _opened(target, flags) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still_at(file, target):
                yield file
                return


def _is_still_at(file: int, target: str) -> bool:
    """Return whether *file* is still at *target*: it may have been replaced during the wait for the lock."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(target))
    except FileNotFoundError:
        return False


def _replace(target: str, octets: bytes, status: os.stat_result) -> None:
    folder = os.path.dirname(target)
    file, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=folder)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(octets)
            stream.flush()
            own = os.fstat(file)
            if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
                os.fchown(file, status.st_uid, status.st_gid)
            os.fchmod(file, stat.S_IMODE(status.st_mode))
            os.fsync(file)
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
