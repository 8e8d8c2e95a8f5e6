"""Messages as tests give them: octets, text, an EmailMessage, a file, an mbox file or a Maildir."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message as Email
from mailbox import Mailbox, mbox
from os import PathLike, fspath
from os.path import exists
from pathlib import Path
from typing import Any, TypeAlias

Content: TypeAlias = "bytes | str | Email | PathLike[str] | Mailbox[Any]"
"""One message, or the path of a file with one, or several: an mbox file, a Maildir, a ``mailbox.Mailbox``."""

_SHAPES = "bytes, str, an EmailMessage, the Path of a file, of an mbox or of a Maildir, or a mailbox.Mailbox"


def contents_of(content: object) -> Iterator[bytes]:
    """Yield the octets of each message in *content*, oldest first.

    A str is text, never a file name. A file that begins with "From " is an mbox, a folder with ``new`` and ``cur`` is a
    Maildir. Raises TypeError for another type, ValueError for a str that looks like a file name and for a folder that
    is no Maildir, OSError.
    """
    __tracebackhide__ = True
    if isinstance(content, (bytes, bytearray, memoryview)):
        yield bytes(content)
    elif isinstance(content, str):
        if _names_a_file(content):
            raise ValueError(f"a str is the text of a message, not the name of a file: use Path({content!r})")
        yield content.encode("utf-8", "surrogateescape")
    elif isinstance(content, Email):
        yield content.as_bytes()
    elif isinstance(content, PathLike):
        yield from _in_path(Path(fspath(content)))
    elif isinstance(content, Mailbox):
        yield from _in_mailbox(content)
    else:
        raise TypeError(f"a message is {_SHAPES}, not {type(content).__name__}")


def _names_a_file(text: str) -> bool:
    """Return whether *text* is one line that ends like the name of a message, or the path of an existing file."""
    if "\n" in text or not text.isprintable():
        return False
    return text.lower().endswith((".eml", ".mbox")) or ("/" in text and exists(text))


def _in_path(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        if not (path / "cur").is_dir() or not (path / "new").is_dir():
            raise ValueError(f"{path} is a folder but no Maildir: it has no new and cur")
        yield from _in_maildir(path)
        return
    with path.open("rb") as file:
        is_mbox = file.read(5) == b"From "
    if is_mbox:
        yield from _in_mailbox(mbox(path, create=False))
    else:
        yield path.read_bytes()


def _in_maildir(path: Path) -> Iterator[bytes]:
    files = [file for folder in ("new", "cur") for file in (path / folder).iterdir() if not file.name.startswith(".")]
    for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name)):
        yield file.read_bytes()


def _in_mailbox(mailbox: Mailbox[Any]) -> Iterator[bytes]:
    try:
        for key in sorted(mailbox.keys()):
            yield mailbox.get_bytes(key)
    finally:
        mailbox.close()
