"""Construction of the configured server: store, authenticators, certificates, proxies, service, limits, access log.

Listening sockets are opened last, so that an error in the configuration leaves none open.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from geventpop3.auth.authenticator import Authenticator
from geventpop3.auth.mechanisms import MECHANISMS
from geventpop3.cli.build_authenticators import make_authenticator
from geventpop3.cli.check_back_ends import run_with_timeout
from geventpop3.cli.hints import bind_errors, file_errors
from geventpop3.cli.settings import NAMES, Settings
from geventpop3.cli.tables import Key, read_table
from geventpop3.cli.values import count, count_or_off, delay, delays, duration, networks
from geventpop3.errors import ConfigError
from geventpop3.plugins.access_log import AccessLog
from geventpop3.plugins.limits import LoginLimits, RedisLedger, Rules
from geventpop3.server.acceptor import listening_socket
from geventpop3.server.addresses import parse_address
from geventpop3.server.proxy import TrustedProxies
from geventpop3.server.server import POP3Server
from geventpop3.server.tls.certificates import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore

FAKE_SALT_KEY_OCTETS = range(16, 4097)
"""Permitted octets of a fake-salt key: enough to be unguessable, few enough to reject a file named by mistake."""

Listening: TypeAlias = tuple[list[Any], list[Any]]
"""Listening sockets, plain and TLS."""


def make_server(
    settings: Settings,
    listening: Callable[[Settings], Listening],
    *,
    authenticator: Authenticator | None = None,
    fake_salt_key: bytes | None = None,
    check: bool = False,
) -> POP3Server:
    """Return a server that is not started, on the sockets that *listening* returns. Raises ConfigError.

    *authenticator* is the one of the settings, if it is made already. *fake_salt_key* is used if the settings name no
    file; the default is a random key. If *check* is true, other servers that logins need are queried too.
    """
    tls = _certificates(settings)
    authenticator = authenticator or make_authenticator(settings, check=check)
    store = make_store(settings)
    with settings.errors_of("proxy"):
        proxies = TrustedProxies(settings.proxy) if settings.proxy else None
    with settings.errors_of("limits"):
        limits = None if settings.limits is None else make_limits(settings.limits, check=check)
    service = MaildropService(
        store,
        authenticator,
        allow_plaintext=settings.allow_plaintext,
        expire=settings.expire,
        login_delay=settings.login_delay,
        utf8_messages=settings.utf8_messages,
        language=settings.language,
        username_case=settings.username_case,
        max_tries=settings.max_tries,
        store_threads=settings.store_threads,
        auth_threads=settings.auth_threads,
        waiting_threads=settings.waiting_threads,
        fake_salt_key=_fake_salt_key(settings) or fake_salt_key,
        mechanisms={name: MECHANISMS[name] for name in settings.auth} if settings.auth else MECHANISMS,
    )
    listen, tls_listen = listening(settings)
    pop3d = POP3Server(
        hostname=settings.hostname,
        listen=listen,
        tls=tls,
        tls_listen=tls_listen,
        proxies=proxies,
        options={"trace": settings.trace},
        autologout=settings.autologout,
        login_deadline=settings.login_deadline,
        max_sessions=settings.max_sessions,
        max_sessions_per_address=settings.max_sessions_per_address,
    )
    pop3d.register(service)
    if limits is not None:
        pop3d.plugin_add("limits", limits)
    pop3d.register(AccessLog())
    return pop3d


def make_store(settings: Settings) -> MaildirStore:
    """Return the store. Raises ConfigError, also if the fixed part of the maildir path is missing.

    That directory is never made: if it is missing, its name is misspelt or its file system is not mounted. The maildirs
    and the directories between may be made later. Only the right to search it is needed.
    """
    with settings.errors_of("maildir"):
        store = MaildirStore(
            settings.maildir,
            threads_for=settings.store_threads_for,
            lock=settings.lock,
            durable=settings.durable,
            create=settings.create_maildirs,
        )
        with file_errors(store.fixed, f"mkdir -p {shlex.quote(store.fixed)}"):
            os.stat(os.path.join(store.fixed, "."))
        return store


def listening(settings: Settings) -> Listening:
    """Return sockets bound to the addresses in the settings. Raises ConfigError that names the setting that failed."""
    with contextlib.ExitStack() as opened:
        bound: dict[str, list[Any]] = {"listen": [], "tls_listen": []}
        for name, texts in (("listen", settings.listen), ("tls_listen", settings.tls_listen)):
            with bind_errors(settings, name):
                bound[name] += [opened.enter_context(listening_socket(parse_address(text))) for text in texts]
        opened.pop_all()
        return bound["listen"], bound["tls_listen"]


def no_sockets(_settings: Settings) -> Listening:
    """Return no sockets, for a server that is made only to check the settings."""
    return [], []


def _fake_salt_key(settings: Settings) -> bytes | None:
    """Return the octets of the file unchanged. The file is never made here: the process may lack write access."""
    path = settings.fake_salt_key_file
    if path is None:
        return None
    with settings.errors_of("fake_salt_key_file"), file_errors(path, f"head -c 32 /dev/urandom > {shlex.quote(path)}"):
        with open(path, "rb") as file:
            octets = file.read(FAKE_SALT_KEY_OCTETS.stop)
        if len(octets) not in FAKE_SALT_KEY_OCTETS:
            bounds = f"{FAKE_SALT_KEY_OCTETS.start} to {FAKE_SALT_KEY_OCTETS.stop - 1}"
            raise ConfigError(f"{path}: must contain {bounds} random octets, as 'head -c 32 /dev/urandom' makes them")
        return octets


def _certificates(settings: Settings) -> Certificates | None:
    certificates, keys = settings.tls_cert, settings.tls_key
    if keys and len(keys) != len(certificates):
        with settings.errors_of("tls_key"):
            raise ConfigError(
                f"there are {len(keys)} keys for {len(certificates)} certificates: give a key for each, or none"
            )
    if not certificates:
        for name, value in (("tls_listen", settings.tls_listen), ("tls_client_ca", settings.tls_client_ca)):
            if value:
                with settings.errors_of(name):
                    raise ConfigError("needs a certificate: add tls-cert")
        return None
    with settings.errors_of("tls_cert"):
        return Certificates(
            zip(certificates, keys or [None] * len(certificates), strict=True), client_ca=settings.tls_client_ca
        )


RULES: Mapping[str, Key] = {
    "delays": Key(delays),
    "user_delays": Key(delays),
    "user_patience": Key(delay),
    "window": Key(duration),
    "ban_after": Key(count_or_off),
    "ban_seconds": Key(duration),
    "at_once": Key(count),
    "patience": Key(delay),
    "address_logins_per_minute": Key(count_or_off),
    "user_logins_per_minute": Key(count_or_off),
    "user_sessions": Key(count_or_off),
    "trusted": Key(lambda value: () if value == [] else networks(value)),
}
"""Fields of ``Rules``; false switches off those that allow it."""

SHARED: Mapping[str, Key] = {"redis": Key(is_secret=True), "prefix": Key(), "key": Key(is_secret=True)}
"""Keys of the state that processes share. A Redis address may hold a password."""


def make_limits(content: Mapping[str, Any], *, check: bool = False) -> LoginLimits:
    """Return the plugin. Raises ConfigError; if *check* is true, also if Redis does not answer correctly."""
    given = read_table(content, {**RULES, **SHARED}, NAMES)
    redis, key = given.pop("redis", None), given.pop("key", None)
    prefix = {"prefix": given.pop("prefix")} if "prefix" in given else {}
    if redis is None and prefix:
        raise ConfigError("prefix: has no effect without redis: add redis, or remove prefix")
    ledger = None if redis is None else RedisLedger(redis.read(), **prefix)
    if check and ledger is not None:
        run_with_timeout("redis", ledger.check)
    return LoginLimits(Rules(**given), ledger, key=None if key is None else key.read().encode("utf-8"))
