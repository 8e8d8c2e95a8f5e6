"""A maildrop to try things on: a folder with one user, a password file and real messages, awkward ones among them.

What is in the folder already stays: a second run changes nothing, except that an empty maildrop is filled again.
"""

from __future__ import annotations

import base64
import itertools
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime
from datetime import UTC, datetime, timedelta
from pathlib import Path

from geventpop3.auth.passwd import PasswordFile, set_password
from geventpop3.auth.schemes import hash_password
from geventpop3.errors import ConfigError

USER = "alice"
PASSWORD = "wonderland"  # noqa: S105  it is printed, and opens a maildrop of made-up mail
MESSAGES = 8

_BEGIN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
_LF = SMTP.clone(linesep="\n")


@dataclass(frozen=True, slots=True)
class Demo:
    """What ``prepare`` made or found."""

    template: str
    """The maildrops, as MaildirStore takes it."""
    passwords: str
    password: str | None
    """Alice's; None if somebody gave her one of their own."""
    messages: int


def prepare(folder: str | os.PathLike[str], messages: int = MESSAGES) -> Demo:
    """Make what is missing in *folder* and say what is there. Raises ConfigError."""
    root = Path(folder).absolute()
    maildir = root / "maildir" / USER
    passwords = root / "passwords"
    try:
        for part in ("tmp", "new", "cur"):
            (maildir / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        count = sum(len(os.listdir(maildir / part)) for part in ("new", "cur"))
        if not count:
            for number, message in enumerate(itertools.islice(mail(), messages), 1):
                _deliver(maildir, number, message)
            count = messages
        if not passwords.exists():
            # In clear text so that APOP can be tried too; in earnest it is `geventpop3 passwd`, which hashes.
            set_password(passwords, USER, hash_password(PASSWORD.encode(), "PLAIN"))
    except OSError as error:
        raise ConfigError(f"{error.filename or root}: {error.strerror}") from None
    known = PasswordFile(passwords).authenticate(USER, PASSWORD) is not None
    template = str(root).replace("{", "{{").replace("}", "}}") + "/maildir/{user}"
    return Demo(template, str(passwords), PASSWORD if known else None, count)


def instructions(demo: Demo, address: tuple[str, int] | str) -> str:
    """What to type in another terminal, to be copied as it stands, for a server that listens at *address*."""
    password = demo.password or "PASSWORD"
    what = f"{demo.messages} message{'' if demo.messages == 1 else 's'}"
    secret = f"password {password}" if demo.password else f"the password that {demo.passwords} has for her"
    if isinstance(address, str):
        return f"Serving {what} of {USER} ({secret}) at unix:{address}\nCtrl-C stops it.\n"
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  where to connect, not where to listen
    url = f"pop3://[{host}]:{port}/" if ":" in host else f"pop3://{host}:{port}/"
    program = (
        f"import poplib; box = poplib.POP3({host!r}, {port}); box.user({USER!r}); box.pass_({password!r}); "
        f"print(box.stat()); print(b'\\n'.join(box.retr(1)[1]).decode()); box.quit()"
    )
    lines = [
        f"Serving {what} of {USER} ({secret}) at {url}",
        "Try, in another terminal:",
        "",
        f"  curl -u {USER}:{password} '{url}'",
        f"  curl -u {USER}:{password} '{url}1'",
        f"  curl -u {USER}:{password} -X 'DELE 1' -l '{url}'",
        f"  python3 -c {shlex.quote(program)}",
        "",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines) + "\n"
