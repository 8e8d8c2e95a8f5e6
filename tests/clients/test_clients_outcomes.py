"""The judgement of outcomes is right for clients that lose, double, damage, miss or hang."""

from __future__ import annotations

import poplib
import re
import sys
from pathlib import Path

import clients_polling
import pytest
import required
from clients_facts import EVERY, FACTS, Fact
from clients_faults import CASES, LATE, MAIL, REPLIES, Case, Step
from clients_outcome import WORDS, Outcome, Poll, judge, worst
from clients_pollers import CLIENTS, Client, Target
from clients_table import MISSING, PAGE, Results, holds, page
from table import each

from geventpop3.testing import Double
from geventpop3.testing.double.faults import KINDS
from geventpop3.testing.mail import AwkwardMessage

ONE, TWO, THREE, FOUR = MAIL
ALL = (*MAIL, LATE)
BROKEN = TWO[:200]


def first(status: int | None = 0, printed: str = "", stored: tuple[bytes, ...] = MAIL, left=()) -> Poll:
    return Poll(status, printed, MAIL, stored, left)


def last(*stored: bytes, left: tuple[bytes, ...] = ()) -> Poll:
    return Poll(0, "", ALL, stored, left)


@each(
    ("polls", "outcome"),
    [
        ((first(), last(*ALL)), Outcome("ok")),
        ((first(), last(*(AwkwardMessage("", "", octets).sent for octets in ALL))), Outcome("ok")),
        ((first(1, "no"), last(*ALL)), Outcome("error")),
        ((first(1, "no", (ONE,), MAIL[1:]), last(*ALL)), Outcome("error")),
        ((first(3), last(*ALL)), Outcome("silent", ("exit status 3, without a message",))),
        ((first(0, "", (ONE,), MAIL[1:]), last(*ALL)), Outcome("silent")),
        ((first(0, "oh", (ONE,), MAIL[1:]), last(*ALL)), Outcome("silent", ("exit status 0, with a message",))),
        ((first(left=(TWO,)), last(*ALL)), Outcome("silent", ("all was fetched, not all was removed",))),
        ((first(None), last(*ALL)), Outcome("hung")),
        ((first(-11), last(*ALL)), Outcome("crash", ("no exception is named",))),
        (
            (first(1, "Traceback (most recent call last):\n ...\nKeyError: 1\n"), last(*ALL)),
            Outcome("crash", ("KeyError: 1",)),
        ),
        ((first(), last(ONE, THREE, FOUR, LATE)), Outcome("lost", ("message 2",))),
        ((first(None), last(ONE, THREE, FOUR)), Outcome("lost", ("messages 2, 5", "the client also hung"))),
        (
            (first(), last(ONE, BROKEN, THREE, FOUR, LATE)),
            Outcome("damaged", (f"message 2: its first 200 of {len(TWO) - 1:,} octets",)),
        ),
        (
            (first(), last(ONE, TWO + b"more", THREE, FOUR, LATE)),
            Outcome("damaged", (f"message 2: other octets, {len(TWO) + 4:,} instead of {len(TWO) - 1:,}",)),
        ),
        (
            (first(), last(*ALL, b"\xff\x00")),
            Outcome("damaged", ("1 stored as a message that no message has the octets of",)),
        ),
        ((first(), last(*ALL, b"", b"")), Outcome("damaged", ("2 stored as messages without any octet",))),
        ((first(), last(*ALL, ONE, TWO)), Outcome("duplicated", ("messages 1, 2 stored more than once",))),
        ((first(), last(*ALL, BROKEN)), Outcome("duplicated", ("a broken copy of message 2 beside the good one",))),
        ((first(), last(*MAIL, left=(LATE,))), Outcome("missed", ("message 5",))),
        ((first(), last(ONE, BROKEN, THREE, FOUR, LATE, left=(TWO,))), Outcome("missed", ("message 2",))),
        ((first(), last(*ALL, left=(ONE, THREE))), Outcome("left", ("messages 1, 3",))),
        (
            (first(), last(TWO, TWO, THREE, FOUR, left=(LATE,))),
            Outcome("lost", ("message 1", "duplicated: message 2 stored more than once", "missed: message 5")),
        ),
    ],
)
def test_the_worst_outcome_is_named_and_the_others_are_noted(polls: tuple[Poll, Poll], outcome: Outcome) -> None:
    assert judge(*polls) == outcome
    assert outcome.word in WORDS


def test_a_status_that_means_no_mail_is_no_error() -> None:
    assert judge(first(1), last(*ALL), (0, 1)) == Outcome("ok")


@each(
    ("words", "word", "notes"),
    [
        ("left left", "left", ("left",)),
        ("ok lost ok ok lost", "lost", ("lost", "not each time: ok")),
        ("ok lost ok ok ok", "ok", ("ok",)),
        (
            "error lost ok hung left",
            "lost",
            ("lost", *(f"not each time: {word}" for word in ["left", "hung", "error", "ok"])),
        ),
    ],
)
def test_of_several_times_the_worst_that_came_twice_is_named(words: str, word: str, notes: tuple[str, ...]) -> None:
    assert worst([Outcome(each_word, (each_word,)) for each_word in words.split()]) == Outcome(word, notes)


# Planted clients


PLANTED = """
import poplib, sys, time
from pathlib import Path

host, port, folder, habit = sys.argv[1:]
box = poplib.POP3(host, int(port), timeout=60)
box.user("alice")
box.pass_("sesame")
for line in box.list()[1]:
    number = int(line.split()[0])
    try:
        content = b"\\r\\n".join(box.retr(number)[1])
    except poplib.error_proto:
        if habit == "lose":
            box.dele(number)
        if habit == "hang":
            time.sleep(600)
        if habit == "damage":
            Path(folder, f"{time.time_ns()}").write_bytes(b"Subject: message %d" % number)
            box.dele(number)
        if habit == "crash":
            raise
        if habit == "explain":
            sys.exit("a message could not be fetched")
        continue
    Path(folder, f"{time.time_ns()}").write_bytes(content)
    if habit != "duplicate":
        box.dele(number)
box.quit()
"""

RETR_FAILS = Case("RETR", "error", (Step("RETR", "error"),))


def planted(folder: Path, habit: str) -> Client:
    """A client with a bad habit when RETR fails."""
    program = folder / "planted.py"
    program.write_text(PLANTED)

    def command(target: Target) -> list[object]:
        target.home.fetched.mkdir(exist_ok=True)
        return [sys.executable, program, target.home.host, target.home.address.port, target.home.fetched, habit]

    return Client("planted", "", command, lambda: "1")


@pytest.mark.parametrize(
    ("habit", "outcome"),
    [
        ("lose", Outcome("lost", ("message 1",))),
        ("damage", Outcome("damaged", ("message 1: other octets, 18 instead of 86",))),
        ("duplicate", Outcome("duplicated", ("messages 2, 3, 4 stored more than once", "left: messages 1, 5"))),
        ("crash", Outcome("crash", ("poplib.error_proto: b'-ERR this error was asked for'",))),
        ("explain", Outcome("error")),
        ("go on", Outcome("silent")),
    ],
)
def test_a_planted_client_is_found_out(tmp_path: Path, habit: str, outcome: Outcome) -> None:
    found, transcript = clients_polling.play(planted(tmp_path, habit), RETR_FAILS)
    assert found == outcome, transcript


def test_a_planted_client_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_polling, "LIMIT", 2.0)
    found, transcript = clients_polling.play(planted(tmp_path, "hang"), RETR_FAILS)
    assert found == Outcome("hung"), transcript
    assert "F: error on RETR (nth=1)" in transcript


def test_a_fault_that_a_client_never_meets_is_none(tmp_path: Path) -> None:
    case = Case("TOP", "error", (Step("TOP", "error"),))
    assert clients_polling.play(planted(tmp_path, "lose"), case)[0] == Outcome("-")


def test_a_fault_of_the_first_poll_does_not_happen_in_the_second(tmp_path: Path) -> None:
    case = Case("RETR", "error", (Step("RETR", "error", (("nth", 5),)),))
    outcome, transcript = clients_polling.play(planted(tmp_path, "lose"), case)
    assert outcome == Outcome("-")
    assert "RETR" in transcript
    assert "F:" not in transcript
    later = Case("RETR", "error", (Step("RETR", "error", (("nth", 5),), later=True),))
    assert clients_polling.play(planted(tmp_path, "lose"), later)[0] == Outcome("lost", ("message 5",))


# Cases


def test_each_kind_of_fault_and_each_moment_has_a_case() -> None:
    steps = [step for case in CASES for step in case.steps]
    assert {step.how for step in steps} == set(KINDS)
    assert {"connect", "greeting", "tls", "auth", "UIDL", "LIST", "RETR", "DELE", "QUIT"} <= {step.on for step in steps}
    assert len({case.title for case in CASES}) == len(CASES)


def test_octets_from_the_end_are_counted_in_the_reply_that_the_client_gets() -> None:
    with Double(tls="off") as double:
        box = double.maildrop("alice", "sesame")
        box.deliver(*MAIL)
        client = poplib.POP3(double.host, double.port, timeout=60)
        client.user("alice")
        client.pass_("sesame")
        client.retr(2)
        client.top(2, 999)
        client.quit()
        double.wait_for(sessions=1)
        sent = {command.verb: command.octets for command in box.sessions[0].commands}
    assert {verb: sent[verb] for verb in REPLIES} == REPLIES
    step = Step("RETR", "close", (("nth", 2), ("after_octets", -3)))
    for fetches, octets in REPLIES.items():
        by = step.by(fetches, 1)
        assert by == Step(fetches, "close", (("nth", 2), ("after_octets", octets - 3)))
    assert Step("RETR", "wrong-size").by("TOP", 1) is None
    assert Step("QUIT", "error").by("RETR", 6) == Step("QUIT", "error", (("nth", 6),))


# The page


def made(word: str = "ok") -> Results:
    outcome = Outcome(word, ("a note",) if word != "ok" else ())
    of_client = {case.title: outcome for case in CASES}
    names = [client.name for client in CLIENTS]
    return Results("2000-01-02", dict.fromkeys(names[1:], "1.2"), dict.fromkeys(names[1:], of_client))


def cells(text: str) -> dict[tuple[str, str], str]:
    """Return the outcome for each client and title of a case, as the table in *text* says it."""
    _, _, table = text.partition("\n## Table\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    _, _, *names = rows[0]
    found = {}
    moment = ""
    for first_cell, what, *outcomes in rows[2:]:
        moment = first_cell.strip("`") or moment
        for name, outcome in zip(names, outcomes, strict=True):
            found[name, f"{moment}: {what}"] = outcome.partition(" (")[0].strip("*")
    return found


def test_a_client_that_is_missing_is_listed_as_such() -> None:
    found = cells(page(made("lost")))
    name, *others = (client.name for client in CLIENTS)
    assert {found[name, case.title] for case in CASES} == {MISSING}
    assert {found[other, case.title] for other in others for case in CASES} == {"lost"}


def test_a_finding_is_written_only_while_its_cells_show_it() -> None:
    fact = Fact("poplib", "It loses mail.", ((CASES[0].title, "lost"),))
    assert holds(fact, made("lost"))
    assert "- It loses mail." in page(made("lost"), [fact])
    assert not holds(fact, made("ok"))
    assert "- It loses mail." not in page(made("ok"), [fact])


def test_the_page_has_an_outcome_for_each_client_and_case() -> None:
    text = PAGE.read_text("utf-8")
    found = cells(text)
    assert set(found) == {(client.name, case.title) for client in CLIENTS for case in CASES}, "make clients"
    assert set(found.values()) <= set(WORDS)
    for client in CLIENTS:
        assert re.search(rf"^\| {client.name} \| \d\S+.* \| .+ \|$", text, re.MULTILINE)
        assert found[client.name, CASES[0].title] == "ok"
    assert re.search(r"on 20\d\d-\d\d-\d\d, ", text)
    for how in KINDS:
        titles = [case.title for case in CASES if any(step.how == how for step in case.steps)]
        assert any(found[client.name, title] != "-" for client in CLIENTS for title in titles), how


def test_the_findings_of_the_page_are_shown_by_its_table() -> None:
    text = PAGE.read_text("utf-8")
    found = cells(text)
    titles = {case.title for case in CASES}
    names = [client.name for client in CLIENTS]
    for fact in FACTS:
        assert fact.client in (EVERY, *names)
        assert {title for title, _ in fact.shown_by} <= titles
        assert {word for _, word in fact.shown_by} <= set(WORDS)
        shown = all(
            found[name, title] == word
            for name in (names if fact.client == EVERY else [fact.client])
            for title, word in fact.shown_by
        )
        assert (f"- {fact.text}\n" in text) == shown, fact.text


def test_the_poller_on_poplib_names_errors_and_trusts_what_is_whole() -> None:
    (poller,) = (client for client in CLIENTS if client.name == "poplib")
    by_title = {case.title: case for case in CASES}
    wanted = {"none: no fault": "ok", "RETR: close, after 300 octets": "error", "RETR: truncate": "damaged"}
    for title, word in wanted.items():
        outcome, transcript = clients_polling.play(poller, by_title[title])
        assert outcome.word == word, transcript


@pytest.mark.client
def test_curl_says_that_a_login_fails_and_damages_what_breaks_off(tmp_path: Path) -> None:
    required.program("curl")
    (curl,) = (client for client in CLIENTS if client.name == "curl")
    assert curl.version()
    by_title = {case.title: case for case in CASES}
    wanted = {
        "none: no fault": "ok",
        "auth: error, `[IN-USE]`": "error",
        "RETR: truncate": "damaged",
        "QUIT: error, nothing is removed": "silent",
    }
    for title, word in wanted.items():
        outcome, transcript = clients_polling.play(curl, by_title[title])
        assert outcome.word == word, transcript
