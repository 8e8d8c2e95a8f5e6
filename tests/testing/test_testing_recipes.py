"""What docs/testing.md shows runs as it stands there, and its recipes fail for clients that have the bug.

A client with a bug is examples/poller.py with some text replaced.
"""

from __future__ import annotations

import inspect
import poplib
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from geventpop3.testing import Double
from geventpop3.testing.double import KINDS
from geventpop3.testing.double.faults import ANY, CONNECT, OPTIONS, TLS

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "testing.md").read_text("utf-8")
POLLER = (ROOT / "examples" / "poller.py").read_text("utf-8")
SECONDS = 120


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.+?)^```$", text, re.DOTALL | re.MULTILINE)


def section(heading: str, end: str = r"^##? ") -> str:
    """The text below *heading*, up to the next of its level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.+?)(?={end}|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(folder)]
    return subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=SECONDS, cwd=folder)


# The tutorial


def without_chance(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{24}\b", "CHANCE", text)


def test_the_first_test_fails_as_shown_and_passes_once_the_bug_is_mended(tmp_path: Path) -> None:
    client, test = blocks(section("The first test"))
    (output,) = blocks(section("The first test"), "text")
    (tmp_path / "mail_poller.py").write_text(client, "utf-8")
    (tmp_path / "test_mail_poller.py").write_text(test, "utf-8")
    printed = without_chance(pytest_in(tmp_path).stdout)
    position = 0
    for part in without_chance(output).split("...\n"):
        position = printed.find(part, position)
        assert position >= 0, part + "\n\nis not in\n\n" + printed
    lines = client.splitlines(keepends=True)
    mended = [line for line in lines if "# claimed" not in line]
    assert len(mended) == len(lines) - 1
    (tmp_path / "mail_poller.py").write_text("".join(mended), "utf-8")
    assert "1 passed" in pytest_in(tmp_path).stdout


# The other blocks


def test_every_other_block_is_a_test_that_passes(tmp_path: Path) -> None:
    (tmp_path / "poller.py").write_text(POLLER, "utf-8")
    shown = blocks(section("Recipes")) + blocks(section("Reference"))
    assert len(shown) + 2 == len(blocks(TEXT))
    for number, code in enumerate(shown):
        (tmp_path / f"test_shown_{number:02}.py").write_text(code, "utf-8")
    done = pytest_in(tmp_path)
    tests = sum(code.count("def test_") for code in shown)
    tests += 1  # one of them runs for two names
    assert f" {tests} passed in " in done.stdout, done.stdout


RAW_RETR = '''
def raw_retr(box, number):
    """Retrieve a message as a client that knows only CRLF."""
    box.sock.sendall(b"RETR %d\\r\\n" % number)
    received = b""
    while not received.endswith(b"\\r\\n.\\r\\n"):
        received += box.file.read(1)
    lines = received.split(b"\\r\\n")[1:-2]
    return b"+OK", lines, sum(len(line) + 2 for line in lines)
'''

Bug = list[tuple[str, str]]
RETRIEVES_ALWAYS: Bug = [("elif unique_id not in inbox:", "else:")]
BUGS: dict[str, tuple[str, Bug, str]] = {
    "retrieves all again": ("It downloads everything again", RETRIEVES_ALWAYS, r"assert .*retrieved == \[third\]"),
    "claims a message before it has it": (
        "It loses mail when the line drops",
        [("inbox[unique_id] = retrieve(", 'inbox[unique_id] = b""; inbox[unique_id] = retrieve(')],
        "assert sorted",
    ),
    "has no timeout": (
        "It hangs",
        [("return poplib.POP3(host, parts.port or 110, timeout=timeout)", "return poplib.POP3(host, parts.port)")],
        "the session failed",
    ),
    "stores after QUIT": (
        "It deletes mail before it has stored it",
        [
            ("fetch(box, inbox, keep)\n        ", "early = {}; fetch(box, early, keep)\n        "),
            (
                "                box.quit()\n",
                "                box.quit()\n            for key in early: inbox[key] = early[key]\n",
            ),
        ],
        r"assert .*removed == \[\]",
    ),
    "does not look at the size": (
        "It takes a cut message for a whole one",
        [("if octets == size or lines in copies:", "if True:")],
        r"assert .* == \[MESSAGE\]",
    ),
    "removes every first dot": (
        "It breaks on a line with a dot",
        [('line + b"\\n" for line in lines', 'line.removeprefix(b".") + b"\\n" for line in lines')],
        r"assert .* == \[MESSAGE\]",
    ),
    "has a limit on lines": (
        "It breaks on long lines, or on lines that end with LF alone",
        [("poplib._MAXLINE = 1 << 20", "poplib._MAXLINE = 2048")],
        "line too long",
    ),
    "waits for CRLF": (
        "It breaks on long lines, or on lines that end with LF alone",
        [("box.retr(number)", "raw_retr(box, number)"), ("def retrieve(", RAW_RETR + "\n\ndef retrieve(")],
        "timed out",
    ),
    "gives up at -ERR": (
        "It gives up all mail for one bad message",
        [("with refusals_allowed():  # one message", "with contextlib.nullcontext():  # one message")],
        "cannot read this message now",
    ),
    "retries every error": (
        "It tries a wrong password for ever, or gives up a maildrop that is only in use",
        [("class LoginRefused(Exception):", "class LoginRefused(OSError):")],
        "assert .*PASS.* == 1",
    ),
    "takes every refusal for a wrong password": (
        "It tries a wrong password for ever, or gives up a maildrop that is only in use",
        [("if is_refusal(error) and not any(", "if is_refusal(error) or any(")],
        "IN-USE",
    ),
    "does not verify": (
        "It does not verify the server's certificate",
        [
            (
                "        context = context or ssl.create_default_context()",
                "        context = ssl._create_unverified_context()",
            )
        ],
        "DID NOT RAISE",
    ),
    "trusts nobody": (
        "It does not verify the server's certificate",
        [
            (
                "        context = context or ssl.create_default_context()",
                "        context = ssl.create_default_context()",
            )
        ],
        "CERTIFICATE_VERIFY_FAILED",
    ),
    "does not begin TLS": (
        "It sends passwords in clear text",
        [('if parts.scheme == "pop3" and (', 'if parts.scheme == "pop3+tls" and (')],
        r"assert .*secure",
    ),
    "goes on without TLS": (
        "It sends passwords in clear text",
        [("        box.stls(", "      with contextlib.suppress(poplib.error_proto):\n        box.stls(")],
        "DID NOT RAISE",
    ),
    "retrieves again what came back": (
        "It forgets mail, or stores it twice, after a QUIT that failed",
        RETRIEVES_ALWAYS,
        r"assert .*retrieved == \[\]",
    ),
    "does not delete what it knows": (
        "It forgets mail, or stores it twice, after a QUIT that failed",
        [
            ("            if not keep:", "            if not keep and unique_id not in known:"),
            (
                "    for number, unique_id in listing:\n",
                "    known = set(inbox)\n    for number, unique_id in listing:\n",
            ),
        ],
        "0 messages left, not 1",
    ),
    "trusts unique-ids": (
        "It loses messages that have the same unique-id",
        [("if occurrences[unique_id] > 1:", "if False:")],
        "assert sorted",
    ),
}


def client_with(bug: Bug) -> ModuleType:
    """Make the module ``poller`` with text replaced."""
    source = POLLER
    for old, new in bug:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    module = ModuleType("poller")
    exec(compile(source, "poller.py", "exec"), module.__dict__)
    return module


def failures(tests: list[Callable[..., Any]], lines: list[str]) -> list[str]:
    """Run tests, each with a double of its own; return the text of each failure, and the line of the test."""
    found = []
    for test in tests:
        try:
            if inspect.signature(test).parameters:
                with Double() as double:
                    test(double)
            else:
                test()
        except (Exception, pytest.fail.Exception) as error:
            frames = traceback.extract_tb(error.__traceback__)
            numbers = [frame.lineno for frame in frames if frame.filename == "<recipe>" and frame.lineno]
            found.append(f"{type(error).__name__}: {error}\n{lines[numbers[-1] - 1].strip()}")
    return found


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of the clients with a bug
@pytest.mark.parametrize(("heading", "bug", "text"), BUGS.values(), ids=BUGS)
def test_a_recipe_fails_for_a_client_with_the_bug(
    heading: str, bug: Bug, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poplib, "_MAXLINE", poplib._MAXLINE)
    monkeypatch.setitem(sys.modules, "poller", client_with(bug))
    code = "\n".join(blocks(section(heading, "^##+ ")))
    names: dict[str, Any] = {}
    exec(compile(code, "<recipe>", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    failure, *_ = failures(tests, code.splitlines())
    assert re.search(text, failure), failure


def test_each_recipe_is_tried_with_a_bug() -> None:
    headings = re.findall(r"^### (.+)$", section("Recipes"), re.MULTILINE)
    assert len(headings) >= 12
    assert {heading for heading, _, _ in BUGS.values()} == set(headings)


# Tables


def faults_table() -> str:
    rows = ["| `how` | effect | finds | `on` | options |", "|---|---|---|---|---|"]
    for name, kind in KINDS.items():
        moments = [f"`{moment}`" for moment in sorted(kind.at & {CONNECT, TLS})]
        at = ", ".join(["any", *moments] if kind.at >= ANY else [f"`{each}`" for each in sorted(kind.at)])
        options = ", ".join(f"`{option}`" for option in sorted(kind.options))
        does = re.sub(r"\*(\w+)\*", r"`\1`", kind.does)
        rows.append(f"| `{name}` | {does} | {kind.finds} | {at} | {options} |")
    return "\n".join(rows) + "\n"


def options_rows() -> str:
    return "".join(f"| `{option}` | {text} (some kinds) |\n" for option, text in OPTIONS.items())


@pytest.mark.parametrize("table", [faults_table, options_rows])
def test_the_tables_of_faults_are_current(table: Callable[[], str]) -> None:
    # If this fails, the page needs the text of the assertion.
    assert table() in TEXT


@pytest.mark.parametrize("name", ["maildrop", "Double"])
def test_every_public_name_is_in_the_reference(name: str) -> None:
    with Double(tls="off") as double:
        thing = double if name == "Double" else double.maildrop("alice")
        public = {each for each in dir(type(thing)) if not each.startswith("_")}
    named = set(re.findall(r"`\w*?\.?(\w+)[(`]", section("Reference")))
    assert public - named == set()
