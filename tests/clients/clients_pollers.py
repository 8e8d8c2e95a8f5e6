"""The clients of docs/clients.md: the command that polls once, with deletion, and the version of each."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from clients_faults import MAIL
from clients_maildrop import Home
from clients_programs import GETMAIL_ADDS, Command, fetchmail_command, getmail_command

POLLERS = Path(__file__).parent / "pollers"
NODE_MODULES = Path(__file__).parent.parent.parent / "build" / "clients" / "node_modules"
"""The folder where `make clients` installs the Node library."""

PATIENCE = 3
"""Seconds of a client's own timeout."""


class Target(NamedTuple):
    """A client's home, and how it reaches the server: *tls* from the start or not, *ca* to trust."""

    home: Home
    tls: bool
    ca: Path


class Client(NamedTuple):
    """One client: its *name*, the *command* of a poll, its *version* or None if it is not here.

    *well*: exit statuses that say that nothing failed. *adds*: octets before each message it stores. *always*: a
    line that it always prints. *hangs*: exit statuses that say that it would wait for ever. *fetches*: the command that
    it fetches by. *quits*: how many times it says QUIT in a poll; the last one removes the mail.
    """

    name: str
    about: str
    command: Callable[[Target], Command]
    version: Callable[[], str | None]
    well: Sequence[int] = (0,)
    adds: bytes = b""
    always: str = ""
    hangs: Sequence[int] = ()
    fetches: str = "RETR"
    quits: int = 1


def _printed(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def _version(pattern: str, *command: str) -> Callable[[], str | None]:
    def version() -> str | None:
        found = re.search(pattern, _printed(*command) or "")
        return found and found[1]

    return version


def _arguments(target: Target) -> Command:
    home = target.home
    home.fetched.mkdir(exist_ok=True)
    tls = "yes" if target.tls else "no"
    seen = home.home / "seen"
    return [home.host, home.address.port, tls, target.ca, home.user, home.password, home.fetched, seen, PATIENCE]


def _poplib(target: Target) -> Command:
    return [sys.executable, POLLERS / "poplib_poller.py", *_arguments(target)]


def _curl(target: Target) -> Command:
    return ["sh", POLLERS / "curl_poller.sh", *_arguments(target)]


def _node(target: Target) -> Command:
    module = NODE_MODULES / "node-pop3" / "src" / "Command.js"
    return ["node", POLLERS / "node_poller.mjs", module, *_arguments(target)]


def _node_version() -> str | None:
    package = NODE_MODULES / "node-pop3" / "package.json"
    node = (_printed("node", "--version") or "").strip()
    if not node or not package.exists():
        return None
    found = re.search(r'"version": "([^"]+)"', package.read_text("utf-8"))
    return f"{found[1]}, Node {node.removeprefix('v')}" if found else None


def _php(target: Target) -> Command:
    # c-client trusts what OpenSSL trusts unless told otherwise
    return ["env", f"SSL_CERT_FILE={target.ca}", "php", POLLERS / "php_poller.php", *_arguments(target)]


def _fetchmail(target: Target) -> Command:
    # it wants a common name in a certificate, and that of the double has none
    tls = 'ssl sslproto "TLS1.2+" no sslcertck' if target.tls else 'sslproto ""'
    return fetchmail_command(target.home, "fetchmail", tls, f"uidl timeout {PATIENCE}", which="")


def _getmail(target: Target) -> Command:
    more = f"timeout = {PATIENCE}" + (f"\nca_certs = {target.ca}" if target.tls else "")
    retriever = "SimplePOP3SSLRetriever" if target.tls else "SimplePOP3Retriever"
    return getmail_command(target.home, "getmail", retriever, more, read_all="false")


CLIENTS: tuple[Client, ...] = (
    Client(
        "curl",
        "a shell script of three kinds of calls: `UIDL`, one call for each `RETR`, one for all `DELE`",
        _curl,
        _version(r"^curl (\S+)", "curl", "--version"),
        quits=1 + len(MAIL) + 1,
    ),
    Client(
        "fetchmail",
        "options `uidl`, `no keep`, a delivery agent",
        _fetchmail,
        _version(r"fetchmail release ([\w.]+)", "fetchmail", "--version"),
        (0, 1),  # 1: there was no mail
        always="fetchmail: WARNING: Running as root is discouraged.\n",
        fetches="TOP",
    ),
    Client(
        "getmail",
        "getmail6 with `delete = true`, `read_all = false`, a delivery agent",
        _getmail,
        _version(r"getmail (\S+)", "getmail", "--version"),
        adds=GETMAIL_ADDS,
    ),
    Client("poplib", "a minimal poller on Python's module", _poplib, platform.python_version),
    Client(
        "node-pop3",
        "a minimal poller on the npm package, which leaves it to the poller to remove byte-stuffing",
        _node,
        _node_version,
        hangs=(13,),  # Node's status for a promise that nothing can settle any more
    ),
    Client(
        "php-imap",
        "a minimal poller on PHP's imap extension, without unique-ids",
        _php,
        _version(r"^(\d\S+)", "php", "-r", 'if (extension_loaded("imap")) echo phpversion("imap");'),
    ),
)
