"""A small POP3 poller that loses no mail. test_poller.py tests it under faults; copy both.

python poller.py pop3s://alice:secret@pop.example.org inbox.db
"""

from __future__ import annotations

import contextlib
import hashlib
import poplib
import sqlite3
import ssl
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import unquote, urlsplit

# poplib refuses lines of more than 2,048 octets. Real messages have them.
poplib._MAXLINE = 1 << 20  # type: ignore[attr-defined]

LOOPBACK = ("127.0.0.1", "::1", "localhost")
FOR_NOW = (b"[IN-USE]", b"[SYS/TEMP]", b"[LOGIN-DELAY]")
"""Response codes of a login that may succeed later."""


class Inbox(Protocol):
    """A place for messages by unique-id, such as a dict. It is durable: what was assigned to it is stored."""

    def __contains__(self, unique_id: object, /) -> bool: ...

    def __setitem__(self, unique_id: str, content: bytes, /) -> None: ...


class SqliteInbox:
    """An inbox in an SQLite file; each assignment is a transaction."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("CREATE TABLE IF NOT EXISTS mail (unique_id TEXT PRIMARY KEY, content BLOB)")

    def __contains__(self, unique_id: object) -> bool:
        return self.connection.execute("SELECT 1 FROM mail WHERE unique_id = ?", (unique_id,)).fetchone() is not None

    def __setitem__(self, unique_id: str, content: bytes) -> None:
        self.connection.execute("INSERT OR REPLACE INTO mail VALUES (?, ?)", (unique_id, content))

    def __len__(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM mail").fetchone()[0])


class LoginRefused(Exception):
    """A name or password that the server does not accept; the next try would fail too."""


def poll(
    url: str,
    inbox: Inbox,
    *,
    keep: bool = False,
    context: ssl.SSLContext | None = None,
    timeout: float = 10.0,
    tries: int = 1,
    pause: float = 5.0,
) -> None:
    """Store all new messages in *inbox* by unique-id, then delete them from the server, unless *keep* is true.

    *context*: TLS is required, by STLS if the URL is ``pop3://``. A session that fails is repeated after *pause*
    seconds, *tries* sessions in all. Raises LoginRefused at once, OSError after the last try.
    """
    for left in reversed(range(tries)):
        try:
            poll_once(url, inbox, keep, context, timeout)
            return
        except OSError:
            if not left:
                raise
            time.sleep(pause)


def poll_once(url: str, inbox: Inbox, keep: bool, context: ssl.SSLContext | None, timeout: float) -> None:
    """Carry out one session. Raises LoginRefused, OSError."""
    try:
        with contextlib.closing(connect(url, context, timeout)) as box:
            log_in(box, url, context)
            fetch(box, inbox, keep)
            with refusals_allowed():  # the messages are stored; those that are left are deleted by the next session
                box.quit()
    except OSError:
        raise
    except (poplib.error_proto, ValueError, LookupError) as error:  # -ERR, the end of input, or nonsense
        raise ConnectionError(f"the session failed: {error}") from error


def connect(url: str, context: ssl.SSLContext | None, timeout: float) -> poplib.POP3:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "pop3s":
        context = context or ssl.create_default_context()
        return poplib.POP3_SSL(host, parts.port or 995, timeout=timeout, context=context)
    return poplib.POP3(host, parts.port or 110, timeout=timeout)


def log_in(box: poplib.POP3, url: str, context: ssl.SSLContext | None) -> None:
    parts = urlsplit(url)
    if parts.scheme == "pop3" and (context or parts.hostname not in LOOPBACK):
        box.stls(context or ssl.create_default_context())  # raises if the server refuses: no password in clear text
    try:
        box.user(unquote(parts.username or ""))
        box.pass_(unquote(parts.password or ""))
    except poplib.error_proto as error:
        if is_refusal(error) and not any(code in error.args[0] for code in FOR_NOW):
            raise LoginRefused(error.args[0].decode("utf-8", "replace")) from error
        raise


def fetch(box: poplib.POP3, inbox: Inbox, keep: bool) -> None:
    sizes = {int(number): int(size) for number, size, *_ in (line.split() for line in box.list()[1])}
    listing = [(int(number), unique_id.decode()) for number, unique_id in (line.split() for line in box.uidl()[1])]
    occurrences = Counter(unique_id for _, unique_id in listing)
    for number, unique_id in listing:
        with refusals_allowed():  # one message that the server cannot read is no reason to give up the others
            if occurrences[unique_id] > 1:
                content = retrieve(box, number, sizes[number])
                inbox[f"{unique_id} {hashlib.sha256(content).hexdigest()}"] = content
            elif unique_id not in inbox:
                inbox[unique_id] = retrieve(box, number, sizes[number])
            if not keep:
                box.dele(number)


def retrieve(box: poplib.POP3, number: int, size: int) -> bytes:
    """Return a message with the size of the scan listing, or, if the server counts wrongly, two copies of it agree."""
    copies: list[list[bytes]] = []
    for _ in range(3):
        _, lines, octets = box.retr(number)
        if octets == size or lines in copies:
            return b"".join(line + b"\n" for line in lines)
        copies.append(lines)
    raise ConnectionError(f"message {number} is another one each time")


@contextlib.contextmanager
def refusals_allowed() -> Iterator[None]:
    """Go on after -ERR."""
    try:
        yield
    except poplib.error_proto as error:
        if not is_refusal(error):
            raise


def is_refusal(error: poplib.error_proto) -> bool:
    """Return whether the server replied -ERR. For an end of input, poplib raises the same class, with a str."""
    return isinstance(error.args[0], bytes) and error.args[0].startswith(b"-ERR")


if __name__ == "__main__":
    stored = SqliteInbox(sys.argv[2])
    try:
        poll(sys.argv[1], stored, tries=3)
        print(len(stored), "messages")
    finally:
        stored.connection.close()
