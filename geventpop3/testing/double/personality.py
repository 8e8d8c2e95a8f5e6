"""Personalities: the manners of a server that the double takes on, each in a TOML file with its sources.

    Double(personality="dovecot")
    Double(personality=Path("mine.toml"))

``docs/personalities.md`` has what is known of each, and the keys of a file.
"""

from __future__ import annotations

import difflib
import string
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn

from geventpop3.auth.mechanisms import MECHANISMS, Mechanism
from geventpop3.protocol.commands import COMMANDS, CommandSpec
from geventpop3.stores.store import is_unique_id
from geventpop3.testing.double.quirks import QUIRKS, QuirkKind
from geventpop3.testing.double.wording import ANY, COMMON, FACTS, GREETING, NEGATIVE, outcomes_of
from geventpop3.wire.replies import Reply

VALIDITY: Final = 1_700_000_000
"""The number that servers give a mailbox when it is made; the same in all doubles, so that unique-ids are too."""

SERVER_LIMITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "line-limit": "line_limit",
        "bad-before-login": "bad_before_login",
        "bad-after-login": "bad_after_login",
        "autologout": "autologout",
        "login-deadline": "login_deadline",
    }
)
"""Keys of ``[limits]`` that are keywords of ``POP3Server``."""
SERVICE_LIMITS: Final[Mapping[str, str]] = MappingProxyType({"tries": "max_tries", "login-delay": "login_delay"})
"""Keys of ``[limits]`` that are keywords of ``MaildropService``."""

_KEYS: Final = (
    *("title", "about", "sources", "greeting", "unsupported", "utf8-messages"),
    *("unique-id", "capa", "replies", "limits", "quirk"),
)
_WITH_TAG: Final = {"TOP": "TOP", "UIDL": "UIDL", "SASL": "AUTH", "STLS": "STLS", "USER": "USER", "UTF8": "UTF8"}
"""Capabilities that announce a command."""


class PersonalityError(ValueError):
    """A mistake in the file of a personality, or a name that none has."""


class Quirk(NamedTuple):
    """A quirk of one personality, with its options and the source that it is known from."""

    name: str
    options: Mapping[str, Any]
    source: str

    @property
    def kind(self) -> QuirkKind:
        """The row of the table."""
        return QUIRKS[self.name]


@dataclass(frozen=True)
class Personality:
    """The manners of a server. Whatever is None or missing is as this server's own."""

    name: str
    title: str
    about: str
    sources: tuple[str, ...]
    greeting: str | None
    unsupported: frozenset[str]
    capa_before: tuple[str, ...] | None
    """Lines of CAPA before login, all that the real server announces; the double leaves out what it cannot do."""
    capa_after: tuple[str, ...] | None
    replies: Mapping[str, Mapping[str, str]]
    """Status lines by verb, or ``*``, and outcome."""
    limits: Mapping[str, int]
    limits_source: str
    unique_id: str | None
    unique_id_source: str
    utf8_messages: str
    quirks: tuple[Quirk, ...]

    @property
    def commands(self) -> dict[str, CommandSpec]:
        """The table of commands."""
        table = {verb: spec for verb, spec in COMMANDS.items() if verb not in self.unsupported}
        for quirk in self.quirks:
            for verb, states in quirk.kind.commands.items():
                if verb in table:
                    table[verb] = replace(table[verb], states=states)
        return table

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """The mechanisms of AUTH: those that CAPA announces and that there are."""
        if self.capa_before is None or self.capa_after is None:
            return dict(MECHANISMS)
        announced = {word for line in (*self.capa_before, *self.capa_after) for word in _mechanisms_in(line)}
        return {name: mechanism for name, mechanism in MECHANISMS.items() if name in announced}

    @property
    def naming(self) -> Callable[[int], str] | None:
        """A function that makes unique-ids; None for this server's own."""
        return None if self.unique_id is None else partial(_unique_id, self.unique_id)

    @property
    def server_options(self) -> dict[str, Any]:
        """Keywords of ``POP3Server``."""
        return {keyword: self.limits[key] for key, keyword in SERVER_LIMITS.items() if key in self.limits}

    @property
    def service_options(self) -> dict[str, Any]:
        """Keywords of ``MaildropService``."""
        limits = {keyword: self.limits[key] for key, keyword in SERVICE_LIMITS.items() if key in self.limits}
        return {**limits, "mechanisms": self.mechanisms, "utf8_messages": self.utf8_messages}

    @property
    def has_response_codes(self) -> bool:
        """True if replies may have response codes that the file does not have."""
        return self.capa_before is None or "RESP-CODES" in self.capa_before

    def words(self, verb: str, outcome: str) -> str | None:
        """Return the status line for an outcome, with placeholders; None for this server's own."""
        own = self.replies.get(verb, {}).get(outcome)
        return own if own is not None else self.replies.get(ANY, {}).get(outcome)


def names() -> list[str]:
    """Return the names of the personalities that come with the package."""
    return sorted(each.name.removesuffix(".toml") for each in _folder().iterdir() if each.name.endswith(".toml"))


def load_personality(name: str | Path) -> Personality:
    """Return a personality by its name, or from the file that a Path names. Raises PersonalityError or OSError."""
    if isinstance(name, Path):
        return parse_personality(name.read_text("utf-8"), name.stem, where=str(name))
    if not isinstance(name, str):
        raise TypeError(f"a personality is a name such as 'dovecot', or the Path of a file, not {name!r}")
    known = names()
    if name not in known:
        advice = f"; for a file, give Path({name!r})" if name.endswith(".toml") else ""
        raise PersonalityError(f"there is no personality {name!r}{_nearest(name, known)}{advice}")
    return parse_personality(_folder().joinpath(f"{name}.toml").read_text("utf-8"), name)


def parse_personality(text: str, name: str, *, where: str | None = None) -> Personality:
    """Return the personality that the text of a file describes. Raises PersonalityError."""
    return _Parser(name, where or f"personality {name!r}").parse(text)


def _folder() -> Any:
    return files("geventpop3.testing.double").joinpath("personalities")


def _unique_id(template: str, serial: int) -> str:
    return template.format(uid=serial, validity=VALIDITY)


def _mechanisms_in(line: str) -> list[str]:
    tag, *words = line.split()
    return words if tag == "SASL" else []


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error: the nearest known name, or all of them."""
    known = list(known)
    by_lower = {each.lower(): each for each in known}
    for nearest in difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6):
        return f": did you mean {by_lower[nearest]!r}?"
    return f"; there are {', '.join(known)}"


class _Parser:
    """A strict reader of one file; every error names the file and the key."""

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where

    def parse(self, text: str) -> Personality:
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._fail("", f"no TOML: {error}")
        self._keys(table, _KEYS, "")
        unsupported = self._verbs(table)
        before, after = self._capa(table, unsupported)
        replies = self._replies(table, unsupported)
        limits, limits_source = self._limits(table)
        unique_id, unique_id_source = self._unique_id(table)
        return Personality(
            name=self._name,
            title=self._text(table, "title", ""),
            about=self._text(table, "about", ""),
            sources=self._texts(table, "sources", ""),
            greeting=self._greeting(table),
            unsupported=unsupported,
            capa_before=before,
            capa_after=after,
            replies=replies,
            limits=limits,
            limits_source=limits_source,
            unique_id=unique_id,
            unique_id_source=unique_id_source,
            utf8_messages=self._utf8_messages(table),
            quirks=self._quirks(table),
        )

    def _greeting(self, table: Mapping[str, Any]) -> str | None:
        if "greeting" not in table:
            return None
        return self._line(table, "greeting", "", positive=True, placeholders=GREETING)

    def _verbs(self, table: Mapping[str, Any]) -> frozenset[str]:
        verbs = self._texts(table, "unsupported", "") if "unsupported" in table else ()
        for verb in verbs:
            if verb not in COMMANDS or verb == "QUIT":
                self._fail("unsupported", f"{verb!r} is no verb that can be missing{_nearest(verb, COMMANDS)}")
        return frozenset(verbs)

    def _capa(
        self, table: Mapping[str, Any], unsupported: frozenset[str]
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        if "capa" not in table:
            return None, None
        capa = self._table(table, "capa", ("before", "after"))
        before, after = self._texts(capa, "before", "capa"), self._texts(capa, "after", "capa")
        for line in (*before, *after):
            tag = line.split(" ")[0]
            if not line.isascii() or not line.isprintable() or line != line.strip() or not tag:
                self._fail("capa", f"{line!r} is no line of CAPA")
            if _WITH_TAG.get(tag, tag) in unsupported:
                self._fail("capa", f"it announces {tag}, and {_WITH_TAG.get(tag, tag)} is unsupported")
        return before, after

    def _replies(self, table: Mapping[str, Any], unsupported: frozenset[str]) -> Mapping[str, Mapping[str, str]]:
        replies = self._table(table, "replies", (*COMMANDS, ANY)) if "replies" in table else {}
        for verb in replies:
            where = f"replies.{verb}"
            if verb in unsupported:
                self._fail(where, f"{verb} is unsupported: its reply is replies.{ANY!r}.unknown")
            lines = self._table(replies, verb, sorted(outcomes_of(verb)), where)
            for outcome in lines:
                placeholders = (*COMMON, *FACTS.get((verb, outcome), ()))
                self._line(lines, outcome, where, positive=outcome not in NEGATIVE, placeholders=placeholders)
        return replies

    def _limits(self, table: Mapping[str, Any]) -> tuple[Mapping[str, int], str]:
        if "limits" not in table:
            return {}, ""
        limits = dict(self._table(table, "limits", (*SERVER_LIMITS, *SERVICE_LIMITS, "source")))
        source = self._text(limits, "source", "limits")
        del limits["source"]
        for key, value in limits.items():
            if type(value) is not int or value < 1:
                self._fail(f"limits.{key}", f"{value!r} is no number from 1")
        return limits, source

    def _unique_id(self, table: Mapping[str, Any]) -> tuple[str | None, str]:
        if "unique-id" not in table:
            return None, ""
        unique_id = self._table(table, "unique-id", ("template", "source"))
        template, source = self._text(unique_id, "template", "unique-id"), self._text(unique_id, "source", "unique-id")
        self._placeholders("unique-id.template", template, ("uid", "validity"), with_format=True)
        try:
            first, second = _unique_id(template, 1), _unique_id(template, 2)
        except (ValueError, TypeError) as error:
            self._fail("unique-id.template", str(error))
        if first == second or not is_unique_id(first):
            self._fail("unique-id.template", f"it makes {first!r} and {second!r}, which are no two unique-ids")
        return template, source

    def _utf8_messages(self, table: Mapping[str, Any]) -> str:
        value = self._text(table, "utf8-messages", "") if "utf8-messages" in table else "as-is"
        if value not in ("as-is", "refuse", "convert"):
            self._fail("utf8-messages", f"{value!r} is not 'as-is', 'refuse' or 'convert'")
        return value

    def _quirks(self, table: Mapping[str, Any]) -> tuple[Quirk, ...]:
        given = table.get("quirk", [])
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            self._fail("quirk", "write each as [[quirk]]")
        return tuple(self._quirk(each) for each in given)

    def _quirk(self, table: Mapping[str, Any]) -> Quirk:
        name = self._text(table, "name", "quirk")
        if name not in QUIRKS:
            self._fail("quirk", f"no quirk is called {name!r}{_nearest(name, QUIRKS)}")
        defaults = QUIRKS[name].options
        where = f"quirk {name!r}"
        self._keys(table, ("name", "source", *defaults), where)
        options = {}
        for option, default in defaults.items():
            options[option] = value = table.get(option, default)
            if type(value) is not type(default):
                self._fail(where, f"{option} is of the type {type(default).__name__}, not {value!r}")
        return Quirk(name, MappingProxyType(options), self._text(table, "source", where))

    # Values

    def _keys(self, table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        known = list(known)
        for key in table:
            if key not in known:
                self._fail(where, f"unknown key {key!r}{_nearest(key, known)}")

    def _table(
        self, parent: Mapping[str, Any], key: str, known: Iterable[str], where: str | None = None
    ) -> Mapping[str, Any]:
        table = parent[key]
        if not isinstance(table, dict):
            self._fail(where or key, "it is a table")
        self._keys(table, known, where or key)
        return table

    def _text(self, table: Mapping[str, Any], key: str, where: str) -> str:
        value = table.get(key)
        if value is None:
            self._fail(where, f"{key} is missing")
        if not isinstance(value, str) or not value.strip():
            self._fail(where, f"{key} is a text, not {value!r}")
        return value

    def _texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key)
        if value is None:
            self._fail(where, f"{key} is missing")
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._fail(where, f"{key} is a list of texts, not {value!r}")
        return tuple(value)

    def _line(
        self, table: Mapping[str, Any], key: str, where: str, *, positive: bool, placeholders: Iterable[str]
    ) -> str:
        line = self._text(table, key, where)
        at = f"{where}.{key}".lstrip(".")
        sign = "+OK" if positive else "-ERR"
        if line != sign and not line.startswith(f"{sign} "):
            self._fail(at, f"it begins with {sign}, not {line!r}")
        if not line.isprintable() or Reply.parse(line).status_line.rstrip(b"\r\n") != line.encode("utf-8"):
            self._fail(at, f"{line!r} cannot be a status line")
        self._placeholders(at, line, placeholders)
        return line

    def _placeholders(self, at: str, text: str, known: Iterable[str], *, with_format: bool = False) -> None:
        known = list(known)
        try:
            fields = list(string.Formatter().parse(text))
        except ValueError as error:
            self._fail(at, f"{error}; write {{{{ for a brace")
        for _, name, form, conversion in fields:
            if name is None:
                continue
            if name not in known:
                self._fail(at, f"unknown placeholder {{{name}}}{_nearest(name, known)}")
            if conversion or (form and not with_format):
                self._fail(at, f"the placeholder {{{name}}} has no format")

    def _fail(self, at: str, mistake: str) -> NoReturn:
        raise PersonalityError(f"{self._where}: {at + ': ' if at else ''}{mistake}")
