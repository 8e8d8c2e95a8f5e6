"""Dialogues are played as written, and what does not go as written is shown."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager

import pytest

from geventpop3 import EAT_ALL, POP3Server, err, multiline, ok
from geventpop3.testing import WAYS, Mismatch, ScriptError, load, parse, play, play_over_socket, serve


def app(**options):
    """A server whose maildrop is a list of lines, and that says on request what it should not."""
    pop3d = POP3Server(hostname="pop.example.org", **options)

    @pop3d.on("cmd_user", "cmd_pass", "cmd_quit", "cmd_noop")
    def yes(pop3d, event):
        return ok(event.argument)

    @pop3d.on("cmd_list")
    def listing(pop3d, event):
        return multiline("here", b"1 10\n2 20\n3 30\n")

    @pop3d.on("cmd_retr")
    def retr(pop3d, event):
        return multiline("", b"a\rb\xff\n...")

    @pop3d.plugin("cmd_xeaten")
    def eaten(pop3d, event):
        return EAT_ALL

    @pop3d.on("cmd_xbye")
    def bye(pop3d, event):
        event.client.disconnect()
        return err("bye")

    return pop3d


GOOD = r"""
    S: +OK pop.example.org...
    C: USER alice
    C: PASS sesame
    S: +OK alice
    S: +OK ...
    C: LIST
    S: +OK here
    S: 1 10
    S: 2 ...
    S: ...
    S: .
    C: RETR
    S: +OK ...
    S! "a\rb\xff\r\n"
    S! "....\r\n"
    S: .
    C: XEATEN
    C! "NOOP\nNOOP 1"
    C! "0\r\n"
    S: +OK
    S: +OK 10
    C: QUIT
    S: +OK
"""


@pytest.mark.parametrize("how", WAYS)
def test_a_dialogue_that_goes_as_written_passes(how):
    play(app, GOOD, how)
    play(app, GOOD + "S: <closed>", how)


@pytest.mark.parametrize("how", WAYS)
def test_the_same_over_a_socket(how):
    with serve(app) as address:
        play_over_socket(address, GOOD, how)
        play_over_socket(address, GOOD + "S: <closed>", how)


def test_over_a_unix_socket(tmp_path):
    path = str(tmp_path / "pop3.sock")
    with speaking(b"+OK\r\n", path) as address:
        assert address == path
        play_over_socket(path, "S: +OK")


def test_a_unix_socket_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        play_over_socket(str(tmp_path / "none"), "S: +OK")


def test_a_script_may_be_text_a_path_or_parsed(tmp_path):
    path = tmp_path / "good.pop3"
    path.write_text(GOOD, "utf-8")
    play(app, GOOD)
    play(app, path)
    play(app, load(path))
    with pytest.raises(ScriptError, match="<dialogue>:1"):
        play(app, "QUIT")


def test_a_server_that_is_given_stays_and_one_that_is_made_is_shut_down():
    made = []

    def factory():
        made.append(app())
        return made[-1]

    play(factory, GOOD)
    play(made[0], "S: +OK ...\nC: USER x\nS: -ERR not supported here")  # its listeners are gone
    given = app()
    play(given, GOOD)
    play(given, GOOD)
    given.shutdown()


def test_the_peer_may_come_from_elsewhere():
    pop3d = app()
    seen = []
    pop3d.on("connection")(lambda pop3d, event: seen.append(event.args))
    play(pop3d, "S: +OK ...", peer=("192.0.2.1", 5))
    assert seen == [["192.0.2.1", 5, "127.0.0.1", 110]]
    pop3d.shutdown()


def test_a_dialogue_is_not_played_as_it_cannot_be():
    script = parse("# not octets: no patience\nS: +OK ...", "some.pop3")
    with pytest.raises(ValueError, match=r"some\.pop3 cannot be played octets: no patience"):
        play(app, script, "octets")
    play(app, script, "whole")


def test_without_a_greeting_the_client_begins():
    def silent():
        return app(handle_connects=False)

    for how in WAYS:
        play(silent, "C: USER a\nS: +OK a\nC: NOOP\nS: -ERR ...", how)


def test_the_clients_end_of_input_is_played():
    script = 'S: +OK ...\nC: USER a\nC! "USER b"\nC: <end>\nS: +OK a\nS: <closed>'
    with serve(app) as address:
        for how in WAYS:
            play(app, script, how)
            play_over_socket(address, script, how)


def test_the_digest_is_that_of_the_greetings_timestamp():
    pop3d = app()
    # RFC 1939 section 7 has this example
    pop3d.on("connection")(lambda pop3d, event: ok("POP3 server ready <1896.697170952@dbc.mtview.ca.us>"))
    pop3d.on("cmd_apop")(lambda pop3d, event: ok(event.argument))
    script = "S: +OK ...\nC: APOP mrose <apop tanstaaf>\nS: +OK mrose c4c9334bac560ecc979e58001b3e22fb"
    for how in WAYS:
        play(pop3d, script, how)
    pop3d.shutdown()


def mismatch(script, how="lines", over_socket=False):
    if not over_socket:
        with pytest.raises(Mismatch) as caught:
            play(app, script, how)
    else:
        with serve(app) as address, pytest.raises(Mismatch) as caught:
            play_over_socket(address, script, how)
    return str(caught.value)


BOTH = pytest.mark.parametrize("over_socket", [False, True])
LOGIN = "S: +OK ...\nC: USER a\nC: PASS b\nS: +OK a\nS: +OK b\n"


@BOTH
def test_a_mismatch_is_shown_as_a_diff(over_socket):
    script = LOGIN + "C: LIST\nS: +OK ...\nS: 1 10\nS: 2 21\nS: 3 ...\nS: .\nC: NOOP\nS: +OK"
    assert mismatch(script, over_socket=over_socket).split("\n") == [
        "<dialogue>:9: the server sent something else (played lines)",
        "      S: +OK ...",
        "      C: USER a",
        "      C: PASS b",
        "      S: +OK a",
        "      S: +OK b",
        "      C: LIST",
        "      S: +OK ...",
        "      S: 1 10",
        "    - S: 2 21",
        "    + S: 2 20",
        "      S: 3 30",
        "      S: .",
    ]


@BOTH
def test_a_line_that_is_missing_is_shown(over_socket):
    script = LOGIN + "C: LIST\nS: +OK here\nS: 1 10\nS: 1 15\nS: 2 20\nS: 3 30\nS: ."
    assert mismatch(script, over_socket=over_socket).split("\n")[8:] == [
        "      S: 1 10",
        "    - S: 1 15",
        "      S: 2 20",
        "      S: 3 30",
        "      S: .",
    ]


@BOTH
def test_more_than_expected_is_a_mismatch(over_socket):
    shown = mismatch(LOGIN + "C: LIST\nS: +OK here\nC: NOOP\nS: +OK", over_socket=over_socket)
    assert shown.startswith("<dialogue>:8: ")
    assert "    + S: 1 10\n    + S: 2 20\n    + S: 3 30\n    + S: ." in shown


@BOTH
def test_more_than_expected_at_the_end_is_a_mismatch(over_socket):
    shown = mismatch(LOGIN + "C: LIST\nS: +OK here", over_socket=over_socket)
    assert shown.startswith("<dialogue>:7: the server sent more (played lines)\n")


@BOTH
def test_more_before_the_server_closes_is_a_mismatch(over_socket):
    shown = mismatch(LOGIN + "C: NOOP\nC: QUIT\nS: +OK\nS: <closed>", "whole", over_socket=over_socket)
    assert shown.startswith("<dialogue>:9: the server sent more (played whole)\n")
    assert "      S: +OK\n" in shown
    assert "    + S: +OK" in shown


def test_octets_that_differ_are_a_mismatch():
    shown = mismatch(LOGIN + r"C: RETR" + "\nS: +OK\n" + r'S! "a\nb\xff\r\n"' + "\nS: ...\nS: .")
    assert '    - S! "a\\nb\\xff\\r\\n"\n    + S! "a\\rb\\xff\\r\\n"\n' in shown


def test_a_server_that_says_less_than_expected_is_a_mismatch():
    assert mismatch("S: +OK ...\nC: XEATEN\nS: +OK\nC: QUIT\nS: +OK").split("\n") == [
        "<dialogue>:3: the server sent less and waits for the client (played lines)",
        "      S: +OK ...",
        "      C: XEATEN",
        "    - S: +OK",
        "    + (nothing)",
    ]


def test_over_a_socket_a_server_is_not_waited_for_for_ever():
    with mute() as address, pytest.raises(Mismatch, match=r"^<dialogue>:1: the server sent nothing for 0\.1 seconds"):
        play_over_socket(address, "S: +OK", timeout=0.1)


def test_half_a_line_is_no_line():
    with speaking(b"+OK") as address, pytest.raises(Mismatch) as caught:
        play_over_socket(address, "S: +OK")
    assert str(caught.value).split("\n") == [
        "<dialogue>:1: the server closed the connection (played lines)",
        "    - S: +OK",
        '    + S! "+OK"',
        "    + S: <closed>",
    ]


def test_half_of_the_octets_are_not_all():
    with speaking(b"+OK\r\nhal") as address, pytest.raises(Mismatch, match="<dialogue>:2: the server closed"):
        play_over_socket(address, 'S: +OK\nS! "half"')


def test_a_line_that_ends_with_lf_alone_is_another_line():
    with speaking(b"+OK a\n+OK b\r\n") as address, pytest.raises(Mismatch, match="the server sent something else"):
        play_over_socket(address, "S: +OK ...\nS: +OK ...")


def test_a_reset_is_a_mismatch():
    with speaking(b"", reset=True) as address, pytest.raises(Mismatch, match="the connection broke: Connection reset"):
        play_over_socket(address, "C: NOOP\nS: +OK")


@BOTH
def test_a_server_that_closes_too_early_is_a_mismatch(over_socket):
    shown = mismatch("S: +OK ...\nC: XBYE\nS: -ERR bye\nC: NOOP\nS: +OK", "whole", over_socket=over_socket)
    assert shown.startswith("<dialogue>:5: the server closed the connection (played whole)\n")
    assert shown.endswith("    - S: +OK\n    + S: <closed>")


@pytest.mark.parametrize("how", ["lines", "octets"])
def test_a_server_that_closes_before_the_client_said_all_is_a_mismatch(how):
    shown = mismatch("S: +OK ...\nC: XBYE\nS: -ERR bye\nC: NOOP", how)
    assert shown.startswith("<dialogue>:4: the server closed the connection before the client had sent everything")


def test_a_server_that_does_not_close_is_a_mismatch():
    shown = mismatch("S: +OK ...\nC: USER a\nS: +OK a\nS: <closed>")
    assert shown.endswith("      S: +OK a\n    - S: <closed>\n    + (nothing)")


def test_the_same_over_a_socket_after_a_while():
    with mute() as address, pytest.raises(Mismatch, match="the server sent nothing for"):
        play_over_socket(address, "S: <closed>", timeout=0.1)


@BOTH
def test_a_greeting_without_a_timestamp_is_no_greeting_for_apop(over_socket):
    shown = mismatch("S: +OK ...\nC: APOP a <apop b>\nS: +OK", over_socket=over_socket)
    assert shown.startswith("<dialogue>:2: the greeting has no timestamp for APOP")


def test_a_client_may_be_cut_off_in_the_middle_of_a_line_where_the_server_is_to_close():
    script = 'S: +OK ...\nC! "x" * 70000\nS: -ERR ...\nS: <closed>'
    play(app, script, "octets")
    with serve(app) as address:
        play_over_socket(address, script)


def test_a_client_that_cannot_send_is_a_mismatch_where_the_server_was_not_to_close():
    script = 'S: +OK ...\nC! "x" * 9000000 "x" * 9000000\nS: -ERR ...'
    with serve(app) as address, pytest.raises(Mismatch, match="the connection broke"):
        play_over_socket(address, script)


def test_a_client_that_cannot_send_still_reads_what_was_said_before():
    script = 'S: +OK ...\nC! "x" * 9000000 "x" * 9000000\nS: +OK\nS: <closed>'
    with serve(app) as address, pytest.raises(Mismatch, match=r"the server sent something else|the connection broke"):
        play_over_socket(address, script)


def test_what_is_long_is_cut():
    shown = mismatch("S: " + "x" * 1000 + "\nC: NOOP")
    assert f"    - S: {'x' * 197} (cut)\n" in shown
    lines = "\n".join("S: +OK" for _ in range(50))
    assert len(mismatch("S: +OK ...\nC: XEATEN\n" + lines).split("\n")) < 30


@contextmanager
def mute():
    """A server to which clients connect, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@contextmanager
def speaking(octets, path=None, reset=False):
    """A server that says *octets* to the one client that comes, and then closes."""
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    listener.bind(path or ("127.0.0.1", 0))
    listener.listen(1)

    def run():
        sock, _ = listener.accept()
        with sock:
            if reset:
                sock.recv(1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(octets)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        thread.join(20)
        listener.close()
