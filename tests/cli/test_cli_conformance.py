"""``geventpop3 conformance``: its options, its output, and its exit status."""

from __future__ import annotations

import io
import itertools
import json
import re
import socket
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from authority import Authority

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.cli.conformance import address
from geventpop3.cli.main import main
from geventpop3.errors import ConfigError
from geventpop3.server.tls import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing import Address, serve
from geventpop3.testing.conformance.lab import Lab

MESSAGE = b"Subject: hello\n\n.dot\nbye\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    folder = tmp_path / "mail" / "alice"
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(parents=True)
    (folder / "new" / "1.M1P1.host").write_bytes(MESSAGE)
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("sesame open\nand more\n")
    return path


@pytest.fixture
def server(tmp_path: Path, maildir: Path):
    passwords = tmp_path / "passwords"
    passwords.write_text("alice:{PLAIN}sesame open\n")
    pair = Authority().pair(tmp_path, "127.0.0.1")

    def application() -> POP3Server:
        pop3d = POP3Server(
            listen=[("127.0.0.1", 0)],
            tls_listen=[("127.0.0.1", 0)],
            tls=Certificates([pair]),
            hostname="pop.example.org",
        )
        pop3d.register(MaildropService(MaildirStore(str(tmp_path / "mail" / "{user}")), PasswordFile(str(passwords))))
        return pop3d

    with serve(application) as place:
        yield place


def run(place: Address, secret: Path, *options: str) -> int:
    return main(
        ["conformance", f"{place.host}:{place.port}", "--user", "alice", "--password-file", str(secret), *options]
    )


def test_text_by_section_and_status_0(server, secret, capsys) -> None:
    assert run(server, secret, "--only", "rfc1939-5-stat-*", "--only", "rfc2449-6.7") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"127.0.0.1:{server.port}: +OK pop.example.org")
    assert "\nRFC 1939, section 5\n  pass  STAT shows +OK, the number of messages and their size\n" in told
    assert "  skip  STAT of an empty maildrop is 0 0: it deletes messages and needs --may-delete\n" in told
    assert "  skip  EXPIRE has a number of days or NEVER as its argument: EXPIRE is not announced\n" in told
    assert told.splitlines()[-1].startswith("5 passed, 0 failed, 3 skipped (2 need --may-delete) in ")


def test_a_failure_is_shown_with_what_was_said_and_status_1(server, secret, maildir, capsys) -> None:
    options = ["--maildir", str(maildir), "--may-delete", "--only", "surrogate", "--quiet"]
    assert run(server, secret, *options) == 1
    told = capsys.readouterr().out
    assert "  FAIL  RETR does not send UTF-8 headers without UTF8 (strict)\n" in told
    assert "        the header of the message was sent with non-ASCII octets\n" in told
    assert 'RFC 6856 section 2.1: "the server MUST either send the client a surrogate message' in told
    assert "          C: RETR 1\n" in told
    assert "          C: PASS ****\n" in told
    assert "sesame" not in told
    assert "1 failed (1 strict), 0 skipped" in told


def test_json_holds_all_checks(server, secret, maildir, capsys) -> None:
    assert run(server, secret, "--maildir", str(maildir), "--may-delete", "--json", "--only", "6856") == 1
    data = json.loads(capsys.readouterr().out)
    assert data["server"] == f"127.0.0.1:{server.port}"
    assert data["failed"] == 1
    assert data["passed"] + data["failed"] + data["skipped"] == len(data["checks"])
    failed = [check for check in data["checks"] if check["outcome"] == "fail"]
    assert [check["id"] for check in failed] == ["rfc6856-2.1-surrogate"]
    assert "C: PASS ****" in failed[0]["exchange"]
    assert failed[0]["rule"].startswith("the server MUST")
    assert "UTF8" in data["capabilities"]


def test_junit_is_xml_with_a_case_for_each_check(server, secret, maildir, tmp_path, capsys) -> None:
    path = tmp_path / "report.xml"
    options = ["--maildir", str(maildir), "--may-delete", "--junit", str(path), "--only", "6856", "--only", "eight-bit"]
    assert run(server, secret, *options) == 1
    capsys.readouterr()
    suite = ElementTree.parse(path).getroot()
    assert suite.tag == "testsuite"
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    assert suite.get("failures") == "1"
    failures = [case for case in cases if case.find("failure") is not None]
    assert [case.get("classname") for case in failures] == ["rfc6856.section-2-1"]
    assert "C: RETR 1" in (failures[0].find("failure").text or "")


def test_tls_by_stls_and_before_the_greeting(server, secret, capsys) -> None:
    assert run(server, secret, "--stls", "--insecure", "--only", "stat-format") == 0
    options = ["--user", "alice", "--password-file", str(secret), "--tls", "--insecure", "--only", "stat-format"]
    assert main(["conformance", f"127.0.0.1:{server.tls_port}", *options]) == 0
    assert capsys.readouterr().out.count("1 passed, 0 failed, 0 skipped") == 2


def test_certificates_are_verified_unless_told_otherwise(server, secret, capsys) -> None:
    assert run(server, secret, "--stls") == 2
    told = capsys.readouterr().err
    assert "the TLS handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED]" in told
    assert told.endswith("; use --ca or --insecure\n")


def test_the_password_may_come_from_standard_input(server, monkeypatch, capsys) -> None:
    given = io.TextIOWrapper(io.BytesIO(b"sesame open\n"))
    monkeypatch.setattr(sys, "stdin", given)
    assert run(server, Path("-"), "--only", "stat-format") == 0
    assert "1 passed" in capsys.readouterr().out


def test_the_password_is_asked_for_at_a_terminal(server, monkeypatch, capsys) -> None:
    asked = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "sesame open")
    arguments = ["conformance", f"127.0.0.1:{server.port}", "--user", "alice", "--only", "stat-format"]
    assert main(arguments) == 0
    assert asked == ["Password of alice: "]
    capsys.readouterr()


def test_progress_is_told_at_a_terminal_alone(server, secret, monkeypatch, capsys) -> None:
    assert run(server, secret, "--only", "stat-") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run(server, secret, "--only", "rfc1939-5-stat-format", "--only", "rfc1939-5-noop") == 0
    told = capsys.readouterr().err
    assert told.startswith("\r1 of ")
    assert told.endswith("\r\033[K")


def test_the_list_needs_no_server(capsys) -> None:
    assert main(["conformance", "--list", "--only", "rfc2595-4-stls"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "rfc2595-4-stls  TLS begins after STLS"


def test_a_wrong_password_is_one_line_and_status_2(server, tmp_path, capsys) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    assert run(server, wrong) == 2
    told = capsys.readouterr()
    assert told.out == ""
    refused = "the login of alice is refused: -ERR [AUTH] authentication failed"
    assert told.err == f"geventpop3: error: 127.0.0.1:{server.port}: {refused}\n"


def test_no_server_is_one_line_and_status_2(secret, capsys) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = Address("127.0.0.1", unused.getsockname()[1])
    assert run(place, secret) == 2
    told = capsys.readouterr().err
    assert told == f"geventpop3: error: no connection to 127.0.0.1:{place.port}: Connection refused\n"


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        (b"", "no greeting within 0.3 s; a server with TLS before the greeting needs --tls"),
        (b"HTTP/1.1 400", 'no greeting within 0.3 s, but a part of a line: "HTTP/1.1 400"\n'),
        (b"* OK IMAP4rev1\r\n", 'the greeting does not begin with +OK: "* OK IMAP4rev1"'),
        (b"+OK ready\r\n", "no reply to CAPA within 0.3 s"),
        (b"+OK ready\r\nCAPA\r\n", 'a reply to CAPA does not begin with +OK or -ERR: "CAPA"'),
    ],
)
def test_a_server_of_another_protocol_is_one_line_and_status_2(octets, complaint, secret, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = Address("127.0.0.1", other.getsockname()[1])
        over = threading.Event()

        def greet() -> None:
            with other.accept()[0] as connection:
                connection.sendall(octets)
                over.wait(20)

        thread = threading.Thread(target=greet)
        thread.start()
        assert run(place, secret, "--timeout", "0.3") == 2
        over.set()
        thread.join(20)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"geventpop3: error: 127.0.0.1:{place.port}: {complaint}")
    assert told.err.count("\n") == 1


def test_tls_to_a_port_without_it_is_one_line_and_status_2(server, secret, capsys) -> None:
    assert run(server, secret, "--tls", "--insecure") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"geventpop3: error: 127.0.0.1:{server.port}: the TLS handshake failed: [SSL: ")
    assert told.count("\n") == 1


def interrupt_after(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make Ctrl-C come in the middle of a check, after *number* of them."""
    done = itertools.count()
    begin = Lab.begin

    def interrupted(lab: Lab) -> None:
        if next(done) == 2 * number:  # begin() comes once before the maildrop is provided, and once after it
            raise KeyboardInterrupt
        begin(lab)

    monkeypatch.setattr(Lab, "begin", interrupted)


def test_after_ctrl_c_the_report_has_the_checks_until_then_and_status_130(
    server, secret, monkeypatch, tmp_path, capsys
) -> None:
    path = tmp_path / "report.xml"
    interrupt_after(monkeypatch, 2)
    assert run(server, secret, "--only", "before-login", "--junit", str(path)) == 130
    told = capsys.readouterr()
    assert told.out.count("  pass  ") == 2
    assert re.search(r"\n2 passed, 0 failed, 0 skipped in [0-9.]+ s; interrupted after 2 of \d\d checks\n$", told.out)
    assert told.err == ""
    assert ElementTree.parse(path).getroot().get("tests") == "2"


def test_ctrl_c_clears_the_progress_at_a_terminal(server, secret, monkeypatch, capsys) -> None:
    interrupt_after(monkeypatch, 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run(server, secret, "--only", "before-login") == 130
    assert re.fullmatch(r"\r1 of \d\d\r2 of \d\d\r\033\[K", capsys.readouterr().err)


def test_json_after_ctrl_c_has_the_number_of_selected_checks(server, secret, monkeypatch, capsys) -> None:
    interrupt_after(monkeypatch, 1)
    assert run(server, secret, "--only", "stat-before-login", "--only", "list-before-login", "--json") == 130
    data = json.loads(capsys.readouterr().out)
    assert (data["selected"], len(data["checks"])) == (2, 1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "the argument HOST:PORT is missing"),
        (["127.0.0.1:1"], "the option --user is missing"),
        (["127.0.0.1:x", "--user", "u", "--password-file", "/dev/null"], "'127.0.0.1:x' is not of the form HOST:PORT"),
        (["127.0.0.1:1", "--user", "u", "--password-file", "/dev/null"], "/dev/null: its first line is empty"),
        (["127.0.0.1:1", "--user", "u", "--password-file", "/none"], "/none: No such file or directory"),
        (
            ["127.0.0.1:1", "--user", "u", "--maildir", "/x"],
            "--maildir empties the maildrop before it fills it, and needs --may-delete",
        ),
        (
            ["127.0.0.1:1", "--user", "u", "--deliver", "x"],
            "--deliver empties the maildrop before it fills it, and needs --may-delete",
        ),
        (["127.0.0.1:1", "--user", "u", "--insecure"], "--ca and --insecure need --tls or --stls"),
        (
            ["127.0.0.1:1", "--user", "u", "--timeout", "0"],
            "--timeout must be a number of seconds above 0, at most 600",
        ),
        (["127.0.0.1:1", "--user", "u", "--junit", "/none/x"], "/none/x: No such file or directory"),
        (["127.0.0.1:1", "--user", "u", "--only", "xyzzy"], "no check matches xyzzy; --list shows all"),
        (["127.0.0.1:1", "--user", "u", "--tls", "--stls"], "not allowed with argument"),
        (["127.0.0.1:1", "--user", "u", "--tls", "--ca", "/none", "--password-file", "SECRET"], "/none: No such file"),
        (
            ["127.0.0.1:1", "--user", "u", "--may-delete", "--maildir", "/etc", "--password-file", "SECRET"],
            "/etc is not a Maildir: it has no folder tmp",
        ),
    ],
)
def test_mistakes_are_one_line_and_status_2(options, complaint, secret, capsys) -> None:
    assert main(["conformance", *(str(secret) if each == "SECRET" else each for each in options)]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.startswith("geventpop3: error: ")
    assert told.count("\n") == 1


def test_a_password_cannot_be_asked_without_a_terminal(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["conformance", "127.0.0.1:1", "--user", "u"]) == 2
    assert "standard input is not a terminal; use --password-file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pop.example.org", ("pop.example.org", 110)),
        ("127.0.0.1:1110", ("127.0.0.1", 1110)),
        ("[::1]:1110", ("::1", 1110)),
        ("[::1]", ("::1", 110)),
        ("host:", ("host", 110)),
    ],
)
def test_addresses(text, found) -> None:
    assert address(text, 110) == found


@pytest.mark.parametrize("text", ["", ":110", "host:0", "host:99999", "[::1", "[::1]x", "[]:1", "::1"])
def test_what_is_no_address(text) -> None:
    with pytest.raises(ConfigError, match="is not of the form HOST:PORT"):
        address(text, 110)


def test_the_page_names_the_options_that_there_are(capsys) -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance-suite.md").read_text("utf-8")
    with pytest.raises(SystemExit):
        main(["conformance", "--help"])
    told = capsys.readouterr().out
    options = set(re.findall(r"--[a-z][a-z-]+", told))
    assert set(re.findall(r"--[a-z][a-z-]+", page)) == options - {"--help"}
    assert "With it, the messages in the maildrop are lost" in told


def test_the_page_has_the_twelve_rules_of_fairness() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance-suite.md").read_text("utf-8")
    rules = page.partition("## Rules of fairness")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. \*\*", rules, re.M) == [str(number) for number in range(1, 13)]
