"""The command ``geventpop3``: serve, passwd, check, demo.

Whatever its user got wrong is one line on standard error, ``geventpop3: error: ...``, and exit status 2. It patches
nothing: the bundled store and authenticator are blocking code that the service runs in threads of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import getpass
import logging
import os
import re
import resource
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import gevent

from geventpop3 import config
from geventpop3.assembly import (
    check_alone,
    check_known,
    check_maildir,
    check_processes,
    hidden_maildirs,
    listening,
    make_authenticator,
    make_server,
    nowhere,
    serve_with_workers,
)
from geventpop3.assembly.advice import reading
from geventpop3.auth.mechanisms import text
from geventpop3.auth.passwd import BYTE_ORDER_MARK, check_name, delete_user, set_password
from geventpop3.auth.schemes import NAMES, default_scheme, hash_password
from geventpop3.config import Settings
from geventpop3.demo import MESSAGES, instructions, prepare
from geventpop3.errors import AuthenticationFailed, ConfigError, StoreBroken
from geventpop3.owners import canonical_name
from geventpop3.server.addresses import parse_address
from geventpop3.server.listening import bind
from geventpop3.server.server import POP3Server
from geventpop3.stores.maildir.paths import Template
from geventpop3.version import __version__

log = logging.getLogger("geventpop3.cli")

RFC_AUTOLOGOUT = 600
"""RFC 1939 section 3: "Such a timer MUST be of at least 10 minutes' duration"."""

ABOUT = """\
A POP3 server for Maildirs.

  geventpop3 demo DIR                     a maildrop to try things on, served at 127.0.0.1:1110
  geventpop3 passwd FILE USER             give a user a password
  geventpop3 serve --maildir 'DIR/{user}' --passwords FILE
                                          serve the users' mail
  geventpop3 check CONFIG                 see whether a configuration file would work

"geventpop3 COMMAND --help" tells the rest."""

SERVE_NOTES = """\
examples:
  geventpop3 serve --maildir '/srv/mail/{user}' --passwords /etc/pop3.passwd
  geventpop3 serve --maildir '/srv/mail/{domain}/{local}' --passwords /etc/pop3.passwd \\
      --listen 127.0.0.1:110 --listen '[::1]:110' --max-sessions 2000
  geventpop3 serve --config /etc/geventpop3.toml --trace
  geventpop3 serve --config /etc/geventpop3.toml --listen 0.0.0.0:110 \\
      --tls-listen 0.0.0.0:995 --tls-cert /etc/ssl/pop.pem --tls-key /etc/ssl/pop.key

Each option is also a key of the configuration file, and an environment variable
GEVENTPOP3_..., in which several addresses are separated by blanks. The command line
goes before the environment, that before the file. /etc/geventpop3.toml may say:

  listen = ["127.0.0.1:110", "[::1]:110"]
  maildir = "/srv/mail/{user}"
  passwords = "/etc/pop3.passwd"
  max-sessions = 2000

LDAP, SQL, PAM and OAuth ([[authenticator]] tables) and limits on logins ([limits]) can be
set in the file alone. "geventpop3 check FILE" looks whether it would work.

SIGTERM or Ctrl-C ends it: running replies are finished, the other sessions are told.
With --workers SIGTERM lets sessions end by themselves first, and SIGHUP reloads."""

EDIT_NOTES = """\
examples:
  geventpop3 passwd /etc/pop3.passwd alice
  pwgen -s 20 1 | geventpop3 passwd /etc/pop3.passwd alice --stdin
  geventpop3 passwd /etc/pop3.passwd alice --delete

Lines are user:{SCHEME}secret[:...], as in Dovecot's passwd-file driver, which reads all
schemes; SCRYPT and YESCRYPT, written as {CRYPT}, where its crypt(3) is libxcrypt.
Passwords are prepared by SASLprep (RFC 4013), so that one that looks the same is the same.
ARGON2ID and BLF-CRYPT need the extras [argon2] and [bcrypt]; YESCRYPT and SHA*-CRYPT
need libxcrypt here too. A running server follows the changes."""


_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")
"""What argparse says of a command or a scheme that there is not: the name, and those that there are."""


class _Parser(argparse.ArgumentParser):
    """Raises ConfigError for what it does not understand, with the nearest that it does."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Overridden because each command's own parser comes by here, and only it knows its options.
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = next((each for each in unknown if each.startswith("--")), "").partition("=")[0].replace("_", "-")
            hint = config.did_you_mean(flag, re.findall(r"--[a-z0-9-]+", self.format_usage()), "--")
            self._refuse(f"unrecognized arguments: {' '.join(unknown)}", hint)
        return known, unknown

    def error(self, message: str) -> NoReturn:
        found = _CHOICE.search(message)
        hint = "" if found is None else config.did_you_mean(found[1], re.findall(r"[\w-]+", found[2]))
        self._refuse(message, hint)

    def _refuse(self, message: str, hint: str) -> NoReturn:
        raise ConfigError(message + (hint or f"; see {self.prog} --help"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.run is None:
            parser.print_help(sys.stderr)
            return 2
        return arguments.run(arguments)  # type: ignore[no-any-return]  # a Namespace is untyped
    except ConfigError as error:
        sys.stderr.write(f"geventpop3: error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    layout: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = _Parser("geventpop3", description=ABOUT, **layout)
    parser.add_argument("--version", action="version", version=f"geventpop3 {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    serve = commands.add_parser("serve", help="serve Maildirs", epilog=SERVE_NOTES, **layout)
    for field, of in config.settings():
        if not of.is_in_file_alone:
            _add_setting(serve, field, of)
    serve.add_argument("--config", metavar="FILE", help="a configuration file in TOML [GEVENTPOP3_CONFIG]")
    serve.set_defaults(run=_serve)

    passwd = commands.add_parser("passwd", help="edit a password file", epilog=EDIT_NOTES, **layout)
    passwd.add_argument("file", metavar="FILE", help="the password file; made if it is missing")
    passwd.add_argument("user", metavar="USER")
    about = f"{', '.join(NAMES)}; default {default_scheme()}"
    passwd.add_argument("--scheme", metavar="NAME", type=str.upper, choices=NAMES, default=default_scheme(), help=about)
    how = passwd.add_mutually_exclusive_group()
    how.add_argument("--stdin", action="store_true", help="read the password from standard input, one line")
    how.add_argument("--delete", action="store_true", help="remove the user")
    passwd.set_defaults(run=_passwd)

    check = commands.add_parser("check", help="check a configuration file and all it names, without serving", **layout)
    check.add_argument("file", metavar="CONFIG", help="a configuration file in TOML")
    about = (
        "look, too, whether a back end knows this user, and at the Maildir as the first login would; changes nothing"
    )
    check.add_argument("--login", metavar="USER", help=about)
    check.add_argument("--offline", action="store_true", help="ask no other servers, as LDAP, OAuth or Redis")
    check.set_defaults(run=_check)

    demo = commands.add_parser("demo", help="make a maildrop of real messages and serve it", **layout)
    demo.add_argument("folder", metavar="DIR", help="where; what is in it already stays")
    demo.add_argument("--listen", metavar="HOST:PORT", help="where to listen; default 127.0.0.1:1110, or any free port")
    demo.add_argument("--messages", metavar="N", default=str(MESSAGES), help=f"how many messages; default {MESSAGES}")
    demo.add_argument("--trace", action="store_true", help="log the dialogue of every session, passwords masked")
    demo.set_defaults(run=_demo)
    return parser


def _add_setting(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], of: config.Setting) -> None:
    about = f"{of.help} [{config.variable(field.name)}]"
    default = field.default
    if default is dataclasses.MISSING:
        about += "; must be given"
    elif default not in (None, ()) and not of.is_switch:
        about += f"; default {default[0] if of.is_repeatable else default}"
    more: dict[str, Any] = {"metavar": of.metavar}
    if of.is_switch:
        more = {"action": argparse.BooleanOptionalAction}
    elif of.is_repeatable:
        more["action"] = "append"
    parser.add_argument(config.flag(field.name), dest=field.name, default=None, help=about, **more)


def _say(text: str) -> int:
    """To standard output, at once; returns the exit status of what went well."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return 0


# serve


def _serve(arguments: argparse.Namespace) -> int:
    path = arguments.config or os.environ.get(config.CONFIG) or None
    load = partial(config.load, vars(arguments), os.environ, path)
    settings = load()
    if settings.workers is not None:
        _log_to_stderr(settings)
        _warn(settings)
        _raise_descriptor_limit()
        serve_with_workers(settings, load)
    check_alone(settings)
    return run(settings)


def run(settings: Settings, ready: Callable[[POP3Server], None] | None = None) -> int:
    """Serve until a signal ends it; *ready* is called when the server listens. Returns the exit status."""
    _log_to_stderr(settings)
    _warn(settings)
    pop3d = make_server(settings, listening)
    _raise_descriptor_limit()
    # Certificates and passwords are followed anyway; an operator's habit of SIGHUP must not end the server.
    gevent.signal_handler(signal.SIGHUP, pop3d.reload_certificates)
    pop3d.start()
    if ready is not None:
        ready(pop3d)
    pop3d.serve_forever()
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Make everything that serving needs and ask the servers that logins need, but listen nowhere."""
    settings = config.load({}, {}, arguments.file)
    logging.basicConfig(format="%(levelname)s: %(message)s", level="WARNING")
    errors = _ErrorCount()
    logging.getLogger("geventpop3").addHandler(errors)
    try:
        check_processes(settings)
        authenticator = make_authenticator(settings, check=not arguments.offline)
        make_server(settings, nowhere, authenticator=authenticator, check=not arguments.offline)
    finally:
        logging.getLogger("geventpop3").removeHandler(errors)
    for complaint in hidden_maildirs(settings):
        log.warning("%s", complaint)
    if arguments.login is not None:
        name = canonical_name(arguments.login, settings.username_case)
        _say(check_maildir(settings, name))
        check_known(authenticator, name, offline=arguments.offline)
    if errors.count:
        raise ConfigError(f"{arguments.file}: not in order: it would be served in spite of the errors above")
    return _say(f"{arguments.file}: in order")


class _ErrorCount(logging.Handler):
    """Counts the errors that the log tells of, such as lines of a password file that are skipped."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002  # another handler writes it
        self.count += 1


def _log_to_stderr(settings: Settings) -> None:
    process = "" if settings.workers is None else "[%(process)d] "
    log_format = f"%(asctime)s {process}%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(format=log_format, level=settings.log_level.upper())
    # What no line of ours shows is not looked up for each of them (the standard library's "Optimization" of logging).
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    logging.logProcesses = settings.workers is not None
    if settings.trace:
        logging.getLogger("geventpop3.trace").setLevel(logging.INFO)


def _warn(settings: Settings) -> None:
    if settings.autologout < RFC_AUTOLOGOUT:
        log.warning("autologout after %g seconds: RFC 1939 asks for at least %d", settings.autologout, RFC_AUTOLOGOUT)


def _raise_descriptor_limit() -> None:
    """As many open files as the system lets us have: each session is one, or more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays at %d: %s", soft, error)


# passwd


def _passwd(arguments: argparse.Namespace) -> int:
    name, path, scheme = arguments.user, arguments.file, arguments.scheme
    check_name(name)
    if arguments.delete:
        if not delete_user(path, name):
            raise ConfigError(f"{path}: there is no user {name!r}")
        return _say(f"{name}: removed")
    folder = os.path.dirname(os.path.abspath(path))
    with reading(folder, f"mkdir -p {shlex.quote(folder)}"):
        os.stat(folder)
    password = _password_from_stdin() if arguments.stdin else _ask_password(name)
    try:
        prepared = text.password_of(password)
    except AuthenticationFailed as error:
        raise ConfigError(f"nobody could log in with this password: {error}") from None
    # What is kept in clear text stays as it is, for APOP and CRAM-MD5 of clients that do not prepare it.
    field = hash_password(password if scheme == "PLAIN" else prepared.encode("utf-8"), scheme)
    is_new = set_password(path, name, field)
    try:
        Template("/{user}").path(name)
    except StoreBroken as error:
        sys.stderr.write(f"geventpop3: warning: no Maildir can have this name: {error.detail}\n")
    return _say(f"{name}: {'added' if is_new else 'changed'} ({scheme})")


def _password_from_stdin() -> bytes:
    # Shells of Windows begin what they pipe with a byte order mark.
    line = sys.stdin.buffer.readline().removeprefix(BYTE_ORDER_MARK)
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _ask_password(name: str) -> bytes:
    if not sys.stdin.isatty():
        raise ConfigError("standard input is no terminal to ask at; use --stdin")
    try:
        password = getpass.getpass(f"Password of {name}: ")
        again = getpass.getpass("Again: ")
    except EOFError:
        raise ConfigError("no password was given") from None
    if password != again:
        raise ConfigError("the passwords differ")
    return password.encode("utf-8", "surrogateescape")


# demo


def _demo(arguments: argparse.Namespace) -> int:
    if not (arguments.messages.isascii() and arguments.messages.isdigit() and len(arguments.messages) < 7):
        raise ConfigError(f"--messages: {arguments.messages!r} is not a whole number below 1,000,000")
    flags = {"listen": None if arguments.listen is None else [arguments.listen]}
    demo = prepare(arguments.folder, int(arguments.messages))
    given = {"maildir": demo.template, "passwords": demo.passwords, "trace": arguments.trace, **flags}
    settings = config.load(given, {})
    if arguments.listen is None and _is_taken(settings.listen[0]):
        _say(f"{settings.listen[0]} is taken, so this is another port.")
        settings = dataclasses.replace(settings, listen=("127.0.0.1:0",))

    def ready(pop3d: POP3Server) -> None:
        _say(instructions(demo, pop3d.getsockname()))

    return run(settings, ready)


def _is_taken(text: str) -> bool:
    try:
        bind(parse_address(text)).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
