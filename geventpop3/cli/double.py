"""``geventpop3 double``: a test double of a POP3 server for programs in any language, driven over HTTP and JSON."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geventpop3.errors import ConfigError

NOTES = """\
examples:
  geventpop3 double --until-stdin-closes
  geventpop3 double --port 1110 --no-tls --control 8025 --token-file /run/secrets/double

When it is ready it prints one line of JSON: host, port, tls_port, control, token, ca, pid,
version. Requests go to the URL "control" with the header "Authorization: Bearer TOKEN";
GET /openapi.json describes them, docs/double-http.md explains them.

SIGTERM, Ctrl-C or POST /stop ends it. --until-stdin-closes ends it with its parent: keep
the other end of its standard input open."""


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``double`` to the *commands* of a parser; *layout* is that of its help."""
    about = "serve a test double for POP3 clients, driven over HTTP"
    parser = commands.add_parser("double", help=about, epilog=NOTES, **layout)
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="where POP3 listens; default 127.0.0.1")
    parser.add_argument("--port", default="0", metavar="PORT", help="port of POP3; default 0, a free one")
    tls = parser.add_mutually_exclusive_group()
    tls.add_argument("--tls-port", default="0", metavar="PORT", help="port with TLS first; default 0, a free one")
    tls.add_argument("--no-tls", action="store_true", help="neither a port with TLS nor STLS")
    parser.add_argument(
        "--control", default="0", metavar="PORT", help="port of the HTTP control; default 0, a free one"
    )
    about = "where the control listens; default 127.0.0.1. Whoever reaches it needs the token, which is not encrypted"
    parser.add_argument("--control-host", default="127.0.0.1", metavar="HOST", help=about)
    about = "a name by which other machines call the control, such as that of a container; may be repeated"
    parser.add_argument("--control-name", action="append", default=[], metavar="NAME", help=about)
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", metavar="TOKEN", help="the token of requests; made if none is given. ps shows it")
    token.add_argument("--token-file", metavar="FILE", help="a file with the token")
    parser.add_argument("--personality", metavar="NAME", help="behave as this server")
    about = "end when standard input is closed, so that the double does not outlive its parent"
    parser.add_argument("--until-stdin-closes", action="store_true", help=about)
    parser.set_defaults(run=command)


def command(arguments: argparse.Namespace) -> int:
    # Imported here: the other commands need no test tools.
    from geventpop3.testing.double import Double
    from geventpop3.testing.double.control import ControlServer, place_of
    from geventpop3.testing.double.control.server import listens_to_others

    token = _token(arguments)
    port, tls_port, control_port = (_port(arguments, name) for name in ("port", "tls_port", "control"))
    if not arguments.no_tls and find_spec("trustme") is None:
        raise ConfigError("TLS needs trustme: pip install 'geventpop3[testing]', or give --no-tls")
    options = {} if arguments.personality is None else {"personality": arguments.personality}
    with _refusing():
        double = Double(
            tls="off" if arguments.no_tls else "offered",
            host=arguments.host,
            port=port,
            tls_port=tls_port,
            **options,
        )
    end = _End()
    with _refusing(arguments.host):
        double.start()
    try:
        host = arguments.control_host
        with _refusing(f"{host}:{control_port}"):
            names = arguments.control_name
            control = ControlServer(double, token, host=host, port=control_port, names=names, stop=end.come)
        if listens_to_others(host):
            sys.stderr.write(
                "geventpop3: warning: other machines can reach the control, and its token is not encrypted\n"
            )
        control.start()
        try:
            _tell({**place_of(double), "control": control.url, "token": token})
            if arguments.until_stdin_closes:
                threading.Thread(target=_wait_for_stdin, args=(end,), daemon=True).start()
            end.wait()
        finally:
            control.stop()
    finally:
        double.stop()
    return 0


class _End:
    """The end that a signal or another thread asks for.

    Python calls signal handlers between two instructions of the main thread, so a signal just before a wait for a lock
    would be noticed after it. The octet that a signal writes to a pipe ends the wait in any case.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)

    def come(self) -> None:
        """Ask for the end, from any thread."""
        with suppress(BlockingIOError):  # it is asked for already
            os.write(self._writer, b"\0")

    def wait(self) -> None:
        """Wait until the end is asked for."""
        os.read(self._reader, 1)


@contextmanager
def _refusing(place: str = "") -> Iterator[None]:
    """Convert the errors of wrong arguments and taken ports into ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{error.filename or place}: {error.strerror or error}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(str(error)) from None


def _token(arguments: argparse.Namespace) -> str:
    from geventpop3.testing.double.control.core import check_token

    token, option = arguments.token, "--token"
    if arguments.token_file is not None:
        option = "--token-file"
        try:
            token = Path(arguments.token_file).read_text("ascii").strip()
        except UnicodeDecodeError:
            raise ConfigError(f"--token-file: {arguments.token_file} has characters that no token has") from None
        except OSError as error:
            raise ConfigError(f"--token-file: {arguments.token_file}: {error.strerror}") from None
    if token is None:
        return secrets.token_urlsafe(32)
    try:
        return check_token(token)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


def _port(arguments: argparse.Namespace, name: str) -> int:
    text: str = getattr(arguments, name)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise ConfigError(f"--{name.replace('_', '-')}: {text!r} is not a port, 0 to 65535")
    return int(text)


def _tell(ready: Mapping[str, object]) -> None:
    try:
        sys.stdout.write(f"{json.dumps(ready)}\n")
        sys.stdout.flush()
    except OSError as error:
        raise ConfigError(
            f"standard output: {error.strerror}; the double has nobody to tell where it listens"
        ) from None


def _wait_for_stdin(end: _End) -> None:
    try:
        while os.read(0, 4096):
            continue
    except OSError as error:
        sys.stderr.write(f"geventpop3: standard input cannot be read: {error.strerror}\n")
    end.come()
