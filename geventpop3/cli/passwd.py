"""``geventpop3 passwd``: edit a password file."""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from geventpop3.auth.mechanisms import text
from geventpop3.auth.passwd import BYTE_ORDER_MARK, check_name, delete_user, set_password
from geventpop3.auth.schemes import NAMES, default_scheme, hash_password
from geventpop3.cli.hints import file_errors, print_line
from geventpop3.errors import AuthenticationFailed, ConfigError, StoreBroken
from geventpop3.stores.maildir.paths import Template

NOTES = """\
examples:
  geventpop3 passwd /etc/pop3.passwd alice
  pwgen -s 20 1 | geventpop3 passwd /etc/pop3.passwd alice --stdin
  geventpop3 passwd /etc/pop3.passwd alice --delete

Each line is user:{SCHEME}secret[:...], the format of Dovecot's passwd-file driver. Dovecot
reads all schemes; for SCRYPT and YESCRYPT, written as {CRYPT}, its crypt(3) must be libxcrypt.
Passwords are prepared by SASLprep (RFC 4013): two spellings that look the same are equal.
ARGON2ID and BLF-CRYPT need the extras [argon2] and [bcrypt]; YESCRYPT and SHA*-CRYPT
need libxcrypt here too. A running server reloads the changed file."""


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``passwd`` to the *commands* of a parser; *layout* is that of its help."""
    parser = commands.add_parser("passwd", help="edit a password file", epilog=NOTES, **layout)
    parser.add_argument("file", metavar="FILE", help="password file; created if it is missing")
    parser.add_argument("user", metavar="USER", help="name of the user")
    about = f"password scheme: {', '.join(NAMES)}; default {default_scheme()}"
    parser.add_argument("--scheme", metavar="NAME", type=str.upper, choices=NAMES, default=default_scheme(), help=about)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stdin", action="store_true", help="read the password from standard input, one line")
    how.add_argument("--delete", action="store_true", help="remove the user")
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    name, path, scheme = arguments.user, arguments.file, arguments.scheme
    check_name(name)
    if arguments.delete:
        if not delete_user(path, name):
            raise ConfigError(f"{path}: the user {name!r} does not exist")
        return print_line(f"{name}: removed")
    folder = os.path.dirname(os.path.abspath(path))
    with file_errors(folder, f"mkdir -p {shlex.quote(folder)}"):
        os.stat(folder)
    password = _password_from_stdin() if arguments.stdin else _ask_password(name)
    try:
        prepared = text.decoded_password(password)
    except AuthenticationFailed as error:
        raise ConfigError(f"this password cannot be used to log in: {error}") from None
    # A clear-text password is stored unprepared, for APOP and CRAM-MD5 of clients that do not apply SASLprep.
    field = hash_password(password if scheme == "PLAIN" else prepared.encode("utf-8"), scheme)
    is_new = set_password(path, name, field)
    try:
        Template("/{user}").path(name)
    except StoreBroken as error:
        sys.stderr.write(f"geventpop3: warning: this user cannot have a Maildir: {error.detail}\n")
    return print_line(f"{name}: {'added' if is_new else 'changed'} ({scheme})")


def _password_from_stdin() -> bytes:
    # Windows shells put a byte order mark before piped input.
    line = sys.stdin.buffer.readline().removeprefix(BYTE_ORDER_MARK)
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _ask_password(name: str) -> bytes:
    if not sys.stdin.isatty():
        raise ConfigError("standard input is not a terminal: use --stdin")
    try:
        password = getpass.getpass(f"Password of {name}: ")
        again = getpass.getpass("Again: ")
    except EOFError:
        raise ConfigError("no password was given") from None
    if password != again:
        raise ConfigError("the two passwords differ")
    return password.encode("utf-8", "surrogateescape")
