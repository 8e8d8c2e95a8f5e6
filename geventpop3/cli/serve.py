"""``geventpop3 serve``: its options, and a server that runs until a signal stops it."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import resource
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gevent

from geventpop3.cli.build import listening, make_server
from geventpop3.cli.build_workers import check_alone, serve_with_workers
from geventpop3.cli.settings import CONFIG, Setting, Settings, flag, load_settings, settings, variable
from geventpop3.protocol.connection import AUTOLOGOUT_SECONDS
from geventpop3.server.server import POP3Server

log = logging.getLogger("geventpop3.cli")

NOTES = """\
examples:
  geventpop3 serve --maildir '/srv/mail/{user}' --passwords /etc/pop3.passwd
  geventpop3 serve --maildir '/srv/mail/{domain}/{local}' --passwords /etc/pop3.passwd \\
      --listen 127.0.0.1:110 --listen '[::1]:110' --max-sessions 2000
  geventpop3 serve --config /etc/geventpop3.toml --trace
  geventpop3 serve --config /etc/geventpop3.toml --listen 0.0.0.0:110 \\
      --tls-listen 0.0.0.0:995 --tls-cert /etc/ssl/pop.pem --tls-key /etc/ssl/pop.key

Each option is also a key of the configuration file, and an environment variable
GEVENTPOP3_..., in which several addresses are separated by blanks. The command line
overrides the environment, and the environment overrides the file. An example of the file:

  listen = ["127.0.0.1:110", "[::1]:110"]
  maildir = "/srv/mail/{user}"
  passwords = "/etc/pop3.passwd"
  max-sessions = 2000

LDAP, SQL, PAM and OAuth ([[authenticator]] tables) and login limits ([limits]) can be set
only in the file. "geventpop3 check FILE" checks the file.

SIGTERM or Ctrl-C stops the server: it finishes running replies and notifies other sessions.
With --workers, SIGTERM first waits for the sessions to end, and SIGHUP reloads the settings."""


def add_parser(commands: Any, layout: Mapping[str, Any]) -> None:
    """Add ``serve`` to the *commands* of a parser; *layout* is that of its help."""
    parser = commands.add_parser("serve", help="serve Maildirs", epilog=NOTES, **layout)
    for field, of in settings():
        if not of.is_table:
            _add_setting(parser, field, of)
    parser.add_argument("--config", metavar="FILE", help="configuration file in TOML [GEVENTPOP3_CONFIG]")
    parser.set_defaults(run=command)


def _add_setting(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], of: Setting) -> None:
    about = f"{of.help} [{variable(field.name)}]"
    default = field.default
    if default is dataclasses.MISSING:
        about += "; required"
    elif default not in (None, ()) and not of.is_switch:
        about += f"; default {default[0] if of.is_repeatable else default}"
    more: dict[str, Any] = {"metavar": of.metavar}
    if of.is_switch:
        more = {"action": argparse.BooleanOptionalAction}
    elif of.is_repeatable:
        more["action"] = "append"
    parser.add_argument(flag(field.name), dest=field.name, default=None, help=about, **more)


def command(arguments: argparse.Namespace) -> int:
    path = arguments.config or os.environ.get(CONFIG) or None
    reload = partial(load_settings, vars(arguments), os.environ, path)
    settings = reload()
    if settings.workers is not None:
        _log_to_stderr(settings)
        _warn(settings)
        _raise_descriptor_limit()
        serve_with_workers(settings, reload)
    check_alone(settings)
    return run(settings)


def run(settings: Settings, ready: Callable[[POP3Server], None] | None = None) -> int:
    """Serve until a signal stops the server; call *ready* when it listens. Return the exit status."""
    _log_to_stderr(settings)
    _warn(settings)
    pop3d = make_server(settings, listening)
    _raise_descriptor_limit()
    # Changed certificates and password files are noticed without SIGHUP, but its default action would end the server.
    gevent.signal_handler(signal.SIGHUP, pop3d.reload_certificates)
    pop3d.start()
    if ready is not None:
        ready(pop3d)
    pop3d.serve_forever()
    return 0


def _log_to_stderr(settings: Settings) -> None:
    process = "" if settings.workers is None else "[%(process)d] "
    log_format = f"%(asctime)s {process}%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(format=log_format, level=settings.log_level.upper())
    # Fields that our log format does not show are not computed (logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    logging.logProcesses = settings.workers is not None
    if settings.trace:
        logging.getLogger("geventpop3.trace").setLevel(logging.INFO)


def _warn(settings: Settings) -> None:
    if settings.autologout < AUTOLOGOUT_SECONDS:
        log.warning("autologout is %g seconds: RFC 1939 requires at least %d", settings.autologout, AUTOLOGOUT_SECONDS)


def _raise_descriptor_limit() -> None:
    """Raise the limit of open files to the hard limit: each session needs at least one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files cannot be raised, it stays at %d: %s", soft, error)
