"""The settings of ``geventpop3 serve``: one dataclass field is its flag, key, variable, default, help and check.

``max_sessions`` is ``--max-sessions`` on the command line, ``max-sessions`` or ``max_sessions`` in the file and
``GEVENTPOP3_MAX_SESSIONS`` in the environment. The command line goes before the environment, that before the file, and
that before the default. Whatever is wrong is a ConfigError of one line that names the setting and where it came from.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Literal, cast

from geventpop3.auth.mechanisms import MECHANISMS
from geventpop3.errors import ConfigError
from geventpop3.server.addresses import parse_listener

PREFIX = "GEVENTPOP3_"

Check = Callable[[Any], Any]
"""The value of a setting, from what a file holds. Raises ConfigError with what is wrong with it."""


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


def setting(of: Setting, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that is a setting; without *default* it must be given."""
    return dataclasses.field(default=default, metadata={"setting": of})


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{value!r} is not a text")
    return value


def _hostname(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", value) is None:
        raise ConfigError(f"{value!r} is not the name of a host")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is neither true nor false")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (1 <= value < math.inf):
        raise ConfigError(f"{value!r} is not a number of seconds, at least 1")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{value!r} is not a whole number, at least 1")
    return value


def _one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if value not in names:
            raise ConfigError(f"{value!r} is not one of {', '.join(names)}")
        return cast("str", value)

    return check


def _listeners(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{value!r} is not HOST:PORT or a list of them")
    for text in texts:
        parse_listener(text)
    return tuple(texts)


def _texts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise ConfigError(f"{value!r} is not a text or a list of them")
    return tuple(map(_text, texts))


def _networks(value: Any) -> tuple[str, ...]:
    texts = _texts(value)
    for text in texts:
        try:
            ip_network(text)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return texts


def _mechanisms(value: Any) -> tuple[str, ...]:
    names = tuple(text.upper() for text in _texts(value))
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
            _listeners,
            read=_words,
            metavar="HOST:PORT",
            is_repeatable=True,
        ),
        ("127.0.0.1:1110",),
    )
    tls_listen: tuple[str, ...] = setting(
        Setting(
            "where to listen with TLS from the start, as on port 995, may be given several times",
            _listeners,
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
            _texts,
            read=_words,
            metavar="FILE",
            is_repeatable=True,
        ),
        (),
    )
    tls_key: tuple[str, ...] = setting(
        Setting(
            "the private key of each certificate, in the same order; none if they are in the certificates' files",
            _texts,
            read=_words,
            metavar="FILE",
            is_repeatable=True,
        ),
        (),
    )
    tls_client_ca: str | None = setting(
        Setting(
            "who signs clients' certificates, in PEM: clients may show one, and log in by it", _text, metavar="FILE"
        ),
        None,
    )
    proxy: tuple[str, ...] = setting(
        Setting(
            "a network of trusted proxies, whose connections begin with a PROXY header, may be given several times",
            _networks,
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
            _text,
            metavar="DIR/{user}",
        )
    )
    passwords: str = setting(
        Setting("the password file; edit it with 'geventpop3 passwd', also while it is served", _text, metavar="FILE")
    )
    hostname: str | None = setting(
        Setting("the name in the greeting (default: this machine's)", _hostname, metavar="NAME"), None
    )
    allow_plaintext: bool = setting(
        Setting(
            "let clients log in with a clear-text password over connections that others can read; without it only "
            "from this machine",
            _switch,
            read=_truth,
            is_switch=True,
        ),
        False,
    )
    autologout: float = setting(
        Setting(
            "end a session after so many seconds without a command; RFC 1939 asks for at least 600",
            _seconds,
            read=_number,
            metavar="SECONDS",
        ),
        600,
    )
    login_deadline: float = setting(
        Setting("end a connection that has not logged in after so many seconds", _seconds, _number, "SECONDS"), 60
    )
    max_sessions: int = setting(Setting("so many sessions at once", _count, _number, "N"), 10_000)
    max_sessions_per_address: int | None = setting(
        Setting(
            "so many sessions at once from one IPv4 address or one IPv6 /64 (default: no bound but --max-sessions)",
            _count,
            _number,
            "N",
        ),
        None,
    )
    lock: Literal["exclusive", "none"] = setting(
        Setting(
            "exclusive: one session at a time into a maildrop, as RFC 1939 has it; none: any number",
            _one_of("exclusive", "none"),
            metavar="exclusive|none",
        ),
        "exclusive",
    )
    trace: bool = setting(
        Setting("log the dialogue of every session, passwords masked", _switch, read=_truth, is_switch=True), False
    )
    log_level: str = setting(
        Setting("how much to log: " + ", ".join(LOG_LEVELS), _one_of(*LOG_LEVELS), metavar="LEVEL"), "info"
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
        if flags.get(name) is not None:
            given, origins[name] = flags[name], flag(name)
            given = of.read(given) if isinstance(given, str) else given
        elif environment.get(variable(name)):
            given, origins[name] = of.read(environment[variable(name)]), variable(name)
        elif name in in_file:
            given, origins[name] = in_file[name], cast("str", path)
        elif field.default is dataclasses.MISSING:
            raise ConfigError(
                f"{_key(name)}: must be given, by {flag(name)}, {variable(name)} or the configuration file"
            )
        else:
            continue
        try:
            values[name] = of.check(given)
        except ConfigError as error:
            raise _blame(name, str(error), origins[name]) from None
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
    values: dict[str, object] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {_key(near[0])}?" if near else ""
            raise ConfigError(f"{key!a}: unknown key{hint} (from {path})")
        if name in values:
            raise _blame(name, "is there twice, with - and with _", path)
        values[name] = value
    return values


def _key(name: str) -> str:
    return name.replace("_", "-")


def _blame(name: str, text: str, origin: str) -> ConfigError:
    return ConfigError(f"{_key(name)}: {text} (from {origin})")
