"""Answers from a recording, without sockets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geventpop3.testing.replay import Recording, session_file, session_files
from geventpop3.testing.script import ScriptError, load, parse

RECORDED = """
# a comment
S: +OK hello
C: USER alice
S: +OK
C: PASS ****
S: +OK welcome
C: LIST
S: +OK
S: 1 5
S: .
C: QUIT
S: +OK bye
S: <closed>
"""


def replay(text, name="some.pop3"):
    return Recording(parse(text, name)).replay()


def answers(text, *said):
    session = replay(text)
    return [session.answer(line) for line in said]


def test_a_client_that_says_what_was_recorded_is_answered_as_recorded():
    session = replay(RECORDED)
    assert session.greeting() == b"+OK hello\r\n"
    said = [b"USER alice\r\n", b"PASS anything at all\r\n", b"LIST\r\n", b"QUIT\r\n"]
    expected = [b"+OK\r\n", b"+OK welcome\r\n", b"+OK\r\n1 5\r\n.\r\n", b"+OK bye\r\n"]
    for line, reply in zip(said, expected, strict=True):
        assert not session.closes
        assert session.answer(line) == reply
    assert session.closes
    assert session.differences == []


def test_a_client_that_says_something_else_reads_what_was_recorded():
    session = replay(RECORDED)
    session.answer(b"USER alice")
    wanted = "some.pop3:6: the recording has here: PASS ****"
    assert session.answer(b"PASSWORD sesame") == f"-ERR {wanted}\r\n".encode()
    assert session.differences == [wanted]
    assert session.answer(b"PASS sesame") == b"+OK welcome\r\n"


def test_after_the_end_nothing_is_known():
    session = replay("S: +OK\nC: NOOP\nS: +OK")
    assert session.answer(b"NOOP") == b"+OK\r\n"
    assert session.answer(b"NOOP") == b"-ERR some.pop3: the recording has here: the end\r\n"
    assert not session.closes


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("C: RETR 1", b"retr  1 "),
        ("C: USER ****", b"USER alice"),
        ("C: APOP alice ****", b"APOP alice 0123"),
        ("C: APOP alice <apop sesame>", b"APOP alice 0123"),
        ("C: APOP **** ****", b"APOP bob 0123"),
        ("C: PASS ****", b"PASS open sesame"),
        ("C: PASS open sesame", b"PASS open sesame"),
        ("C: AUTH PLAIN ****", b"auth PLAIN AGE="),
        ("C: ****", b"whatever it is"),
        ('C! "NOOP\\n"', b"NOOP"),
        ("C:", b""),
        ("C:", b" "),
    ],
)
def test_a_line_matches(recorded, said):
    assert answers(f"S: +OK\n{recorded}\nS: +OK yes", said) == [b"+OK yes\r\n"]


@pytest.mark.parametrize(
    ("recorded", "said", "wanted"),
    [
        ("C: RETR 1", b"RETR 2", b"RETR 1"),
        ("C: RETR 1", b"TOP 1", b"RETR 1"),
        ("C: RETR 1", b"", b"RETR 1"),
        ("C: APOP alice ****", b"APOP bob 0123", b"APOP alice ****"),
        ("C: APOP alice ****", b"APOP alice", b"APOP alice ****"),
        ("C: PASS ****", b"PASS", b"PASS ****"),
        ("C: PASS open sesame", b"PASS sesame", b"PASS open sesame"),
        ("C: ****", b"*", b"****"),
        ("C:", b"NOOP", b"an empty line"),
    ],
)
def test_a_line_differs(recorded, said, wanted):
    (answer,) = answers(f"S: +OK\n{recorded}\nS: +OK yes", said)
    assert answer == b"-ERR some.pop3:2: the recording has here: " + wanted + b"\r\n"


AUTH = 'S: +OK\nC: AUTH PLAIN\nS! "+ \\r\\n"\nC: {}\nS: +OK yes\nC: QUIT\nS: +OK'


def test_any_response_but_a_cancellation_matches_a_masked_one():
    assert answers(AUTH.format("****"), b"AUTH PLAIN", b"AGE=", b"QUIT") == [b"+ \r\n", b"+OK yes\r\n", b"+OK\r\n"]
    refused = answers(AUTH.format("****"), b"AUTH PLAIN", b"*")[1]
    assert refused == b"-ERR some.pop3:4: the recording has here: the response ****\r\n"


def test_a_response_that_is_not_masked_must_be_the_same():
    assert answers(AUTH.format("*"), b"AUTH PLAIN", b"*")[1] == b"+OK yes\r\n"
    refused = answers(AUTH.format("*"), b"AUTH PLAIN", b"AGE=")[1]
    assert refused == b"-ERR some.pop3:4: the recording has here: the response *\r\n"


def test_silence_is_none_and_closing_without_a_reply_is_known():
    session = replay("S: +OK\nC: NOOP\nC: <end>")
    assert session.answer(b"NOOP") is None
    assert not session.closes
    session = replay("S: +OK\nC: NOOP\nS: <closed>")
    assert (session.closes, session.answer(b"NOOP"), session.closes) == (False, None, True)


def test_a_server_may_close_after_the_greeting_or_cut_a_reply():
    assert replay("S: -ERR busy\nS: <closed>").closes
    silent = replay("S: <closed>")
    assert (silent.greeting(), silent.closes) == (b"", True)
    session = replay('S: +OK\nC: RETR 1\nS: +OK\nS! "half"\nS: <closed>')
    assert session.answer(b"RETR 1") == b"+OK\r\nhalf"
    assert session.closes


def test_quit_closes_also_if_the_client_said_more():
    session = replay("S: +OK\nC: QUIT\nC: NOOP\nC: NOOP\nS: +OK bye\nS: <closed>")
    assert session.answer(b"QUIT") == b"+OK bye\r\n"
    assert session.closes


def test_a_dialogue_of_a_client_that_does_not_wait_is_answered_line_by_line():
    text = 'S: +OK\nC: NOOP\nC! "STAT\\r\\nLIST\\r\\n" "LAST"\nS: +OK n\nS: +OK 1 5\nS: +OK\nS: 1 5\nS: .\n'
    text += "C: <end>\nS: -ERR"
    said = [b"NOOP", b"STAT", b"LIST", b"LAST"]
    assert answers(text, *said) == [b"+OK n\r\n", b"+OK 1 5\r\n", b"+OK\r\n1 5\r\n.\r\n", b"-ERR\r\n"]


def test_a_beginning_is_answered_as_far_as_it_is_known():
    session = replay("S: +OK ...\nC: UIDL 1\nS: +OK 1 abc...")
    assert session.greeting() == b"+OK\r\n"
    assert session.answer(b"UIDL 1") == b"+OK 1 abc\r\n"


def test_an_expected_line_that_is_no_text_is_shown_in_one_status_line():
    session = replay('S: +OK\nC! "\\xff" "x" * 600 "\\n"')
    answer = session.answer(b"NOOP")
    assert answer.startswith(b"-ERR some.pop3:2: the recording has here: \xef\xbf\xbdxxx")
    assert len(answer) <= 512
    assert answer.endswith(b"\r\n")


def test_connections_are_given_the_sessions_in_order_and_again():
    recording = Recording(parse("S: +OK 1"), parse("S: +OK 2"))
    assert len(recording) == 2
    assert [recording.replay().greeting() for _ in range(3)] == [b"+OK 1\r\n", b"+OK 2\r\n", b"+OK 1\r\n"]


def test_a_recording_has_a_session():
    with pytest.raises(ValueError, match="at least one"):
        Recording()


def test_a_recording_is_loaded_with_its_further_sessions(tmp_path):
    path = tmp_path / "x.pop3"
    with pytest.raises(FileNotFoundError):
        Recording.load(path)
    for number in (1, 2, 4):
        session_file(path, number).write_text(f"S: +OK {number}")
    assert list(session_files(path)) == [path, tmp_path / "x.pop3.2"]
    recording = Recording.load(str(path))
    assert len(recording) == 2
    (tmp_path / "x.pop3.2").write_text("nonsense")
    with pytest.raises(ScriptError, match=r"x\.pop3\.2:1"):
        Recording.load(path)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "scripts").glob("*.pop3")), ids=lambda path: path.stem
)
def test_any_dialogue_can_be_replayed(path):
    session = Recording(load(path)).replay()
    assert session.greeting().startswith(b"+OK")
    assert session.differences == []


# docs/recording.md

PAGE = (Path(__file__).parents[2] / "docs" / "recording.md").read_text("utf-8")


def test_what_the_page_shows_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (dialogue,) = re.findall(r"```pop3\n(.+?)```", PAGE, re.DOTALL)
    Path("example.pop3").write_text(dialogue, "utf-8")
    (program,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    names = {}
    exec(program, names)
    names["test_login"]()


def test_the_message_of_the_page_has_the_size_that_it_says():
    message = PAGE.partition("62 octets\n")[2].partition("S: .\n")[0]
    wire = [line.removeprefix("S:").removeprefix(" ") for line in message.splitlines()]
    assert sum(len(line.removeprefix(".")) + 2 for line in wire) == 62
