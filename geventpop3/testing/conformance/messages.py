"""Messages that are delivered for the checks, and the octets that RETR must send for them.

Most have a header and an empty line. Lines end with LF, the format of a Maildir and of delivery commands.
"""

from __future__ import annotations

import re
from typing import NamedTuple


def sample_mail(name: str, body: bytes, header: bytes = b"") -> bytes:
    """Return a message with an ordinary header."""
    return (
        b"From: Alice <alice@example.org>\nTo: bob@example.org\nDate: Mon, 05 Jan 2026 09:30:00 +0000\n"
        b"Message-ID: <" + name.encode() + b"@conformance.invalid>\nSubject: " + name.encode() + b"\n" + header + b"\n"
        + body
    )  # fmt: skip


_DOMAIN = b"@conformance.invalid>"
_SERIAL = re.compile(rb"\.[0-9a-f]{20}@conformance\.invalid>")


def unique(message: bytes, serial: int) -> bytes:
    """Return the message with a unique Message-ID; all of these have one length."""
    return message.replace(_DOMAIN, b".%020x%s" % (serial, _DOMAIN), 1)


def common(message: bytes) -> bytes:
    """Undo ``unique``: return the message with its first Message-ID."""
    return _SERIAL.sub(_DOMAIN, message, count=1)


PLAIN = tuple(
    sample_mail(f"plain-{number}", b"".join(b"line %d\n" % n for n in range(number * 3 + 2))) for number in range(1, 6)
)
"""The ordinary maildrop: five messages of different sizes."""


class Content(NamedTuple):
    """A message that some servers send wrongly; *slug* and *title* name its check."""

    slug: str
    title: str
    message: bytes
    strict: bool = False
    fragile: bool = False
    """True if a delivery command may change the message; then only a Maildir's file shows the right octets."""


def sent(message: bytes) -> bytes:
    """Return the octets that RETR must send, without byte-stuffing: each line ends with CRLF, the last one too."""
    octets = message.replace(b"\n", b"\r\n")
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


CONTENTS = (
    Content("plain", "an ordinary message", sample_mail("plain", b"hello\n")),
    Content("leading-dots", "lines that begin with dots", sample_mail("dots", b".one\n..two\n...three\n. four\n")),
    Content("lone-dot", "lines that consist of one dot", sample_mail("lone-dot", b"before\n.\nafter\n.\n.\nend\n")),
    Content("dot-last", "a dot without a line end as the last line", sample_mail("dot-last", b"almost\n.")),
    Content("dot-first", "a dot as the first octet of the message", b".first: octet\n\n.body\n", fragile=True),
    Content("dot-after-header", "a dot as the first octet of the body", sample_mail("dot-body", b".\n.body\n")),
    Content("no-final-line-end", "a last line without a line end", sample_mail("cut", b"one\nthe last line")),
    Content("trailing-blank-lines", "empty lines at the end", sample_mail("blank-lines", b"text\n\n\n\n")),
    Content("leading-blank-lines", "empty lines at the beginning of the body", sample_mail("body", b"\n\ntext\n")),
    Content("trailing-blanks", "spaces and tabs at the ends of lines", sample_mail("blanks", b"a \nb\t\n \n\t\n")),
    Content("empty-body", "a header and an empty body", sample_mail("empty-body", b"")),
    Content("folded-header", "folded header fields", sample_mail("folded", b"x\n", b"X-Folded: one\n two\n\tthree\n")),
    Content("long-lines", "lines of 998 octets", sample_mail("long", (b"x" * 998 + b"\n") * 3 + b"." * 998 + b"\n")),
    Content("very-long-line", "a line of 20,000 octets", sample_mail(
        "longer", b"y" * 20_000 + b"\n"
    ), strict=True, fragile=True),
    Content("from-lines", "lines that begin with From", sample_mail("from", b"one\nFrom x\n>From y\n\nFrom: z\n")),
    Content("many-lines", "30,000 lines, some of which begin with a dot", sample_mail("many", b"".join(
        b"%s%d\n" % (b"." * (n % 7 == 0), n) for n in range(30_000)
    ))),
    Content("eight-bit", "non-ASCII octets in the body", sample_mail(
        "eight-bit",
        bytes(range(128, 256)) + b"\n",
        b"MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n",
    )),
    Content("eight-bit-header", "UTF-8 in the header", sample_mail(
        "eight-bit-header", b"x\n", "X-Text: Grüße\n".encode()
    ), strict=True, fragile=True),
    Content("mime", "MIME parts with dots", sample_mail(
        "mime",
        b"--b\nContent-Type: text/plain\n\n.=20dot\n.\n\n--b\nContent-Type: text/html\n\n<p>.</p>\n\n--b--\n",
        b'MIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary="b"\n',
    )),
    Content("bare-cr", "a CR without LF", sample_mail("bare-cr", b"one\rtwo\n"), strict=True, fragile=True),
    Content("nul", "a NUL octet", sample_mail("nul", b"before\0after\nnext\n"), strict=True, fragile=True),
)  # fmt: skip
"""Messages for the checks of RETR; each is alone in the maildrop."""
