"""What clients hand on of what they fetched, compared after CRLF -> LF with what was sent.

Where a client, with all its options, cannot hand a message on as it came, ``OWN_WAYS`` says so and why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from geventpop3.testing.mail import AwkwardMessage

OWN_WAYS: dict[tuple[str, str], tuple[str, Callable[[bytes], bytes]]] = {
    ("fetchmail", "header-only"): (
        "ends every header with a blank line",
        lambda got: got.removesuffix(b"\n"),
    ),
    ("fetchmail", "leading-blank-line"): (
        'makes a header, "Headerless mail from ..."',
        lambda got: re.sub(rb"^From: FETCHMAIL-DAEMON\n(.+\n)+", b"", got),
    ),
    ("fetchmail", "line-of-100-kb"): (
        "cuts lines into pieces of 8190 octets (its MSGBUFSIZE), each followed by two octets of anything",
        lambda got: re.sub(rb"([yz]{8190})..\n", rb"\1", got, flags=re.DOTALL),
    ),
    ("getmail", "header-only"): (
        "ends every header with a blank line",
        lambda got: got.removesuffix(b"\n"),
    ),
    ("getmail", "bare-cr"): (
        "takes every CR for a line end",
        lambda got: got.replace(b"one\ntwo\n.three\n\nfour", b"one\rtwo\r.three\n\rfour"),
    ),
    ("getmail", "cut-in-line-end"): (
        "takes every CR for a line end, and CR CRLF for one",
        lambda got: got.removesuffix(b"\n") + b"\r\n",
    ),
    ("mpop", "cut-in-line-end"): (
        "takes CR CRLF for one line end",
        lambda got: got.removesuffix(b"\n") + b"\r\n",
    ),
    ("mutt", "cut-in-line-end"): (
        "takes CR CRLF for one line end",
        lambda got: got.removesuffix(b"\n") + b"\r\n",
    ),
    ("mutt", "nul"): (
        "keeps lines in C strings, which NUL ends",
        lambda got: got.replace(b"\n\nbefore\n\n", b"\n\nbefore\0after\n\0\n"),
    ),
}
"""Client and message: the reason, and a function that takes back what the client did."""


def with_lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


def check(client: str, messages: Iterable[AwkwardMessage], fetched: Iterable[bytes]) -> None:
    """Every message was fetched once, as it was sent, and no other."""
    left = [with_lf(octets) for octets in fetched]
    missing = []
    for message in messages:
        sent = with_lf(message.sent)
        _, undone = OWN_WAYS.get((client, message.name), ("", lambda got: got))
        found = next((got for got in left if sent in (got, undone(got))), None)
        if found is None:
            missing.append(message.name)
        else:
            left.remove(found)
    assert (missing, [got[:300] for got in left]) == ([], [])


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]
