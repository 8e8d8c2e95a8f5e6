"""The scoreboard: each failure has a cause that was read by hand, and Dovecot fails for its known causes alone."""

from __future__ import annotations

import fnmatch
import json
import os
import pwd
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import required

from geventpop3.testing import conformance
from geventpop3.testing.conformance import MaildirDelivery, registered

PAGE = (Path(__file__).parents[2] / "docs" / "scoreboard.md").read_text("utf-8")
IDS = [check.id for check in registered()]


def result(server: str, *failed: str) -> dict[str, Any]:
    checks = [
        {"id": name, "outcome": "fail", "strict": name.endswith("trailing"), "reason": "it said something else"}
        for name in failed
    ]
    return {
        "server": server, "version": "1.0", "store": "Maildir", "started": "2026-11-30T10:00:00+00:00", "passed": 3,
        "failed": len(failed), "skipped": 2, "seconds": 1.6, "checks": checks,
    }  # fmt: skip


def test_failures_are_put_together_by_cause(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    failed = ("rfc1939-5-list-huge", "rfc1939-5-retr-huge", "rfc1939-5-list-trailing", "rfc1939-5-noop")
    (tmp_path / "solid-pop3d.json").write_text(json.dumps(result("solid-pop3d", *failed)))
    page = bench["scoreboard_page"].page(tmp_path)
    assert "| solid-pop3d | 1.0 | Maildir | 3 | 4 | 1 | 3 | 2 | 2 |\n" in page
    assert " message 1. *Strict.* (`rfc1939-5-list-trailing`)\n" in page
    assert "take 4294967297 for message 1. (`rfc1939-5-list-huge`, `rfc1939-5-retr-huge`)\n" in page
    assert "- NOT READ YET: it said something else (`rfc1939-5-noop`)\n" in page
    assert "- popa3d: it could not be run\n" in page


def test_each_failure_on_the_page_was_read() -> None:
    assert "NOT READ YET" not in PAGE
    assert "could not be run" not in PAGE
    assert PAGE.count("\n## ") == 9


def test_the_causes_are_of_checks_that_there_are(bench: dict[str, ModuleType]) -> None:
    for server, causes in bench["scoreboard_causes"].CAUSES.items():
        for patterns, text in causes:
            assert text.endswith((".", ")")), text
            unknown = [each for each in patterns.split() if not fnmatch.filter(IDS, each)]
            assert unknown == [], server


@pytest.mark.service
@pytest.mark.slow
def test_dovecot_fails_for_its_known_causes_alone(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    required.program("dovecot")
    if os.geteuid() != 0:
        pytest.skip("Dovecot needs root: it changes to the mail's owner")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    owner = pwd.getpwnam("mail")
    maildir = tmp_path / "maildirs" / "alice"
    for path in (maildir, *(maildir / part for part in ("tmp", "new", "cur"))):
        path.mkdir(parents=True)
        os.chown(path, owner.pw_uid, owner.pw_gid)
    passwords = tmp_path / "passwords"
    passwords.write_text("alice:{PLAIN}sesame open\n")
    passwords.chmod(0o644)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    base = tmp_path / "dovecot"
    config = bench["dovecot"].configure(
        "high-security", port, base, maildir.parent, passwords, (owner.pw_uid, owner.pw_gid)
    )
    config.write_text(config.read_text() + "auth_failure_delay = 0\n")
    process = subprocess.Popen(["dovecot", "-F", "-c", str(config)], stderr=subprocess.PIPE)
    try:
        wait_for_greeting(port, process)
        target = conformance.Target("127.0.0.1", port, "alice", "sesame open")
        report = conformance.run_checks(target, delivery=MaildirDelivery(maildir), may_delete=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    data = json.loads(conformance.as_json(report)) | {"server": "dovecot-pop3d"}
    assert [text for text, _ in bench["scoreboard_page"].causes(data) if "NOT READ" in text] == []
    assert report.count("pass") > 220


def wait_for_greeting(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                assert connection.recv(3) == b"+OK"
                return
        except ConnectionRefusedError:
            time.sleep(0.02)  # another program: only a connection shows that it listens
    raise AssertionError("Dovecot does not listen")
