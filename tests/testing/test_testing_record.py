"""Recordings without sockets: division into commands and replies, masks, filler, the dialogue that is written."""

from __future__ import annotations

import base64
import re
from itertools import chain

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geventpop3.testing.recording.filler import Filler, fill
from geventpop3.testing.recording.masks import Masks
from geventpop3.testing.recording.recorder import NO_TLS, Recorder, transcribe_client
from geventpop3.testing.recording.splitter import DialoguePart, Ended, Heard, Said, Splitter
from geventpop3.testing.replay import Recording
from geventpop3.testing.script import Kind, parse
from geventpop3.wire.stuffing import count_octets

END = b""


def b64(octets):
    return base64.b64encode(octets)


def recorded(turns, **options):
    """The recorder of a session, with all that it gave: *turns* are ("C", octets) and ("S", octets), or END."""
    recorder = Recorder(**options)
    for side, octets in turns:
        (recorder.client if side == "C" else recorder.server)(octets)
    return recorder


def lines(turns, **options):
    return recorded(turns, **options).lines


def lockstep(*exchanges, greeting=b"+OK hello\r\n"):
    """Turns of a client that waits for each reply, and of a server that then closes."""
    turns = [("S", greeting)]
    for said, reply in exchanges:
        turns += [("C", said), ("S", reply)]
    return [*turns, ("S", END)]


def command(line, **options):
    return Masks(**options).command(line)


# The division into commands and replies


def events(turns):
    splitter = Splitter()
    found = []
    for side, octets in turns:
        if octets:
            (splitter.client if side == "C" else splitter.server)(octets)
        else:
            (splitter.client_ended if side == "C" else splitter.server_ended)()
        found += splitter.events()
    return found


def parts(turns):
    return [event.part for event in events(turns) if isinstance(event, Heard)]


def test_a_pipelining_client_is_divided_as_one_that_waits():
    greeting = ("S", b"+OK\r\n")
    one, two, three = b"LIST\r\n", b"UIDL 1\r\n", b"QUIT\r\n"
    replies = [b"+OK\r\n1 5\r\n.\r\n", b"+OK 1 abc\r\n", b"+OK bye\r\n"]
    waits = [greeting, ("C", one), ("S", replies[0]), ("C", two), ("S", replies[1]), ("C", three), ("S", replies[2])]
    assert events([greeting, ("C", one + two + three), ("S", b"".join(replies))]) == events(waits)
    assert [event.octets for event in events(waits) if isinstance(event, Said)] == [one, two, three]


def test_a_client_that_speaks_first_is_held_until_the_greeting():
    assert events([("C", b"NOOP\r\n")]) == []
    heard = Heard(b"+OK\r\n", DialoguePart.STATUS, "")
    assert events([("C", b"NOOP\r\n"), ("S", b"+OK\r\n")]) == [heard, Said(b"NOOP\r\n", "NOOP", response=False)]


@pytest.mark.parametrize("said", [b"LIST", b"uidl ", b"CAPA", b"RETR 1", b"TOP 1 0", b"LANG", b"AUTH"])
def test_a_multi_line_response_ends_with_the_termination_octet(said):
    body = b"+OK\r\n+OK no status line\r\n..\r\n.\r\n"
    turns = [("S", b"+OK\r\n"), ("C", said + b"\r\n"), ("S", body), ("S", b"-ERR timeout\r\n")]
    expected = [
        DialoguePart.STATUS,
        DialoguePart.STATUS,
        DialoguePart.BODY,
        DialoguePart.BODY,
        DialoguePart.TERMINATION,
        DialoguePart.STATUS,
    ]
    assert parts(turns) == expected


@pytest.mark.parametrize("said", [b"LIST 1", b"UIDL 1", b"LANG de", b"AUTH X", b"STAT", b"XTND X"])
def test_any_other_reply_is_one_line(said):
    turns = [("S", b"+OK\r\n"), ("C", said + b"\r\n"), ("S", b"+OK\r\nmore\r\n")]
    assert parts(turns) == [DialoguePart.STATUS, DialoguePart.STATUS, DialoguePart.STRAY]


def test_a_refused_command_has_no_body():
    assert parts([("S", b"+OK\r\n"), ("C", b"RETR 9\r\n"), ("S", b"-ERR\r\nx\r\n")])[1:] == [
        DialoguePart.STATUS,
        DialoguePart.STRAY,
    ]


def test_a_bare_lf_ends_a_body_only_if_the_status_line_has_it_too():
    turns = [("S", b"+OK\r\n"), ("C", b"RETR 1\r\n"), ("S", b"+OK\n.\n")]
    assert parts(turns)[1:] == [DialoguePart.STATUS, DialoguePart.TERMINATION]
    turns[-1] = ("S", b"+OK\r\n.\n.\r\n")
    assert parts(turns)[1:] == [DialoguePart.STATUS, DialoguePart.BODY, DialoguePart.TERMINATION]


def test_what_follows_a_challenge_is_a_response_and_what_follows_a_refusal_is_a_command():
    turns = [("S", b"+OK\r\n"), ("C", b"AUTH LOGIN\r\nQUIT\r\nUVVJVA==\r\nQUIT\r\n")]
    turns += [("S", b"+ VXNlcg==\r\n"), ("S", b"+\r\n"), ("S", b"-ERR no\r\n"), ("S", b"+OK bye\r\n")]
    said = [(event.verb, event.response) for event in events(turns) if isinstance(event, Said)]
    assert said == [("AUTH", False), ("AUTH", True), ("AUTH", True), ("QUIT", False)]
    assert parts(turns)[1:] == [
        DialoguePart.CHALLENGE,
        DialoguePart.CHALLENGE,
        DialoguePart.STATUS,
        DialoguePart.STATUS,
    ]


def test_both_ends_are_reported_once_and_a_held_line_is_dropped():
    assert events([("S", b"+OK\r\n"), ("C", END), ("S", END), ("S", END)])[1:] == [Ended(True), Ended(False)]
    assert events([("C", b"NOOP\r\n"), ("S", END)]) == [Ended(False)]


def test_cut_lines_are_there_once_their_stream_has_ended():
    turns = [("S", b"+OK\r\n"), ("C", b"QUI"), ("C", END), ("S", b"-ER"), ("S", END)]
    assert events(turns)[1:] == [
        Said(b"QUI", "QUI", response=False),
        Ended(client=True),
        Heard(b"-ER", DialoguePart.STRAY, "QUI"),
        Ended(client=False),
    ]


def test_the_end_of_input_waits_for_the_reply():
    turns = [("S", b"+OK\r\n"), ("C", b"STAT\r\n"), ("C", END)]
    assert events(turns)[-1] == Said(b"STAT\r\n", "STAT", response=False)
    assert events([*turns, ("S", b"+OK 0 0\r\n")])[-1] == Ended(client=True)


def test_octets_that_are_held_are_counted():
    splitter = Splitter()
    splitter.client(b"NOOP\r\nNO")
    assert (splitter.held, splitter.is_waiting) == (8, True)
    splitter.server(b"+OK\r\n+OK\r\n")
    assert len(list(splitter.events())) == 3
    assert (splitter.held, splitter.is_waiting) == (2, False)


# Masks


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        (b"USER alice\r\n", b"USER alice\r\n"),
        (b"USER\r\n", b"USER\r\n"),
        (b"USER alice sesame\r\n", b"USER alice ****\r\n"),
        (b"PASS sesame\r\n", b"PASS ****\r\n"),
        (b"PASS  open sesame  \r\n", b"PASS  ****\r\n"),
        (b" pass\tsesame\n", b" pass\t****\n"),
        (b"PASS \r\n", b"PASS \r\n"),
        (b"PASS sesame", b"PASS ****"),
        (b"APOP alice 0123456789abcdef\r\n", b"APOP alice ****\r\n"),
        (b"APOP alice\r\n", b"APOP alice\r\n"),
        (b"AUTH\r\n", b"AUTH\r\n"),
        (b"AUTH PLAIN\r\n", b"AUTH PLAIN\r\n"),
        (b"AUTH PLAIN =\r\n", b"AUTH PLAIN =\r\n"),
        (b"auth plain AGFsaWNlAHNlc2FtZQ==\r\n", b"auth plain ****\r\n"),
        (b"AUTH AGFsaWNlAHNlc2FtZQ==\r\n", b"AUTH ****\r\n"),
        (b"AUTH XOAUTH2 not base64\r\n", b"AUTH XOAUTH2 ****\r\n"),
        (b"AGFsaWNlAHNlc2FtZQ\r\n", b"****\r\n"),
        (b"sesame\r\n", b"****\r\n"),
        (b"STAT\r\n", b"STAT\r\n"),
        (b"TOP 1  0 \r\n", b"TOP 1  0 \r\n"),
        (b"\r\n", b"\r\n"),
        (b"  \r\n", b"  \r\n"),
        (b"\x0b\r\n", b"\x0b\r\n"),
    ],
)
def test_a_command_is_written_without_its_secret(line, masked):
    assert command(line) == masked


def test_an_unknown_command_keeps_its_verb_once_somebody_is_logged_in():
    masks = Masks()
    masks.logged_in = True
    assert masks.command(b"XTND XLST Subject\r\n") == b"XTND ****\r\n"
    assert masks.command(b"XIDLE\r\n") == b"XIDLE\r\n"
    assert masks.command(b"c2VzYW1l 1\r\n") == b"****\r\n"


def test_names_are_masked_if_asked_for():
    assert command(b"USER alice\r\n", mask_names=True) == b"USER ****\r\n"
    assert command(b"APOP alice 0123\r\n", mask_names=True) == b"APOP **** ****\r\n"
    masks = Masks(mask_names=True)
    masks.command(b"USER bob\r\n")
    masks.logged_in = True
    assert masks.reply(b"+OK bob has 2 messages, bobby\r\n") == b"+OK **** has 2 messages, bobby\r\n"


def test_a_name_is_masked_in_another_case_and_without_its_domain_too():
    masks = Masks(mask_names=True)
    masks.command(b"USER Alice@Example.org\r\n")
    assert masks.reply(b"+OK alice@example.org, ALICE\r\n") == b"+OK ****, ****\r\n"


def test_a_name_of_digits_leaves_the_numbers_of_a_listing():
    masks = Masks(mask_names=True)
    masks.command(b"USER 1234\r\n")
    assert masks.reply(b"+OK 2 1234\r\n") == b"+OK 2 1234\r\n"
    assert masks.reply(b"1 1234\r\n") == b"1 1234\r\n"
    assert masks.reply(b"+OK 2 1234 of 1234\r\n") == b"+OK 2 1234 of ****\r\n"
    assert masks.reply(b"1 1234.eml\r\n") == b"1 ****.eml\r\n"


def test_a_server_that_repeats_a_secret_before_the_login_is_masked():
    masks = Masks()
    masks.command(b"USER alice\r\n")
    masks.command(b"PASS open sesame\r\n")
    assert masks.reply(b"-ERR xopen sesame is wrong, alice\r\n") == b"-ERR x**** is wrong, alice\r\n"
    masks.logged_in = True
    assert masks.reply(b"+OK open sesame\r\n") == b"+OK ****\r\n"
    masks.command(b"STAT\r\n")
    assert masks.reply(b"+OK open sesame\r\n") == b"+OK open sesame\r\n"


def test_a_short_secret_is_masked_as_a_word():
    masks = Masks()
    masks.command(b"PASS no\r\n")
    assert masks.reply(b"-ERR not no\r\n") == b"-ERR not ****\r\n"


def test_a_password_that_is_the_name_stays_a_name():
    masks = Masks()
    masks.command(b"USER alice\r\n")
    masks.command(b"PASS alice\r\n")
    assert masks.reply(b"-ERR alice is unknown\r\n") == b"-ERR alice is unknown\r\n"


@pytest.mark.parametrize(
    ("mechanism", "responses", "names", "secrets"),
    [
        (b"PLAIN", [b"boss\0alice\0sesame"], [b"boss", b"alice"], [b"sesame"]),
        (b"LOGIN", [b"alice", b"sesame"], [b"alice"], [b"sesame"]),
        (b"CRAM-MD5", [b"alice in 0123456789abcdef"], [b"alice in"], [b"0123456789abcdef"]),
        (b"XOAUTH2", [b"user=alice\1auth=Bearer ya29.t0ken\1\1"], [b"alice"], [b"ya29.t0ken"]),
        (b"OAUTHBEARER", [b"n,a=alice,\1host=x\1auth=Bearer ya29.t0ken\1\1"], [b"alice"], [b"ya29.t0ken"]),
        (b"SCRAM-SHA-256", [b"n,,n=alice,r=nonce", b"c=biws,r=nonce,p=proof"], [b"alice"], []),
    ],
)
def test_what_responses_hold_is_known(mechanism, responses, names, secrets):
    for mask_names in (False, True):
        masks = Masks(mask_names=mask_names)
        assert masks.command(b"AUTH " + mechanism + b"\r\n") == b"AUTH " + mechanism + b"\r\n"
        for response in responses:
            assert masks.response(b64(response) + b"\r\n") == b"****\r\n"
        for word in secrets:
            assert masks.reply(b"-ERR <" + word + b">\r\n") == b"-ERR <****>\r\n"
        for word in names:
            shown = b"****" if mask_names else word
            assert masks.reply(b"-ERR <" + word + b">\r\n") == b"-ERR <" + shown + b">\r\n"


@pytest.mark.parametrize("line", [b"*\r\n", b"\r\n", b" \n", b""])
def test_a_cancellation_and_an_empty_response_are_kept(line):
    assert Masks().response(line) == line


def test_challenges_are_kept_unless_a_password_can_be_guessed_from_them():
    masks = Masks()
    masks.command(b"AUTH CRAM-MD5\r\n")
    assert masks.challenge(b"+ PDE4OTY+\r\n") == b"+ PDE4OTY+\r\n"
    masks.command(b"AUTH scram-sha-256\r\n")
    assert masks.challenge(b"+ cj1ub25jZQ==\r\n") == b"+ cj1ub25jZQ==\r\n".replace(b"cj1ub25jZQ", b"A" * 10)
    assert masks.challenge(b"+\r\n") == b"+\r\n"


# Filler


def test_filler_keeps_the_shape_and_the_names_of_fields():
    filler = Filler()
    message = [
        (b"Subject:  Tea at 5\r\n", b"Subject:  xxxxxxxx\r\n"),
        (b"\tand more\r\n", b"\txxxxxxxx\r\n"),
        (b"not a field\r\n", b"xxxxxxxxxxx\r\n"),
        (b"\r\n", b"\r\n"),
        (b"To: nobody\r\n", b"xxxxxxxxxx\r\n"),
        (b"...two dots  \r\n", b"...xxxxxxxx  \r\n"),
        (b"a\rb\0c\r\r\n", b"x\rx\0x\r\r\n"),
        (b"bare\n", b"xxxx\n"),
        ("ä€😀 é\r\n".encode(), "ü€😀xü\r\n".encode()),
        (b"gr\xfc\xdfe\r\n", b"xx\xe4\xe4x\r\n"),
        (b"cut", b"xxx"),
    ]
    for line, expected in message:
        assert filler.line(line) == expected


def is_utf8(octets):
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


WIRE_LINE = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.sampled_from([b".", b" ", b"\t", b"\r", b"a", b"\xc3\xa4", b"\xe4", b":", b"Subject:"])).map(b"".join),
).map(lambda octets: octets.replace(b"\n", b"") + b"\n")


@given(st.lists(WIRE_LINE, max_size=8))
def test_filler_has_the_same_shape(wire):
    filler = Filler()
    filled = [filler.line(line) for line in wire]
    assert count_octets(filled) == count_octets(wire)
    for line, other in zip(wire, filled, strict=True):
        assert len(line) == len(other)
        assert line.isascii() == other.isascii()
        assert is_utf8(line) == is_utf8(other)
        assert len(line) - len(line.lstrip(b".")) == len(other) - len(other.lstrip(b"."))
        assert [octet if octet < 32 else 0 for octet in line] == [octet if octet < 32 else 0 for octet in other]
        assert [octet > 127 for octet in line] == [octet > 127 for octet in other]


@given(WIRE_LINE)
def test_filler_has_nothing_of_the_text(line):
    allowed = set(b"x.") | set(range(33)) | {127} | set("ü€😀".encode()) | {0xE4}
    assert set(fill(line)) <= allowed


# The dialogue


LOGIN = [
    (b"USER alice\r\n", b"+OK who are you\r\n"),
    (b"PASS sesame\r\n", b"+OK welcome alice\r\n"),
]
QUIT = (b"QUIT\r\n", b"+OK bye\r\n")
MESSAGE = b"Subject: secret\r\n\r\nDear Bob,\r\n..\r\n.\r\n"


def test_a_session_reads_as_it_was():
    turns = lockstep(*LOGIN, (b"STAT\r\n", b"+OK 1 35\r\n"), (b"RETR 1\r\n", b"+OK 35 octets\r\n" + MESSAGE), QUIT)
    assert lines(turns) == [
        "S: +OK hello",
        "C: USER alice",
        "S: +OK who are you",
        "C: PASS ****",
        "S: +OK welcome alice",
        "C: STAT",
        "S: +OK 1 35",
        "C: RETR 1",
        "S: +OK 35 octets",
        "S: Subject: xxxxxx",
        "S:",
        "S: xxxxxxxxx",
        "S: ..",
        "S: .",
        "C: QUIT",
        "S: +OK bye",
        "S: <closed>",
    ]


def test_bodies_are_kept_if_asked_for():
    turns = lockstep(*LOGIN, (b"TOP 1 9\r\n", b"+OK\r\n" + MESSAGE), (b"XTND X\r\n", b"+OK\r\nSubject: a\r\n"))
    assert "S: Dear Bob," in lines(turns, keep_bodies=True)
    assert "S: Subject: a" in lines(turns, keep_bodies=True)
    assert not {"S: Dear Bob,", "S: Subject: a"} & set(lines(turns))


def test_each_message_has_a_header_of_its_own():
    turns = lockstep(*LOGIN, (b"RETR 1\r\n", b"+OK\r\n" + MESSAGE), (b"TOP 1 0\r\n", b"+OK\r\n" + MESSAGE))
    assert lines(turns).count("S: Subject: xxxxxx") == 2


def test_stls_is_neither_announced_nor_passed_on():
    capa = b"+OK\r\nTOP\r\nstls\r\nSTLSX\r\nUIDL\r\n.\r\n"
    turns = [("S", b"+OK\r\n"), ("C", b"CAPA\r\nSTLS\r\nNOOP\r\n"), ("S", capa), ("S", b"-ERR log in\r\n")]
    recorder = recorded(turns)
    assert bytes(recorder.to_server) == b"CAPA\r\nNOOP\r\n"
    assert bytes(recorder.to_client) == b"+OK\r\n" + capa.replace(b"stls\r\n", b"") + NO_TLS + b"-ERR log in\r\n"
    assert recorder.lines[-4:] == ["C: STLS", f"S: {NO_TLS.decode().strip()}", "C: NOOP", "S: -ERR log in"]


def test_a_response_that_reads_stls_is_a_response():
    turns = [("S", b"+OK\r\n"), ("C", b"AUTH PLAIN\r\n"), ("S", b"+ \r\n"), ("C", b"STLS\r\n")]
    assert bytes(recorded(turns).to_server) == b"AUTH PLAIN\r\nSTLS\r\n"


def test_a_list_of_mechanisms_is_no_login():
    turns = lockstep((b"AUTH\r\n", b"+OK\r\nPLAIN\r\n.\r\n"), (b"sesame\r\n", b"-ERR unknown: sesame\r\n"))
    assert lines(turns)[-3:] == ["C: ****", "S: -ERR unknown: ****", "S: <closed>"]


def test_responses_of_a_client_that_did_not_wait_for_a_refusal_are_masked():
    response = b64(b"\0alice\0sesame")
    turns = [("S", b"+OK\r\n"), ("C", b"AUTH PLAIN\r\n" + response + b"\r\n"), ("S", b"-ERR no\r\n-ERR what\r\n")]
    assert lines(turns)[1:] == ["C: AUTH PLAIN", "S: -ERR no", "C: ****", "S: -ERR what"]


def test_a_server_that_closes_is_recorded_so_and_a_client_that_leaves_too():
    assert lines([("S", b"+OK\r\n"), ("S", END)]) == ["S: +OK", "S: <closed>"]
    assert lines([("S", b"+OK\r\n"), ("C", END)]) == ["S: +OK", "C: <end>"]
    assert lines([("S", b"+OK\r\n"), ("C", END), ("S", END)]) == ["S: +OK", "C: <end>", "S: <closed>"]
    assert recorded([("S", b"+OK\r\n"), ("C", END)]).client_ended


def test_after_quit_it_does_not_matter_who_closes_first():
    turns = [("S", b"+OK\r\n"), ("C", b"QUIT\r\n"), ("S", b"+OK\r\n")]
    ends = [("C", END), ("S", END)]
    assert lines([*turns, *ends]) == lines([*turns, *reversed(ends)])
    refused = [("S", b"+OK\r\n"), ("C", b"QUIT\r\n"), ("S", b"-ERR\r\n"), *ends]
    assert lines(refused)[-2:] == ["C: <end>", "S: <closed>"]


def test_what_cannot_be_seen_is_a_string():
    assert transcribe_client(b"NOOP\n") == 'C! "NOOP\\n"'
    assert transcribe_client(b"NOOP \r\n") == 'C! "NOOP \\r\\n"'
    assert transcribe_client(b"<end>\r\n") == 'C! "<end>\\r\\n"'
    assert transcribe_client(b"APOP a <apop b>\r\n") == 'C! "APOP a <apop b>\\r\\n"'
    assert transcribe_client(b"\r\n") == "C:"


@given(st.binary(max_size=30).map(lambda octets: octets.replace(b"\n", b"") + b"\n"))
@example(b"A <apop x>\r\n")
@example(b"x <apop y>\n")
def test_a_line_of_the_client_can_be_parsed_again(line):
    (step,) = parse(transcribe_client(line)).steps
    assert (step.kind, step.octets, step.secret) == (Kind.SAY, line, None)


def test_octets_that_wait_are_known_to_the_caller():
    recorder = recorded([("C", b"NOOP")])
    assert (recorder.held, recorder.is_waiting) == (4, True)


# Any session


SECRETS = ("Zq7Zq7~open", "0123456789abcdef0123456789abcdef", "ya29.Zq7t0ken", "Zq7 pass word")
SECRET = st.sampled_from(SECRETS).map(str.encode)
TEXT = st.binary(max_size=12).map(lambda octets: re.sub(rb"[\r\n]", b"", octets))
STATUS = st.one_of(
    st.tuples(st.sampled_from([b"+OK ", b"-ERR "]), TEXT).map(b"".join), st.sampled_from([b"+OK", b"-ERR"])
)
BODY = st.lists(TEXT.map(lambda line: (b"." + line if line[:1] == b"." else line) + b"\r\n"), max_size=4).map(b"".join)


@st.composite
def secret_exchanges(draw):
    secret = draw(SECRET)
    status = draw(st.sampled_from([b"+OK hi\r\n", b"-ERR no\r\n", b"-ERR " + secret + b" is wrong\r\n"]))
    plain = b64(b"\0alice\0" + secret)
    kind = draw(st.sampled_from(["PASS", "APOP", "PLAIN", "initial", "LOGIN", "alone"]))
    return {
        "PASS": [(b"PASS " + secret + b"\r\n", status)],
        "APOP": [(b"APOP alice " + secret + b"\r\n", status)],
        "initial": [(b"AUTH PLAIN " + plain + b"\r\n", status)],
        "PLAIN": [(b"AUTH PLAIN\r\n", b"+ \r\n"), (plain + b"\r\n", status)],
        "LOGIN": [
            (b"AUTH LOGIN\r\n", b"+ VXNlcm5hbWU6\r\n"),
            (b64(b"alice") + b"\r\n", b"+ UGFzc3dvcmQ6\r\n"),
            (b64(secret) + b"\r\n", status),
        ],
        "alone": [(secret + b"\r\n", b"-ERR what\r\n")],
    }[kind]


@st.composite
def plain_exchanges(draw):
    status = draw(STATUS) + b"\r\n"
    said = draw(st.sampled_from([b"STAT", b"NOOP", b"LIST 1", b"UIDL 2", b"DELE 1", b"RETR 1", b"TOP 1 0", b"LIST"]))
    if said in (b"RETR 1", b"TOP 1 0", b"LIST") and status[:1] == b"+":
        status += draw(BODY) + b".\r\n"
    return [(said + b"\r\n", status)]


EXCHANGES = st.lists(st.one_of(plain_exchanges(), secret_exchanges()), max_size=6).map(
    lambda found: list(chain(*found))
)


def cut(draw, octets):
    """The octets in pieces."""
    at = 0
    while at < len(octets):
        size = draw(st.integers(1, len(octets) - at))
        yield octets[at : at + size]
        at += size


@settings(max_examples=60)
@given(EXCHANGES, st.booleans(), st.data())
def test_any_division_of_the_octets_gives_the_same_dialogue(exchanges, keep_bodies, data):
    turns = lockstep(*exchanges)
    pieces = [(side, piece) for side, octets in turns[:-1] for piece in cut(data.draw, octets)]
    whole = recorded(turns, keep_bodies=keep_bodies)
    divided = recorded([*pieces, turns[-1]], keep_bodies=keep_bodies)
    assert divided.lines == whole.lines
    assert divided.to_server == whole.to_server == b"".join(said for said, _ in exchanges)
    assert divided.to_client == whole.to_client == b"+OK hello\r\n" + b"".join(reply for _, reply in exchanges)


@settings(max_examples=60)
@given(EXCHANGES, st.data())
def test_a_client_that_does_not_wait_gives_the_same_dialogue(exchanges, data):
    turns = lockstep(*exchanges)
    ahead = [("S", b"+OK hello\r\n"), *(("C", said) for said, _ in exchanges)]
    replies = [("S", piece) for piece in cut(data.draw, b"".join(reply for _, reply in exchanges))]
    assert lines([*ahead, *replies, ("S", END)]) == lines(turns)


@settings(max_examples=60)
@given(EXCHANGES, st.booleans(), st.booleans())
def test_no_secret_is_in_the_file(exchanges, keep_bodies, mask_names):
    written = "\n".join(lines(lockstep(*exchanges), keep_bodies=keep_bodies, mask_names=mask_names))
    for secret in SECRETS:
        for form in (secret.encode(), b64(secret.encode()), b64(b"\0alice\0" + secret.encode())):
            assert form.decode() not in written
    assert not mask_names or "alice" not in written


@settings(max_examples=60)
@given(EXCHANGES)
def test_a_recording_replays_the_octets_of_the_server(exchanges):
    recorder = recorded(lockstep(*exchanges), keep_bodies=True)
    repeated = any(secret.encode() in reply for secret in SECRETS for _, reply in exchanges)
    replay = Recording(parse("\n".join(recorder.lines))).replay()
    answers = [replay.greeting(), *(replay.answer(said) for said, _ in exchanges)]
    assert replay.differences == []
    assert replay.closes
    if not repeated:
        assert b"".join(answers) == recorder.to_client
