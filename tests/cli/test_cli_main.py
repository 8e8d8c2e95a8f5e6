"""The command line: what it says, what it refuses, and a server that it starts and a signal ends."""

import contextlib
import io
import os
import poplib
import re
import resource
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import required

import geventpop3
from geventpop3 import __version__
from geventpop3.auth.passwd import PasswordFile
from geventpop3.cli import demo, passwd, serve
from geventpop3.cli.main import main
from geventpop3.cli.settings import load_settings
from geventpop3.errors import ConfigError
from geventpop3.stores.maildir import MaildirStore

ROOT = Path(__file__).parents[2]
MESSAGE = b"From: a@example.org\nSubject: hello\n\n.dot\nbye\n"
SECONDS = 120


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GEVENTPOP3_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def site(tmp_path):
    """A maildrop with one message, and alice's password."""
    for part in ("tmp", "new", "cur"):
        (tmp_path / "mail" / "alice" / part).mkdir(parents=True)
    (tmp_path / "mail" / "alice" / "new" / "1.M1P1.host").write_bytes(MESSAGE)
    (tmp_path / "passwords").write_text("alice:{PLAIN}sesame open\n")
    return SimpleNamespace(
        folder=tmp_path,
        passwords=tmp_path / "passwords",
        arguments=["--maildir", f"{tmp_path}/mail/{{user}}", "--passwords", str(tmp_path / "passwords")],
    )


class Process:
    """``python -m geventpop3`` with what it has said so far."""

    def __init__(self, *arguments, **variables):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "geventpop3", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.log = ""
        # Only so that a fault ends the test instead of hanging it.
        self.watchdog = threading.Timer(SECONDS, self.process.kill)
        self.watchdog.start()

    def wait_for(self, words):
        """The rest of the next line of the log that has *words* in it."""
        while line := self.process.stderr.readline():
            self.log += line
            if words in line:
                return line.partition(words)[2].strip()
        raise AssertionError(f"it never said {words!r}:\n{self.log}")

    def end(self, number=signal.SIGTERM):
        """The exit status after a signal; what it said is in ``log`` and ``output``."""
        self.process.send_signal(number)
        self.output, rest = self.process.stdout.read(), self.process.stderr.read()
        self.log += rest
        return self.process.wait()


@contextlib.contextmanager
def running(*arguments, **variables):
    process = Process(*arguments, **variables)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()
        process.process.stdout.close()
        process.process.stderr.close()
        process.watchdog.cancel()


def address(text):
    host, _, port = text.removesuffix(", TLS from the start").rpartition(":")
    return host.strip("[]"), int(port)


def log_in(where, name="alice", password="sesame open"):
    box = poplib.POP3(*where, timeout=SECONDS)
    try:
        box.user(name)
        box.pass_(password)
    except poplib.error_proto:
        box.close()
        raise
    return box


# Help


def test_version_is_said(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"geventpop3 {__version__}\n"


def test_without_a_command_it_says_its_help_and_fails(capsys):
    assert main([]) == 2
    words = capsys.readouterr()
    assert words.out == ""
    for command in ("serve", "passwd", "check", "demo"):
        assert f"geventpop3 {command}" in words.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "serve",
            ["--listen HOST:PORT", "GEVENTPOP3_MAX_SESSIONS", "default 10000", "examples:", "TOML", "; required"],
        ),
        ("passwd", ["--stdin", "--delete", "ARGON2ID", "examples:"]),
        ("demo", ["--listen", "--messages", "127.0.0.1:1110"]),
    ],
)
def test_help_of_each_command_needs_no_manual(command, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in words:
        assert word in said


def test_module_can_be_run():
    ran = subprocess.run([sys.executable, "-m", "geventpop3", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"geventpop3 {__version__}\n", "")


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sreve"], "): did you mean serve?"),
        (["mail"], "); see geventpop3 --help"),
        (["--versoin"], "unrecognized arguments: --versoin: did you mean --version?"),
        (["serve", "--listen-tls", "x"], "unrecognized arguments: --listen-tls x: did you mean --tls-listen?"),
        (["serve", "--lisen", "x"], "unrecognized arguments: --lisen x: did you mean --listen?"),
        (["serve", "--max_sessions=3"], "unrecognized arguments: --max_sessions=3: did you mean --max-sessions?"),
        (["serve", "--list", "127.0.0.1:0"], "unrecognized arguments: --list 127.0.0.1:0: did you mean --listen?"),
        (["serve", "--port", "110"], "unrecognized arguments: --port 110; see geventpop3 serve --help"),
        (["serve", "x.toml"], "unrecognized arguments: x.toml; see geventpop3 serve --help"),
        (["serve", "--maildir"], "expected one argument; see geventpop3 serve --help"),
        (["serve"], "maildir: must be given, by --maildir"),
        (["serve", "--maildir", "/{user}"], "passwords: must be given"),
        (["serve", "SITE", "--listen", "1.2.3.4"], "listen: '1.2.3.4': an address is HOST:PORT"),
        (
            ["serve", "SITE", "--listen", ":1110"],
            "listen: ':1110': the host is missing: 127.0.0.1:1110 is this machine",
        ),
        (["serve", "SITE", "--lock", "exclusiv"], "is not one of exclusive, none: did you mean exclusive?"),
        (["serve", "SITE", "--autologout", "soon"], "autologout: the string 'soon' is not a number of seconds"),
        (["serve", "SITE", "--config", "/nonexistent.toml"], "/nonexistent.toml: No such file or directory"),
        (["serve", "SITE", "--passwords", "/nonexistent"], "create it with: geventpop3 passwd /nonexistent USER (from"),
        (["serve", "SITE", "--passwords", "/"], "passwords: /: Is a directory (from --passwords)"),
        (
            ["serve", "SITE", "--maildir", "/nonexistent/{user}"],
            "No such file or directory; create it with: mkdir -p /nonexistent",
        ),
        (["serve", "SITE", "--maildir", "/srv/mail"], "maildir: maildir template"),
        (["serve", "SITE", "--maildir", "/srv/{home}"], "(from --maildir)"),
        (["serve", "SITE", "--listen", "192.0.2.1:0"], "listen: 192.0.2.1:0: Cannot assign requested address"),
        (["serve", "SITE", "--listen", "unix:/nonexistent/pop3"], "listen: unix:/nonexistent/pop3: No such file"),
        (["passwd"], "the following arguments are required: FILE, USER"),
        (["passwd", "/nonexistent/file", "a:b", "--stdin"], "a user name must not contain a colon"),
        (
            ["passwd", "/nonexistent/file", "alice"],
            "/nonexistent: No such file or directory; create it with: mkdir -p /non",
        ),
        (["passwd", "/nonexistent/file", "alice", "--delete"], "/nonexistent/file: No such file or directory"),
        (["passwd", "/nonexistent/file", "alice", "--scheme", "MD5"], "argument --scheme: invalid choice: 'MD5'"),
        (["passwd", "/nonexistent/file", "alice", "--scheme", "argon2"], "): did you mean ARGON2ID?"),
        (["passwd", "x", "alice", "--stdin", "--delete"], "not allowed with argument"),
        (["demo"], "the following arguments are required: DIR"),
        (["demo", "/dev/null"], "/dev/null"),
        (["demo", "x", "--messages", "-1"], "--messages: '-1' is not a whole number"),
        (["demo", "x", "--messages", "1e6"], "--messages: '1e6' is not a whole number"),
    ],
)
def test_mistake_is_one_line_and_exit_status_2(arguments, words, site, capsys, monkeypatch):
    monkeypatch.chdir(site.folder)
    given = [text for each in arguments for text in (site.arguments if each == "SITE" else [each])]
    assert main(given) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("geventpop3: error: ")
    assert words in said.err
    assert said.err.count("\n") == 1
    assert len(os.listdir(site.folder)) == 2


def test_mistake_in_environment_or_file_is_told_from_where(site, capsys, monkeypatch):
    path = site.folder / "x.toml"
    path.write_text("trace = 3\n")
    monkeypatch.setenv("GEVENTPOP3_CONFIG", str(path))
    assert main(["serve", *site.arguments]) == 2
    assert capsys.readouterr().err == f"geventpop3: error: trace: 3 is neither true nor false (from {path})\n"
    monkeypatch.setenv("GEVENTPOP3_TRACE", "perhaps")
    assert main(["serve", *site.arguments]) == 2
    assert capsys.readouterr().err == (
        "geventpop3: error: trace: the string 'perhaps' is neither true nor false (from GEVENTPOP3_TRACE)\n"
    )


def test_an_error_is_all_that_is_said(site, capsys, caplog):
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["serve", *site.arguments, "--listen", where]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert caplog.messages == []


def test_port_in_use_is_one_line_that_names_it(site, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["serve", *site.arguments, "--listen", "127.0.0.1:0", "--listen", where]) == 2
    assert capsys.readouterr().err == (
        f"geventpop3: error: listen: {where}: Address already in use; another program listens at this address: "
        "stop it or choose another address (from --listen)\n"
    )


def test_host_that_is_not_known_is_one_line_that_names_it(site, capsys, monkeypatch):
    def unknown(*_asked, **_how):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("geventpop3.server.acceptor.socket.getaddrinfo", unknown)
    assert main(["serve", *site.arguments, "--listen", "pop.invalid:0"]) == 2
    assert capsys.readouterr().err == (
        "geventpop3: error: listen: pop.invalid:0: Name or service not known (from --listen)\n"
    )


def test_mistake_is_one_line_in_a_process_of_its_own():
    with running("serve", "--maildir", "/nonexistent\n/{user}", "--passwords", "/nonexistent") as process:
        output, log = process.process.communicate(timeout=SECONDS)
    assert process.process.returncode == 2
    assert output == ""
    assert log == (
        "geventpop3: error: passwords: /nonexistent: No such file or directory; create it with: "
        "geventpop3 passwd /nonexistent USER (from --passwords)\n"
    )


# serve


def test_served_maildrop_is_read_and_the_session_is_one_line_of_the_log(site):
    with running("serve", *site.arguments, "--listen", "127.0.0.1:0", "--hostname", "pop.example.org") as process:
        where = address(process.wait_for("listening on "))
        box = log_in(where)
        assert b"pop.example.org" in box.getwelcome()
        assert box.retr(1)[1] == MESSAGE.splitlines()
        box.dele(1)
        box.quit()
        line = process.wait_for("geventpop3.access: session ")
        assert re.fullmatch(
            r"user=alice address=127\.0\.0\.1 id=1 commands=5 retrieved=1 removed=1 octets_in=\d+ octets_out=\d+ "
            r"seconds=\d+\.\d{3} reason=quit",
            line,
        )
        assert process.end() == 0
    assert "SIGTERM: shutting down" in process.log
    assert "Traceback" not in process.log
    assert process.output == ""
    assert os.listdir(site.folder / "mail" / "alice" / "new") == []


def test_wrong_password_is_a_warning_and_no_octet_of_it_is_logged(site):
    with running("serve", *site.arguments, "--listen", "127.0.0.1:0", "--trace", "--log-level", "debug") as process:
        where = address(process.wait_for("listening on "))
        with pytest.raises(poplib.error_proto):
            log_in(where, "alice", "canary in a mine")
        line = process.wait_for("authentication_failed ")
        assert line == "address=127.0.0.1 id=1 mechanism=USER user=alice"
        log_in(where).quit()
        process.wait_for("reason=quit")
        assert process.end(signal.SIGINT) == 0
    assert "SIGINT: shutting down" in process.log
    assert "C: PASS ****" in process.log
    assert "canary" not in process.log
    assert "sesame" not in process.log


def test_several_addresses_of_every_kind_may_come_from_a_file(site):
    path = site.folder / "geventpop3.toml"
    listeners = ["127.0.0.1:0", f"unix:{site.folder}/s"]
    path.write_text(f"listen = {listeners}\nlock = 'none'\nmax-sessions = 7\n".replace("'", '"'))
    with running("serve", *site.arguments, GEVENTPOP3_CONFIG=str(path)) as process:
        where = address(process.wait_for("listening on "))
        assert process.wait_for("listening on ") == listeners[1]
        one, other = log_in(where), log_in(where)  # lock = none lets both in
        one.quit()
        other.quit()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(f"{site.folder}/s")
            client.sendall(b"QUIT\r\n")
            assert client.makefile("rb").read().count(b"+OK") == 2
        assert process.end() == 0
    assert not (site.folder / "s").exists()


def test_change_of_the_password_file_is_followed_while_it_is_served(site):
    with running("serve", *site.arguments, GEVENTPOP3_LISTEN="127.0.0.1:0") as process:
        where = address(process.wait_for("listening on "))
        log_in(where).quit()
        edit = [sys.executable, "-m", "geventpop3", "passwd", str(site.passwords), "alice", "--stdin"]
        subprocess.run(edit, input=b"another\r\n", check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        log_in(where, password="another").quit()
        with pytest.raises(poplib.error_proto):
            log_in(where)
        assert process.end() == 0


@pytest.fixture
def signals(monkeypatch):
    """What was installed for which signal."""
    handlers = {}
    monkeypatch.setattr(
        serve.gevent, "signal_handler", lambda number, handler, *args: handlers.update({number: lambda: handler(*args)})
    )
    return handlers


@pytest.mark.parametrize("asks", [True, False])
def test_served_is_what_was_made_once_it_listens(monkeypatch, signals, asks):
    did = []
    pop3d = SimpleNamespace(start=lambda: did.append("start"), serve_forever=lambda: did.append("serve"))
    pop3d.shutdown = pop3d.reload_certificates = list
    monkeypatch.setattr(serve, "make_server", lambda settings, listening: pop3d)
    monkeypatch.setattr(serve, "_log_to_stderr", lambda settings: None)
    monkeypatch.setattr(serve, "_raise_descriptor_limit", lambda: did.append("limit"))
    settings = load_settings({"maildir": "x", "passwords": "x"}, {})
    assert serve.run(settings, (lambda pop3d: did.append("ready")) if asks else None) == 0
    assert did == ["limit", "start", *(["ready"] if asks else []), "serve"]
    assert set(signals) == {signal.SIGHUP}


def test_short_autologout_is_warned_of(site, monkeypatch, caplog):
    monkeypatch.setattr(serve, "make_server", lambda settings, listening: (_ for _ in ()).throw(ConfigError("enough")))
    monkeypatch.setattr(serve, "_log_to_stderr", lambda settings: None)
    assert main(["serve", *site.arguments, "--autologout", "599.5"]) == 2
    assert caplog.messages == ["autologout is 599.5 seconds: RFC 1939 requires at least 600"]


def test_trace_is_logged_whatever_the_log_level(site, monkeypatch):
    wanted = []
    monkeypatch.setattr(serve.logging, "basicConfig", lambda **how: wanted.append(how["level"]))
    logger = serve.logging.getLogger("geventpop3.trace")
    before = logger.level
    try:
        settings = load_settings({"maildir": "x", "passwords": "x", "log_level": "error", "trace": True}, {})
        serve._log_to_stderr(settings)
        assert wanted == ["ERROR"]
        assert logger.isEnabledFor(serve.logging.INFO)
    finally:
        logger.setLevel(before)


def test_limit_of_open_files_is_raised_as_far_as_it_goes(monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(serve.resource, "getrlimit", lambda which: (256, 4096))
    monkeypatch.setattr(serve.resource, "setrlimit", lambda which, limits: asked.append((which, limits)))
    serve._raise_descriptor_limit()
    assert asked == [(resource.RLIMIT_NOFILE, (4096, 4096))]

    def refuse(which, limits):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(serve.resource, "setrlimit", refuse)
    serve._raise_descriptor_limit()
    assert caplog.messages == [
        "the limit of open files cannot be raised, it stays at 256: not allowed to raise maximum limit"
    ]


# passwd


def give_stdin(monkeypatch, octets):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(octets), isatty=lambda: False))


@pytest.fixture
def terminal(monkeypatch):
    """A function that lines up what is typed at a terminal: texts, or exceptions."""

    def will_type(*answers):
        queue = list(answers)
        asked = []

        def getpass(prompt):
            asked.append(prompt)
            answer = queue.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr(passwd.getpass, "getpass", getpass)
        return asked

    return will_type


@pytest.mark.parametrize(
    "octets", [b"sesame \n", b"sesame \r\n", b"sesame ", b"sesame \nignored\n", b"\xef\xbb\xbfsesame \r\n"]
)
def test_password_is_one_line_of_standard_input(tmp_path, monkeypatch, capsys, octets):
    path = tmp_path / "passwords"
    give_stdin(monkeypatch, octets)
    assert main(["passwd", str(path), "alice", "--stdin", "--scheme", "plain"]) == 0
    assert capsys.readouterr().out == "alice: added (PLAIN)\n"
    assert path.read_text() == "alice:{PLAIN}sesame \n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_password_is_asked_for_twice_and_hashed(tmp_path, terminal, capsys):
    path = tmp_path / "passwords"
    path.write_text("# ours\nalice:{PLAIN}old\nbob:{PLAIN}x\n")
    asked = terminal("sesame", "sesame")
    assert main(["passwd", str(path), "alice", "--scheme", "PBKDF2"]) == 0
    assert asked == ["Password of alice: ", "Again: "]
    assert capsys.readouterr().out == "alice: changed (PBKDF2)\n"
    assert "sesame" not in path.read_text()
    assert PasswordFile(path).authenticate("alice", "sesame") == "alice"
    assert PasswordFile(path).authenticate("bob", "x") == "bob"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("one", "two"), "the two passwords differ"),
        ((EOFError(),), "no password was given"),
        (("", ""), "this password cannot be used to log in: the password is empty"),
        (("\u00ad",) * 2, "this password cannot be used to log in: the password is empty"),
        (("a\tb",) * 2, "this password cannot be used to log in: the password holds what SASLprep forbids"),
        (("\udce9",) * 2, "this password cannot be used to log in: the password is not UTF-8"),
        (("x" * 1025,) * 2, "this password cannot be used to log in: the password is longer than 1024 octets"),
    ],
)
def test_password_that_is_no_password_changes_nothing(tmp_path, terminal, capsys, typed, words):
    terminal(*typed)
    assert main(["passwd", str(tmp_path / "passwords"), "alice"]) == 2
    assert capsys.readouterr().err.startswith(f"geventpop3: error: {words}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("scheme", ["PBKDF2", "SCRAM-SHA-256", "PLAIN"])
def test_password_logs_in_as_it_is_typed_and_as_it_is_prepared(tmp_path, terminal, scheme):
    path = tmp_path / "passwords"
    terminal("m\u00b2\u00a0\U0001d538", "m\u00b2\u00a0\U0001d538")
    assert main(["passwd", str(path), "alice", "--scheme", scheme]) == 0
    users = PasswordFile(path)
    for password in ("m\u00b2\u00a0\U0001d538", "m2 A"):  # what PASS brings, and what PLAIN does
        assert users.authenticate("alice", password) == "alice"
    for password in ("m2 a", "m\u00b2", "m2", "", "m2 A\udcff"):
        assert users.authenticate("alice", password) is None


def test_password_with_characters_younger_than_saslprep_is_taken(tmp_path, terminal):
    terminal("\U0001f98a fox", "\U0001f98a fox")
    assert main(["passwd", str(tmp_path / "passwords"), "alice", "--scheme", "PBKDF2"]) == 0
    assert PasswordFile(tmp_path / "passwords").authenticate("alice", "\U0001f98a fox") == "alice"


def test_ctrl_c_at_the_prompt_is_no_traceback(tmp_path, terminal):
    terminal(KeyboardInterrupt())
    assert main(["passwd", str(tmp_path / "passwords"), "alice"]) == 130
    assert os.listdir(tmp_path) == []


def test_without_a_terminal_stdin_must_be_asked_for(tmp_path, monkeypatch, capsys):
    give_stdin(monkeypatch, b"sesame\n")
    assert main(["passwd", str(tmp_path / "passwords"), "alice"]) == 2
    assert capsys.readouterr().err == "geventpop3: error: standard input is not a terminal: use --stdin\n"


def test_user_can_be_removed(tmp_path, capsys):
    path = tmp_path / "passwords"
    path.write_text("alice:{PLAIN}x\nbob:{PLAIN}x\n")
    assert main(["passwd", str(path), "alice", "--delete"]) == 0
    assert capsys.readouterr().out == "alice: removed\n"
    assert path.read_text() == "bob:{PLAIN}x\n"
    assert main(["passwd", str(path), "alice", "--delete"]) == 2
    assert capsys.readouterr().err == f"geventpop3: error: {path}: the user 'alice' does not exist\n"


# demo


def test_demo_serves_what_it_says_and_its_python_line_works_as_it_stands(tmp_path):
    with running("demo", tmp_path / "demo", "--listen", "127.0.0.1:0") as process:
        process.wait_for("listening on ")
        said = [process.process.stdout.readline() for _ in range(9)]
        assert said[0].startswith("Serving 8 messages of alice (password wonderland) at pop3://127.0.0.1:")
        (program,) = [line.strip() for line in said if line.startswith("  python3 ")]
        ran = subprocess.run(
            program.replace("python3", sys.executable, 1), shell=True, capture_output=True, text=True, timeout=SECONDS
        )
        assert ran.returncode == 0, ran.stderr
        assert "Subject: Welcome to Wonderland" in ran.stdout
        assert process.end(signal.SIGINT) == 0


@pytest.mark.client
def test_demos_curl_lines_work_as_they_stand(tmp_path):
    required.program("curl")
    with running("demo", tmp_path / "demo", "--listen", "127.0.0.1:0") as process:
        process.wait_for("listening on ")
        said = [process.process.stdout.readline() for _ in range(9)]
        lines = [line.strip() for line in said if line.startswith("  curl ")]
        ran = [
            subprocess.run(line, shell=True, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
            for line in [*lines, lines[0]]
        ]
        assert ran[0].startswith("1 ")
        assert "Subject: Welcome to Wonderland" in ran[1]
        assert len(ran[3].splitlines()) == len(ran[0].splitlines()) - 1
        assert process.end() == 0


@pytest.fixture
def would_run(monkeypatch):
    """The settings that would be served; ``ready`` is called as if it listened at 127.0.0.1:4711."""
    served = []

    def run(settings, ready):
        served.append(settings)
        ready(SimpleNamespace(getsockname=lambda: ("127.0.0.1", 4711)))
        return 0

    monkeypatch.setattr(demo, "run", run)
    return served


def test_demo_goes_to_a_free_port_if_its_own_is_taken(tmp_path, would_run, monkeypatch, capsys):
    monkeypatch.setattr(demo, "_is_taken", lambda text: True)
    assert main(["demo", str(tmp_path)]) == 0
    assert would_run[0].listen == ("127.0.0.1:0",)
    said = capsys.readouterr().out
    assert said.startswith("127.0.0.1:1110 is in use, so another port was selected.\n")
    assert "pop3://127.0.0.1:4711/" in said


def test_demo_keeps_to_the_port_that_was_asked_for(tmp_path, would_run, monkeypatch):
    monkeypatch.setattr(demo, "_is_taken", lambda text: True)
    monkeypatch.setenv("GEVENTPOP3_LISTEN", "127.0.0.1:2")
    assert main(["demo", str(tmp_path), "--listen", "127.0.0.1:1", "--trace"]) == 0
    assert would_run[0].listen == ("127.0.0.1:1",)
    assert would_run[0].trace is True


def test_demo_keeps_its_own_port_if_it_is_free(tmp_path, would_run, monkeypatch):
    monkeypatch.setattr(demo, "_is_taken", lambda text: False)
    assert main(["demo", str(tmp_path)]) == 0
    assert would_run[0].listen == ("127.0.0.1:1110",)


def test_port_is_taken_if_somebody_listens_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert demo._is_taken(f"127.0.0.1:{server.getsockname()[1]}")
    assert not demo._is_taken("127.0.0.1:0")
    assert not demo._is_taken("unix:/nonexistent/s")  # another failure, which serving will tell


def test_demo_of_a_folder_with_braces_is_served_from_it(tmp_path, would_run):
    assert main(["demo", str(tmp_path / "{x}"), "--messages", "3"]) == 0
    maildrop = MaildirStore(would_run[0].maildir).open(demo.USER)
    try:
        assert len(maildrop.scan()) == 3
    finally:
        maildrop.close()


# check, and TLS


@pytest.fixture
def certificate(tmp_path):
    """Files of a certificate for localhost: chain, key, both in one, and the authority."""
    trustme = required.module("trustme")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    files = SimpleNamespace(**{name: str(tmp_path / f"{name}.pem") for name in ("chain", "key", "both", "authority")})
    issued.cert_chain_pems[0].write_to_path(files.chain)
    issued.private_key_pem.write_to_path(files.key)
    issued.private_key_and_cert_chain_pem.write_to_path(files.both)
    authority.cert_pem.write_to_path(files.authority)
    return files


def configuration(site, *lines):
    path = site.folder / "geventpop3.toml"
    path.write_text("\n".join([f'maildir = "{site.folder}/mail/{{user}}"', f'passwords = "{site.passwords}"', *lines]))
    return str(path)


def test_check_finds_a_configuration_in_order_and_listens_nowhere(site, certificate, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        path = configuration(
            site,
            f'listen = "127.0.0.1:{taken.getsockname()[1]}"',
            'tls-listen = "127.0.0.1:0"',
            f'tls-cert = "{certificate.chain}"',
            f'tls-key = "{certificate.key}"',
            f'tls-client-ca = "{certificate.authority}"',
            'proxy = "127.0.0.0/8"',
            'auth = "plain"',
            f'fake-salt-key-file = "{site.passwords}"',  # any octets will do, if there are enough of them
        )
        assert main(["check", path]) == 0
    assert capsys.readouterr().out == f"{path}: no errors\n"


def test_check_does_not_find_in_order_what_the_log_has_errors_of(site, capsys):
    path = configuration(site)
    with open(site.passwords, "a", encoding="utf-8") as file:
        file.write("a line without a colon\n")
    assert main(["check", path]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"geventpop3: error: {path}: has the errors above, although the server would start\n" in said.err


def test_check_of_a_login_that_no_back_end_knows_says_so(site, capsys):
    path = configuration(site)
    assert main(["check", path, "--login", "alice"]) == 0
    for part in ("new", "cur", "tmp"):
        (site.folder / "mail" / "eve" / part).mkdir(parents=True)
    assert main(["check", path, "--login", "eve"]) == 2
    assert "the user 'eve' is unknown to the password file and every other back end" in capsys.readouterr().err


def test_the_password_of_a_user_who_can_have_no_maildir_comes_with_a_warning(tmp_path, monkeypatch, capsys):
    for name, warned in (("a/b", True), (".hidden", True), ("alice@example.org", False)):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"sesame open\n")))
        assert main(["passwd", str(tmp_path / "users"), name, "--stdin", "--scheme", "PLAIN"]) == 0
        error = capsys.readouterr().err
        assert ("geventpop3: warning: this user cannot have a Maildir" in error) is warned


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            ['tls-listen = "127.0.0.1:1110"'],
            "tls-listen: 127.0.0.1:1110 is listened at twice: clear text and TLS from the start need a port each",
        ),
        (
            ["[limits]", "max-sessions = 3"],
            "limits: 'max-sessions': unknown key in a table: move it above the first table",
        ),
        (["[[authenticator]]", 'kind = "pamm"'], "authenticator: number 1: its kind must be one of passwords, ldap, "),
        (['tls-listen = "127.0.0.1:0"'], "tls-listen: needs a certificate: add tls-cert"),
        (['tls-client-ca = "/ca.pem"'], "tls-client-ca: needs a certificate: add tls-cert"),
        (['tls-key = ["a", "b"]', 'tls-cert = "a"'], "tls-key: there are 2 keys for 1 certificates"),
        (['tls-cert = "/nowhere.pem"'], "tls-cert: "),
        (['fake-salt-key-file = "/nowhere.key"'], "fake-salt-key-file: /nowhere.key: No such file or directory"),
        (['fake-salt-key-file = "/dev/null"'], "fake-salt-key-file: /dev/null: must contain 16 to 4096 random octets"),
        (['fake-salt-key-file = "/dev/zero"'], "fake-salt-key-file: /dev/zero: must contain 16 to 4096 random octets"),
        (['passwords2 = "x"'], "'passwords2': unknown key"),
        (['user = "mail"'], "user: has no effect without workers"),
    ],
)
def test_check_tells_what_is_wrong_in_one_line(site, capsys, lines, complaint):
    path = configuration(site, *lines)
    assert main(["check", path]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"geventpop3: error: {complaint}")
    assert error.count("\n") == 1
    assert path in error


def test_check_finds_a_key_that_is_another_certificates(site, certificate, capsys):
    trustme = required.module("trustme")
    other = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    other.private_key_pem.write_to_path(certificate.key)
    path = configuration(site, f'tls-cert = "{certificate.chain}"', f'tls-key = "{certificate.key}"')
    assert main(["check", path]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"geventpop3: error: tls-cert: TLS certificate {certificate.chain}, key {certificate.key}: "
    )
    assert "mismatch" in error


def test_check_misses_an_extra_that_serving_would_miss(site, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "geventpop3.workers", None)
    monkeypatch.delattr(geventpop3, "workers", raising=False)
    path = configuration(site, "workers = 2")
    assert main(["check", path]) == 2
    assert capsys.readouterr().err.startswith("geventpop3: error: workers: ")


def test_serve_speaks_tls_on_a_port_of_its_own_and_after_stls(site, certificate):
    context = ssl.create_default_context(cafile=certificate.authority)
    listeners = ("--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0")
    with running("serve", *site.arguments, *listeners, "--tls-cert", certificate.both, "--auth", "PLAIN") as process:
        _, plain = address(process.wait_for("listening on"))
        line = process.wait_for("listening on")
        assert line.endswith(", TLS from the start")
        _, secure = address(line)
        box = poplib.POP3_SSL("localhost", secure, context=context, timeout=SECONDS)
        box.user("alice")
        box.pass_("sesame open")
        assert box.stat()[0] == 1
        box.quit()
        box = poplib.POP3("localhost", plain, timeout=SECONDS)
        assert "STLS" in box.capa()
        box.stls(context)
        assert "STLS" not in box.capa()
        assert box.capa()["SASL"] == ["PLAIN"]
        box.user("alice")
        box.pass_("sesame open")
        box.quit()


def test_sighup_does_not_end_the_server(site):
    with running("serve", *site.arguments, "--listen", "127.0.0.1:0") as process:
        where = address(process.wait_for("listening on"))
        process.process.send_signal(signal.SIGHUP)
        log_in(where).quit()
        assert process.end() == 0
