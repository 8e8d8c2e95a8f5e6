"""examples/poller.py and its tests: a reader who copies both has tests that pass, and that fail for a worse poller."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geventpop3.testing import Double

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SECONDS = 120


def run_copy(folder: Path, replaced: str = "", by: str = "") -> str:
    """Run the tests in *folder*, where text of the poller is replaced; return what pytest prints."""
    poller = (EXAMPLES / "poller.py").read_text("utf-8")
    assert not replaced or poller.count(replaced) == 1
    (folder / "poller.py").write_text(poller.replace(replaced, by) if replaced else poller, "utf-8")
    shutil.copy(EXAMPLES / "test_poller.py", folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(folder)]
    return subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=SECONDS).stdout


def test_the_tests_pass_where_a_reader_copies_them(tmp_path: Path) -> None:
    printed = run_copy(tmp_path)
    assert "\n19 passed" in printed, printed


@pytest.mark.parametrize(
    ("replaced", "by", "failures"),
    [
        ("if octets == size or lines in copies:", "if True:", ["a message ends too early"]),
        ("elif unique_id not in inbox:", "else:", ["test_a_message_that_stays_on_the_server_is_retrieved_once"]),
    ],
    ids=["accepts cut messages", "retrieves all messages again"],
)
def test_a_worse_poller_fails(tmp_path: Path, replaced: str, by: str, failures: list[str]) -> None:
    printed = run_copy(tmp_path, replaced, by)
    assert " failed" in printed
    for failure in failures:
        assert failure in printed.partition("short test summary")[2], printed


def test_there_are_more_than_ten_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "poller", raising=False)
    names: dict[str, dict[str, object]] = {}
    exec((EXAMPLES / "test_poller.py").read_text("utf-8"), names)
    assert len(names["FAULTS"]) > 10


def test_its_command_line_stores_messages_and_keeps_them(tmp_path: Path) -> None:
    with Double(tls="off") as double:
        box = double.maildrop("alice", "secret")
        printed = []
        for message in (b"Subject: one\n\n1\n", b"Subject: two\n\n2\n"):
            box.deliver(message)
            command = [sys.executable, "-W", "error", str(EXAMPLES / "poller.py"), box.url, str(tmp_path / "inbox.db")]
            printed.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout)
        box.wait_for(sessions=2, messages=0)
    assert printed == ["1 messages\n", "2 messages\n"]
