"""The command ``geventpop3`` and its subcommands serve, passwd, check, demo, conformance, double, record and replay.

A mistake of the user is one line on standard error, ``geventpop3: error: ...``, and exit status 2. The command does not
monkey-patch: the service runs the blocking code of the bundled store and authenticator in threads of its own.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from geventpop3.cli import check, conformance, demo, double, passwd, record, serve
from geventpop3.cli.values import did_you_mean
from geventpop3.errors import ConfigError
from geventpop3.version import __version__

ABOUT = """\
A POP3 server for Maildirs.

  geventpop3 demo DIR                     serve a demonstration maildrop at 127.0.0.1:1110
  geventpop3 passwd FILE USER             set the password of a user
  geventpop3 serve --maildir 'DIR/{user}' --passwords FILE
                                          serve the users' mail
  geventpop3 check CONFIG                 check a configuration file
  geventpop3 double                       serve a test double, driven over HTTP
  geventpop3 record --upstream HOST:PORT FILE
                                          record the sessions of another server
  geventpop3 replay FILE                  answer as the recorded server did
  geventpop3 conformance HOST:PORT --user USER
                                          check any POP3 server against the RFCs

"geventpop3 COMMAND --help" lists the options of a command."""


_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")
"""The error of argparse for an unknown command or scheme: the given name and the known ones."""


class _Parser(argparse.ArgumentParser):
    """A parser that raises ConfigError for unknown arguments and suggests the nearest known one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Overridden because argparse calls this for each command's parser, and only that one knows its options.
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = next((each for each in unknown if each.startswith("--")), "").partition("=")[0].replace("_", "-")
            hint = did_you_mean(option, re.findall(r"--[a-z0-9-]+", self.format_usage()), "--")
            self._refuse(f"unrecognized arguments: {' '.join(unknown)}", hint)
        return known, unknown

    def error(self, message: str) -> NoReturn:
        found = _CHOICE.search(message)
        hint = "" if found is None else did_you_mean(found[1], re.findall(r"[\w-]+", found[2]))
        self._refuse(message, hint)

    def _refuse(self, message: str, hint: str) -> NoReturn:
        raise ConfigError(message + (hint or f"; see {self.prog} --help"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
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
    for command in (serve, passwd, check, demo, conformance, double, record):
        command.add_parser(commands, layout)
    return parser
