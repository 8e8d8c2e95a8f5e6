"""Deterministic mail for the benchmarks: the same set and owner are the same octets on every machine.

A set is a number of Maildirs, named by the set's letter and five digits (``s00000``). Message files have LF line ends,
realistic headers and plain, quoted-printable, base64 or MIME bodies; one text line in forty begins with a full stop.
A Maildir is built beside its place and renamed into it, so one that exists is whole and is used again.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

SEED = "1"
PASSWORD = "secret"
_VOCABULARY = """
the of and a to in is you that it he was for on are as with his they I at be this have from or one had by word
but not what all were we when your can said there use an each which she do how their if will up other about
out many then them these so some her would make like him into time has look two more write go see number no
way could people my than first water been call who oil its now find long down day did get come made may part
invoice meeting project regards attached please schedule budget tomorrow report quarterly release server
mailbox
"""
_PEOPLE = """
Anna Bertil Cecilia David Erik Filippa Gustav Helga Ivar Johanna Kalle Ludwig Martin Niklas Olof Petter
Qvintus Rudolf Sigurd Tore
"""
WORDS = _VOCABULARY.split()
NAMES = _PEOPLE.split()
FULL_STOPS = (".", "..", ". leading full stop", ".hidden file", "...", ".\t.")


class MailSet(NamedTuple):
    letter: str
    owners: int
    sizes: Callable[[random.Random], list[int]]  # octets of each message file, LF line ends
    what: str


SETS = {
    "small": MailSet("s", 1000, lambda _: [4096] * 10, "10 messages of 4 KiB"),
    "medium": MailSet(
        "m",
        100,
        lambda r: [int(1024 * math.exp(r.random() * math.log(100))) for _ in range(200)],
        "200 of 1 to 100 KiB",
    ),
    "large": MailSet("l", 4, lambda _: [5 * 1024 * 1024] * 20, "20 of 5 MiB"),
    "huge": MailSet("h", 1, lambda _: [1024] * 100_000, "100,000 of 1 KiB"),
}
LINKS = 10_000  # names that one file gets at most: ext4 allows 65,000


def build_of_links(folder: Path, messages: int, owned_by: tuple[int, int]) -> None:
    """A Maildir of *messages* names for a few files of 1 KiB, where many or large ones shall cost no disk."""
    if folder.is_dir():
        return
    unfinished = folder.with_name(f".unfinished-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in ("cur", "new", "tmp"):
        (unfinished / part).mkdir(parents=True)
    give_away = os.geteuid() == 0
    source = ""
    for index in range(messages):
        path = f"{unfinished}/cur/{1_700_000_000 + index}.M{index:06d}P1.bench:2,S"
        if index % LINKS:
            os.link(source, path)
            continue
        source = path
        Path(path).write_bytes(message("links", folder.name, index, 1024)[1])
        if give_away:
            os.chown(path, *owned_by)
    if give_away:
        for made in (unfinished, *unfinished.iterdir()):
            os.chown(made, *owned_by)
    unfinished.rename(folder)


def owner_names(name: str, owners: int) -> list[str]:
    return [f"{SETS[name].letter}{number:05d}" for number in range(owners)]


def build(root: Path, wanted: Mapping[str, int], owned_by: tuple[int, int], say: Callable[[str], None]) -> list[str]:
    """Make the Maildirs of *wanted* (set -> owners) that *root* lacks; the names of all the owners wanted.

    *owned_by* is the user and group number the files get (where this process may give files away).
    """
    root.mkdir(parents=True, exist_ok=True)
    everybody: list[str] = []
    for name, owners in wanted.items():
        owned = owner_names(name, owners)
        everybody += owned
        missing = [owner for owner in owned if not (root / owner).is_dir()]
        if missing:
            say(f"making mail: {name}, {len(missing)} maildrops, each {SETS[name].what}")
        for owner in missing:
            _build_maildir(root, name, owner, owned_by)
    return everybody


def _build_maildir(root: Path, name: str, owner: str, owned_by: tuple[int, int]) -> None:
    unfinished = root / f".unfinished-{owner}"
    shutil.rmtree(unfinished, ignore_errors=True)
    for folder in ("cur", "new", "tmp"):
        (unfinished / folder).mkdir(parents=True)
    give_away = os.geteuid() == 0
    for index, size in enumerate(SETS[name].sizes(random.Random(f"{SEED}/{name}/{int(owner[1:])}"))):
        when, data = message(name, owner, index, size)
        path = f"{unfinished}/cur/{when}.M{index:06d}P1.bench:2,S"
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, (when, when))
        if give_away:
            os.chown(path, *owned_by)
    if give_away:
        for made in (unfinished, *unfinished.iterdir()):
            os.chown(made, *owned_by)
    unfinished.rename(root / owner)


def message(name: str, owner: str, index: int, size: int) -> tuple[int, bytes]:
    """One message: the time of its delivery (seconds) and its octets, *size* of them with LF line ends."""
    r = random.Random(f"{SEED}/{name}/{owner}/{index}")
    identity = hashlib.sha1(f"{SEED}/{owner}/{index}".encode()).hexdigest()[:20]
    when = 1_700_000_000 + index * 977 + r.randrange(900)
    sender, recipient = r.choice(NAMES), r.choice(NAMES)
    kind = r.choices(("plain", "qp", "mixed", "alternative"), (45, 20, 25, 10))[0]
    if size < 2048:
        kind = "plain"
    if size > 200_000:
        kind = "mixed"
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))
    head = [f"Return-Path: <{sender.lower()}@example.org>"]
    if size >= 2048:
        head += _trace_headers(r, owner, identity, date)
    head += [
        f"From: {sender} Andersson <{sender.lower()}@example.org>",
        f"To: {recipient} <{owner}@example.com>",
        "Subject: " + _words(r, 6),
        f"Date: {date}",
        f"Message-ID: <{identity}@example.org>",
        "MIME-Version: 1.0",
    ]
    before, fill, after = _layout(kind, r, f"=_{identity}", size)
    start = "\n".join([*head, *before]) + "\n"
    end = "".join(f"{line}\n" for line in after)
    return when, (start + _fitted(fill, r, size - len(start) - len(end)) + end).encode("ascii")


_Fill = Callable[[random.Random, int], Iterable[str]]


def _fitted(fill: _Fill, r: random.Random, size: int) -> str:
    """Lines of *fill*, exactly *size* octets of them (none if there is no room)."""
    if size <= 0:
        return ""
    body = ("\n".join(fill(r, size)) + "\n")[: size - 1].rstrip("\n")
    padding = size - 1 - len(body)
    return body + "\n" + ("-" * (padding - 1) + "\n" if padding else "")


def _words(r: random.Random, count: int) -> str:
    return " ".join(r.choice(WORDS) for _ in range(count))


def _trace_headers(r: random.Random, owner: str, identity: str, date: str) -> list[str]:
    signature = base64.b64encode(r.randbytes(256)).decode()
    digest = base64.b64encode(hashlib.sha256(identity.encode()).digest()).decode()
    return [
        f"Delivered-To: {owner}@example.com",
        f"Received: from mx{r.randrange(9)}.example.org (mx.example.org [192.0.2.{r.randrange(255)}])",
        f"\tby mail.example.com (Postfix) with ESMTPS id {identity[:10].upper()}",
        f"\tfor <{owner}@example.com>; {date}",
        f"Received: by 2001:db8::{r.randrange(65535):x} with SMTP id {identity[:12]};",
        f"        {date}",
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=2023;",
        f"\th=from:to:subject:date:message-id; bh={digest};",
        *(("\tb=" if at == 0 else "\t ") + signature[at : at + 70] for at in range(0, len(signature), 70)),
        "X-Spam-Status: No, score=-1.9 required=5.0 tests=BAYES_00,DKIM_SIGNED autolearn=ham",
    ]


def _text(r: random.Random, size: int) -> list[str]:
    """Lines of at most 76 octets, some quoted, some beginning with a full stop or with "From "."""
    lines, octets = [], 0
    while octets < size:
        chance = r.random()
        if chance < 0.020:
            line = f"{r.choice(FULL_STOPS)} {r.choice(WORDS)}"
        elif chance < 0.025:
            line = "."
        elif chance < 0.10:
            line = ""
        elif chance < 0.16:
            line = f"> {_words(r, 9)}"
        elif chance < 0.165:
            line = f"From {_words(r, 6)}"
        else:
            line = _words(r, 12)[:76]
        lines.append(line)
        octets += len(line) + 1
    return lines


def _quoted_printable(r: random.Random, size: int) -> list[str]:
    lines, octets = [], 0
    while octets < size:
        line = (
            _words(r, 8)[:55] + r.choice(("=C3=A5", "=C3=A4", "=C3=B6", "=E2=80=93 ", "=3D")) + r.choice(("=", ".", ""))
        )
        lines.append(line)
        octets += len(line) + 1
    return lines


@cache
def _base64_block() -> list[str]:
    """One fixed 8 MB block that every attachment is cut out of: encoding anew for each would take minutes."""
    return base64.encodebytes(random.Random(7).randbytes(57 * 140_000)).decode().split("\n")[:-1]


def _base64(r: random.Random, size: int) -> list[str]:
    block, needed = _base64_block(), size // 77 + 1
    at = r.randrange(0, len(block) - needed) if needed < len(block) else 0
    return block[at : at + needed]


def _layout(kind: str, r: random.Random, boundary: str, size: int) -> tuple[list[str], _Fill, list[str]]:
    """The lines before a body's bulk, what fills it, and the lines after."""
    text = ["Content-Type: text/plain; charset=us-ascii", ""]
    if kind == "plain":
        return ["Content-Transfer-Encoding: 7bit", *text], _text, []
    if kind == "qp":
        before = ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", ""]
        return before, _quoted_printable, []
    if kind == "alternative":
        before = [
            f'Content-Type: multipart/alternative; boundary="{boundary}"',
            "",
            f"--{boundary}",
            *text,
            *_text(r, max(size // 3 - 400, 200)),
            f"--{boundary}",
            "Content-Type: text/html; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable",
            "",
            "<html><body><p>",
        ]
        return before, _quoted_printable, ["</p></body></html>", f"--{boundary}--"]
    before = [
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        "This is a MIME message.",
        f"--{boundary}",
        *text,
        *_text(r, 400),
        f"--{boundary}",
        'Content-Type: application/pdf; name="report.pdf"',
        "Content-Transfer-Encoding: base64",
        'Content-Disposition: attachment; filename="report.pdf"',
        "",
    ]
    return before, _base64, ["", f"--{boundary}--"]
