"""``geventpop3 check``: build the configured server without listening, and examine Maildirs as a login would."""

from __future__ import annotations

import argparse
import logging
import os
import re
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from geventpop3.auth.authenticator import Authenticator
from geventpop3.auth.passwd import PasswordFile
from geventpop3.cli.build import make_server, make_store, no_sockets
from geventpop3.cli.build_authenticators import make_authenticator
from geventpop3.cli.build_workers import check_processes
from geventpop3.cli.check_back_ends import run_with_timeout
from geventpop3.cli.hints import print_line, process_user
from geventpop3.cli.settings import Settings, load_settings
from geventpop3.errors import ConfigError, Refusal
from geventpop3.owners import UsernameCase, canonical_name

log = logging.getLogger("geventpop3.cli")


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``check`` to the *commands* of a parser; *layout* is that of its help."""
    about = "check a configuration file and the files and servers that it names, without serving"
    parser = commands.add_parser("check", help=about, **layout)
    parser.add_argument("file", metavar="CONFIG", help="configuration file in TOML")
    about = "also check that a back end knows this user, and that a login could use the Maildir; changes nothing"
    parser.add_argument("--login", metavar="USER", help=about)
    parser.add_argument(
        "--offline", action="store_true", help="do not query other servers, such as LDAP, OAuth or Redis"
    )
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    """Build everything that serving needs and query the servers that logins need, without listening."""
    settings = load_settings({}, {}, arguments.file)
    logging.basicConfig(format="%(levelname)s: %(message)s", level="WARNING")
    errors = _ErrorCount()
    logging.getLogger("geventpop3").addHandler(errors)
    try:
        check_processes(settings)
        authenticator = make_authenticator(settings, check=not arguments.offline)
        make_server(settings, no_sockets, authenticator=authenticator, check=not arguments.offline)
    finally:
        logging.getLogger("geventpop3").removeHandler(errors)
    for complaint in unreachable_maildirs(settings):
        log.warning("%s", complaint)
    if arguments.login is not None:
        name = canonical_name(arguments.login, settings.username_case)
        print_line(check_maildir(settings, name))
        check_known(authenticator, name, offline=arguments.offline)
    if errors.count:
        raise ConfigError(f"{arguments.file}: has the errors above, although the server would start")
    return print_line(f"{arguments.file}: no errors")


def check_maildir(settings: Settings, owner: str) -> str:
    """Return a line about the maildir of *owner*, examined with the rights of a worker; change nothing.

    Raises ConfigError that lists all that would fail.
    """
    store = make_store(settings)
    with settings.errors_of("maildir"), _as_worker(settings):
        found = store.examine(owner)
        if found.complaints:
            raise ConfigError(f"the Maildir of {owner}, as {process_user()}: {'; '.join(found.complaints)}")
        missing = "; the first login creates what is missing" if found.missing else ""
        return f"the Maildir of {owner}, as {process_user()}: {found.path}{missing}"


def check_known(authenticator: Authenticator, name: str, *, offline: bool = False) -> None:
    """Raise ConfigError if all back ends report that they do not know the user *name*, or if a query fails.

    If *offline* is true, only a password file is queried.
    """
    if offline and not isinstance(authenticator, PasswordFile):
        return
    try:
        known = run_with_timeout("", lambda: authenticator.knows(name))
    except Refusal as refusal:
        raise ConfigError(f"no back end can tell whether the user {name!r} exists: {refusal}") from None
    if known is False:
        raise ConfigError(f"the user {name!r} is unknown to the password file and every other back end")


class _ErrorCount(logging.Handler):
    """A counter of logged errors, such as lines of a password file that are skipped."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002  # another handler writes the record
        self.count += 1


@contextmanager
def _as_worker(settings: Settings) -> Iterator[None]:
    """Give the process the rights of a worker meanwhile, if it runs as root: root's workers may be another user."""
    if settings.workers is None or os.geteuid() != 0 or (settings.user is None and settings.group is None):
        yield
        return
    from geventpop3 import workers

    wanted = workers.identity(settings.user, settings.group)
    group, groups = os.getegid(), os.getgroups()
    gid = wanted.get("group", group)
    try:
        if settings.user is None:
            os.setgroups([gid])
        else:
            os.initgroups(settings.user, gid)
        os.setegid(gid)
        os.seteuid(wanted.get("user", 0))
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


MAX_LISTED = 20
"""Maximum number of folders that are named; the others are only counted."""


def unreachable_maildirs(settings: Settings) -> Iterator[str]:
    """Yield a line for each folder below the template that ``username-case`` hides, with the remedy."""
    case = settings.username_case
    count = 0
    for path, wanted in _unreachable_paths(os.path.abspath(settings.maildir), case):
        count += 1
        if count <= MAX_LISTED:
            merge = f"move the mail to {wanted}, which exists too, or delete {path}"
            todo = merge if os.path.lexists(wanted) else f"rename it to {wanted}"
            yield f"{path}: no login uses it, because username-case is {case}: {todo}"
    if count > MAX_LISTED:
        yield f"{count - MAX_LISTED} more folders like these"


def _unreachable_paths(template: str, case: UsernameCase) -> Iterator[tuple[str, str]]:
    """Yield each folder that no login can reach, with the path that logins use instead."""
    paths = [os.sep]
    for part in template.split(os.sep)[1:]:
        fields = [(text, field) for text, field, _, _ in string.Formatter().parse(part)]
        if all(field is None for _, field in fields):
            paths = [os.path.join(path, "".join(text for text, _ in fields)) for path in paths]
            continue
        pattern = re.compile("".join(re.escape(text) + ("(.+)" if field is not None else "") for text, field in fields))
        names = [field for _, field in fields if field is not None]
        found: list[str] = []
        for path in paths:
            for name in _folders(path):
                match = pattern.fullmatch(name)
                if match is None:
                    continue
                values = [
                    _canonical(name_of, value, case) for name_of, value in zip(names, match.groups(), strict=True)
                ]
                rest = iter(values)
                wanted = "".join(text + (next(rest) if field is not None else "") for text, field in fields)
                if wanted == name:
                    found.append(os.path.join(path, name))
                else:
                    yield os.path.join(path, name), os.path.join(path, wanted)
        paths = found


def _canonical(field: str, value: str, case: UsernameCase) -> str:
    if field == "domain":
        return canonical_name(f"@{value}", case)[1:]
    if field == "local":
        return canonical_name(value, "keep" if case == "domain" else case)
    return canonical_name(value, case)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        # A folder that cannot be read is skipped: a login reports what it cannot use.
        return []
