"""The server as it is configured, in several processes: what can be found wrong is found before the first is forked."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from geventpop3.cli.build import Listening, make_server, nowhere
from geventpop3.cli.hints import binding
from geventpop3.cli.settings import Settings
from geventpop3.errors import ConfigError
from geventpop3.server.addresses import parse_address
from geventpop3.server.server import POP3Server

OF_WORKERS = ("user", "group", "pid_file", "graceful_timeout")
"""Settings that mean nothing without ``workers``."""


def check_alone(settings: Settings) -> None:
    """Raise ConfigError if something is set that only several processes have."""
    for name in OF_WORKERS:
        if name in settings.origins:
            with settings.blamed(name):
                raise ConfigError("means nothing without workers: give --workers N too, or leave it out")


def check_processes(settings: Settings) -> None:
    """Raise ConfigError if what is set of processes cannot be had."""
    if settings.workers is None:
        check_alone(settings)
        return
    with settings.blamed("workers"):
        try:
            from geventpop3 import workers
        except ImportError as error:
            raise ConfigError(str(error)) from None
    with settings.blamed("user"):
        workers.identity(settings.user, None)
    with settings.blamed("group"):
        workers.identity(None, settings.group)
    for text in settings.tls_listen:
        if parse_address(text)[1] == 0:
            with settings.blamed("tls_listen"):
                raise ConfigError(f"{text}: with workers TLS needs a port of its own")


def serve_with_workers(settings: Settings, load: Callable[[], Settings]) -> NoReturn:
    """Serve in ``settings.workers`` processes until a signal ends it, then exit; *load* reads the settings again.

    Raises ConfigError.
    """
    check_processes(settings)
    from geventpop3 import workers

    # Made before the fork: if asking twice showed two salts, it would tell that the name is nobody's.
    key = secrets.token_bytes(32)

    def build_of(settings: Settings) -> Callable[[], POP3Server]:
        # Not in the worker first: what a worker cannot do ends it, and what is wrong here can be told.
        workers.aside(partial(make_server, settings, nowhere))
        return partial(make_server, settings, _named, fake_salt_key=key)

    build = build_of(settings)
    descriptors: list[int] = []
    if not workers.inherits():
        for name, texts in (("listen", settings.listen), ("tls_listen", settings.tls_listen)):
            with binding(settings, name):
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


def _named(settings: Settings) -> Listening:
    """The addresses alone: they tell which of the inherited sockets have TLS."""
    return list(settings.listen), list(settings.tls_listen)
