"""Plays every dialogue of tests/scripts, in every way, against one maildrop service with fixed maildrops.

    alice   password "sesame"             five messages: 23, 22, 0, 24 and 15 octets as sent, 84 in all
    bob     password " open  sesame "     no message
    carol   password "sesame"             no message
    dave    password "sesame"             another session has the maildrop

The server is pop.example.org and offers APOP; for the dialogues in tests/scripts/tls it has a certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from authority import Authority

from geventpop3 import POP3Server
from geventpop3.auth import ClearSecret, SecretAuthenticator
from geventpop3.server.tls import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing import Dialogue, How, load, play, play_over_socket, serve

DIALOGUES = [load(path) for path in sorted((Path(__file__).parent / "scripts").rglob("*.pop3"))]

MAIL = [
    b"Subject: one\n\nhello\n",
    b".first\r\n\r\n.\r\n..\r\nend",
    b"",
    b"Subject: four\n\na\rb\xe9\0\n",
    b"Subject: five\n",
]
PASSWORDS = {"alice": "sesame", "bob": " open  sesame ", "carol": "sesame", "dave": "sesame"}


class Passwords(SecretAuthenticator):
    """Knows the passwords above."""

    def authenticate(self, name: str, password: str) -> str | None:
        return name if PASSWORDS.get(name) == password else None

    def secret(self, name: str) -> ClearSecret | None:
        return ClearSecret(PASSWORDS[name].encode()) if name in PASSWORDS else None

    def answers_at_once(self) -> bool:
        return True


def app(tls: Certificates | None = None) -> POP3Server:
    store = MemoryStore({"alice": MAIL})
    store.open("dave")
    pop3d = POP3Server(hostname="pop.example.org", tls=tls)
    pop3d.register(MaildropService(store, Passwords()))
    return pop3d


Factories = Callable[[Dialogue], Callable[[], POP3Server]]


@pytest.fixture(scope="module")
def app_for(tmp_path_factory: pytest.TempPathFactory) -> Factories:
    """What makes the server for a dialogue."""
    certificates = Certificates([Authority().pair(tmp_path_factory.mktemp("tls"))])
    return lambda dialogue: partial(app, certificates) if Path(dialogue.name).parent.name == "tls" else app


WAYS = [
    pytest.param(dialogue, how, id=f"{Path(dialogue.name).stem}-{how}")
    for dialogue in DIALOGUES
    for how in dialogue.ways
]


@pytest.mark.parametrize(("dialogue", "how"), WAYS)
def test_a_dialogue_goes_as_written(dialogue: Dialogue, how: How, app_for: Factories) -> None:
    play(app_for(dialogue), dialogue, how)


@pytest.mark.parametrize("how", ["whole", "lines"])
def test_every_dialogue_goes_the_same_over_a_socket(how: How, app_for: Factories) -> None:
    for dialogue in DIALOGUES:
        if how in dialogue.ways:
            with serve(app_for(dialogue)) as address:
                play_over_socket(address, dialogue, how)
