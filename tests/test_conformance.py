"""Every dialogue and every test that docs/conformance.md names exists, every rule has one, and every dialogue is named.

Below are tests of rules that the fixed maildrops of tests/scripts cannot show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geventpop3 import POP3Server
from geventpop3.auth.authenticator import FunctionAuthenticator
from geventpop3.service import MaildropService
from geventpop3.service.policy import PerUser
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing import play

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "conformance.md").read_text("utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")]
RULES = [row for row in ROWS if row[0].strip().isdigit()]
SECTIONS = [row for row in ROWS if re.match(r" \d{4} ", row[0])]


def named(text: str, pattern: str) -> set[str]:
    return set(re.findall(rf"`({pattern})`", text))


def test_every_test_that_is_named_exists() -> None:
    defined: set[str] = set()
    for path in TESTS.rglob("*.py"):
        defined.update(re.findall(r"^ *def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
    shown = named(PAGE, r"test_\w+")
    assert len(shown) > 80
    assert shown <= defined


def test_the_dialogues_that_are_named_are_those_that_there_are() -> None:
    assert named(PAGE, r"rfc\d+-\d+-[\w-]+") == {path.stem for path in (TESTS / "scripts").rglob("*.pop3")}


def test_every_rule_and_every_section_has_a_test_or_says_that_it_has_none() -> None:
    assert [int(row[0]) for row in RULES] == list(range(1, 44))
    assert len(SECTIONS) > 30
    for row in [*RULES, *SECTIONS]:
        assert named(row[-1], r"(?:test_|rfc\d)[\w-]+") or "no test" in row[-1], row


# What the site decides

HEADER = "Subject: Grüße\n\nHello.\n".encode()


@contextmanager
def site(**settings: Any) -> Iterator[tuple[POP3Server, MemoryStore]]:
    """A server that lets everybody in; alice has a message whose subject is in UTF-8."""
    store = MemoryStore({"alice": [HEADER]})
    pop3d = POP3Server()
    pop3d.register(MaildropService(store, FunctionAuthenticator(lambda name, _: name, at_once=True), **settings))
    try:
        yield pop3d, store
    finally:
        pop3d.shutdown()


LOGIN = """
S: +OK ...
C: USER alice
S: +OK ...
C: PASS any
"""


def test_a_login_too_soon_after_the_last_is_refused_and_the_delay_is_announced() -> None:
    with site(login_delay=600) as (pop3d, _):
        play(pop3d, f"{LOGIN}S: +OK ...\nC: QUIT\nS: +OK ...\nS: <closed>")
        play(pop3d, f"{LOGIN}S: -ERR [LOGIN-DELAY] ...\nC: QUIT\nS: +OK ...\nS: <closed>")


def capabilities(delay: str, expire: str | None) -> str:
    head = ["TOP", "USER", "SASL PLAIN LOGIN", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
    expiry = [] if expire is None else [f"EXPIRE {expire}"]
    lines = [*head, f"LOGIN-DELAY {delay}", *expiry, "UTF8 USER", "LANG"]
    return "C: CAPA\nS: +OK ...\n" + "".join(f"S: {line}\n" for line in lines)


def test_what_differs_by_user_is_told_for_all_before_login_and_exactly_after_it() -> None:
    delay, expire = PerUser(600, lambda owner: 60), PerUser(7, lambda owner: "never")
    with site(login_delay=delay, expire=expire) as (pop3d, _):
        play(
            pop3d,
            f"""
            S: +OK ...
            {capabilities("600 USER", "7 USER")}
            S: .
            C: USER alice
            S: +OK ...
            C: PASS any
            S: +OK ...
            {capabilities("60", "NEVER")}
            S: IMPLEMENTATION ...
            S: .
            """,
        )


def test_what_becomes_of_mail_is_told_only_where_the_site_said_so() -> None:
    for expire, told in ((None, None), ("never", "NEVER")):
        with site(expire=expire, login_delay=60) as (pop3d, _):
            play(pop3d, f"S: +OK ...\n{capabilities('60', told)}S: .\nC: QUIT\nS: +OK ...\nS: <closed>")


def test_with_expire_0_quit_removes_what_was_sent() -> None:
    with site(expire=0) as (pop3d, store):
        play(pop3d, f"{LOGIN}S: +OK ...\nC: QUIT\nS: +OK ...\nS: <closed>")
        assert len(store.messages("alice")) == 1
        message = "S: Subject: Grüße\nS:\nS: Hello.\nS: ."
        play(pop3d, f"{LOGIN}S: +OK ...\nC: RETR 1\nS: +OK ...\n{message}\nC: QUIT\nS: +OK ...\nS: <closed>")
        assert store.messages("alice") == []


def test_a_message_that_needs_utf_8_mode_is_refused_without_it_and_sent_in_it() -> None:
    with site(utf8_messages="refuse") as (pop3d, _):
        play(pop3d, f"{LOGIN}S: +OK ...\nC: RETR 1\nS: -ERR [UTF8] ...\nC: TOP 1 0\nS: -ERR [UTF8] ...")
        message = "S: Subject: Grüße\nS:\nS: Hello.\nS: ."
        utf8 = LOGIN.replace("C: USER", "C: UTF8\nS: +OK ...\nC: USER")
        play(pop3d, f"{utf8}S: +OK ...\nC: RETR 1\nS: +OK ...\n{message}")


def test_no_timestamp_where_no_clear_secret_is_kept() -> None:
    with site() as (pop3d, _):
        play(pop3d, f"S: +OK {pop3d.greeting}\nC: APOP alice {'0' * 32}\nS: -ERR ...\nC: QUIT\nS: +OK ...\nS: <closed>")
