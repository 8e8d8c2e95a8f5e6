"""The session without a socket: one event a line at most, however the input is cut, and never an exception."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.protocol.commands import COMMANDS, CommandSpec, State
from geventpop3.protocol.connection import Command, Connection, Rejected, Response, Want
from geventpop3.wire.replies import Reply, err, multiline, ok

AUTHORIZATION, TRANSACTION, UPDATE = State

OK = ok("done")
NO = err("no")

KNOWN_TEXTS = {
    "no command",
    "unknown command",
    "a command holds no NUL and no bare CR",
    "line too long",
    *(f"not allowed in the {state.value} state" for state in State),
}


def logged_in(**settings_: object) -> Connection:
    connection = Connection(**settings_)
    connection.state = TRANSACTION
    return connection


def only_event(data: bytes, connection: Connection | None = None) -> Command | Rejected | Response | Want:
    connection = connection or logged_in(strict=False)
    connection.receive_data(data)
    event = connection.next_event()
    if not connection.has_data:
        assert connection.next_event() in (Want.DATA, Want.CLOSED)
    return event


def args_of(data: bytes) -> list[str]:
    event = only_event(data)
    assert isinstance(event, Command)
    return event.args


def rejection_of(data: bytes, connection: Connection | None = None) -> Rejected:
    event = only_event(data, connection)
    assert isinstance(event, Rejected)
    assert not event.reply.positive
    return event


def answer(connection: Connection, event: Command | Rejected | Response) -> bytes:
    """A server that accepts what it understands, and challenges every AUTH once."""
    if isinstance(event, Rejected):
        return connection.send(event.reply)
    if isinstance(event, Response):
        return connection.send(OK if event.data else NO)
    if event.spec.verb == "AUTH" and event.args:
        return connection.challenge(b"?")
    if event.spec.verb == "CAPA":
        return connection.send(multiline("capabilities", b"TOP\n"))
    if event.spec.verb == "RSET":
        connection.silence()
        return b""
    return connection.send(NO if event.args == ["x"] else OK)


def played(pieces: Iterable[bytes], connection: Connection) -> list[object]:
    """All that a session does: events, states, octets out."""
    trace: list[object] = []
    for piece in pieces:
        connection.receive_data(piece)
        while not isinstance(event := connection.next_event(), Want):
            out = answer(connection, event)
            trace.append((event, out, connection.state, connection.closing))
        if event is Want.CLOSED:
            break
    trace.append(connection.next_event())
    return trace


# Commands


@each("line", [b"NOOP", b"noop", b"NoOp", b" NOOP", b"\t NOOP", b"NOOP ", b"NOOP\t", b"NOOP  \t "])
def test_case_and_blanks_around_do_not_matter(line: bytes) -> None:
    for line_end in (b"\r\n", b"\n"):
        assert only_event(line + line_end) == Command(COMMANDS["NOOP"], [], line)


@each(
    ("data", "args"),
    [
        (b"USER alice\r\n", ["alice"]),
        (b"user  alice \r\n", ["alice"]),
        (b"USER a b\tc\r\n", ["a", "b", "c"]),
        (b"TOP 1 10\r\n", ["1", "10"]),
        (b"TOP 1\t10\n", ["1", "10"]),
        (b"USER \xff\xc3\xbc\r\n", ["\udcff\u00fc"]),
        (b"USER a\xc2\xa0b\r\n", ["a\u00a0b"]),
        (b"USER a\x0bb\x0c\x1f\r\n", ["a\x0bb\x0c\x1f"]),
        (b"USER %s%n {0.__class__} ${jndi:x}\r\n", ["%s%n", "{0.__class__}", "${jndi:x}"]),
    ],
)
def test_only_blanks_separate_arguments(data: bytes, args: list[str]) -> None:
    assert args_of(data) == args


@each(
    ("data", "args"),
    [
        (b"PASS\r\n", []),
        (b"PASS \r\n", [""]),
        (b"PASS\t\r\n", [""]),
        (b"PASS sesame\r\n", ["sesame"]),
        (b"pass two words\r\n", ["two words"]),
        (b"  PASS  two  words \t\r\n", [" two  words \t"]),
        (b"PASS  \n", [" "]),
        (b"PASS \xff\xc3\xbc\r\n", ["\udcff\u00fc"]),
    ],
)
def test_a_password_keeps_its_blanks(data: bytes, args: list[str]) -> None:
    assert args_of(data) == args


def test_arguments_give_back_their_octets() -> None:
    octets = bytes(octet for octet in range(1, 256) if octet not in b"\n\r")
    event = only_event(b"PASS " + octets + b"\r\n")
    assert isinstance(event, Command)
    assert event.args[0].encode("utf-8", "surrogateescape") == octets
    assert event.raw == b"PASS " + octets


def test_an_application_may_add_a_verb_while_the_session_runs() -> None:
    commands = dict(COMMANDS)
    connection = Connection(commands)
    assert rejection_of(b"XFOO\r\n", connection).verb == ""
    commands["XFOO"] = CommandSpec("XFOO", frozenset({AUTHORIZATION}))
    event = only_event(b"xfoo bar\r\n", connection)
    assert event == Command(commands["XFOO"], ["bar"], b"xfoo bar")
    assert event.spec.event == "cmd_xfoo"


# What is no command


@each(
    ("line", "text"),
    [
        (b"", "no command"),
        (b" \t ", "no command"),
        (b"XFOO", "unknown command"),
        (b"X:", "unknown command"),
        (b"LIST:", "unknown command"),
        (b"LIST\t1", "unknown command"),
        (b"LI\tST", "unknown command"),
        (b"LIST\xa01", "unknown command"),
        (b"\xa0LIST", "unknown command"),
        (b"\xff\xfe", "unknown command"),
        (b"PA\xdf", "unknown command"),
        (b"PA\xc3\x9f", "unknown command"),
        (b"\xef\xbb\xbfNOOP", "unknown command"),
        (b"NOOP\x0b", "unknown command"),
        (b"GET / HTTP/1.1", "unknown command"),
        (b"\x16\x03\x01\x02", "unknown command"),
        (b"NO\0OP", "a command holds no NUL and no bare CR"),
        (b"NOOP\0", "a command holds no NUL and no bare CR"),
        (b"USER a\0b", "a command holds no NUL and no bare CR"),
        (b"PASS a\rb", "a command holds no NUL and no bare CR"),
        (b"NOOP\r", "a command holds no NUL and no bare CR"),
        (b"\r", "a command holds no NUL and no bare CR"),
        (b"USER " + b"x" * 2000, "line too long"),
    ],
)
def test_a_line_that_is_no_command_is_rejected_once(line: bytes, text: str) -> None:
    rejected = rejection_of(line + b"\r\n")
    assert rejected[:3] == Rejected(err(text), "", len(line) + 2)[:3]
    assert rejected.line == (line if text in ("unknown command", "a command holds no NUL and no bare CR") else b"")


@each("state", State)
def test_a_command_in_the_wrong_state_is_rejected_and_otherwise_not(state: State) -> None:
    for verb, spec in COMMANDS.items():
        connection = Connection()
        connection.state = state
        event = only_event(verb.encode() + b"\r\n", connection)
        if state in spec.states:
            assert isinstance(event, Command)
            assert event.spec is spec
        else:
            assert event == Rejected(err(f"not allowed in the {state.value} state"), verb, len(verb) + 2)


def test_quit_with_an_argument_is_not_quit() -> None:
    connection = logged_in()
    event = only_event(b"QUIT now\r\n", connection)
    assert event == Rejected(err("no argument is allowed"), "QUIT", 10)
    connection.send(event.reply)
    assert not connection.closing
    assert connection.state is TRANSACTION


def test_known_verbs_in_the_wrong_state_are_no_sign_of_another_protocol() -> None:
    # A client that pipelines says them all after a failed login, and then QUIT.
    connection = Connection()
    trace = played([b"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nQUIT\r\n"], connection)
    assert [type(step[0]) for step in trace[:-1]] == [*[Rejected] * 4, Command]


@each("state", State)
def test_without_strictness_every_state_allows_every_command(state: State) -> None:
    connection = Connection(strict=False)
    connection.state = state
    assert isinstance(only_event(b"STAT\r\n", connection), Command)


@each(
    ("octets", "kind", "goes_on"),
    [
        (50, Command, True),
        (256, Command, True),
        (1000, Command, True),
        (1024, Rejected, True),
        (65000, Rejected, True),
        (65536, Rejected, False),
        (1 << 20, Rejected, False),
    ],
)
def test_a_long_argument_is_never_split_in_two_commands(octets: int, kind: type, goes_on: bool) -> None:
    for verb in (b"USER", b"PASS", b"APOP", b"AUTH", b"LIST", b"XTND"):
        data = verb + b" " + (b"QUIT " * octets)[:octets] + b"\r\nNOOP\r\n"
        connection = logged_in(strict=False)
        kinds = []
        for at in range(0, len(data), 16384):
            connection.receive_data(data[at : at + 16384])
            while not isinstance(event := connection.next_event(), Want):
                kinds.append(type(event))
                connection.send(event.reply if isinstance(event, Rejected) else NO)
        assert kinds == [Rejected if verb == b"XTND" else kind, *[Command] * goes_on]
        assert connection.closing is not goes_on
        assert connection.state is TRANSACTION


@each("size", [1000, 4096, 1 << 20])
@each("tail", [b"", b"\r\nNOOP\r\n"])
def test_a_hopeless_line_is_answered_once_and_closes(size: int, tail: bytes) -> None:
    data = b"NOOP\r\n" + b"x" * 100_000 + tail
    connection = logged_in()
    trace = played([data[at : at + size] for at in range(0, len(data), size)], connection)
    assert [step[0] for step in trace[:-1]] == [
        Command(COMMANDS["NOOP"], [], b"NOOP"),
        Rejected(err("line too long"), "", 65537),
    ]
    assert trace[-1] is Want.CLOSED
    assert connection.closing
    assert not connection.has_data


def test_no_reply_holds_an_octet_of_the_input() -> None:
    for line in (b"GET /zqzq HTTP/1.1", b"zqzq", b"USER zq\0zq", b"zq" * 5000, b"STAT zqzq"):
        line_out = rejection_of(line + b"\r\n", Connection()).reply.status_line
        assert b"zq" not in line_out


# Too many bad commands


@each(("state", "limit"), [(AUTHORIZATION, 3), (TRANSACTION, 20)])
def test_bad_commands_in_a_row_close_the_connection_at_the_limit(state: State, limit: int) -> None:
    connection = Connection()
    connection.state = state
    connection.receive_data(b"\r\n" * 50)
    for count in range(1, limit + 1):
        event = connection.next_event()
        assert isinstance(event, Rejected)
        assert ("too many bad commands" in event.reply.text) is (count == limit)
        connection.send(event.reply)
        assert connection.closing is (count == limit)
    assert connection.next_event() is Want.CLOSED


def test_an_accepted_command_starts_the_count_again() -> None:
    connection = Connection()
    trace = played([b"X\r\nX\r\nCAPA\r\nX\r\nX\r\nCAPA\r\nX\r\nX\r\nX\r\nX\r\n"], connection)
    assert [isinstance(step[0], Command) for step in trace[:-1]] == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert connection.closing


def test_the_limits_of_bad_commands_can_be_set() -> None:
    assert len(played([b"X\r\n" * 9], Connection(bad_before_login=5))) == 6
    assert len(played([b"X\r\n" * 9], logged_in(bad_after_login=2))) == 3


def test_the_last_rejection_closes_even_if_it_is_eaten() -> None:
    connection = Connection(bad_before_login=1)
    rejection_of(b"X\r\n", connection)
    assert not connection.closing
    connection.silence()
    assert connection.closing


def test_a_rejection_turned_into_ok_moves_no_state() -> None:
    connection = Connection()
    rejection_of(b"QUIT:\r\n", connection)
    connection.send(OK)
    assert (connection.state, connection.closing) == (AUTHORIZATION, False)


# Replies and states


@each("reply", [OK, NO, multiline("list", b"")])
def test_only_a_positive_single_line_reply_moves_the_state(reply: Reply) -> None:
    for verb, spec in COMMANDS.items():
        for state in spec.states:
            connection = Connection()
            connection.state = state
            connection.receive_data(verb.encode() + b"\r\n")
            connection.next_event()
            assert connection.send(reply) == reply.status_line
            assert connection.state is (spec.then.get(state, state) if reply is OK else state)
            assert connection.closing is (verb == "QUIT")


def test_a_whole_session_goes_through_the_three_states() -> None:
    connection = Connection()
    assert connection.send(ok("POP3 ready")) == b"+OK POP3 ready\r\n"
    trace = played([b"USER a\r\nPASS b\r\nSTAT\r\nQUIT\r\nNOOP\r\n"], connection)
    assert [step[2] for step in trace[:-1]] == [AUTHORIZATION, TRANSACTION, TRANSACTION, UPDATE]
    assert trace[-1] is Want.CLOSED
    assert connection.closing


def test_quit_before_login_does_not_enter_update() -> None:
    connection = Connection()
    played([b"QUIT\r\n"], connection)
    assert (connection.state, connection.closing) == (AUTHORIZATION, True)


def test_silence_leaves_everything_as_it_was() -> None:
    connection = logged_in()
    connection.receive_data(b"QUIT\r\nNOOP\r\n")
    connection.next_event()
    connection.silence()
    assert (connection.state, connection.closing) == (TRANSACTION, False)
    assert isinstance(connection.next_event(), Command)


def test_disconnect_closes_after_the_next_reply() -> None:
    connection = logged_in()
    connection.receive_data(b"NOOP\r\nSTAT\r\n")
    connection.next_event()
    connection.disconnect()
    connection.silence()
    assert not connection.closing
    connection.next_event()
    connection.send(NO)
    assert connection.closing
    assert connection.next_event() is Want.CLOSED


def test_disconnect_before_the_greeting_closes_after_it() -> None:
    connection = Connection()
    connection.disconnect()
    connection.send(err("too many sessions"))
    assert connection.closing


# Challenges


def challenged(octets: bytes = b"") -> Connection:
    connection = Connection()
    connection.receive_data(b"AUTH PLAIN\r\n" + octets)
    assert isinstance(connection.next_event(), Command)
    connection.challenge(b"")
    return connection


def test_a_challenge_is_base64_after_a_blank_even_when_empty() -> None:
    connection = Connection()
    assert connection.challenge(b"") == b"+ \r\n"
    assert (
        connection.challenge(b"<1896.697170952@pop.example.org>")
        == b"+ PDE4OTYuNjk3MTcwOTUyQHBvcC5leGFtcGxlLm9yZz4=\r\n"
    )
    assert connection.challenge(b"x" * 1000) == b"+ " + base64.b64encode(b"x" * 1000) + b"\r\n"


@each(
    ("line", "response"),
    [
        (b"AGFsaWNlAHNlc2FtZQ==", Response(b"\0alice\0sesame", False)),
        (b"", Response(b"", False)),
        (b"*", Response(None, False)),
        (b"=", Response(None, True)),
        (b"====", Response(None, True)),
        (b"YQ", Response(None, True)),
        (b"YQ==YQ==", Response(None, True)),
        (b"Y=Q=", Response(None, True)),
        (b" YQ==", Response(None, True)),
        (b"YQ== ", Response(None, True)),
        (b"YQ==\r", Response(None, True)),
        (b"Y\0Q=", Response(None, True)),
        (b"* ", Response(None, True)),
        (b"**", Response(None, True)),
        (b"\xff\xff\xff\xff", Response(None, True)),
        (b"QUIT!", Response(None, True)),
        (b"A" * 12286, Response(None, True)),
        (b"A" * 12288, Response(b"\0" * 9216, False)),
        (b"A" * 20000, Response(None, True)),
    ],
)
def test_a_line_after_a_challenge_is_a_response(line: bytes, response: Response) -> None:
    connection = challenged(line + b"\r\nCAPA\r\n")
    assert connection.next_event() == response
    assert connection.send(NO) == b"-ERR no\r\n"
    assert connection.state is AUTHORIZATION
    assert isinstance(connection.next_event(), Command)


def test_a_command_may_challenge_more_than_once_and_then_log_in() -> None:
    connection = challenged()
    assert connection.next_event() is Want.DATA
    connection.receive_data(b"YQ==\r\n")
    assert connection.next_event() == Response(b"a", False)
    connection.challenge(b"more")
    connection.receive_data(b"Yg==\r\nSTAT\r\n")
    assert connection.next_event() == Response(b"b", False)
    connection.send(OK)
    assert connection.state is TRANSACTION
    assert isinstance(connection.next_event(), Command)


def test_a_challenge_that_is_given_up_makes_the_next_line_a_command() -> None:
    refused, eaten = challenged(b"CAPA\r\n"), challenged(b"CAPA\r\n")
    refused.send(NO)
    eaten.silence()
    assert isinstance(refused.next_event(), Command)
    assert isinstance(eaten.next_event(), Command)


@each("line", [b"AUTH PLAIN " + b"A" * 16371, b"auth PLAIN " + b"A" * 16371])
def test_auth_may_be_as_long_as_a_response_until_the_login(line: bytes) -> None:
    for pieces in ([line + b"\r\n"], [line[:3], line[3:1200], line[1200:] + b"\r\n"]):
        connection = Connection()
        for piece in pieces:
            connection.receive_data(piece)
            event = connection.next_event()
        assert isinstance(event, Command)
        assert len(event.raw) == 16382
    too_long = Rejected(err("line too long"), "", 16385)
    assert only_event(line + b"A\r\n", Connection()) == too_long
    assert only_event(line + b"\r\n", logged_in()) == too_long._replace(octets=16384)
    assert only_event(b"X" + line + b"\r\n", Connection()) == too_long


def test_a_hopeless_response_is_malformed_and_closes() -> None:
    connection = challenged(b"x" * 100_000)
    assert connection.next_event() == Response(None, True)
    assert connection.next_event() is Want.CLOSED
    connection.send(NO)
    assert connection.closing


def test_the_end_of_input_ends_a_challenge() -> None:
    connection = challenged(b"YQ==")
    connection.receive_data(b"")
    assert connection.next_event() is Want.CLOSED


# Octets


def test_what_came_before_the_end_of_input_is_still_answered_but_no_torn_line() -> None:
    connection = logged_in()
    connection.receive_data(b"STAT\r\nDELE 1")
    connection.receive_data(b"")
    assert isinstance(connection.next_event(), Command)
    connection.send(OK)
    assert connection.next_event() is Want.CLOSED
    assert connection.next_event() is Want.CLOSED


def test_octets_received_are_counted_and_buffered_ones_can_be_thrown_away() -> None:
    connection = Connection()
    assert not connection.has_data
    connection.receive_data(b"STLS\r\nUSER a\r\nPA")
    assert isinstance(connection.next_event(), Command)
    assert connection.has_data
    assert connection.octets_in == 16
    connection.upgraded()
    assert not connection.has_data
    assert connection.next_event() is Want.DATA
    connection.receive_data(b"CAPA\r\n")
    assert isinstance(connection.next_event(), Command)
    assert connection.octets_in == 22


@each(
    ("reply", "upgrading"),
    [(OK, True), (NO, False), (multiline("begin TLS", b"x\n"), False)],
)
def test_tls_begins_after_a_positive_reply_to_stls(reply: Reply, upgrading: bool) -> None:
    connection = Connection()
    connection.receive_data(b"STLS\r\n")
    assert isinstance(connection.next_event(), Command)
    assert not connection.upgrading
    connection.send(reply)
    assert connection.upgrading is upgrading
    # RFC 2595 section 4: "the server remains in AUTHORIZATION state"
    assert connection.state is AUTHORIZATION


def test_tls_does_not_begin_where_the_reply_was_eaten_or_said_before_the_command() -> None:
    connection = Connection()
    connection.send(OK)
    assert not connection.upgrading
    connection.receive_data(b"STLS\r\n")
    connection.next_event()
    connection.silence()
    connection.send(OK)
    assert not connection.upgrading


def test_a_session_goes_on_after_the_upgrade_where_it_was() -> None:
    connection = Connection(bad_before_login=3)
    connection.receive_data(b"STLS\r\nDELE 1\r\nDEL")
    connection.next_event()
    connection.send(OK)
    assert connection.has_data
    connection.upgraded()
    assert not connection.upgrading
    assert not connection.has_data
    connection.receive_data(b"E 1\r\nUSER alice\r\n")
    rejected = connection.next_event()
    assert isinstance(rejected, Rejected)
    connection.send(rejected.reply)
    event = connection.next_event()
    assert isinstance(event, Command)
    assert event.args == ["alice"]
    connection.send(OK)
    assert not connection.upgrading


def test_the_size_of_a_line_is_told_with_its_line_end() -> None:
    connection = Connection()
    connection.receive_data(b" USER alice \r\nQUIT\n")
    connection.next_event()
    assert connection.line_octets == 14
    connection.send(OK)
    connection.next_event()
    assert connection.line_octets == 5


def test_stls_is_no_command_after_login() -> None:
    assert rejection_of(b"STLS\r\n", logged_in()).verb == "STLS"


def test_lines_may_be_shorter_than_the_default() -> None:
    connection = logged_in(line_limit=255)
    assert isinstance(only_event(b"USER " + b"x" * 248 + b"\r\n", logged_in(strict=False, line_limit=255)), Command)
    assert rejection_of(b"USER " + b"x" * 249 + b"\r\n", connection).octets == 256


def test_a_thousand_commands_in_one_packet_are_answered_in_order() -> None:
    connection = logged_in()
    data = b"".join(b"LIST %d\r\n" % number for number in range(1000))
    trace = played([data], connection)
    assert [step[0].args for step in trace[:-1]] == [[str(number)] for number in range(1000)]


# Whatever the octets

LINES = st.sampled_from(
    [
        *(verb.encode() + b"\r\n" for verb in COMMANDS),
        b"USER alice\r\n",
        b"PASS  se same \r\n",
        b"PASS x\n",
        b"AUTH PLAIN\r\n",
        b"AUTH x\r\n",
        b"AGFsaWNlAHNlc2FtZQ==\r\n",
        b"*\r\n",
        b"=\r\n",
        b"\r\n",
        b"\n\r",
        b"\r\r\n",
        b" \t\n",
        b"X:\r\n",
        b"LIST\t1\r\n",
        b"NO\0OP\r\n",
        b"USER \xff\r\n",
        b"DELE -1\r\n",
        b"RETR " + b"9" * 40 + b"\r\n",
        b"NOOP" + b" " * 60 + b"\r\n",
        b"QUI",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)


@given(st.lists(LINES | st.binary(max_size=12), max_size=12).map(b"".join), st.booleans(), st.booleans())
def test_any_octets_give_one_event_a_line_at_most_and_the_same_ones_however_cut(
    data: bytes, strict: bool, end: bool
) -> None:
    whole = [data] if data else []
    traces = []
    for pieces in (whole, data.splitlines(keepends=True), [data[at : at + 1] for at in range(len(data))]):
        connection = Connection(strict=strict, line_limit=40, response_limit=60)
        traces.append(played([*pieces, b""] if end else pieces, connection))
        assert connection.octets_in <= len(data)
    assert traces[0] == traces[1] == traces[2]
    *steps, last = traces[0]
    assert len(steps) <= data.count(b"\n")
    assert last is Want.CLOSED if end else isinstance(last, Want)
    for event, out, _, _ in steps:
        if isinstance(event, Rejected):
            assert event.reply.text.removesuffix(", too many bad commands") in KNOWN_TEXTS
        assert out.count(b"\n") == (0 if out == b"" else 1)
