"""Findings of docs/clients.md: each is written there only while the cells that show it have these outcomes."""

from __future__ import annotations

from typing import NamedTuple

EVERY = "All clients"


class Fact(NamedTuple):
    """A finding about *client*, *shown_by* cells: title of the case, outcome. ``EVERY`` means each client."""

    client: str
    text: str
    shown_by: tuple[tuple[str, str], ...]


REUSED = "several: `QUIT` error, duplicate unique-ids in the next session"
TRUSTS_UNIQUE_IDS = "The poller trusts unique-ids: a new message with the unique-id of a stored one is deleted unread."

FACTS: tuple[Fact, ...] = (
    Fact(
        EVERY,
        "Without a fault, each message is stored once, with all of its octets, and removed.",
        (("none: no fault", "ok"), ("none: no fault, with TLS", "ok")),
    ),
    Fact(
        EVERY,
        "A client's own timeout ends a connection that stalls before the greeting.",
        (("connect: stall", "error"), ("greeting: stall", "error"), ("tls: stall", "error")),
    ),
    Fact(
        EVERY,
        "A refused login is reported, whatever its response code is.",
        (
            ("auth: error, `[AUTH]`", "error"),
            ("auth: error, `[IN-USE]`", "error"),
            ("auth: error, `[SYS/TEMP]`", "error"),
        ),
    ),
    Fact(
        EVERY,
        "No client compares a message with its announced size: a message that the server cut is stored and deleted.",
        (("RETR: truncate", "damaged"),),
    ),
    Fact(
        "curl",
        "An end of the connection within a message is taken for the end of the message, with exit status 0. "
        "The script stores the part and deletes the message.",
        (("RETR: close, after 300 octets", "damaged"),),
    ),
    Fact(
        "curl",
        "A listing that breaks off is taken for a whole one, with exit status 0.",
        (("UIDL: close, after 20 octets", "silent"),),
    ),
    Fact(
        "curl",
        "`curl --max-time` does not end the wait for the reply to `QUIT`.",
        (("QUIT: stall, after the removal", "hung"), ("QUIT: silence", "hung")),
    ),
    Fact(
        "curl",
        "The reply to `QUIT` is ignored: the exit status is 0 although nothing was removed.",
        (("QUIT: error, nothing is removed", "silent"), ("QUIT: half-update", "silent")),
    ),
    Fact(
        "curl",
        "Lines that end with LF alone are not understood in multi-line replies: the call waits until its timeout.",
        (("UIDL: bare-lf", "error"), ("RETR: bare-lf", "error")),
    ),
    Fact("curl", TRUSTS_UNIQUE_IDS, ((REUSED, "lost"),)),
    Fact(
        "fetchmail",
        "The beginning of a message is delivered when the connection ends within it. "
        "The next poll delivers the whole message.",
        (
            ("RETR: close, after 300 octets", "duplicated"),
            ("RETR: reset, after 300 octets", "duplicated"),
            ("RETR: stall, after 300 octets", "duplicated"),
        ),
    ),
    Fact(
        "fetchmail",
        "A message that was delivered in a session without a successful `QUIT` is not fetched again, "
        "and the next poll does not delete it either.",
        (
            ("DELE: close, before the reply", "left"),
            ("QUIT: error, nothing is removed", "left"),
            ("QUIT: half-update", "left"),
        ),
    ),
    Fact(
        "fetchmail",
        "A message that the server refuses is skipped with exit status 0, and fetched by the next poll.",
        (("RETR: error", "silent"), ("RETR: error, `[SYS/TEMP]`", "silent")),
    ),
    Fact("fetchmail", "An error in reply to `UIDL` does not keep it from fetching.", (("UIDL: error", "ok"),)),
    Fact(
        "fetchmail",
        "A new message that has the unique-id of a stored one is not fetched.",
        ((REUSED, "missed"),),
    ),
    Fact(
        "getmail",
        "Messages are fetched and stored again after a session that ended by a timeout, a reset or an error of `DELE`.",
        (
            ("RETR: reset, after 300 octets", "duplicated"),
            ("RETR: stall, after 300 octets", "duplicated"),
            ("DELE: error", "duplicated"),
            ("DELE: close, before the reply", "duplicated"),
        ),
    ),
    Fact(
        "getmail",
        "A failure of `QUIT` has an exit status but no message (with `verbose = 0`).",
        (("QUIT: error, nothing is removed", "silent"), ("QUIT: close, after the removal", "silent")),
    ),
    Fact(
        "getmail",
        "A listing with duplicate unique-ids is refused, and nothing is deleted.",
        (("UIDL: duplicate-uidl", "error"), (REUSED, "error")),
    ),
    Fact(
        "poplib",
        "With a timeout, each fault of the connection is an `OSError` or an `error_proto`.",
        (
            ("RETR: close, after 300 octets", "error"),
            ("RETR: reset, after 300 octets", "error"),
            ("RETR: stall, after 300 octets", "error"),
            ("DELE: close, before the reply", "error"),
            ("QUIT: stall, after the removal", "error"),
        ),
    ),
    Fact(
        "poplib",
        "A line of 100,000 octets ends the session with `line too long`, in the greeting and in a message.",
        (("greeting: long-line", "error"), ("RETR: long-line", "error")),
    ),
    Fact(
        "poplib",
        "Without byte-stuffing, a line of one dot ends the message: its beginning is stored, and it is deleted.",
        (("RETR: unstuffed", "damaged"),),
    ),
    Fact("poplib", TRUSTS_UNIQUE_IDS, ((REUSED, "lost"),)),
    Fact(
        "node-pop3",
        "The promise of a command is never settled if the connection closes, or stalls before the reply. "
        "The option `timeout` does not change that.",
        (
            ("auth: close, before the reply", "hung"),
            ("auth: stall, before the reply", "hung"),
            ("RETR: close, after 300 octets", "hung"),
            ("DELE: stall, before the reply", "hung"),
            ("QUIT: close, after the removal", "hung"),
        ),
    ),
    Fact(
        "node-pop3",
        "A greeting of `-ERR` is an event `error`, which ends the process if nothing listens to it.",
        (("greeting: error, `[SYS/TEMP]`", "crash"),),
    ),
    Fact(
        "node-pop3",
        "A multi-line reply that arrives in small pieces ends the session with an error.",
        (("UIDL: drip, 7 octets at a time", "error"), ("RETR: drip, 7 octets at a time", "error")),
    ),
    Fact("node-pop3", TRUSTS_UNIQUE_IDS, ((REUSED, "lost"),)),
    Fact(
        "php-imap",
        "The body of a message that the server refuses is an empty string, and `imap_errors()` names no error. "
        "The poller stores the header alone and deletes the message.",
        (("RETR: error", "damaged"), ("RETR: error, `[SYS/TEMP]`", "damaged")),
    ),
    Fact(
        "php-imap",
        "Headers and bodies are empty strings after the connection has ended, without an error.",
        (
            ("LIST: close, after 20 octets", "damaged"),
            ("RETR: close, after 300 octets", "damaged"),
            ("RETR: reset, after 300 octets", "damaged"),
            ("RETR: stall, after 300 octets", "damaged"),
        ),
    ),
    Fact(
        "php-imap",
        "Without byte-stuffing, replies get out of step: messages that were not read are deleted.",
        (("RETR: unstuffed", "lost"),),
    ),
    Fact(
        "php-imap",
        "There are no unique-ids: each message that a session leaves in the maildrop is stored again.",
        (("DELE: close, before the reply", "duplicated"), ("QUIT: error, nothing is removed", "duplicated")),
    ),
)
