r"""The notation of dialogues: commands of a client and the replies that a server must send, as the RFCs print them.

A line of a dialogue is one of these; leading blanks and empty lines are ignored.

    # text                  a comment
    C: USER alice           the client sends the line, with CRLF; "C:" alone is an empty line
    C! "NOOP\n" "x" * 300   the client sends exactly these octets: strings in a row, each repeated if need be
    C: APOP al <apop word>  the APOP digest of the greeting's timestamp and *word* (RFC 1939 section 7)
    C: <end>                the client ends its input, and still reads
    S: +OK 2 320            the server sends this line, with CRLF
    S: +OK ...              a line with this beginning: "+OK", or "+OK " and anything
    S: 1 abc...             a line with this beginning: "1 abc" and anything
    S! "a\rb\r\n"           the server sends these octets
    S: <closed>             the server closes, and has sent no more; nothing follows

In strings ``\r \n \t \0 \" \\`` and ``\xHH`` are octets; all other text is UTF-8. A byte order mark at the beginning of
a file is ignored. The lines of a multi-line response are written like others, byte-stuffed, and end with ``S: .``. All
``S:`` that follow a ``C:`` must have arrived, and nothing else, before the client sends the next. Several ``C:`` in a
row are sent without waiting.

A dialogue that does not end with ``S: <closed>`` ends as if ``C: <end>`` stood there: the server must send no more.

If the client must wait for a reply, the dialogue names at its head the ways in which it cannot be played, and why:

    # not whole: what is sent along with STLS is thrown away
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Literal, NamedTuple

How = Literal["whole", "lines", "octets"]
"""Ways to send the client's octets: all at once after the greeting (pipelined), by line, or by octet."""

WAYS: tuple[How, ...] = ("whole", "lines", "octets")

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(?: ?\* ?([0-9]{1,7}))?(?: +|$)')
_ESCAPE = re.compile(rb'\\(?:x([0-9A-Fa-f]{2})|([rnt0"\\]))')
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b'"': b'"', b"\\": b"\\"}
_NOT = re.compile(r"# not ([a-z]+)(?:$|: *(.*))")
_APOP = re.compile(r"(.+ )<apop (.+)>")
_RESERVED = re.compile(r"<.*>")


class ScriptError(ValueError):
    """An error in the notation of a dialogue; the text begins with file and line."""


class Kind(Enum):
    """The kinds of steps."""

    SAY = "the client sends octets"
    END = "the client ends its input"
    LINE = "the server sends a line"
    BEGINNING = "the server sends a line that begins so"
    OCTETS = "the server sends octets"
    CLOSED = "the server closes"


class Step(NamedTuple):
    """One line of a dialogue: *octets* with line end, except for BEGINNING; *number* and *text* as in the file.

    *secret* is the word of ``<apop word>``; the digest and CRLF are sent after *octets*.
    """

    kind: Kind
    octets: bytes
    number: int
    text: str
    secret: bytes | None = None

    @property
    def is_client(self) -> bool:
        """True if it is a step of the client."""
        return self.kind in (Kind.SAY, Kind.END)


class Dialogue(NamedTuple):
    """A parsed dialogue: *name* is for error texts, *impossible* has the ways it cannot be played, and why."""

    name: str
    steps: tuple[Step, ...]
    impossible: dict[How, str]

    @property
    def ways(self) -> tuple[How, ...]:
        """Ways in which the dialogue can be played."""
        return tuple(way for way in WAYS if way not in self.impossible)


def load(path: str | Path) -> Dialogue:
    """Return the dialogue in a file. Raises ScriptError, OSError."""
    return parse(Path(path).read_text("utf-8-sig"), str(path))


def parse(text: str, name: str = "<dialogue>") -> Dialogue:
    """Return the dialogue in *text*; *name* is for error texts. Raises ScriptError."""
    steps: list[Step] = []
    impossible: dict[How, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.lstrip(" \t")
        try:
            if line.startswith("#"):
                _directive(line, impossible, at_head=not steps)
            elif line:
                if steps and steps[-1].kind is Kind.CLOSED:
                    raise ScriptError("no step can follow S: <closed>")
                steps.append(_step(line, number, ended=any(step.kind is Kind.END for step in steps)))
        except ScriptError as error:
            raise ScriptError(f"{name}:{number}: {error}") from None
    if not steps:
        raise ScriptError(f"{name}:1: the script has no steps")
    dialogue = Dialogue(name, tuple(steps), impossible)
    if not dialogue.ways:
        raise ScriptError(f"{name}:1: every way to play the script is excluded")
    return dialogue


def _directive(line: str, impossible: dict[How, str], *, at_head: bool) -> None:
    found = _NOT.match(line)
    if found is None:
        return
    way, reason = found[1], found[2]
    known = next((one for one in WAYS if one == way), None)
    if known is None and reason is None:
        return  # an ordinary comment
    if known is None:
        raise ScriptError(f"unknown way {way!r}: give one of {', '.join(WAYS)}")
    if not reason:
        raise ScriptError(f"give a reason: # not {way}: reason")
    if not at_head:
        raise ScriptError(f"# not {way} must be above the first step")
    impossible[known] = reason


def _step(line: str, number: int, *, ended: bool) -> Step:
    mark, text = line[:2], line[2:]
    if mark not in ("C:", "C!", "S:", "S!"):
        raise ScriptError("a line must begin with C: C! S: S! or #")
    if line[0] == "C" and ended:
        raise ScriptError("the client cannot send after <end>")
    if text[:1] not in ("", " "):
        raise ScriptError(f"add a blank after {mark}")
    if line[-1] == " " or not line.isprintable():
        raise ScriptError(f"the line has invisible characters: write {mark[0]}! and a string")
    text = text[1:]
    if mark[1] == "!":
        kind = Kind.SAY if mark == "C!" else Kind.OCTETS
        return Step(kind, _octets(text), number, line)
    return _client(text, number, line) if mark == "C:" else _server(text, number, line)


def _client(text: str, number: int, line: str) -> Step:
    if text == "<end>":
        return Step(Kind.END, b"", number, line)
    if found := _APOP.fullmatch(text):
        return Step(Kind.SAY, found[1].encode("utf-8"), number, line, found[2].encode("utf-8"))
    if _RESERVED.fullmatch(text):
        raise ScriptError(
            "unknown client event: only <end> exists; write other text in angle brackets as a string, with C!"
        )
    return Step(Kind.SAY, text.encode("utf-8") + b"\r\n", number, line)


def _server(text: str, number: int, line: str) -> Step:
    if text == "<closed>":
        return Step(Kind.CLOSED, b"", number, line)
    if _RESERVED.fullmatch(text):
        raise ScriptError(
            "unknown server event: only <closed> exists; write other text in angle brackets as a string, with S!"
        )
    if text.endswith("..."):
        return Step(Kind.BEGINNING, text.removesuffix("...").encode("utf-8"), number, line)
    return Step(Kind.LINE, text.encode("utf-8") + b"\r\n", number, line)


def _octets(text: str) -> bytes:
    octets = bytearray()
    at = 0
    while at < len(text):
        found = _STRING.match(text, at)
        if found is None:
            raise ScriptError('after ! give one or more strings: "..." or "..." * times')
        octets += _unescape(found[1].encode("utf-8")) * int(found[2] or 1)
        at = found.end()
    if not octets:
        raise ScriptError("give at least one octet after !")
    return bytes(octets)


def _unescape(octets: bytes) -> bytes:
    plain = _ESCAPE.sub(b"", octets)
    if b"\\" in plain:
        raise ScriptError(r"a backslash in a string must begin one of \r \n \t \0 \" \\ or \xHH")
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else _ESCAPES[found[2]], octets)


def transcribe(octets: bytes) -> list[str]:
    """Return the server's octets as lines of this notation; parsing the lines gives the octets again."""
    *lines, rest = octets.split(b"\n")
    transcript = [_transcribe_line(line + b"\n") for line in lines]
    return [*transcript, f"S! {quote(rest)}"] if rest else transcript


def _transcribe_line(line: bytes) -> str:
    try:
        text = line.removesuffix(b"\r\n").decode("utf-8")
    except UnicodeDecodeError:
        return f"S! {quote(line)}"
    plain = text.isprintable() and not text.endswith((" ", "...")) and not _RESERVED.fullmatch(text)
    if not plain or not line.endswith(b"\r\n"):
        return f"S! {quote(line)}"
    return f"S: {text}" if text else "S:"


def quote(octets: bytes) -> str:
    r"""Return the octets as a string of this notation: printable ASCII unchanged, all else escaped."""
    names = {value[0]: f"\\{key.decode()}" for key, value in _ESCAPES.items()}
    text = "".join(names.get(octet) or (chr(octet) if 32 <= octet < 127 else f"\\x{octet:02x}") for octet in octets)
    return f'"{text}"'
