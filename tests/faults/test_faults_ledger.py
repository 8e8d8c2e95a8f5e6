"""The checker itself: each kind of damage, planted, is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults_ledger import Ledger, Outcome, message
from faults_serve import make_maildir, stored

OWNER = "anna"


@pytest.fixture
def ledger():
    ledger = Ledger()
    for identity in "abcd":
        ledger.deliver(OWNER, identity)
    return ledger


def show(ledger, identities, **changed):
    """What a session is shown after a restart; the updates settled by it."""
    shown = [(changed.get(f"uid_{each}", f"uid-{each}"), changed.get(each, message(each))) for each in identities]
    return ledger.settle(OWNER, ledger.expected(OWNER), shown)


def test_an_untouched_maildrop_is_no_violation(ledger):
    assert show(ledger, "abcd") == []
    assert show(ledger, "dcba") == []
    assert not ledger.violations


def test_messages_are_their_own_and_always_the_same():
    assert message("x") == message("x") != message("y")
    assert b"X-Identity: x\n" in message("x")
    assert message("x").endswith(b"\n")
    assert len({len(message(f"m{number}")) for number in range(50)}) > 40


@pytest.mark.parametrize("left", ["", "ab", "b"])
def test_an_acknowledged_removal_may_not_be_undone(ledger, left):
    ledger.answered(ledger.begin(OWNER, "ab"), b"+OK")
    show(ledger, [*left, "c", "d"])
    assert bool(ledger.violations) is bool(left)
    assert all("acknowledged" in text for text in ledger.violations)


@pytest.mark.parametrize("left", ["ab", "", "a"])
def test_an_unanswered_quit_is_all_or_nothing(ledger, left):
    update = ledger.begin(OWNER, "ab")
    assert show(ledger, [*left, "c", "d"]) == [update]
    assert update.outcome is (Outcome.REFUSED if left == "ab" else Outcome.DONE)
    assert bool(ledger.violations) is (left == "a")
    assert all("half done" in text for text in ledger.violations)


def test_an_unanswered_quit_stays_as_it_was_settled(ledger):
    ledger.begin(OWNER, "ab")
    show(ledger, "cd")
    show(ledger, "abcd")
    assert "acknowledged" in ledger.violations[0]


def test_a_refused_quit_removes_nothing(ledger):
    ledger.answered(ledger.begin(OWNER, "ab"), b"-ERR [SYS/TEMP]")
    show(ledger, "bcd")
    assert "lost" in ledger.violations[0]


def test_a_message_that_nobody_removed_may_not_be_lost(ledger):
    ledger.begin(OWNER, "a")
    show(ledger, "bd")
    assert ledger.violations == ["anna: lost, though nobody removed it: ['c']"]


def test_a_message_on_its_way_may_be_there_or_not(ledger):
    ledger.announce(OWNER, "e")
    show(ledger, "abcd")
    show(ledger, "abcde")
    assert not ledger.violations


def test_a_message_may_not_be_doubled(ledger):
    ledger.settle(
        OWNER, ledger.expected(OWNER), [*((f"uid-{each}", message(each)) for each in "abcd"), ("x", message("a"))]
    )
    assert any("doubled" in text for text in ledger.violations)


@pytest.mark.parametrize("torn", [message("a")[:-1], message("a")[:100], message("a") + b"x", message("b")])
def test_a_message_may_not_be_torn(ledger, torn):
    show(ledger, "abcd", a=torn)
    assert ledger.violations


def test_what_was_never_delivered_may_not_be_there(ledger):
    show(ledger, "abcd", a=b"From: nobody\n\n")
    assert "no message that was delivered" in ledger.violations[0]


def test_a_message_keeps_its_unique_id(ledger):
    show(ledger, "abcd")
    show(ledger, "abcd", uid_a="other")
    assert ledger.violations == ["anna: a has another unique-id now: other"]


def test_a_unique_id_is_never_used_again(ledger):
    ledger.deliver(OWNER, "e")
    show(ledger, "abcde")
    ledger.answered(ledger.begin(OWNER, "a"), b"+OK")
    ledger.deliver(OWNER, "f")
    show(ledger, "bcdef", uid_f="uid-a")
    assert ledger.violations == ["anna: uid-a is another message now: f"]


def test_crlf_line_ends_are_the_same_message(ledger):
    show(ledger, "abcd", a=message("a").replace(b"\n", b"\r\n"))
    assert not ledger.violations


@pytest.mark.parametrize("change", ["remove", "move"])
def test_a_maildir_that_changes_while_it_is_read_is_read_as_it_is_then(tmp_path, monkeypatch, change):
    """As a server changes it: UPDATE removes a message, a login moves one from new to cur."""
    make_maildir(tmp_path, [b"first", b"last"])
    going = tmp_path / "new" / "1700000001.M5P1.example"
    going.write_bytes(b"going")
    read = Path.read_bytes

    def change_once(path):
        if going.exists():
            if change == "move":
                (tmp_path / "cur" / f"{going.name}:2,").write_bytes(read(going))
            going.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", change_once)
    assert stored(tmp_path) == ([b"first", b"going", b"last"] if change == "move" else [b"first", b"last"])
