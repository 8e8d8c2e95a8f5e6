"""The notation of dialogues, and its mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.testing.script import Kind, ScriptError, load, parse, quote, transcribe


def only(text):
    (step,) = parse(text).steps
    return step


def octets(text):
    return only(text).octets


def test_a_line_of_the_client_goes_out_with_crlf():
    assert only("C: USER alice")[:2] == (Kind.SAY, b"USER alice\r\n")
    assert octets("C: USER  jörg") == "USER  jörg\r\n".encode()


def test_a_line_without_text_is_an_empty_line():
    assert octets("C:") == b"\r\n"
    assert only("S:")[:2] == (Kind.LINE, b"\r\n")


def test_strings_are_octets_and_no_more():
    assert only(r'C! "a\r\n\t\0\"\\\xff"')[:2] == (Kind.SAY, b'a\r\n\t\0"\\\xff')
    assert octets('C! "ü"') == "ü".encode()
    assert only(r'S! "a\rb\r\n"')[:2] == (Kind.OCTETS, b"a\rb\r\n")


def test_strings_in_a_row_may_be_repeated():
    assert octets(r'C! "NOOP" " " * 3 "x"*2 "\r\n"') == b"NOOP   xx\r\n"


def test_a_backslash_before_a_backslash_escapes_that_alone():
    assert octets(r'C! "\\x41\\n"') == rb"\x41\n"


def test_three_dots_match_the_rest_of_a_line():
    assert only("S: +OK ...")[:2] == (Kind.BEGINNING, b"+OK ")
    assert octets("S: +OK...") == b"+OK"
    assert octets("S: ...") == b""
    assert only("S: ..")[:2] == (Kind.LINE, b"..\r\n")


def test_closing_and_the_end_of_input():
    steps = parse("C: QUIT\nC: <end>\nS: <closed>").steps
    assert [step.kind for step in steps] == [Kind.SAY, Kind.END, Kind.CLOSED]
    assert [step.is_client for step in steps] == [True, True, False]


def test_a_digest_is_left_open():
    step = only("C: APOP alice <apop open sesame>")
    assert (step.octets, step.secret) == (b"APOP alice ", b"open sesame")


def test_comments_empty_lines_and_indentation_mean_nothing():
    dialogue = parse("\n    # RFC 1939\n\n    S: +OK ...\n\tC: QUIT\n    # not a step\n")
    assert [(step.number, step.text) for step in dialogue.steps] == [(4, "S: +OK ..."), (5, "C: QUIT")]
    assert dialogue.ways == ("whole", "lines", "octets")


def test_a_dialogue_says_which_way_it_cannot_be_played_and_why():
    dialogue = parse("# not whole: the buffer is thrown away\n# not octets: it takes a minute\nC: STLS")
    assert dialogue.impossible == {"whole": "the buffer is thrown away", "octets": "it takes a minute"}
    assert dialogue.ways == ("lines",)


def test_a_sentence_that_begins_with_not_is_a_comment():
    assert parse("# not everything is a directive\n# not now\nC: NOOP").ways == ("whole", "lines", "octets")


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("", "1: the script has no steps"),
        ("# a comment", "1: the script has no steps"),
        ("S: +OK\nX: what", "2: a line must begin with"),
        ("QUIT", "1: a line must begin with"),
        ("C", "1: a line must begin with"),
        ("C:QUIT", "1: add a blank after C:"),
        ('C!"x"', "1: add a blank after C!"),
        ("C: QUIT ", "1: the line has invisible characters: write C! and a string"),
        ("S: +OK\t...", "1: the line has invisible characters: write S! and a string"),
        ("C: a\u200bb", "1: the line has invisible characters"),
        ("C: <eof>", "1: unknown client event: only <end> exists"),
        ("S: <close>", "1: unknown server event: only <closed> exists"),
        ("S: <end>", "1: unknown server event: only <closed> exists"),
        ("C! x", "1: after ! give one or more strings"),
        ('C! "x', "1: after ! give one or more strings"),
        ('C! "x""y"', "1: after ! give one or more strings"),
        ('C! "x" * y', "1: after ! give one or more strings"),
        ("C!", "1: give at least one octet after !"),
        ('C! ""', "1: give at least one octet after !"),
        ('C! "x" * 0', "1: give at least one octet after !"),
        (r'C! "\q"', "1: a backslash in a string must begin"),
        (r'C! "\x4"', "1: a backslash in a string must begin"),
        ("S: <closed>\nC: QUIT", "2: no step can follow S: <closed>"),
        ("C: <end>\nC: QUIT", "2: the client cannot send after <end>"),
        ("C: <end>\nC: <end>", "2: the client cannot send after <end>"),
        ("# not whole", "1: give a reason: # not whole: reason"),
        ("# not whole:", "1: give a reason: # not whole: reason"),
        ("# not wohle: reason", "1: unknown way 'wohle': give one of whole, lines, octets"),
        ("C: NOOP\n# not whole: reason", "2: # not whole must be above the first step"),
        ("# not whole: a\n# not lines: b\n# not octets: c\nC: NOOP", "1: every way to play the script is excluded"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(text, trouble):
    with pytest.raises(ScriptError) as caught:
        parse(text, "some/file.pop3")
    assert str(caught.value).startswith(f"some/file.pop3:{trouble}")


def test_a_file_is_loaded_by_its_name(tmp_path):
    path = tmp_path / "quit.pop3"
    path.write_bytes("# Größe\r\nC: QUIT\r\n".encode())
    dialogue = load(path)
    assert dialogue.name == str(path)
    assert dialogue.steps[0].octets == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("sent", "lines"),
    [
        (b"", []),
        (b"+OK\r\n", ["S: +OK"]),
        (b"\r\n.\r\n", ["S:", "S: ."]),
        ("größe\r\n".encode(), ["S: größe"]),
        (b"+OK \r\n", [r'S! "+OK \r\n"']),
        (b"+OK\n", [r'S! "+OK\n"']),
        (b"+OK", ['S! "+OK"']),
        (b"...\r\n", [r'S! "...\r\n"']),
        (b"<closed>\r\n", [r'S! "<closed>\r\n"']),
        (b'"\\\r\xff\x00\t\r\n', [r'S! "\"\\\r\xff\0\t\r\n"']),
    ],
)
def test_what_a_server_sent_is_written_in_the_notation(sent, lines):
    assert transcribe(sent) == lines


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b" ", b"<a>", b"a", b'"', b"\\", b"\xc3\xa4", b"\xff"])))
def test_a_transcript_parsed_gives_the_octets_again(parts):
    sent = b"".join(parts)
    if sent:
        assert b"".join(step.octets for step in parse("\n".join(transcribe(sent))).steps) == sent


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=20))
def test_a_quoted_string_parsed_gives_the_octets_again(sent):
    assert octets(f"C! {quote(sent)}") == sent


def test_a_byte_order_mark_begins_no_line(tmp_path):
    path = tmp_path / "mark.pop3"
    path.write_bytes(b"\xef\xbb\xbfS: +OK ...\r\nC: QUIT\nS: +OK\n")
    assert load(path).steps == parse("S: +OK ...\nC: QUIT\nS: +OK\n").steps
