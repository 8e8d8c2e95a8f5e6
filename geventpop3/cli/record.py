"""``geventpop3 record`` and ``geventpop3 replay``: their options; ``geventpop3.cli.recordings`` runs them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

LISTEN = "127.0.0.1:0"

NOTES = """\
examples:
  geventpop3 record --upstream pop.example.org:995 --upstream-tls example.pop3
  geventpop3 record --listen 127.0.0.1:1110 --upstream 127.0.0.1:110 --keep-bodies local.pop3

Then let a client log in at the address that is said. Passwords, digests and responses are
masked in the file; messages are filler of the same shape. The second session is in FILE.2,
the third in FILE.3. STLS is not passed on, because nothing could be recorded after it: use
--upstream-tls. SIGTERM or Ctrl-C ends it. "geventpop3 replay FILE" answers as recorded."""


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``record`` and ``replay`` to the *commands* of a parser; *layout* is that of their help."""
    parser = commands.add_parser("record", help="record the sessions of a real server", epilog=NOTES, **layout)
    parser.add_argument("file", metavar="FILE", help="where to write the first session")
    _add_listen(parser)
    parser.add_argument("--upstream", metavar="HOST:PORT", required=True, help="the server; must be given")
    parser.add_argument("--upstream-tls", action="store_true", help="the server has TLS before the greeting")
    about = "certificates of the authorities that may vouch for the server; default the system's"
    parser.add_argument("--upstream-ca", metavar="FILE", help=about)
    parser.add_argument("--keep-bodies", action="store_true", help="write messages as they are")
    parser.add_argument("--mask-names", action="store_true", help="mask the names of accounts too")
    parser.add_argument("--force", action="store_true", help="replace an earlier recording")
    parser.set_defaults(run=record)
    parser = commands.add_parser("replay", help="answer clients as a recorded server did", **layout)
    about = 'a file of "geventpop3 record", or any dialogue; FILE.2, FILE.3 and so on answer further connections'
    parser.add_argument("file", metavar="FILE", help=about)
    _add_listen(parser)
    parser.set_defaults(run=replay)


def _add_listen(parser: argparse.ArgumentParser) -> None:
    about = f"where clients connect; default {LISTEN}, any free port"
    parser.add_argument("--listen", metavar="HOST:PORT", default=LISTEN, help=about)


def record(arguments: argparse.Namespace) -> int:
    # Imported here because the other commands need neither asyncio nor the test kit.
    from geventpop3.cli.recordings import run_record

    return run_record(arguments)


def replay(arguments: argparse.Namespace) -> int:
    from geventpop3.cli.recordings import run_replay

    return run_replay(arguments)
