"""The settings of ``geventpop3 serve``: one dataclass field defines flag, key, variable, default, help and check.

``max_sessions`` is ``--max-sessions`` on the command line, ``max-sessions`` or ``max_sessions`` in the file and
``GEVENTPOP3_MAX_SESSIONS`` in the environment. Precedence: command line, environment, file, default. Settings that take
a table are in the file only. An error is a ConfigError of one line that names the setting and its source.
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
from geventpop3.cli import values
from geventpop3.cli.tables import by_name, file_key
from geventpop3.cli.values import Check, did_you_mean
from geventpop3.errors import ConfigError
from geventpop3.owners import USERNAME_CASES
from geventpop3.server.addresses import check_distinct, parse_address
from geventpop3.server.limits import Limits
from geventpop3.service.language import DEFAULT, LANGUAGES
from geventpop3.service.service import STORE_THREADS
from geventpop3.service.threads import WAITING_THREADS
from geventpop3.service.utf8 import POLICIES
from geventpop3.stores.maildir.mounts import THREADS_FOR

PREFIX = "GEVENTPOP3_"

CONFIG = f"{PREFIX}CONFIG"
"""The environment variable that names the configuration file."""

_KUBERNETES = re.compile(r"(?:SERVICE_(?:HOST|PORT(?:_.+)?)|PORT(?:_[0-9]+_[A-Z]+(?:_(?:PROTO|PORT|ADDR))?)?)")
"""Names after the prefix that Kubernetes sets in each container for a service named geventpop3."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The properties of a setting besides its name, type and default."""

    help: str
    check: Check
    read: Callable[[str], object] = str
    """Conversion of the text of a flag or variable into the value a file would hold; ``check`` rejects bad values."""
    metavar: str | None = None
    is_repeatable: bool = False
    is_switch: bool = False
    is_table: bool = False


def _addresses(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        raise ConfigError(f"{values.described(value)} is not HOST:PORT or a list of them, such as 127.0.0.1:1110")
    for each in given:
        parse_address(each)
    return tuple(given)


def _mechanisms(value: Any) -> tuple[str, ...]:
    return tuple(values.one_of(*MECHANISMS)(each.upper()) for each in values.texts(value))


def _read_number(text: str) -> object:
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}\.[0-9]{1,18}", text) else text


def _read_truth(text: str) -> object:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return words.get(text.lower(), text)


def _read_words(text: str) -> object:
    return text.replace(",", " ").split()


LOG_LEVELS = ("debug", "info", "warning", "error")


_DEFAULTS = Limits()

# Fields by the kind of value of their flag; one whose default is MISSING must be given.


def _text(about: str, metavar: str, default: Any = None, check: Check = values.text) -> Any:
    return _field(Setting(about, check, metavar=metavar), default)


def _number(about: str, check: Check, metavar: str, default: Any = None) -> Any:
    return _field(Setting(about, check, _read_number, metavar), default)


def _switch(about: str, default: bool = False) -> Any:
    return _field(Setting(about, values.switch, _read_truth, is_switch=True), default)


def _several(about: str, check: Check, metavar: str, default: tuple[str, ...] = ()) -> Any:
    return _field(Setting(about, check, _read_words, metavar, is_repeatable=True), default)


def _in_file(about: str, check: Check, default: Any) -> Any:
    """Return a field for a table; its content may be secret and is not shown."""
    return _field(Setting(about, check, is_table=True), default)


def _field(of: Setting, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"setting": of}, repr=not of.is_table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of ``geventpop3 serve``; ``origins`` has the source of each setting that was given."""

    listen: tuple[str, ...] = _several(
        "address to listen at, may be given several times. 127.0.0.1:1110 or [::1]:1110: this machine alone; "
        "0.0.0.0:110: every IPv4 address; [::]:110: every IPv6 address; unix:/run/pop3.sock: a Unix socket. "
        "The host is required; port 0 selects a free port",
        _addresses,
        "HOST:PORT",
        ("127.0.0.1:1110",),
    )
    tls_listen: tuple[str, ...] = _several(
        "address to listen at with TLS from the first octet, as on port 995, may be given several times",
        _addresses,
        "HOST:PORT",
    )
    tls_cert: tuple[str, ...] = _several(
        "certificate chain in PEM; it enables STLS too. May be given several times: the first is the default, "
        "the others are selected by the server name (SNI) that the client sends. Changed files are reloaded",
        values.texts,
        "FILE",
    )
    tls_key: tuple[str, ...] = _several(
        "private key of each certificate, in the same order; not needed if the certificates' files contain the keys",
        values.texts,
        "FILE",
    )
    tls_client_ca: str | None = _text(
        "certificate authorities of client certificates, in PEM; clients may send a certificate and log in with it",
        "FILE",
    )
    proxy: tuple[str, ...] = _several(
        "network of trusted proxies, whose connections must begin with a PROXY header, may be given several times",
        values.networks,
        "NETWORK",
    )
    auth: tuple[str, ...] = _several(
        "SASL mechanism to offer, may be given several times (default: all that the stored passwords allow)",
        _mechanisms,
        "MECHANISM",
    )
    maildir: str = _text(
        "path of the maildrops, with the placeholder {user}, or with {local} and {domain} of user@domain, "
        "such as '/srv/mail/{user}'",
        "DIR/{user}",
        dataclasses.MISSING,
    )
    durable: bool = _switch(
        "write removals to the disk before QUIT is answered, so that a power failure does not undo them; on by default",
        True,
    )
    create_maildirs: bool = _switch("create a missing Maildir at login")
    passwords: str | None = _text(
        "password file; 'geventpop3 passwd' edits it, also while the server runs. Required unless the configuration "
        "file has [[authenticator]] tables, which are queried after it",
        "FILE",
    )
    authenticator: tuple[Mapping[str, Any], ...] = _in_file(
        "authentication back ends, in the order in which they are queried", values.tables, ()
    )
    limits: Mapping[str, Any] | None = _in_file("limits on logins", values.table, None)
    hostname: str | None = _text(
        "host name in the greeting (default: the name of this machine)", "NAME", check=values.hostname
    )
    allow_plaintext: bool = _switch(
        "allow clear-text passwords over connections without TLS; without this option only connections from this "
        "machine may use them"
    )
    autologout: float = _number(
        "end a session after this time without a command; RFC 1939 requires at least 600",
        values.seconds,
        "SECONDS",
        _DEFAULTS.autologout,
    )
    login_deadline: float = _number(
        "end a connection that has not logged in after this time", values.seconds, "SECONDS", _DEFAULTS.login_deadline
    )
    max_sessions: int = _number("maximum concurrent sessions", values.count, "N", _DEFAULTS.max_sessions)
    max_sessions_per_address: int | None = _number(
        "maximum concurrent sessions from one IPv4 address or one IPv6 /64 network (default: --max-sessions)",
        values.count,
        "N",
    )
    lock: Literal["exclusive", "none"] = _text(
        "exclusive: one session at a time for each maildrop, as RFC 1939 requires; none: any number of sessions",
        "exclusive|none",
        "exclusive",
        values.one_of("exclusive", "none"),
    )
    expire: int | Literal["never"] | None = _number(
        "days that the site keeps mail, announced in CAPA (EXPIRE); never: only its owner removes mail; "
        "0: QUIT removes the retrieved messages (default: not announced)",
        values.days,
        "DAYS|never",
    )
    login_delay: int = _number("minimum time between two logins of a user (0: none)", values.whole_number, "SECONDS", 0)
    utf8_messages: str = _text(
        "messages with UTF-8 in the header, for clients that have not enabled UTF-8 mode: sent as is, refused, "
        "or converted to ASCII headers",
        "|".join(POLICIES),
        "as-is",
        values.one_of(*POLICIES),
    )
    language: str = _text(
        "language of replies to clients that send 'LANG *': " + ", ".join(LANGUAGES),
        "TAG",
        DEFAULT,
        values.one_of(*LANGUAGES),
    )
    username_case: Literal["domain", "lower", "keep"] = _text(
        "comparison of user names. 'domain': the domain after the last @ ignores case (RFC 5321), the rest does not; "
        "'lower': the whole name ignores case; 'keep': the whole name is case-sensitive. A part that ignores case is "
        "converted to lower case",
        "|".join(USERNAME_CASES),
        "domain",
        values.one_of(*USERNAME_CASES),
    )
    max_tries: int = _number("maximum failed logins of a connection; then it is closed", values.count, "N", 3)
    auth_threads: int | None = _number(
        "number of threads that check passwords (default: one for each processor)", values.count, "N"
    )
    waiting_threads: int = _number(
        "number of threads for each back end that queries other servers, such as LDAP",
        values.count,
        "N",
        WAITING_THREADS,
    )
    fake_salt_key_file: str | None = _text(
        "file with at least 16 random octets, the key of the salts that SCRAM sends for unknown names. The default "
        "is a random key; it changes at a restart, and the changed salts reveal which names are unknown",
        "FILE",
    )
    store_threads: int = _number(
        "number of threads for each file system that read maildrops", values.count, "N", STORE_THREADS
    )
    store_threads_for: Literal["auto", "always", "never"] = _text(
        "auto: read maildrops in threads if their file system may block, such as a network file system; "
        "always: read all maildrops in threads; never: use threads only for large maildrops",
        "|".join(THREADS_FOR),
        "auto",
        values.one_of(*THREADS_FOR),
    )
    workers: int | None = _number(
        "number of worker processes; SIGHUP restarts them without interrupting sessions; needs "
        "geventpop3[workers] (default: no workers, this process serves)",
        values.count,
        "N",
    )
    user: str | None = _text("user of the workers, set after the ports are bound", "NAME")
    group: str | None = _text("group of the workers (default: the user's primary group)", "NAME")
    pid_file: str | None = _text("file for the process id of the workers' parent", "FILE")
    graceful_timeout: int = _number(
        "maximum time that a stopping worker waits for its sessions to end", values.count, "SECONDS", 30
    )
    trace: bool = _switch("log the dialogue of every session, with passwords masked")
    log_level: str = _text(
        "minimum level of log messages: " + ", ".join(LOG_LEVELS), "LEVEL", "info", values.one_of(*LOG_LEVELS)
    )

    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @contextmanager
    def errors_of(self, name: str) -> Iterator[None]:
        """Convert a ConfigError or OSError into a ConfigError that names the setting and its source."""
        try:
            yield
        except ConfigError as error:
            raise _setting_error(name, str(error), self.origins.get(name, "the default")) from None
        except OSError as error:
            text = error.strerror or str(error)
            text = text if error.filename is None else f"{error.filename}: {text}"
            raise _setting_error(name, text, self.origins.get(name, "the default")) from None


def settings() -> Iterator[tuple[dataclasses.Field[Any], Setting]]:
    """Yield every setting in order of declaration."""
    for field in dataclasses.fields(Settings):
        if "setting" in field.metadata:
            yield field, field.metadata["setting"]


NAMES = tuple(field.name for field, _ in settings())
"""The names of all settings."""


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def load_settings(flags: Mapping[str, object], environment: Mapping[str, str], path: str | None = None) -> Settings:
    """Return the settings given on the command line, in the environment and in the TOML file *path*.

    *flags*: text, a list of texts or a bool, by name of the setting; None if not given. Raises ConfigError.
    """
    _check_variables(environment)
    in_file = _read_file(path) if path is not None else {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for field, of in settings():
        name = field.name
        given: object
        given_flags, variables = ({}, {}) if of.is_table else (flags, environment)
        if given_flags.get(name) is not None:
            given, origins[name] = given_flags[name], flag(name)
            given = of.read(given) if isinstance(given, str) else given
        elif variables.get(variable(name)):
            given, origins[name] = of.read(variables[variable(name)]), variable(name)
        elif name in in_file:
            given, origins[name] = in_file[name], cast("str", path)
        elif field.default is dataclasses.MISSING:
            raise ConfigError(f"{file_key(name)}: {_misplaced_key_advice(name, in_file, path) or _required_text(name)}")
        else:
            continue
        try:
            values[name] = of.check(given)
        except ConfigError as error:
            raise _setting_error(name, str(error), origins[name]) from None
    if "passwords" not in values and "authenticator" not in values:
        if hint := _misplaced_key_advice("passwords", in_file, path):
            raise ConfigError(f"passwords: {hint}")
        raise ConfigError(f"passwords: {_required_text('passwords')}, or else [[authenticator]] tables in that file")
    made = Settings(**values, origins=origins)
    plain, tls = map(parse_address, made.listen), map(parse_address, made.tls_listen)
    with made.errors_of("tls_listen" if made.tls_listen else "listen"):
        check_distinct(plain, tls)
    return made


def _check_variables(environment: Mapping[str, str]) -> None:
    """Raise ConfigError for a variable with our prefix that is unknown, or whose setting is a table."""
    variables = {variable(field.name): of for field, of in settings()}
    known = [CONFIG, *(name for name, of in variables.items() if not of.is_table)]
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in known or not value:
            continue
        if name in variables:
            raise ConfigError(f"{name}: a table cannot be given in a variable: write it in the configuration file")
        if _KUBERNETES.fullmatch(name.removeprefix(PREFIX)) is None:
            raise ConfigError(f"{name!a}: unknown environment variable{did_you_mean(name, known, PREFIX)}")


def _read_file(path: str) -> dict[str, object]:
    """Return the content of the file, by name of the setting."""
    try:
        # utf-8-sig: some editors begin a file with a byte order mark.
        with open(path, encoding="utf-8-sig", newline="") as file:
            content = tomllib.loads(file.read())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        is_twice = str(error).startswith(("Cannot overwrite", "Cannot declare"))
        hint = (
            "write each key once in its table"
            if is_twice
            else "write strings in quotes; numbers, true and false without quotes"
        )
        raise ConfigError(f"{path}: not TOML: {error}; {hint}") from None
    try:
        return by_name(content, NAMES)
    except ConfigError as error:
        raise ConfigError(f"{error} (from {path})") from None


def _misplaced_key_advice(name: str, in_file: Mapping[str, object], path: str | None) -> str:
    """Return advice if the file has the setting inside a table, otherwise an empty text."""
    for table, content in in_file.items():
        is_list = isinstance(content, list)
        for each in cast("list[object]", content) if is_list else [content]:
            if isinstance(each, dict) and name in {key.replace("-", "_") for key in each}:
                header = f"[[{table}]]" if is_list else f"[{table}]"
                return f"is part of the table {header} in {path}: move it above the first table"
    return ""


def _required_text(name: str) -> str:
    return f"must be given, by {flag(name)}, {variable(name)} or the configuration file"


def _setting_error(name: str, text: str, origin: str) -> ConfigError:
    return ConfigError(f"{file_key(name)}: {text} (from {origin})")
