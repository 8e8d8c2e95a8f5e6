"""Messages that servers and clients often mishandle, and the octets that RETR must send for each.

The expected octets are computed here line by line, deliberately not by the server's encoder.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE_END = re.compile(rb"\r?\n")

HEADER = b"From: Alice <alice@example.org>\nTo: bob@example.org\nSubject: %s\nMessage-ID: <%s@example.org>\n"


class AwkwardMessage(NamedTuple):
    """A message as stored: *name* is short and unique, *why* is the reason why it is awkward."""

    name: str
    why: str
    content: bytes

    @property
    def sent(self) -> bytes:
        """Octets after the client removed the byte-stuffing: all lines end with CRLF, the last one too."""
        if not self.content:
            return b""
        sent = _LINE_END.sub(b"\r\n", self.content)
        return sent if sent.endswith(b"\n") else sent + b"\r\n"

    @property
    def octets(self) -> int:
        """Size that STAT, LIST and RETR must report (RFC 1939 section 11)."""
        return len(self.sent)

    @property
    def stuffed(self) -> bytes:
        """Body of RETR's reply on the wire, with byte-stuffing and termination octet (RFC 1939 section 3)."""
        lines = self.sent.split(b"\r\n")[:-1]
        return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def awkward_messages() -> list[AwkwardMessage]:
    """Return all awkward messages; no two contents are equal, and each call makes them anew (some 25 MB)."""
    return [
        _message("plain", "nothing: the message that the others are compared with", b"hello\n"),
        _message("leading-dots", "lines that begin with dots", b".one\n..two\n...three\n. four\n.\tfive\n"),
        _message("only-dots", "a body of nothing but lines with one dot, each of which looks like the end", b".\n" * 5),
        _message("lone-dot", "one line with one dot between others, then one with two", b"before\n.\nafter\n..\nend\n"),
        _message("dot-at-end", "the last line is a dot and has no line end", b"almost over\n."),
        AwkwardMessage(
            "first-octet-dot", "the very first octet is a dot, before any line end", b".first: octet\n\n.body\n"
        ),
        AwkwardMessage(
            "crlf", "a file with CRLF line ends", _mail("crlf", b"one\n.two\nthree\n").replace(b"\n", b"\r\n")
        ),
        _message("mixed-line-ends", "CRLF and LF in one file", b"lf\ncrlf\r\nlf\n\r\n.crlf\r\n\n"),
        _message("no-final-line-end", "the last line is not ended: it counts two octets more", b"the last line"),
        AwkwardMessage(
            "crlf-no-final-line-end",
            "CRLF line ends, but none after the last line",
            _mail("crlf-no-final-line-end", b"one\n.the last line").replace(b"\n", b"\r\n"),
        ),
        AwkwardMessage(
            "cut-in-line-end", "the file ends between CR and LF: the CR is data", _mail("cut-in-line-end", b"cut\r")
        ),
        _message("bare-cr", "CRs that no LF follows are data and stay", b"one\rtwo\r.three\n\rfour\n"),
        _message("latin-1", "all octets from 128 to 255, which is no UTF-8", bytes(range(128, 256)) + b"\n"),
        _message(
            "utf-8-header",
            "UTF-8 in header and body (RFC 6532)",
            "Grüße aus Århus, 日本から\n".encode(),
            "X-Subject: Grüße, 日本\n".encode(),
        ),
        _message("nul", "NUL octets, which end a C string", b"before\0after\n\0\n"),
        AwkwardMessage("empty-body", "header and blank line and nothing else", _mail("empty-body", b"")),
        AwkwardMessage("header-only", "no blank line: all of it is header", _mail("header-only", b"")[:-1]),
        AwkwardMessage("leading-blank-line", "the header is empty", b"\nthe header was empty\n"),
        _message("trailing-blank-lines", "blank lines at the end", b"text\n\n\n\n"),
        _message("trailing-blanks", "blanks and tabs before line ends, and lines of nothing else", b"a \nb\t\n \n\t\n"),
        _message(
            "from-lines", "lines that begin with From, as an mbox separates messages", b"From x\n>From y\nFrom: z\n"
        ),
        _message("line-of-998", "lines as long as RFC 5322 allows", (b"x" * 998 + b"\n") * 3 + b"." * 998 + b"\n"),
        _message("line-of-100-kb", "one line of 100 KB", b"y" * 100_000 + b"\n" + b"." + b"z" * 5_000 + b"\n"),
        _message(
            "mime",
            "parts, boundaries, base64, quoted-printable with a dot first",
            b"--b\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n.=20dot=\n.\n\n"
            b"--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nAAECAw==\n\n--b--\n",
            b"MIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=b\n",
        ),
        _message("20-mb", "20 MB", b"".join(b"%s%068d\n" % (b"." * (n % 7 == 0), n) for n in range(300_000))),
    ]


def _mail(name: str, body: bytes, header: bytes = b"") -> bytes:
    return HEADER % (name.encode(), name.encode()) + header + b"\n" + body


def _message(name: str, why: str, body: bytes, header: bytes = b"") -> AwkwardMessage:
    return AwkwardMessage(name, why, _mail(name, body, header))
