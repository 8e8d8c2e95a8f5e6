"""Messages that are delivered for the checks, and what RETR must send for them.

All have a header and an empty line unless a check is about that, and LF as line end, as a Maildir and a delivery
command take it.
"""

from __future__ import annotations

import re
from typing import NamedTuple


def mail(name: str, body: bytes, header: bytes = b"") -> bytes:
    """Return a message with an ordinary header."""
    return (
        b"From: Alice <alice@example.org>\nTo: bob@example.org\nDate: Mon, 05 Jan 2026 09:30:00 +0000\n"
        b"Message-ID: <" + name.encode() + b"@conformance.invalid>\nSubject: " + name.encode() + b"\n" + header + b"\n"
        + body
    )  # fmt: skip


_DOMAIN = b"@conformance.invalid>"
_SERIAL = re.compile(rb"\.[0-9a-f]{20}@conformance\.invalid>")


def unique(message: bytes, serial: int) -> bytes:
    """Return the message with a Message-ID that no other has; all are of one length."""
    return message.replace(_DOMAIN, b".%020x%s" % (serial, _DOMAIN), 1)


def common(message: bytes) -> bytes:
    """Return what ``unique`` made unique as it was."""
    return _SERIAL.sub(_DOMAIN, message, count=1)


PLAIN = tuple(
    mail(f"plain-{number}", b"".join(b"line %d\n" % n for n in range(number * 3 + 2))) for number in range(1, 6)
)
"""The ordinary maildrop: five messages, no two of one size."""


class Content(NamedTuple):
    """A message that some server gets wrong: *slug* and *title* name its check."""

    slug: str
    title: str
    message: bytes
    strict: bool = False
    fragile: bool = False
    """Whether a delivery may change it on the way: then only a Maildir's file shows what RETR must send."""


def sent(message: bytes) -> bytes:
    """Return the octets that RETR must send, without byte-stuffing: each line ends with CRLF, the last one too."""
    octets = message.replace(b"\n", b"\r\n")
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


CONTENTS = (
    Content("plain", "an ordinary message", mail("plain", b"hello\n")),
    Content("leading-dots", "lines that begin with dots", mail("dots", b".one\n..two\n...three\n. four\n")),
    Content("lone-dot", "lines that are a dot alone", mail("lone-dot", b"before\n.\nafter\n.\n.\nend\n")),
    Content("dot-last", "a last line that is a dot without a line end", mail("dot-last", b"almost\n.")),
    Content("dot-first", "a dot as the first octet of the message", b".first: octet\n\n.body\n", fragile=True),
    Content("dot-after-header", "a dot as the first octet of the body", mail("dot-body", b".\n.body\n")),
    Content("no-final-line-end", "a last line without a line end", mail("cut", b"one\nthe last line")),
    Content("trailing-blank-lines", "empty lines at the end", mail("blank-lines", b"text\n\n\n\n")),
    Content("leading-blank-lines", "empty lines at the beginning of the body", mail("body", b"\n\ntext\n")),
    Content("trailing-blanks", "blanks and tabs at the ends of lines", mail("blanks", b"a \nb\t\n \n\t\n")),
    Content("empty-body", "a header and an empty line alone", mail("empty-body", b"")),
    Content("folded-header", "folded header fields", mail("folded", b"x\n", b"X-Folded: one\n two\n\tthree\n")),
    Content("long-lines", "lines of 998 octets", mail("long", (b"x" * 998 + b"\n") * 3 + b"." * 998 + b"\n")),
    Content(
        "very-long-line", "a line of 20,000 octets", mail("longer", b"y" * 20_000 + b"\n"), strict=True, fragile=True
    ),
    Content("from-lines", "lines that begin with From", mail("from", b"one\nFrom x\n>From y\n\nFrom: z\n")),
    Content("many-lines", "30,000 lines, each seventh with a dot first", mail("many", b"".join(
        b"%s%d\n" % (b"." * (n % 7 == 0), n) for n in range(30_000)
    ))),
    Content("eight-bit", "octets beyond ASCII in the body", mail(
        "eight-bit",
        bytes(range(128, 256)) + b"\n",
        b"MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n",
    )),
    Content("eight-bit-header", "UTF-8 in the header", mail(
        "eight-bit-header", b"x\n", "X-Text: Grüße\n".encode()
    ), strict=True, fragile=True),
    Content("mime", "MIME parts with dots", mail(
        "mime",
        b"--b\nContent-Type: text/plain\n\n.=20dot\n.\n\n--b\nContent-Type: text/html\n\n<p>.</p>\n\n--b--\n",
        b'MIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary="b"\n',
    )),
    Content("bare-cr", "a CR that no LF follows", mail("bare-cr", b"one\rtwo\n"), strict=True, fragile=True),
    Content("nul", "a NUL octet", mail("nul", b"before\0after\nnext\n"), strict=True, fragile=True),
)  # fmt: skip
"""What RETR is tried with, one message in the maildrop at a time."""
