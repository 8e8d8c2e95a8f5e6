"""The settings of ``geventpop3 serve``: one dataclass field is its flag, key, variable, default, help and check.

``max_sessions`` is ``--max-sessions`` on the command line, ``max-sessions`` or ``max_sessions`` in the file and
``GEVENTPOP3_MAX_SESSIONS`` in the environment. The command line goes before the environment, that before the file, and
that before the default. What takes a table is in the file alone. Whatever is wrong is a ConfigError of one line that
names the setting and where it came from.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from geventpop3.auth.mechanisms import MECHANISMS
from geventpop3.config import checks
from geventpop3.config.checks import Check
from geventpop3.config.tables import by_name, shown
from geventpop3.errors import ConfigError
from geventpop3.server.addresses import parse_address
from geventpop3.service.language import DEFAULT, LANGUAGES
from geventpop3.service.offload import WAITING_THREADS
from geventpop3.service.service import STORE_THREADS
from geventpop3.service.utf8 import POLICIES

PREFIX = "GEVENTPOP3_"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a setting besides its name, its type and its default."""

    help: str
    check: Check
    read: Callable[[str], object] = str
    """From the text of a flag or a variable to what a file would hold; what cannot be is left to ``check``."""
    metavar: str | None = None
    is_repeatable: bool = False
    is_switch: bool = False
    is_in_file_alone: bool = False


def setting(of: Setting, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that is a setting; without *default* it must be given. What tables hold may be secret."""
    return dataclasses.field(default=default, metadata={"setting": of}, repr=not of.is_in_file_alone)


def _addresses(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{value!r} is not HOST:PORT or a list of them")
    for text in texts:
        parse_address(text)
    return tuple(texts)


def _mechanisms(value: Any) -> tuple[str, ...]:
    names = tuple(text.upper() for text in checks.texts(value))
    for name in names:
        if name not in MECHANISMS:
            raise ConfigError(f"{name!r} is not one of {', '.join(MECHANISMS)}")
    return names


def _number(text: str) -> object:
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}\.[0-9]{1,18}", text) else text


def _truth(text: str) -> object:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return words.get(text.lower(), text)


def _words(text: str) -> object:
    return text.replace(",", " ").split()


LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``geventpop3 serve`` is told. ``origins`` says where each setting that was given came from."""

    listen: tuple[str, ...] = setting(
        Setting(
            "where to listen, may be given several times: 127.0.0.1:1110, 0.0.0.0:110 for every IPv4 address, [::]:110 "
            "for every IPv6 address, unix:/run/pop3.sock; port 0 is any free one",
            _addresses,
            read=_words,
            metavar="HOST:PORT",
            is_repeatable=True,
        ),
        ("127.0.0.1:1110",),
    )
    tls_listen: tuple[str, ...] = setting(
        Setting(
            "where to listen with TLS from the start, as on port 995, may be given several times",
            _addresses,
            read=_words,
            metavar="HOST:PORT",
            is_repeatable=True,
        ),
        (),
    )
    tls_cert: tuple[str, ...] = setting(
        Setting(
            "a certificate chain in PEM; with it STLS is offered too. Several may be given: the first is the default, "
            "the others are chosen by the name that a client asks for. Changed files are noticed",
            checks.texts,
            read=_words,
            metavar="FILE",
            is_repeatable=True,
        ),
        (),
    )
    tls_key: tuple[str, ...] = setting(
        Setting(
            "the private key of each certificate, in the same order; none if they are in the certificates' files",
            checks.texts,
            read=_words,
            metavar="FILE",
            is_repeatable=True,
        ),
        (),
    )
    tls_client_ca: str | None = setting(
        Setting(
            "who signs clients' certificates, in PEM: clients may show one, and log in by it",
            checks.text,
            metavar="FILE",
        ),
        None,
    )
    proxy: tuple[str, ...] = setting(
        Setting(
            "a network of trusted proxies, whose connections begin with a PROXY header, may be given several times",
            checks.networks,
            read=_words,
            metavar="NETWORK",
            is_repeatable=True,
        ),
        (),
    )
    auth: tuple[str, ...] = setting(
        Setting(
            "a SASL mechanism to offer, may be given several times (default: all that the passwords allow)",
            _mechanisms,
            read=_words,
            metavar="MECHANISM",
            is_repeatable=True,
        ),
        (),
    )
    maildir: str = setting(
        Setting(
            "where the maildrops are: a path with {user}, or with {local} and {domain} of user@domain, "
            "such as '/srv/mail/{user}'",
            checks.text,
            metavar="DIR/{user}",
        )
    )
    durable: bool = setting(
        Setting(
            "have removals on the disk before QUIT is answered, so that a power cut undoes none; on by default",
            checks.switch,
            read=_truth,
            is_switch=True,
        ),
        True,
    )
    create_maildirs: bool = setting(
        Setting("make the Maildir of a user who has none, at the login", checks.switch, read=_truth, is_switch=True),
        False,
    )
    passwords: str | None = setting(
        Setting(
            "the password file; edit it with 'geventpop3 passwd', also while it is served. Must be given, unless the "
            "configuration file has [[authenticator]] tables, which are asked after it",
            checks.text,
            metavar="FILE",
        ),
        None,
    )
    authenticator: tuple[Mapping[str, Any], ...] = setting(
        Setting(
            "back ends that know users, in the order in which they are asked", checks.tables, is_in_file_alone=True
        ),
        (),
    )
    limits: Mapping[str, Any] | None = setting(Setting("limits on logins", checks.table, is_in_file_alone=True), None)
    hostname: str | None = setting(
        Setting("the name in the greeting (default: this machine's)", checks.hostname, metavar="NAME"), None
    )
    allow_plaintext: bool = setting(
        Setting(
            "let clients log in with a clear-text password over connections that others can read; without it only "
            "from this machine",
            checks.switch,
            read=_truth,
            is_switch=True,
        ),
        False,
    )
    autologout: float = setting(
        Setting(
            "end a session after so many seconds without a command; RFC 1939 asks for at least 600",
            checks.seconds,
            read=_number,
            metavar="SECONDS",
        ),
        600,
    )
    login_deadline: float = setting(
        Setting("end a connection that has not logged in after so many seconds", checks.seconds, _number, "SECONDS"), 60
    )
    max_sessions: int = setting(Setting("so many sessions at once", checks.count, _number, "N"), 10_000)
    max_sessions_per_address: int | None = setting(
        Setting(
            "so many sessions at once from one IPv4 address or one IPv6 /64 (default: no bound but --max-sessions)",
            checks.count,
            _number,
            "N",
        ),
        None,
    )
    lock: Literal["exclusive", "none"] = setting(
        Setting(
            "exclusive: one session at a time into a maildrop, as RFC 1939 has it; none: any number",
            checks.one_of("exclusive", "none"),
            metavar="exclusive|none",
        ),
        "exclusive",
    )
    expire: int | Literal["never"] | None = setting(
        Setting(
            "days that the site keeps mail, as CAPA tells, or never if none is removed but by its owner; "
            "at 0 QUIT removes what was fetched (default: nothing is told)",
            checks.days,
            _number,
            "DAYS|never",
        ),
        None,
    )
    login_delay: int = setting(
        Setting("a user may log in once in so many seconds (0: at any time)", checks.whole, _number, "SECONDS"), 0
    )
    utf8_messages: str = setting(
        Setting(
            "what becomes of a message whose header is UTF-8 where the client has not asked for UTF-8 mode",
            checks.one_of(*POLICIES),
            metavar="|".join(POLICIES),
        ),
        "as-is",
    )
    language: str = setting(
        Setting(
            "the language of who asks for 'LANG *': " + ", ".join(LANGUAGES),
            checks.one_of(*LANGUAGES),
            metavar="TAG",
        ),
        DEFAULT,
    )
    max_tries: int = setting(
        Setting("close a connection after so many failed logins", checks.count, _number, "N"),
        3,
    )
    auth_threads: int | None = setting(
        Setting("threads that check passwords (default: one for each processor)", checks.count, _number, "N"), None
    )
    waiting_threads: int = setting(
        Setting("threads that wait for back ends which ask others", checks.count, _number, "N"), WAITING_THREADS
    )
    fake_salt_key_file: str | None = setting(
        Setting(
            "a file with at least 16 random octets, of which the salts are made that SCRAM shows for unknown names "
            "(default: a random key, which changes at a restart and tells by it which names are unknown)",
            checks.text,
            metavar="FILE",
        ),
        None,
    )
    store_threads: int = setting(Setting("threads that read maildrops", checks.count, _number, "N"), STORE_THREADS)
    workers: int | None = setting(
        Setting(
            "serve in so many processes, and restart them at SIGHUP without a session noticing; needs "
            "geventpop3[workers] (default: this process serves)",
            checks.count,
            _number,
            "N",
        ),
        None,
    )
    user: str | None = setting(
        Setting("whom the workers become once the ports are bound", checks.text, metavar="NAME"), None
    )
    group: str | None = setting(
        Setting("the group that the workers become (default: the user's own)", checks.text, metavar="NAME"), None
    )
    pid_file: str | None = setting(
        Setting("where the number of the workers' parent is written", checks.text, metavar="FILE"), None
    )
    graceful_timeout: int = setting(
        Setting("seconds that a worker which leaves lets its sessions go on", checks.count, _number, "SECONDS"), 30
    )
    trace: bool = setting(
        Setting("log the dialogue of every session, passwords masked", checks.switch, read=_truth, is_switch=True),
        False,
    )
    log_level: str = setting(
        Setting("how much to log: " + ", ".join(LOG_LEVELS), checks.one_of(*LOG_LEVELS), metavar="LEVEL"), "info"
    )

    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @contextmanager
    def blamed(self, name: str) -> Iterator[None]:
        """Within it a ConfigError or OSError becomes a ConfigError that names the setting and where it came from."""
        try:
            yield
        except ConfigError as error:
            raise _blame(name, str(error), self.origins.get(name, "the default")) from None
        except OSError as error:
            text = error.strerror or str(error)
            text = text if error.filename is None else f"{error.filename}: {text}"
            raise _blame(name, text, self.origins.get(name, "the default")) from None


def settings() -> Iterator[tuple[dataclasses.Field[Any], Setting]]:
    """Every setting in order of declaration."""
    for field in dataclasses.fields(Settings):
        if "setting" in field.metadata:
            yield field, field.metadata["setting"]


def flag(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def load(flags: Mapping[str, object], environment: Mapping[str, str], path: str | None = None) -> Settings:
    """The settings out of what was given on the command line, in the environment and in the TOML file *path*.

    *flags*: text, a list of texts or a bool, by name of the setting; None if not given. Raises ConfigError.
    """
    in_file = _read_file(path) if path is not None else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for field, of in settings():
        name = field.name
        given: object
        spoken, variables = ({}, {}) if of.is_in_file_alone else (flags, environment)
        if spoken.get(name) is not None:
            given, origins[name] = spoken[name], flag(name)
            given = of.read(given) if isinstance(given, str) else given
        elif variables.get(variable(name)):
            given, origins[name] = of.read(variables[variable(name)]), variable(name)
        elif name in in_file:
            given, origins[name] = in_file[name], cast("str", path)
        elif field.default is dataclasses.MISSING:
            raise ConfigError(f"{shown(name)}: {_must_be_given(name)}")
        else:
            continue
        try:
            values[name] = of.check(given)
        except ConfigError as error:
            raise _blame(name, str(error), origins[name]) from None
    if "passwords" not in values and "authenticator" not in values:
        raise ConfigError(f"passwords: {_must_be_given('passwords')}, or else [[authenticator]] tables in that file")
    return Settings(**values, origins=origins)


def _read_file(path: str) -> dict[str, object]:
    """What the file holds, by name of the setting."""
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    known = [field.name for field, _ in settings()]
    try:
        return by_name(content, known)
    except ConfigError as error:
        raise ConfigError(f"{error} (from {path})") from None


def _must_be_given(name: str) -> str:
    return f"must be given, by {flag(name)}, {variable(name)} or the configuration file"


def _blame(name: str, text: str, origin: str) -> ConfigError:
    return ConfigError(f"{shown(name)}: {text} (from {origin})")
