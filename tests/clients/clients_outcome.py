"""The outcome for the mail: judged by the stored messages, the maildrop and the ends of two polls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

WORDS = {
    "lost": "a message is neither in the maildrop nor stored",
    "damaged": "a message is stored with other octets and the good copy is gone, or noise is stored as a message",
    "duplicated": "a message is stored twice, or there is a broken copy beside the good one",
    "missed": "a message is in the maildrop and was not fetched, although the fault was over",
    "left": "a message is stored, and stays in the maildrop",
    "hung": "the first poll did not end, or waits for a promise that is never settled; the second fetched the rest",
    "crash": "the first poll ended with an exception that its calls do not raise; the second fetched the rest",
    "error": "the first poll ended with a message and an exit status that say so; the second fetched the rest",
    "silent": "the first poll ended with exit status 0, or without a message; the second fetched the rest",
    "ok": "the first poll fetched and removed all mail",
    "-": "the fault did not happen: the client does not use this command",
}
"""The outcomes of a case, the worst first."""

_ID = re.compile(rb"Message-ID:\s*<(\d+)@example\.org>|Subject: message (\d+)", re.IGNORECASE)
_CRASH = re.compile(r"Traceback \(most recent|^\s+at .*:\d+:\d+\)?$|PHP Fatal|Segmentation fault", re.MULTILINE)


class Poll(NamedTuple):
    """One run of a client: its exit status, None if it was killed as it hung, and what it printed.

    *sent* are all messages that were delivered before, *stored* and *left* those that are stored and in the maildrop
    after it.
    """

    status: int | None
    printed: str
    sent: Sequence[bytes]
    stored: Sequence[bytes]
    left: Sequence[bytes]


class Outcome(NamedTuple):
    """One of ``WORDS``, and what else a reader should know about it."""

    word: str
    notes: tuple[str, ...] = ()


def plain(octets: bytes) -> bytes:
    """Return a message without what may differ: line ends are LF, and the last line may have one or none."""
    return octets.replace(b"\r\n", b"\n").removesuffix(b"\n")


def judge(first: Poll, last: Poll, well: Sequence[int] = (0,)) -> Outcome:
    """Say what became of the mail in two polls. *well* are the exit statuses that say that nothing failed."""
    word, notes = _of_mail(last)
    if word:
        return Outcome(word, (*notes, *_also(first)))
    return _of_client(first, well)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the worst outcome that came twice, with a note if there were better ones: one alone may be chance."""
    counted = Counter(outcome.word for outcome in outcomes)
    word, *better = [word for word in WORDS if counted[word] > 1] or [word for word in WORDS if counted[word]]
    outcome = next(outcome for outcome in outcomes if outcome.word == word)
    return Outcome(word, (*outcome.notes, *(f"not each time: {other}" for other in better)))


def _of_mail(last: Poll) -> tuple[str, tuple[str, ...]]:
    sent = last.sent
    stored = Counter(plain(octets) for octets in last.stored)
    left = {plain(octets) for octets in last.left}
    good = {number: stored.pop(plain(octets), 0) for number, octets in enumerate(sent, 1)}
    broken: dict[int | None, list[bytes]] = {}
    for octets in stored.elements():
        named = _ID.search(octets)
        broken.setdefault(int(named[1] or named[2]) if named else None, []).append(octets)
    noise = [_noise(broken[None])] if None in broken else []

    def those(*, copies: range, in_maildrop: bool, has_broken: bool) -> list[int]:
        return [
            number
            for number, octets in enumerate(sent, 1)
            if good[number] in copies and (plain(octets) in left) == in_maildrop and (number in broken) == has_broken
        ]

    none, one, several = range(1), range(1, 2), range(2, len(last.stored) + 2)
    gone = those(copies=none, in_maildrop=False, has_broken=False)
    damaged = those(copies=none, in_maildrop=False, has_broken=True)
    waiting = those(copies=none, in_maildrop=True, has_broken=False) + those(
        copies=none, in_maildrop=True, has_broken=True
    )
    twice = [number for number, copies in good.items() if copies in several]
    beside = [number for number in broken if number is not None and good.get(number)]
    staying = those(copies=one, in_maildrop=True, has_broken=False)
    found = [
        ("lost", [_messages(gone)] if gone else []),
        ("damaged", [*(_damage(number, sent, broken[number]) for number in damaged), *noise]),
        (
            "duplicated",
            ([f"{_messages(twice)} stored more than once"] if twice else [])
            + ([f"a broken copy of {_messages(sorted(beside))} beside the good one"] if beside else []),
        ),
        ("missed", [_messages(sorted(waiting))] if waiting else []),
        ("left", [_messages(staying)] if staying else []),
    ]
    bad = [(word, notes) for word, notes in found if notes]
    if not bad:
        return "", ()
    (word, notes), *others = bad
    return word, (*notes, *(f"{other}: {', '.join(more)}" for other, more in others))


def _also(first: Poll) -> tuple[str, ...]:
    if first.status is None:
        return ("the client also hung",)
    if _CRASH.search(first.printed) or first.status < 0:
        return ("the client also crashed",)
    return ()


def _of_client(first: Poll, well: Sequence[int]) -> Outcome:
    if first.status is None:
        return Outcome("hung")
    if _CRASH.search(first.printed) or first.status < 0:
        return Outcome("crash", (_last_line(first.printed),))
    fetched = {plain(octets) for octets in first.stored} >= {plain(octets) for octets in first.sent}
    failed = first.status not in well
    if failed and first.printed.strip():
        return Outcome("error")
    if failed:
        return Outcome("silent", (f"exit status {first.status}, without a message",))
    if fetched and not first.left:
        return Outcome("ok")
    notes = ["exit status 0, with a message"] if first.printed.strip() else []
    notes += ["all was fetched, not all was removed"] if fetched else []
    return Outcome("silent", tuple(notes))


def _damage(number: int, sent: Sequence[bytes], copies: Sequence[bytes]) -> str:
    whole = plain(sent[number - 1])
    (copy, *_) = copies
    if whole.startswith(copy):
        return f"message {number}: its first {len(copy):,} of {len(whole):,} octets"
    return f"message {number}: other octets, {len(copy):,} instead of {len(whole):,}"


def _messages(numbers: Sequence[int]) -> str:
    return f"message{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _noise(copies: Sequence[bytes]) -> str:
    what = "without any octet" if not any(copies) else "that no message has the octets of"
    return (
        f"{len(copies)} stored as a message {what}" if len(copies) == 1 else f"{len(copies)} stored as messages {what}"
    )


def _last_line(printed: str) -> str:
    lines = [
        line.strip() for line in printed.splitlines() if re.match(r"[\w.]*([Ee]rror|Exception)\w*: ", line.strip())
    ]
    return lines[-1] if lines else "no exception is named"
