"""The configured server in several processes; the settings are checked before the first worker is forked."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from geventpop3.cli.build import Listening, make_server, no_sockets
from geventpop3.cli.hints import bind_errors
from geventpop3.cli.settings import Settings
from geventpop3.errors import ConfigError
from geventpop3.server.addresses import parse_address
from geventpop3.server.server import POP3Server

WORKER_SETTINGS = ("user", "group", "pid_file", "graceful_timeout")
"""Settings that have no effect without ``workers``."""


def check_alone(settings: Settings) -> None:
    """Raise ConfigError if a setting is given that needs ``workers``."""
    for name in WORKER_SETTINGS:
        if name in settings.origins:
            with settings.errors_of(name):
                raise ConfigError("has no effect without workers: add --workers N, or remove this setting")


def check_processes(settings: Settings) -> None:
    """Raise ConfigError if the settings of processes cannot be satisfied."""
    if settings.workers is None:
        check_alone(settings)
        return
    with settings.errors_of("workers"):
        try:
            from geventpop3 import workers
        except ImportError as error:
            raise ConfigError(str(error)) from None
    with settings.errors_of("user"):
        workers.identity(settings.user, None)
    with settings.errors_of("group"):
        workers.identity(None, settings.group)
    for text in settings.tls_listen:
        if parse_address(text)[1] == 0:
            with settings.errors_of("tls_listen"):
                raise ConfigError(f"{text}: port 0 cannot be used for TLS with workers: give a port number")


def serve_with_workers(settings: Settings, load: Callable[[], Settings]) -> NoReturn:
    """Serve in ``settings.workers`` processes until a signal, then exit. Raises ConfigError.

    *load* reads the settings again.
    """
    check_processes(settings)
    from geventpop3 import workers

    # Made before the fork, the same for all workers: two different salts for one name would show that it is unknown.
    key = secrets.token_bytes(32)

    def build_of(settings: Settings) -> Callable[[], POP3Server]:
        # Checked in the parent first: here an error can be reported, in a worker it ends the worker.
        workers.in_native_thread(partial(make_server, settings, no_sockets))
        return partial(make_server, settings, _addresses_without_sockets, fake_salt_key=key)

    build = build_of(settings)
    descriptors: list[int] = []
    if not workers.inherits():
        for name, texts in (("listen", settings.listen), ("tls_listen", settings.tls_listen)):
            with bind_errors(settings, name):
                descriptors += workers.bind(texts)
    workers.serve(
        build,
        descriptors,
        workers=settings.workers or 1,
        reload=lambda: build_of(load()),
        user=settings.user,
        group=settings.group,
        pid_file=settings.pid_file,
        graceful_timeout=settings.graceful_timeout,
    )


def _addresses_without_sockets(settings: Settings) -> Listening:
    """Return the addresses without sockets: they determine which of the inherited sockets have TLS."""
    return list(settings.listen), list(settings.tls_listen)
