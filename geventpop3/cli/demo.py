"""``geventpop3 demo``: a maildrop for trials, in a folder with one user, a password file and real messages.

Some of the messages are awkward. Existing files in the folder stay: a second run only fills an empty maildrop again.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import errno
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from geventpop3.auth.passwd import PasswordFile, set_password
from geventpop3.auth.schemes import hash_password
from geventpop3.cli.hints import print_line
from geventpop3.cli.serve import run
from geventpop3.cli.settings import load_settings
from geventpop3.errors import ConfigError
from geventpop3.server.acceptor import listening_socket
from geventpop3.server.addresses import parse_address
from geventpop3.server.server import POP3Server

USER = "alice"
PASSWORD = "wonderland"  # noqa: S105  printed, and only for invented mail
MESSAGES = 8

_BEGIN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
_LF = SMTP.clone(linesep="\n")
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(frozen=True, slots=True)
class Demo:
    """The maildrop that ``make_demo`` made or found."""

    template: str
    """Path template of the maildrops, as MaildirStore takes it."""
    passwords: str
    password: str | None
    """Alice's password; None if it was changed."""
    messages: int


def make_demo(folder: str | os.PathLike[str], messages: int = MESSAGES) -> Demo:
    """Make what is missing in *folder* and return its description. Raises ConfigError."""
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
            # In clear text so that APOP can be tried too; real passwords are hashed by `geventpop3 passwd`.
            set_password(passwords, USER, hash_password(PASSWORD.encode(), "PLAIN"))
    except OSError as error:
        raise ConfigError(f"{error.filename or root}: {error.strerror}") from None
    known = PasswordFile(passwords).authenticate(USER, PASSWORD) is not None
    template = str(root).replace("{", "{{").replace("}", "}}") + "/maildir/{user}"
    return Demo(template, str(passwords), PASSWORD if known else None, count)


def instructions(demo: Demo, address: tuple[str, int] | str) -> str:
    """Return commands for another terminal, ready to copy, for a server that listens at *address*."""
    password = demo.password or "PASSWORD"
    what = f"{demo.messages} message{'' if demo.messages == 1 else 's'}"
    secret = f"password {password}" if demo.password else f"the password in {demo.passwords}"
    if isinstance(address, str):
        return f"Serving {what} of {USER} ({secret}) at unix:{address}\nCtrl-C stops it."
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  an address to connect to
    url = f"pop3://[{host}]:{port}/" if ":" in host else f"pop3://{host}:{port}/"
    program = (
        f"import poplib; box = poplib.POP3({host!r}, {port}); box.user({USER!r}); box.pass_({password!r}); "
        f"print(box.stat()); print(b'\\n'.join(box.retr(1)[1]).decode()); box.quit()"
    )
    login = f"curl -u {USER}:{password}"
    lines = [
        f"Serving {what} of {USER} ({secret}) at {url}",
        "Try, in another terminal:",
        "",
        f"  {login} '{url}'                    # list the messages",
        f"  {login} '{url}1'                   # read the first",
        f"  {login} -l -X DELE '{url}1'        # remove it",
        f'  python3 -c "{program}"',
        "",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def mail() -> Iterator[bytes]:
    """Yield messages without end: first one of each kind, then plain ones."""
    numbers = itertools.count(1)

    plain = _message(next(numbers), "Welcome to Wonderland")
    plain.set_content("Dear Alice,\n\nthis message came to you over POP3.\n\nThe White Rabbit\n")
    yield plain.as_bytes()

    letters = _message(next(numbers), "Grüße aus Köln ☕")
    letters.set_content("Ein Gruß von der Grinsekatze: 🐱\n\nさようなら\n", cte="quoted-printable")
    letters.add_alternative("<p>Ein Gruß von der <b>Grinsekatze</b>: 🐱</p>\n", subtype="html")
    yield letters.as_bytes()

    files = _message(next(numbers), "Two files for you")
    files.set_content("A picture of one pixel, and a table.\n")
    files.add_attachment(base64.b64decode(_PIXEL), maintype="image", subtype="png", filename="pixel.png")
    files.add_attachment("name,cups of tea\nHatter,42\n", subtype="csv", filename="größe.csv")
    yield files.as_bytes()

    dots = _message(next(numbers), "Dots at the beginning of lines")
    dots.set_content(".\n..\n...\n.hidden\nA line with a single dot is not the end of this message:\n.\nThis is.\n")
    yield dots.as_bytes()

    yield (
        _head(next(numbers), "8 bits, CRLF line ends, and none at the end").replace("\n", "\r\n").encode()
        + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Käse, crème brûlée, 茶".encode()
    )
    yield (
        _head(next(numbers), "Latin-1, as it was in 1996").encode()
        + b"MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n"
        + "Die Hutmacherin trägt Größe 56.\n".encode("latin-1")
    )
    yield _head(next(numbers), "No body at all").encode()

    tea = "".join(f"{cup:5d}. Have some more tea.\n" for cup in range(1, 2001))
    yield f"{_head(next(numbers), 'A long one')}\n{tea}".encode()

    while True:
        number = next(numbers)
        more = _message(number, f"Message {number}")
        more.set_content(f"This is message {number}. Nothing in it is remarkable.\n")
        yield more.as_bytes()


def _message(number: int, subject: str) -> EmailMessage:
    message = EmailMessage(_LF)
    message["From"] = "The White Rabbit <rabbit@example.org>"
    message["To"] = "Alice <alice@example.org>"
    message["Subject"] = subject
    message["Date"] = _BEGIN + timedelta(hours=number)
    message["Message-ID"] = f"<demo.{number}@example.org>"
    return message


def _head(number: int, subject: str) -> str:
    return _message(number, subject).as_string(policy=_LF).removesuffix("\n")


def _deliver(maildir: Path, number: int, message: bytes) -> None:
    """Write the message in tmp/ and rename it into new/, so that it is never incomplete there (maildir(5))."""
    name = f"{int(time.time())}.M{number:06d}P{os.getpid()}.demo"
    temporary = maildir / "tmp" / name
    temporary.write_bytes(message)
    temporary.rename(maildir / "new" / name)


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``demo`` to the *commands* of a parser; *layout* is that of its help."""
    parser = commands.add_parser("demo", help="create a maildrop with sample messages and serve it", **layout)
    parser.add_argument("folder", metavar="DIR", help="directory of the maildrop; existing files stay")
    about = "address to listen at; default 127.0.0.1:1110, or a free port if that is in use"
    parser.add_argument("--listen", metavar="HOST:PORT", help=about)
    parser.add_argument(
        "--messages", metavar="N", default=str(MESSAGES), help=f"number of messages; default {MESSAGES}"
    )
    parser.add_argument("--trace", action="store_true", help="log the dialogue of every session, with passwords masked")
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    if not (arguments.messages.isascii() and arguments.messages.isdigit() and len(arguments.messages) < 7):
        raise ConfigError(f"--messages: {arguments.messages!r} is not a whole number below 1,000,000")
    flags = {"listen": None if arguments.listen is None else [arguments.listen]}
    demo = make_demo(arguments.folder, int(arguments.messages))
    given = {"maildir": demo.template, "passwords": demo.passwords, "trace": arguments.trace, **flags}
    settings = load_settings(given, {})
    if arguments.listen is None and _is_taken(settings.listen[0]):
        print_line(f"{settings.listen[0]} is in use, so another port was selected.")
        settings = dataclasses.replace(settings, listen=("127.0.0.1:0",))

    def ready(pop3d: POP3Server) -> None:
        print_line(instructions(demo, pop3d.getsockname()))

    return run(settings, ready)


def _is_taken(text: str) -> bool:
    try:
        listening_socket(parse_address(text)).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
