"""``geventpop3 conformance``: check any POP3 server, and report by RFC and section."""

from __future__ import annotations

import argparse
import fnmatch
import getpass
import itertools
import signal
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from geventpop3.errors import ConfigError

NOTES = """\
examples:
  geventpop3 conformance pop.example.org:110 --user test --password-file secret
  geventpop3 conformance 127.0.0.1:1110 --user test --password-file secret \\
      --may-delete --maildir /srv/mail/test

Use a test account. Without --may-delete no message is added or removed, and about a
third of the checks are skipped. With it, the messages in the maildrop are lost; with a
delivery the maildrop is emptied and filled many times. Some checks log in with wrong
passwords: first disable limits that lock accounts or addresses on the server.

A delivery command reads the message from standard input and the user from $POP3_USER:
  --deliver '/usr/lib/dovecot/dovecot-lda -d "$POP3_USER"'

Checks of optional features are skipped if the server does not announce these. "strict"
marks rules that many servers break and clients tolerate.

exit status: 0 if no check failed, 1 if some failed, 2 if the run was not possible.
After Ctrl-C it is 130, and the report has the checks until then."""

CLEAR_LINE = "\r\033[K"

DEFAULT_PORTS = {"no": 110, "tls": 995, "stls": 110}


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``conformance`` to the *commands* of a parser; *layout* is that of its help."""
    about = "check any POP3 server against the RFCs"
    parser = commands.add_parser("conformance", help=about, description=about, epilog=NOTES, **layout)
    parser.add_argument(
        "server",
        metavar="HOST[:PORT]",
        nargs="?",
        help="address of the server, [..]:PORT for IPv6; default port 110, or 995 with --tls",
    )
    parser.add_argument("--user", metavar="NAME", help="name of the account")
    about = "file with the password in its first line, - for standard input; default: ask at the terminal"
    parser.add_argument("--password-file", metavar="FILE", help=about)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--tls", action="store_true", help="begin TLS before the greeting")
    how.add_argument("--stls", action="store_true", help="begin TLS with STLS, after the greeting")
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trusted certificates; default: those of the system")
    trust.add_argument("--insecure", action="store_true", help="accept every certificate")
    parser.add_argument("--may-delete", action="store_true", help="permit the loss of all messages in the maildrop")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--deliver", metavar="CMD", help="shell command that delivers a message from its standard input"
    )
    source.add_argument("--maildir", metavar="DIR", help="Maildir of the account, for deliveries into DIR/new")
    parser.add_argument("--lenient", action="store_true", help="skip the strict checks")
    about = "run only these checks; PATTERN is a part of an id, or a pattern with * and ?; may be repeated"
    parser.add_argument("--only", metavar="PATTERN", action="append", default=[], help=about)
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=10.0, help="time limit of each step; default 10"
    )
    parser.add_argument("--quiet", action="store_true", help="show only the failures and the summary")
    parser.add_argument("--json", action="store_true", help="write JSON instead of text")
    parser.add_argument("--junit", metavar="FILE", help="also write the XML of JUnit to FILE")
    parser.add_argument("--list", action="store_true", help="list the checks without running them")
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    """Run the checks, write the report, return the exit status."""
    # Imported here: no other command needs the test kit.
    from geventpop3.testing import conformance

    chosen = [check for check in conformance.registered() if _is_chosen(check.id, arguments.only)]
    if not chosen:
        raise ConfigError(f"no check matches {' or '.join(arguments.only)}; --list shows all")
    if arguments.list:
        sys.stdout.writelines(f"{check.id}  {check.title}{' (strict)' * check.strict}\n" for check in chosen)
        return 0
    names = {check.id for check in chosen}
    _check(arguments)
    junit = _open_junit(arguments.junit)
    try:
        report = conformance.run_checks(
            _target(arguments),
            delivery=_delivery(arguments),
            may_delete=arguments.may_delete,
            lenient=arguments.lenient,
            only=lambda check: check.id in names,
            each=_progress(len(chosen)),
        )
        status = report.status
    except conformance.CannotRun as error:
        raise ConfigError(str(error)) from None
    except conformance.Interrupted as interrupted:
        report, status = interrupted.report, 128 + signal.SIGINT
        if sys.stderr.isatty():
            sys.stderr.write(CLEAR_LINE)
    if junit is not None:
        junit.write_text(conformance.as_junit(report), "utf-8")
    text = conformance.as_json(report) if arguments.json else conformance.as_text(report, quiet=arguments.quiet)
    sys.stdout.write(text)
    sys.stdout.flush()
    return status


def _progress(total: int) -> Callable[[Any], None] | None:
    """Return a function that shows the progress on standard error; None if that is not a terminal."""
    if not sys.stderr.isatty():
        return None
    done = itertools.count(1)

    def show(_result: Any) -> None:
        number = next(done)
        sys.stderr.write(f"\r{number} of {total}" if number < total else CLEAR_LINE)
        sys.stderr.flush()

    return show


def _is_chosen(name: str, patterns: list[str]) -> bool:
    return not patterns or any(part in name or fnmatch.fnmatchcase(name, part) for part in patterns)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.server is None:
        raise ConfigError("the argument HOST:PORT is missing")
    if not arguments.user:
        raise ConfigError("the option --user is missing")
    if not 0 < arguments.timeout <= 600:
        raise ConfigError("--timeout must be a number of seconds above 0, at most 600")
    if (arguments.deliver or arguments.maildir) and not arguments.may_delete:
        option = "--deliver" if arguments.deliver else "--maildir"
        raise ConfigError(f"{option} empties the maildrop before it fills it, and needs --may-delete")
    if (arguments.ca or arguments.insecure) and not (arguments.tls or arguments.stls):
        raise ConfigError("--ca and --insecure need --tls or --stls")


def _open_junit(name: str | None) -> Path | None:
    """Create the file before the checks, so that a wrong path fails at once."""
    if name is None:
        return None
    path = Path(name)
    try:
        path.write_text("", "utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    return path


def _target(arguments: argparse.Namespace) -> Any:
    from geventpop3.testing import conformance

    tls: conformance.Tls = "tls" if arguments.tls else "stls" if arguments.stls else "no"
    host, port = address(arguments.server, DEFAULT_PORTS[tls])
    context = None if tls == "no" else _context(arguments)
    return conformance.Target(
        host, port, arguments.user, _password(arguments), tls=tls, context=context, timeout=arguments.timeout
    )


def address(text: str, default_port: int) -> tuple[str, int]:
    """Return host and port of ``HOST``, ``HOST:PORT`` or ``[HOST]:PORT``. Raises ConfigError."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if closed and (not rest or rest.startswith(":")) else "?"
    else:
        host, _, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0 if port else default_port
    if not host or not 0 < number < 65536:
        raise ConfigError(f"{text!r} is not of the form HOST:PORT")
    return host, number


def _context(arguments: argparse.Namespace) -> ssl.SSLContext:
    from geventpop3.testing import conformance

    if arguments.insecure:
        return conformance.unverified_context()
    try:
        return ssl.create_default_context(cafile=arguments.ca)
    except OSError as error:
        raise ConfigError(f"{arguments.ca}: {error.strerror or error}") from None


def _delivery(arguments: argparse.Namespace) -> Any:
    from geventpop3.testing import conformance

    if arguments.maildir:
        return conformance.MaildirDelivery(arguments.maildir)
    return conformance.CommandDelivery(arguments.deliver, arguments.user) if arguments.deliver else None


def _password(arguments: argparse.Namespace) -> str:
    name = arguments.password_file
    if name is None:
        if not sys.stdin.isatty():
            raise ConfigError("standard input is not a terminal; use --password-file")
        try:
            return getpass.getpass(f"Password of {arguments.user}: ")
        except EOFError:
            raise ConfigError("no password was given") from None
    try:
        octets = sys.stdin.buffer.readline() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    lines = octets.splitlines()
    if not lines or not lines[0]:
        raise ConfigError(f"{name}: its first line is empty")
    return lines[0].decode("utf-8", "surrogateescape")
