"""Surrogates of internationalized messages, for clients that support only ASCII headers (RFC 6858).

Header fields with octets outside ASCII are rewritten or left out, in the header of the message and of its body parts.
All else stays as it is, the bodies octet by octet. No address that somebody may own is ever invented.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Final

HEADER_OCTETS: Final = 128 * 1024
"""Octets of the longest header that is examined; Postfix accepts at most 100 KiB."""

NOBODY: Final = "<invalid@internationalized-address.invalid>"
"""An address that nobody can own (RFC 6858 section 2.1, RFC 2606 section 2)."""

_RETURN_PATH: Final = b"return-path"
_ADDRESSES: Final = frozenset(
    b"bcc cc from reply-to resent-bcc resent-cc resent-from resent-reply-to resent-sender resent-to sender to".split()
)
_PARAMETERS: Final = frozenset({b"content-type", b"content-disposition"})

_WORD_OCTETS: Final = 30
"""Octets in one encoded-word: with any field name before it, the line is at most 76 long (RFC 2047 section 2)."""

_BOUNDARIES: Final = 32
"""Multiparts of a message whose parts are examined; a message with more is probably an attack."""

_PARTS: Final = 1000
"""Parts whose headers are rewritten. The rest stays as it is, which limits the cost of a message."""

_PARTS_OCTETS: Final = 256 * 1024
"""Total octets of part headers that are rewritten. The rest stays as it is, too."""

_BOUNDARY_OCTETS: Final = 200
"""Octets of the longest boundary. RFC 2046 section 5.1.1 allows 70; some senders exceed it."""

_DELIMITER_OCTETS: Final = 256
"""Octets of the longest delimiter, with its line ends and blanks."""

# A quote or bracket that is not closed extends to the end, so no input makes these patterns scan anything twice.
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
    """Return where the body begins, after the blank line; -1 if *octets* or the longest header end before it.

    *start*: number of octets that are known to hold no blank line.
    """
    return _header_end(octets, 0, start)


def _header_end(octets: bytes | bytearray, begin: int, start: int) -> int:
    """Return the same for a header that begins at *begin*."""
    if start < 2:
        for blank in (b"\n", b"\r\n"):
            if octets.startswith(blank, begin):
                return begin + len(blank)
    found = _BLANK_LINE.search(octets, begin + max(start - 2, 0), begin + HEADER_OCTETS)
    return -1 if found is None else found.end()


Rewrite = Callable[[bytes], tuple[bytes, bytes | None]]
"""A function such as ``rewrite_header``."""


def rewrite_header(header: bytes) -> tuple[bytes, bytes | None]:
    """Return the header in ASCII, and the boundary if the header is that of a multipart."""
    boundary = None
    fields = []
    for field in _FIELD.findall(header):
        name, colon, value = field.partition(b":")
        kind = name.rstrip(b" \t").lower()
        if kind == b"content-type" and boundary is None:
            boundary = _boundary(value)
        if field.isascii():
            fields.append(field)
        # Section 2.4: a field without a rule is left out.
        elif colon and name.isascii() and (text := _rewrite_value(kind, value)) is not None:
            fields.append(name + b":" + text + b"\r\n")
    return b"".join(fields), boundary


def surrogate(header: bytes, body: Iterable[bytes], rewrite: Rewrite = rewrite_header) -> Iterator[bytes]:
    """Yield the surrogate of a message: *header*, with its blank line, and *body* in chunks, cut anywhere.

    *rewrite* does what ``rewrite_header`` does, perhaps in a thread. Its errors, and those of reading, pass through.
    """
    rewritten, boundary = rewrite(header)
    if boundary is None:
        yield rewritten
        yield from body
    else:
        # A delimiter begins with a line end; for the first one it may be that of the blank line.
        yield rewritten[:-1]
        yield from _parts(rewritten[-1:], body, boundary, rewrite)


def _parts(held: bytes, body: Iterable[bytes], boundary: bytes, rewrite: Rewrite) -> Iterator[bytes]:
    """Yield the body of a multipart with the headers of its parts rewritten, also in nested multiparts."""
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
            # A delimiter that is cut by the end of the chunk can only begin with the last line end.
            last = held.rfind(b"\n", max(len(held) - _DELIMITER_OCTETS, 0))
            yield held if last < 0 else held[:last]
            held = b"" if last < 0 else held[last:]
    yield rewrite(held)[0] if in_header else held


def _delimiter(boundaries: list[bytes]) -> re.Pattern[bytes]:
    return re.compile(rb"\n--" + _one_of(boundaries) + rb"[ \t]{0,16}\r?\n")


def _one_of(texts: list[bytes]) -> bytes:
    """Return a pattern that matches any of *texts*; each shared prefix is in it once, so it is scanned only once."""
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
    """Return the value of a field, with the blank before it and without the line end; None to leave the field out."""
    if kind in _PARAMETERS:
        return _without_parameters(value)
    try:
        text, charset = value.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        # RFC 1428: the octets are kept; the reader must guess their charset.
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
    """Leave out the parameters that are not ASCII (section 2.2); those in the form of RFC 2231 are ASCII."""
    kind, *parameters = _PARAMETER.findall(value.rstrip(b"\r\n"))
    return b";".join([kind, *filter(bytes.isascii, parameters)]) if kind.isascii() else None


def _boundary(value: bytes) -> bytes | None:
    """Return the boundary in a Content-Type, if it is multipart."""
    kind, *parameters = _PARAMETER.findall(value) or [b""]
    if kind.strip().lower().startswith(b"multipart/"):
        for parameter in parameters:
            name, _, boundary = parameter.partition(b"=")
            if name.strip().lower() == b"boundary":
                boundary = boundary.strip().strip(b'"')
                return boundary if 0 < len(boundary) <= _BOUNDARY_OCTETS and b"\n" not in boundary else None
    return None


def _rewrite_text(text: str, charset: str) -> str:
    """Rewrite free text (section 2.3): runs of non-ASCII words become encoded-words; other words stay as they are."""
    words, blanks = (pieces := _BLANKS.split(text))[::2], ["", *pieces[1::2]]
    rewritten = ""
    for is_ascii, run in groupby(zip(blanks, words, strict=True), key=lambda word: word[1].isascii()):
        (before, first), *others = run
        # Blanks between encoded-words mean nothing (RFC 2047 section 6.2), so those inside a run go into it.
        phrase = first + "".join(map("".join, others))
        # A line with an encoded-word has at most 76 octets, so nothing else is put on it.
        rewritten += before if not rewritten or "\n" in before else f"\r\n{before}"
        rewritten += phrase if is_ascii else _encoded(phrase, charset)
    return rewritten


def _rewrite_addresses(text: str, charset: str) -> str:
    """Rewrite a list of addresses: those in ASCII stay as they are, the others keep a display-name."""
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
    """Rewrite one address, or the name of a group.

    ``NOBODY`` replaces an address that is not ASCII; the display-name then shows the original (section 2.1). If only
    the display-name is not ASCII, the address is kept, so it can be answered.
    """
    # A blank replaces a comment: without it, the text on both sides could join to somebody's address.
    tokens = [" " if token.startswith("(") and not token.isascii() else token for token in tokens]
    place = next((place for place, token in enumerate(tokens) if token.startswith("<")), len(tokens))
    shown = "".join(map(_unquoted, tokens[:place])).strip()
    address = "".join(tokens[place : place + 1])
    if "".join(tokens).isascii():  # after removal of comments
        return "".join(tokens).strip()
    if is_group:
        return _encoded(shown, charset)
    if not address or not address.isascii():
        shown, address = f"{shown} {address}".strip(), NOBODY
    return f"{_encoded(shown, charset)}\r\n {address}" if shown else address


def _unquoted(token: str) -> str:
    return _ESCAPE.sub(r"\1", token[1:].removesuffix('"')) if token.startswith('"') else token


def _encoded(text: str, charset: str) -> str:
    """Return *text* as encoded-words (RFC 2047), one a line; the line ends of folds in it are removed."""
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
