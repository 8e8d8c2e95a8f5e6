"""What a client that knows ASCII headers alone gets for an internationalized message (RFC 6858): less, never other.

Header fields that hold octets outside ASCII are rewritten or left out, in the message's header and in those of its body
parts; all else stays as it is, the bodies octet by octet. An address that somebody may own is never made up.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Final

HEADER_OCTETS: Final = 128 * 1024
"""The longest header that is looked at; Postfix takes no more than 100 KiB of one."""

NOBODY: Final = "<invalid@internationalized-address.invalid>"
"""An address that nobody can own (RFC 6858 section 2.1, RFC 2606 section 2)."""

_RETURN_PATH: Final = b"return-path"
_ADDRESSES: Final = frozenset(
    b"bcc cc from reply-to resent-bcc resent-cc resent-from resent-reply-to resent-sender resent-to sender to".split()
)
_PARAMETERS: Final = frozenset({b"content-type", b"content-disposition"})

_WORD_OCTETS: Final = 30
"""In one encoded-word, so that no name of a field before it makes the line longer than 76 (RFC 2047 section 2)."""

_BOUNDARIES: Final = 32
"""Multiparts in a message whose parts are looked at: one that has more has some other aim than to be read."""

_PARTS: Final = 1000
"""Parts whose headers are rewritten. What follows them stays as it is, so that no message costs more than others."""

_PARTS_OCTETS: Final = 256 * 1024
"""Octets of headers of parts, all in all, that are rewritten; what follows stays as it is, too."""

_BOUNDARY_OCTETS: Final = 200
"""RFC 2046 section 5.1.1 allows 70; some senders do not care."""

_DELIMITER_OCTETS: Final = 256
"""A delimiter with its line ends and blanks is not longer than this."""

# What opens and is not closed goes on to the end, so that no input makes these look at anything twice.
_FIELD: Final = re.compile(rb"[^\n]+(?:\n[ \t][^\n]*)*\n?|\n")
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_BLANKS: Final = re.compile(r"([ \t\r\n]+)")
_QUOTED: Final = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_ADDRESS_TOKEN: Final = re.compile(
    rf'{_QUOTED}|\([^()\\]*(?:\\.[^()\\]*)*\)?|<(?:{_QUOTED}|[^<>"]+)*>?|[,:;]|[^",:;(<]+', re.DOTALL
)
_PARAMETER: Final = re.compile(rf'(?:{_QUOTED}|[^";]+)+'.encode(), re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def header_end(octets: bytes | bytearray, start: int = 0) -> int:
    """Where the body begins, behind the blank line; -1 if *octets* or the longest header end before it.

    *start*: how many octets are known to hold no blank line.
    """
    return _header_end(octets, 0, start)


def _header_end(octets: bytes | bytearray, begin: int, start: int) -> int:
    """The same of a header that begins at *begin*."""
    if start < 2:
        for blank in (b"\n", b"\r\n"):
            if octets.startswith(blank, begin):
                return begin + len(blank)
    found = _BLANK_LINE.search(octets, begin + max(start - 2, 0), begin + HEADER_OCTETS)
    return -1 if found is None else found.end()


Rewrite = Callable[[bytes], tuple[bytes, bytes | None]]
"""What ``rewrite_header`` does."""


def rewrite_header(header: bytes) -> tuple[bytes, bytes | None]:
    """A header in ASCII, and the boundary if it is that of a multipart."""
    boundary = None
    fields = []
    for field in _FIELD.findall(header):
        name, colon, value = field.partition(b":")
        kind = name.rstrip(b" \t").lower()
        if kind == b"content-type" and boundary is None:
            boundary = _boundary(value)
        if field.isascii():
            fields.append(field)
        # Section 2.4: a field that no rule is for is left out.
        elif colon and name.isascii() and (text := _rewrite_value(kind, value)) is not None:
            fields.append(name + b":" + text + b"\r\n")
    return b"".join(fields), boundary


def surrogate(header: bytes, body: Iterable[bytes], rewrite: Rewrite = rewrite_header) -> Iterator[bytes]:
    """The surrogate of a message: *header*, with its blank line, and *body* in chunks, cut anywhere.

    *rewrite* does what ``rewrite_header`` does, in a thread maybe; what it and reading the body raise passes through.
    """
    rewritten, boundary = rewrite(header)
    if boundary is None:
        yield rewritten
        yield from body
    else:
        # A delimiter begins with a line end, the first one maybe with that of the blank line.
        yield rewritten[:-1]
        yield from _parts(rewritten[-1:], body, boundary, rewrite)


def _parts(held: bytes, body: Iterable[bytes], boundary: bytes, rewrite: Rewrite) -> Iterator[bytes]:
    """The body of a multipart with the headers of its parts rewritten, and of the parts of multiparts in it."""
    boundaries = [boundary]
    delimiter = _delimiter(boundaries)
    parts, octets_left = 0, _PARTS_OCTETS
    in_header = False
    chunks = iter(body)
    for chunk in chunks:
        octets = held + chunk
        done = 0
        while True:
            if in_header:
                end = _header_end(octets, done, 0)
                if end < 0 and len(octets) - done < HEADER_OCTETS:
                    break
                in_header = False
                if end > 0:
                    parts += 1
                    octets_left -= end - done
                    if parts > _PARTS or octets_left < 0:
                        yield octets[done:]
                        yield from chunks
                        return
                    part, inner = rewrite(octets[done:end])
                    if inner is not None and len(boundaries) < _BOUNDARIES:
                        boundaries.append(inner)
                        delimiter = _delimiter(boundaries)
                    yield part[:-1]
                    done = end - 1
            found = delimiter.search(octets, done)
            if found is None:
                break
            yield octets[done : found.end()]
            done = found.end()
            in_header = True
        held = octets[done:]
        if not in_header:
            # What may be the beginning of a delimiter begins with the last line end.
            last = held.rfind(b"\n", max(len(held) - _DELIMITER_OCTETS, 0))
            yield held if last < 0 else held[:last]
            held = b"" if last < 0 else held[last:]
    yield rewrite(held)[0] if in_header else held


def _delimiter(boundaries: list[bytes]) -> re.Pattern[bytes]:
    return re.compile(rb"\n--" + _one_of(boundaries) + rb"[ \t]{0,16}\r?\n")


def _one_of(texts: list[bytes]) -> bytes:
    """A pattern for any of *texts*; what several begin with is in it once, or each of them would look at it."""
    shared = 0
    first, *others = texts
    while shared < len(first) and all(other[shared : shared + 1] == first[shared : shared + 1] for other in others):
        shared += 1
    branches: dict[bytes, list[bytes]] = {}
    for text in texts:
        branches.setdefault(text[shared : shared + 1], []).append(text[shared:])
    begin = re.escape(first[:shared])
    return begin if len(branches) == 1 else begin + b"(?:" + b"|".join(map(_one_of, branches.values())) + b")"


def _rewrite_value(kind: bytes, value: bytes) -> bytes | None:
    """The value of a field, with the blank before it and without the line end; None to leave the field out."""
    if kind in _PARAMETERS:
        return _without_parameters(value)
    try:
        text, charset = value.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        # RFC 1428: the octets are kept, what they mean is for the reader to guess.
        text, charset = value.decode("latin-1"), "unknown-8bit"
    text = text.rstrip("\r\n")
    if kind == b"subject":
        return b" " + _rewrite_text(text.strip(" \t"), charset).encode("ascii")
    if kind == _RETURN_PATH:
        return f" {NOBODY}".encode("ascii")
    if kind in _ADDRESSES:
        return _rewrite_addresses(text, charset).encode("ascii")
    return None


def _without_parameters(value: bytes) -> bytes | None:
    """Section 2.2: parameters that are not ASCII are left out, those in RFC 2231's form are."""
    kind, *parameters = _PARAMETER.findall(value.rstrip(b"\r\n"))
    return b";".join([kind, *filter(bytes.isascii, parameters)]) if kind.isascii() else None


def _boundary(value: bytes) -> bytes | None:
    """The boundary that a Content-Type tells, if it is multipart."""
    kind, *parameters = _PARAMETER.findall(value) or [b""]
    if kind.strip().lower().startswith(b"multipart/"):
        for parameter in parameters:
            name, _, boundary = parameter.partition(b"=")
            if name.strip().lower() == b"boundary":
                boundary = boundary.strip().strip(b'"')
                return boundary if 0 < len(boundary) <= _BOUNDARY_OCTETS and b"\n" not in boundary else None
    return None


def _rewrite_text(text: str, charset: str) -> str:
    """Free text (section 2.3): runs of words that are not ASCII become encoded-words, the others stay as they are."""
    words, blanks = (pieces := _BLANKS.split(text))[::2], ["", *pieces[1::2]]
    rewritten = ""
    for is_ascii, run in groupby(zip(blanks, words, strict=True), key=lambda word: word[1].isascii()):
        (before, first), *others = run
        # Blanks between encoded-words mean nothing (RFC 2047 section 6.2), so those inside a run go into it.
        phrase = first + "".join(map("".join, others))
        # A line with an encoded-word has no more than 76 octets, so there is nothing else on it.
        rewritten += before if not rewritten or "\n" in before else f"\r\n{before}"
        rewritten += phrase if is_ascii else _encoded(phrase, charset)
    return rewritten


def _rewrite_addresses(text: str, charset: str) -> str:
    """A list of addresses: those in ASCII stay as they are, of the others what can be shown."""
    rewritten: list[str] = []
    tokens: list[str] = []
    for part in [*_ADDRESS_TOKEN.findall(text), ""]:
        if part and part not in ",:;":
            tokens.append(part)
            continue
        address = "".join(tokens)
        if not address.isascii():
            address = _rewrite_address(tokens, charset, is_group=part == ":")
            address = f"\r\n {address}" if rewritten else f" {address}"
        rewritten += address, part
        tokens = []
    return "".join(rewritten)


def _rewrite_address(tokens: list[str], charset: str, *, is_group: bool) -> str:
    """One address, or the name of a group.

    Section 2.1: an address that is not ASCII gives way to one that is nobody's, with a display-name that tells what it
    was. Where only the display-name is not ASCII the address is kept: it can be answered.
    """
    # A comment is a blank: without one, what stood on both sides of it could become somebody's address.
    tokens = [" " if token.startswith("(") and not token.isascii() else token for token in tokens]
    place = next((place for place, token in enumerate(tokens) if token.startswith("<")), len(tokens))
    shown = "".join(map(_unquoted, tokens[:place])).strip()
    address = "".join(tokens[place : place + 1])
    if "".join(tokens).isascii():  # but for a comment
        return "".join(tokens).strip()
    if is_group:
        return _encoded(shown, charset)
    if not address or not address.isascii():
        shown, address = f"{shown} {address}".strip(), NOBODY
    return f"{_encoded(shown, charset)}\r\n {address}" if shown else address


def _unquoted(token: str) -> str:
    return _ESCAPE.sub(r"\1", token[1:].removesuffix('"')) if token.startswith('"') else token


def _encoded(text: str, charset: str) -> str:
    """*text* as encoded-words (RFC 2047), one a line; folds inside it are none any more."""
    octets = text.replace("\r", "").replace("\n", "").encode("utf-8" if charset == "UTF-8" else "latin-1")
    words = []
    start = 0
    while start < len(octets):
        end = start + _WORD_OCTETS
        if charset == "UTF-8":
            # Section 5: "Each 'encoded-word' MUST represent an integral number of characters."
            while end < len(octets) and octets[end] & 0xC0 == 0x80:
                end -= 1
        word = binascii.b2a_base64(octets[start:end], newline=False).decode("ascii")
        words.append(f"=?{charset}?B?{word}?=")
        start = end
    return "\r\n ".join(words)
