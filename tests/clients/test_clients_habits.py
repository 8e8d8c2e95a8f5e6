"""What clients that cannot be run here are known to rely on, each played by a dialogue.

Gmail's fetcher wants messages oldest first, and after any ``-ERR`` comes back and begins again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from clients_maildrop import make_maildir

from geventpop3 import POP3Server
from geventpop3.auth.authenticator import FunctionAuthenticator
from geventpop3.errors import StoreUnavailable
from geventpop3.service import MaildropService
from geventpop3.stores import Maildrop
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing import play

SUBJECTS = ("oldest", "older", "newer", "newest")
NAMES = [f"{1_700_000_000 + number}.M{number}P1.example" for number in range(len(SUBJECTS))]
LOGIN = "S: +OK ...\nC: USER alice\nS: +OK ...\nC: PASS any\nS: +OK ...\n"
LISTING = "".join(["C: UIDL\nS: +OK ...\n", *(f"S: {n} {name}\n" for n, name in enumerate(NAMES, 1)), "S: .\n"])


class Failing(MaildirStore):
    """A Maildir of which one message cannot be read for the time being."""

    unreadable = ""

    def open(self, owner: str) -> Maildrop:
        maildrop = super().open(owner)
        retrieve = maildrop.retrieve

        def once(unique_id: str) -> Iterable[bytes]:
            if unique_id == self.unreadable:
                raise StoreUnavailable("the disk is slow today")
            return retrieve(unique_id)

        maildrop.retrieve = once  # type: ignore[method-assign]  # of this maildrop alone
        return maildrop


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    """A Maildir whose files were written in another order than their messages came."""
    folder = tmp_path / "alice"
    make_maildir(folder)
    messages = list(zip(NAMES, SUBJECTS, strict=True))
    random.Random(2449).shuffle(messages)
    for name, subject in messages:
        (folder / "new" / name).write_text(f"Subject: {subject}\n")
    return folder


@pytest.fixture
def store(alice: Path) -> Failing:
    return Failing(f"{alice.parent}/{{user}}")


@pytest.fixture
def pop3d(store: Failing) -> Iterator[POP3Server]:
    pop3d = POP3Server()
    pop3d.register(MaildropService(store, FunctionAuthenticator(lambda name, _: name, at_once=True)))
    yield pop3d
    pop3d.shutdown(0)


def fetch(number: int) -> str:
    subject = SUBJECTS[number - 1]
    return f"C: RETR {number}\nS: +OK {len(subject) + 11} octets\nS: Subject: {subject}\nS: .\n"


def test_messages_are_numbered_from_the_oldest_to_the_newest(pop3d: POP3Server) -> None:
    play(pop3d, LOGIN + LISTING + "".join(map(fetch, range(1, 5))) + "C: QUIT\nS: +OK ...\nS: <closed>")


def test_who_comes_back_after_a_refusal_finds_the_same_numbers_and_unique_ids(
    pop3d: POP3Server, store: Failing, alice: Path
) -> None:
    store.unreadable = NAMES[1]
    begun = LOGIN + LISTING + fetch(1) + "C: DELE 1\nS: +OK ...\n"
    play(pop3d, f"{begun}C: RETR 2\nS: -ERR [SYS/TEMP] ...\nC: <end>\nS: <closed>")
    assert sorted(path.name for path in (alice / "new").iterdir()) == NAMES
    store.unreadable = ""
    rest = "".join(f"{fetch(number)}C: DELE {number}\nS: +OK ...\n" for number in range(2, 5))
    play(pop3d, f"{begun}{rest}C: QUIT\nS: +OK goodbye, 4 messages removed\nS: <closed>")
    assert list((alice / "new").iterdir()) == []
