"""The conformance checks of geventpop3 itself, and what a run does to a maildrop."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from authority import Authority
from conformance_site import PASSWORD, Site, site

from geventpop3.testing import conformance
from geventpop3.testing.conformance import (
    CannotRun,
    CommandDelivery,
    MaildirDelivery,
    Report,
    registered,
    unverified_context,
)

MAIL = [b"Subject: %d\n\n%s" % (number, b".line\n" * number) for number in range(4)]
AS_IT_IS = "rfc6856-2.1-surrogate"


def outcomes(report: Report) -> dict[str, str]:
    """The reasons of all that did not pass, by id."""
    return {each.check.id: f"{each.outcome}: {each.reason}" for each in report.results if each.outcome != "pass"}


def full(own: Site) -> Report:
    return conformance.run_checks(own.target(), delivery=MaildirDelivery(own.maildir), may_delete=True)


def test_checks_have_ids_sentences_and_titles_of_their_own() -> None:
    checks = registered()
    assert len(checks) > 190
    assert len({check.id for check in checks}) == len(checks)
    titles = [check.title for check in checks]
    assert [title for title in titles if titles.count(title) > 1] == []
    for check in checks:
        assert check.quote, check.id
        assert check.title[0].isupper() or not check.title[0].isalpha(), check.id
        assert not check.title.endswith("."), check.id


def test_a_check_names_the_place_of_its_quotation() -> None:
    sources = {check.id: check.source for check in registered()}
    assert sources["rfc1939-6-quit-removes"] == "RFC 1939 section 6"
    assert sources["rfc5034-4-pipelined-auth"] == "RFC 2449 section 6.6"


def test_geventpop3_passes_all_that_it_announces(tmp_path: Path) -> None:
    with site(tmp_path, Authority(), utf8_messages="convert", login_delay=0) as own:
        report = full(own)
    assert outcomes(report) == {
        "rfc2449-6.5-login-delay": "skip: LOGIN-DELAY is not announced",
        "rfc2449-6.7-expire": "skip: EXPIRE is not announced",
    }
    assert report.status == 0


def test_the_documented_deviation_is_found(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        report = conformance.run_checks(
            own.target(), delivery=MaildirDelivery(own.maildir), may_delete=True, only=lambda each: each.rfc == "6856"
        )
    assert outcomes(report) == {AS_IT_IS: "fail: the header of the message was sent with non-ASCII octets"}
    assert report.failures[0].check.strict


@pytest.mark.parametrize("tls", ["tls", "stls"])
def test_sessions_over_tls(tmp_path: Path, tls: str) -> None:
    authority = Authority()
    with site(tmp_path, authority, utf8_messages="convert") as own:
        port = own.address.tls_port if tls == "tls" else own.address.port
        report = conformance.run_checks(
            own.target(tls=tls, port=port, context=unverified_context()),
            delivery=MaildirDelivery(own.maildir),
            may_delete=True,
            only=lambda check: check.rfc != "1939" or check.section == "6",
        )
    failed = {name: reason for name, reason in outcomes(report).items() if reason.startswith("fail")}
    assert failed == {}
    assert ("rfc2595-4-stls" in outcomes(report)) == (tls == "tls")


def test_without_permission_nothing_changes(tmp_path: Path) -> None:
    with site(tmp_path, Authority(), utf8_messages="convert") as own:
        own.deliver(*MAIL)
        before = own.files()
        report = conformance.run_checks(own.target())
        assert own.files() == before
    found = outcomes(report)
    assert [reason for reason in found.values() if reason.startswith("fail")] == []
    needed = {check.id for check in registered() if check.delete}
    assert needed <= set(found)
    assert report.count("pass") > 100


def test_a_maildrop_without_messages_is_not_filled_without_permission(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        report = conformance.run_checks(own.target())
        assert own.files() == {}
    found = outcomes(report)
    assert found["rfc1939-5-list-format"] == "skip: the maildrop does not hold a message"
    assert [reason for reason in found.values() if reason.startswith("fail")] == []


def test_deletion_without_a_delivery_uses_what_is_there(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        own.deliver(*MAIL)
        report = conformance.run_checks(own.target(), may_delete=True)
        assert len(own.files()) < len(MAIL)
    found = outcomes(report)
    assert [reason for reason in found.values() if reason.startswith("fail")] == []
    assert found["rfc1939-6-quit-removes-all"] == "skip: it needs delivered messages: use --maildir or --deliver"


def test_a_delivery_command_gets_the_message_and_the_user(tmp_path: Path) -> None:
    with site(tmp_path, utf8_messages="convert") as own:
        # Header fields are added, as a real delivery does.
        command = (
            f'n=$(ls {own.maildir}/new {own.maildir}/tmp | wc -l).$$; test "$POP3_USER" = alice && '
            f"(echo 'Return-Path: <x@example.org>'; cat) > {own.maildir}/tmp/$n && "
            f"mv {own.maildir}/tmp/$n {own.maildir}/new/"
        )
        report = conformance.run_checks(
            own.target(),
            delivery=CommandDelivery(command, "alice"),
            may_delete=True,
            only=lambda check: any(part in check.id for part in ("-retr-", "-top-", "-size-", "-6-quit", "list-sizes")),
        )
    found = outcomes(report)
    before = "skip: the delivery command added a header field before the message"
    assert found == {
        "rfc1939-5-list-sizes": "skip: a delivery command may add header fields, so the size is unknown",
        "rfc1939-5-retr-dot-first": before,
        "rfc1939-7-top-stuffs-the-first-octet": before,
    }
    assert report.count("pass") > 40


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("echo no room >&2; exit 75", "the delivery command ended with status 75: no room"),
        ("exit 1", "the delivery command ended with status 1: it printed nothing"),
    ],
)
def test_a_delivery_command_that_fails_ends_the_run(tmp_path: Path, command: str, complaint: str) -> None:
    with site(tmp_path) as own, pytest.raises(CannotRun, match=complaint):
        conformance.run_checks(own.target(), delivery=CommandDelivery(command, "alice"), may_delete=True)


def test_a_message_that_the_delivery_refuses_is_skipped(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        # NUL is what this delivery cannot take.
        command = f"cat > {own.maildir}/tmp/$$ && ! grep -qaP '\\x00' {own.maildir}/tmp/$$ || exit 65; "
        command += f"mv {own.maildir}/tmp/$$ {own.maildir}/new/$$"
        delivery = CommandDelivery(command, "alice")
        report = conformance.run_checks(
            own.target(), delivery=delivery, may_delete=True, only=lambda check: "retr" in check.id
        )
    assert set(outcomes(report).values()) == {"skip: the delivery command refused this message"}


def test_a_delivery_needs_the_permission(tmp_path: Path) -> None:
    with site(tmp_path) as own, pytest.raises(CannotRun, match="empties the maildrop"):
        conformance.run_checks(own.target(), delivery=MaildirDelivery(own.maildir))


def test_a_folder_that_is_no_maildir_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"is not a Maildir: it has no folder tmp"):
        MaildirDelivery(tmp_path)


def test_a_delivery_to_another_maildrop_ends_the_run_before_anything_is_lost(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for part in ("tmp", "new", "cur"):
        (other / part).mkdir(parents=True)
    (other / "new" / "1.M1P1.host").write_bytes(MAIL[0])
    with site(tmp_path) as own:
        own.deliver(*MAIL)
        before = own.files()
        with pytest.raises(
            CannotRun, match="does not arrive: the maildrop of alice holds 4 messages, and 5 were expected"
        ):
            conformance.run_checks(own.target(), delivery=MaildirDelivery(other), may_delete=True)
        assert own.files() == before
    assert [path.name for path in (other / "new").iterdir()] == ["1.M1P1.host"]


def test_a_wrong_password_ends_the_run(tmp_path: Path) -> None:
    with site(tmp_path) as own, pytest.raises(CannotRun, match=r"the login of alice is refused: -ERR \[AUTH\]"):
        conformance.run_checks(own.target(password="wrong"))


def test_no_server_ends_the_run() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    target = conformance.Target("127.0.0.1", port, "alice", PASSWORD)
    with pytest.raises(CannotRun, match=rf"^no connection to 127.0.0.1:{port}: Connection refused$"):
        conformance.run_checks(target)


def test_a_server_that_says_nothing_ends_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = conformance.Target("127.0.0.1", silent.getsockname()[1], "alice", PASSWORD, timeout=0.2)
        with pytest.raises(
            CannotRun, match=r"no greeting within 0\.2 s; a server with TLS before the greeting needs --tls"
        ):
            conformance.run_checks(target)


def test_a_server_of_another_protocol_ends_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection = other.accept()[0]
            with connection:
                connection.sendall(b"220 mail.example.org ESMTP\r\n")
                connection.recv(1)

        thread = threading.Thread(target=greet)
        thread.start()
        target = conformance.Target("127.0.0.1", other.getsockname()[1], "alice", PASSWORD, timeout=5)
        with pytest.raises(CannotRun, match=r"the greeting does not begin with \+OK: .*220 mail"):
            conformance.run_checks(target)
        thread.join(10)


def test_a_certificate_that_is_not_trusted_ends_the_run(tmp_path: Path) -> None:
    with site(tmp_path, Authority()) as own:
        target = own.target(tls="stls", context=ssl.create_default_context())
        with pytest.raises(CannotRun, match="certificate"):
            conformance.run_checks(target)


def test_stls_that_is_not_announced_ends_the_run(tmp_path: Path) -> None:
    with site(tmp_path) as own, pytest.raises(CannotRun, match="does not announce STLS"):
        conformance.run_checks(own.target(tls="stls", context=unverified_context()))


def test_a_server_that_goes_away_is_told_as_that(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        gone = [0]

        def close(result: conformance.Result) -> None:
            gone[0] += 1
            if gone[0] == 5:
                own.address.errors.clear()
                object.__setattr__(target, "port", 1)

        target = own.target()
        report = conformance.run_checks(target, each=close)
    failed = [result.reason for result in report.failures]
    assert len(failed) == 3
    assert all(reason.startswith("no connection to 127.0.0.1:1") for reason in failed)
    assert report.results[-1].reason in (
        "the server no longer accepts connections",
        "it needs delivered messages: use --maildir or --deliver",
        "LANG is not announced",
        "it deletes messages and needs --may-delete",
    )


def test_lenient_leaves_out_what_is_strict(tmp_path: Path) -> None:
    with site(tmp_path) as own:
        report = conformance.run_checks(own.target(), lenient=True, only=lambda check: check.strict)
    assert report.count("pass") == report.count("fail") == 0
    assert "--lenient leaves out strict checks" in {result.reason for result in report.results}
