"""Code in README and the pages in docs/ works as it stands there, and the names in them exist.

tests/testing/ checks docs/testing.md and docs/dialogues.md, tests/test_documents.py language and links.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import logging
import poplib
import re
import shlex
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tomllib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints
from xml.etree import ElementTree

import pytest
import required

from geventpop3 import POP3Server, ok
from geventpop3.auth.passwd import set_password
from geventpop3.cli.settings import load_settings
from geventpop3.pipeline.events import CATALOGUE, SessionSummary
from geventpop3.plugins import AccessLog
from geventpop3.server.limits import Limits
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing import play, play_over_socket, serve

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
APPLICATIONS = ROOT / "docs" / "applications.md"
INSTALL = ROOT / "docs" / "install.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
SECONDS = 120


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code in *language* on *page*."""
    return re.findall(rf"^```{language}\n(.+?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def block(language: str, holding: str, page: Path = README) -> str:
    """The only block that holds this text."""
    (found,) = [each for each in blocks(page, language) if holding in each]
    return found


def run(code: str) -> dict[str, Any]:
    """What is defined when *code* was imported."""
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(code, "<shown>", "exec"), names)
    return names


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files are that examples speak of: two maildrops of one message and a password file."""
    for user in ("alice", "archive"):
        for part in ("new", "cur", "tmp"):
            (tmp_path / "mail" / user / part).mkdir(parents=True)
        (tmp_path / "mail" / user / "new" / "1.hello").write_bytes(b"Subject: hello\n\nHello.\n")
        set_password(tmp_path / "users", user, "{PLAIN}sesame")
    (tmp_path / "note.py").write_text(block("python", "The kettle"), "utf-8")  # as README says
    shutil.copy(ROOT / "examples" / "poller.py", tmp_path)  # as README says
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("note", "poller"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CODE = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    if page.name not in ("testing.md", "dialogues.md", "CONTRIBUTING.md")
    for number, code in enumerate(blocks(page, "python"), 1)
]


@pytest.mark.parametrize("code", CODE)
def test_a_block_of_python_can_be_imported(code: str, site: Path) -> None:
    assert len(run(code)) > 2


# Examples do what their page says


def doors() -> dict[str, list[str]]:
    """The lines of README's sections that are not empty, by heading, without the first and the last section."""
    sections = re.split(r"^## (.+)$", README.read_text("utf-8"), flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    return {heading: [line for line in text.splitlines() if line] for heading, text in list(found.items())[1:-1]}


def test_readme_has_four_doors_of_fifteen_lines() -> None:
    assert len(doors()) == 4
    assert {heading: len(lines) for heading, lines in doors().items() if len(lines) > 15} == {}


def test_the_picture_of_readme_is_drawn_for_light_and_dark_pages() -> None:
    (picture,) = re.findall(r"!\[.+\]\((.+\.svg)\)", README.read_text("utf-8"))
    drawn = ElementTree.parse(ROOT / picture).getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in "".join(drawn.itertext())


def test_the_application_of_readme_serves_its_message_and_keeps_it() -> None:
    with serve(run(block("python", "The kettle"))["pop3d"]) as address:
        play_over_socket(
            address,
            """
            S: +OK ...
            C: USER alice
            S: +OK ...
            C: PASS sesame
            S: +OK 1 message (35 octets)
            C: DELE 1
            S: -ERR this maildrop is read-only
            C: QUIT
            S: +OK ...
            S: <closed>
            """,
        )


def test_the_framework_is_a_whole_server_that_asks_for_a_password() -> None:
    with serve(run(block("python", "NOTE = ", APPLICATIONS))["pop3d"]) as address:
        box = poplib.POP3(*address, timeout=SECONDS)
        box.user("anybody")
        box.pass_("sesame")
        assert box.retr(box.stat()[0])[1] == [b"Subject: a note", b"", b"The kettle is on."]
        box.quit()
        play_over_socket(
            address,
            """
            S: +OK ...
            C: STAT
            S: -ERR not allowed in the AUTHORIZATION state
            C: USER anybody
            S: +OK
            C: PASS sesam
            S: -ERR [AUTH] authentication failed
            C: RETR 1
            S: -ERR not allowed in the AUTHORIZATION state
            C: QUIT
            S: +OK
            S: <closed>
            """,
        )


def test_the_framework_fits_on_a_screen() -> None:
    lines = [line for line in block("python", "NOTE = ", APPLICATIONS).splitlines() if line]
    assert len(lines) <= 25


def test_a_listener_overrides_a_command_of_the_service(site: Path) -> None:
    with serve(run(block("python", "def keep", APPLICATIONS))["pop3d"]) as address:
        for name, reply in (("archive", "-ERR this maildrop is read-only"), ("alice", "+OK ...")):
            play_over_socket(
                address,
                f"""
                S: +OK ...
                C: USER {name}
                S: +OK ...
                C: PASS sesame
                S: +OK 1 message (26 octets)
                C: DELE 1
                S: {reply}
                C: QUIT
                S: +OK ...
                S: <closed>
                """,
            )
    assert [len(list((site / "mail" / name / "new").iterdir())) for name in ("archive", "alice")] == [1, 0]


def test_the_plugin_turns_away_whom_it_should() -> None:
    pop3d = POP3Server()
    pop3d.on("cmd_user")(lambda pop3d, event: ok("send PASS"))
    run(block("python", "class Curfew", APPLICATIONS))["install"](pop3d)
    pop3d.plugin_get("curfew").closed.add("mallory")
    try:
        play(pop3d, "S: +OK ...\nC: USER alice\nS: +OK send PASS")
        play(pop3d, "S: +OK ...\nC: USER mallory\nS: -ERR [AUTH] come back tomorrow\nS: <closed>")
    finally:
        pop3d.shutdown()


def plain(name: str) -> str:
    return b64encode(f"\0{name}\0sesame".encode()).decode()


@pytest.mark.parametrize("name", ["mallory", "alice"])
def test_plugins_that_turn_away_a_name_do_so_at_auth_too(name: str) -> None:
    curfew = run(block("python", "class Curfew", APPLICATIONS))["Curfew"]()
    curfew.closed.add("mallory")
    closed = run(block("python", "class Closed", ROOT / "docs" / "plugins.md"))["Closed"]()
    for plugin, refusal in ((curfew, "come back tomorrow\nS: <closed>"), (closed, "this account is closed")):
        pop3d = POP3Server()
        service = MaildropService(MemoryStore())
        service.authenticator(lambda name, password: password == "sesame")
        pop3d.register(service)
        pop3d.plugin_add("plugin", plugin)
        answer = f"-ERR [AUTH] {refusal}" if name == "mallory" else "+OK 0 messages (0 octets)"
        try:
            play(pop3d, f"S: +OK ...\nC: AUTH PLAIN {plain(name)}\nS: {answer}")
        finally:
            pop3d.shutdown()


def test_the_subscriber_is_told_of_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(block("python", "def watch", APPLICATIONS))
    pop3d = POP3Server()
    shown["watch"](pop3d)
    try:
        play(pop3d, "S: +OK ...")
    finally:
        pop3d.shutdown()
    assert capsys.readouterr().out == "None 0 0\n"


def pytest_in(folder: Path) -> str:
    """Run the tests in *folder* and return what pytest prints."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(folder)]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_tests_pass(tmp_path: Path) -> None:
    shown = block("python", "def test_my_client_empties", ROOT / "docs" / "dialogues.md")
    (tmp_path / "test_shown.py").write_text(shown, "utf-8")
    assert "2 passed" in pytest_in(tmp_path)


def test_the_test_of_readme_passes_and_fails_for_a_client_that_loses_mail(tmp_path: Path) -> None:
    (tmp_path / "test_shown.py").write_text(block("python", "pop3_double"), "utf-8")
    poller = (ROOT / "examples" / "poller.py").read_text("utf-8")
    (tmp_path / "poller.py").write_text(poller, "utf-8")
    assert "1 passed" in pytest_in(tmp_path)
    assert poller.count("inbox[unique_id] = retrieve(") == 1
    worse = poller.replace("inbox[unique_id] = retrieve(", 'inbox[unique_id] = b""; inbox[unique_id] = retrieve(')
    (tmp_path / "poller.py").write_text(worse, "utf-8")
    with pytest.raises(AssertionError, match="1 failed"):
        pytest_in(tmp_path)


# The command line


def help_of(command: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "geventpop3", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return told.stdout


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command."""
    return {
        command: set(re.findall(r"--[a-z][a-z-]+", help_of(command).partition("examples:")[0]))
        for command in ("serve", "check", "passwd", "demo", "conformance", "double", "record", "replay")
    }


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command ``geventpop3 ...`` on *page*, in blocks and in running text."""
    text = page.read_text("utf-8")
    shell = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    unit = re.findall(r"^ExecStart=\S+/(geventpop3 .+)$", text, re.MULTILINE)
    for line in [*shell, *unit, *re.findall(r"`(geventpop3 [a-z].*?)`", text)]:
        for part in line.split(" | "):
            words = shlex.split(part, comments=True)
            if words[:1] == ["geventpop3"]:
                yield words


def test_every_command_that_is_shown_exists_with_its_options(options: dict[str, set[str]]) -> None:
    shown = [words for page in PAGES for words in commands(page)]
    assert len(shown) >= 10
    for _, command, *rest in shown:
        assert command in options
        assert {word for word in rest if word.startswith("--")} <= options[command]


def test_every_option_that_running_text_names_exists(options: dict[str, set[str]]) -> None:
    for page in PAGES:
        named = set(re.findall(r"`(--[a-z-]+)[^`]*`", page.read_text("utf-8")))
        assert named <= set.union(*options.values()), page


GEVENTPOP3 = [sys.executable, "-m", "geventpop3"]
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


@contextmanager
def followed(steps: str, folder: Path) -> Iterator[list[int]]:
    """Do the *steps* in *folder*; the last of them starts a server, whose ports are these, free ones."""
    *before, serving = steps.replace("\\\n", " ").splitlines()
    for step in before:
        if step.startswith("geventpop3 passwd"):
            command = [*GEVENTPOP3, *shlex.split(step)[1:], "--stdin"]
            subprocess.run(command, cwd=folder, input=b"sesame\n", check=True, timeout=SECONDS)
        else:
            subprocess.run(["sh", "-ec", step], cwd=folder, check=True, timeout=SECONDS, stderr=subprocess.DEVNULL)
    assert serving.startswith("geventpop3 serve")
    words, ports = shlex.split(serving)[1:], serving.count("127.0.0.1:1")
    command = [*GEVENTPOP3, *(re.sub(r"^127\.0\.0\.1:1\d+$", "127.0.0.1:0", word) for word in words)]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        told = (found for line in server.stderr if (found := LISTENING.search(line)))
        yield [int(found[1]) for found in itertools.islice(told, ports)]
    finally:
        server.terminate()
        server.communicate(timeout=SECONDS)


def test_the_quick_start_of_the_server_works(tmp_path: Path) -> None:
    with followed(block("sh", "geventpop3 passwd"), tmp_path) as (port,):
        box = poplib.POP3("127.0.0.1", port, timeout=SECONDS)
        box.user("alice")
        box.pass_("sesame")
        assert box.retr(1)[1] == [b"Subject: hello", b"", b"Hello, Alice."]
        box.quit()


def curl(line: str, port: int) -> str:
    """Return what a *line* of a page, a command of curl, prints at another *port*; a password is added."""
    required.program("curl")
    line = re.sub(r":1\d+/", f":{port}/", re.sub(r"-u (\w+) ", r"-u \1:sesame ", line))
    return subprocess.run(
        shlex.split(line, comments=True), capture_output=True, text=True, check=True, timeout=SECONDS
    ).stdout


def curl_lines(page: Path, heading: str) -> list[str]:
    """The commands of curl in the section of *page* under *heading*."""
    section = re.split(rf"^## {heading}$", page.read_text("utf-8"), flags=re.MULTILINE)[1].partition("\n## ")[0]
    return re.findall(r"(?:^|`)(curl [^`\n]+)", section, re.MULTILINE)


HELLO = "Subject: hello\n\nHello, Alice.\n"


@pytest.mark.client
def test_the_lines_for_curl_print_what_the_pages_say(tmp_path: Path) -> None:
    (reads,) = curl_lines(README, "Write an application")
    with serve(run(block("python", "The kettle"))["pop3d"]) as address:
        assert curl(reads, address.port).endswith("The kettle is on.\n")
    (reads,) = curl_lines(APPLICATIONS, "Every command by hand")
    with serve(run(block("python", "NOTE = ", APPLICATIONS))["pop3d"]) as address:
        assert curl(reads.replace(":sesame", ""), address.port).endswith("The kettle is on.\n")
    (first,) = curl_lines(README, "Run a mail server")
    lists, second = curl_lines(INSTALL, "A first server")
    with followed(block("sh", "geventpop3 passwd"), tmp_path) as (port,):
        assert curl(lists, port) == "1 33\n"
        assert curl(first, port) == curl(second, port) == HELLO


@pytest.mark.client
def test_the_lines_for_curl_and_tls_work(site: Path) -> None:
    from_the_start, after_stls = curl_lines(INSTALL, "TLS")
    with followed(block("sh", "openssl req", INSTALL), site) as ports:
        trusting = ssl.create_default_context(cafile=site / "pop.pem")
        clear, secure = sorted(ports, key=lambda port: speaks_tls(port, trusting))
        assert curl(from_the_start, secure) == curl(after_stls, clear) == "1 26\n"


@pytest.mark.client
def test_the_lines_for_tls_work(site: Path) -> None:
    required.program("openssl")
    with followed(block("sh", "openssl req", INSTALL), site) as ports:
        trusting = ssl.create_default_context(cafile=site / "pop.pem")
        clear, secure = sorted(ports, key=lambda port: speaks_tls(port, trusting))
        after_stls = poplib.POP3("localhost", clear, timeout=SECONDS)
        after_stls.stls(trusting)
        for box in (after_stls, poplib.POP3_SSL("localhost", secure, timeout=SECONDS, context=trusting)):
            box.user("alice")
            box.pass_("sesame")
            assert box.stat() == (1, 26)
            box.quit()


def speaks_tls(port: int, context: ssl.SSLContext) -> bool:
    """Whether TLS is spoken there from the start."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        try:
            context.wrap_socket(connection, server_hostname="localhost").close()
        except ssl.SSLError:
            return False
        return True


def test_who_is_not_in_the_password_file_is_looked_for_in_the_database(site: Path) -> None:
    with closing(sqlite3.connect(site / "customers.db")) as database, database:
        database.execute("CREATE TABLE customers (name, secret, owner)")
        database.execute("INSERT INTO customers VALUES ('al', '{PLAIN}other', 'alice')")
    pop3d = run(block("python", "Chain([", APPLICATIONS))["pop3d"]
    try:
        for name, password in (("alice", "sesame"), ("al", "other")):
            play(
                pop3d,
                f"""
                S: +OK ...
                C: USER {name}
                S: +OK ...
                C: PASS {password}
                S: +OK 1 message (26 octets)
                C: QUIT
                S: +OK ...
                S: <closed>
                """,
            )
    finally:
        pop3d.shutdown()


def test_what_the_configuration_file_names_is_made_before() -> None:
    page = ROOT / "docs/operating.md"
    made, shown = block("sh", "install -d", page), block("toml", "max-sessions", page)
    assert page.read_text("utf-8").index(made) < page.read_text("utf-8").index(shown)
    settings = tomllib.loads(shown)
    assert f"geventpop3 passwd {settings['passwords']} alice" in made
    for part in ("new", "cur", "tmp"):
        assert f" {settings['maildir'].format(user='alice')}/{part}" in made


def test_a_page_whose_examples_share_a_port_says_so_before_the_first() -> None:
    for page in (README, APPLICATIONS):
        text = page.read_text("utf-8")
        first, *_, last = (found.start() for found in re.finditer("--listen 127.0.0.1:1110|port=1110", text))
        assert text.index("All examples on this page listen at port 1110") < first < last


def test_the_configuration_file_is_one() -> None:
    shown = block("toml", "max-sessions", ROOT / "docs/operating.md")
    path = re.search(r"^# (/\S+\.toml)", shown)
    assert path is not None
    assert f"--config {path[1]}" in block("ini", "[Service]", ROOT / "docs/operating.md")


def test_the_configuration_file_is_understood(tmp_path: Path) -> None:
    shown = block("toml", "max-sessions", ROOT / "docs/operating.md")
    (tmp_path / "shown.toml").write_text(shown, "utf-8")
    settings = load_settings({}, {}, str(tmp_path / "shown.toml"))
    assert settings.max_sessions == 2000


# Names


def test_every_file_that_is_named_exists() -> None:
    named = re.compile(r"`((?:geventpop3|tests|examples|docs|benchmarks)/[\w./*]+)`")
    for page in PAGES:
        for name in named.findall(page.read_text("utf-8")):
            assert list(ROOT.glob(name.rstrip("/"))), f"{page}: {name}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", text, re.MULTILINE))
        assert named <= targets, page


def test_the_table_of_events_is_the_catalogue() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (any|plugins|nobody) \|$", (ROOT / "docs/events.md").read_text("utf-8"), re.M
    )
    assert [name for name, _ in rows] == list(CATALOGUE)
    answers = dict(rows)
    assert {name for name, who in answers.items() if who == "plugins"} == {"response"}
    assert all(answers[name] == "any" for name in CATALOGUE if name.startswith("cmd_"))


def test_the_tables_of_keywords_are_the_keywords() -> None:
    text = (ROOT / "docs/server.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|(.*)$", text, re.M)
    signature = inspect.signature(POP3Server).parameters.values()
    keywords = {each.name: each.default for each in signature if each.kind is not each.VAR_KEYWORD}
    bounds = {each.name: each.default for each in dataclasses.fields(Limits)}
    assert [(name, ast.literal_eval(default)) for name, default, _ in rows] == [*keywords.items(), *bounds.items()]
    can_be_off = {name for name, hint in get_type_hints(Limits).items() if type(None) in get_args(hint)}
    assert {name for name, _, rest in rows if rest.endswith("| yes |")} == can_be_off


def test_the_table_of_packages_has_every_package() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    table = text[: text.index("Layers 0 to 3 are pure")]
    packages = {
        path.name for path in (ROOT / "geventpop3").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    named = {
        name.rstrip("/") for name in re.findall(r"`([\w.]+/?)`", "\n".join(re.findall(r"^\|[^|]+\|", table, re.M)))
    }
    assert named == packages - {"__init__.py"}


def test_the_log_lines_have_the_fields_that_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "geventpop3.access")
    log = AccessLog()
    log.session_finished(None, SimpleNamespace(args=[SessionSummary()], client=None))
    log.authentication_failed(None, SimpleNamespace(args=["mallory", "USER"], client=None))
    shown = block("text", "geventpop3.access", ROOT / "docs/operating.md").splitlines()
    for record, line in zip(caplog.records, shown, strict=True):
        kind, *fields = record.getMessage().split(" ")
        assert f" {record.levelname} {record.name}: {kind} " in line
        assert re.findall(r"(\w+)=", line) == [field.partition("=")[0] for field in fields]
