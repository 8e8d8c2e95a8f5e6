"""Construction of the back ends that the ``[[authenticator]]`` tables configure, in their order.

A row of ``KINDS`` is one way to build a back end: its required and optional keys, which are the arguments of its
constructor, and the function that builds it. The keys that are given select among the rows of one kind.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from geventpop3.auth.authenticator import Authenticator
from geventpop3.auth.chain import Chain
from geventpop3.auth.ldap import LdapAuthenticator, UserDn, Users, UserSearch
from geventpop3.auth.oauth.json_endpoint import Endpoint
from geventpop3.auth.oauth.jwks import ALGORITHMS
from geventpop3.auth.oauth.verifiers import IntrospectionVerifier, JwtVerifier, same_name
from geventpop3.auth.pam import PamAuthenticator
from geventpop3.auth.passwd import PasswordFile
from geventpop3.auth.sql import MARKERS, SqlAuthenticator
from geventpop3.cli.check_back_ends import masked, run_with_timeout, secrets_of
from geventpop3.cli.hints import file_errors
from geventpop3.cli.settings import NAMES, Settings
from geventpop3.cli.tables import Key, read_table
from geventpop3.cli.values import delay, did_you_mean, duration, one_of, switch, table, text, texts
from geventpop3.errors import ConfigError
from geventpop3.owners import UsernameCase

Given = dict[str, Any]
"""Values of the given keys; a build function removes those it handles, the others are passed on as arguments."""


@dataclass(frozen=True, slots=True)
class Builder:
    """One way to build a back end."""

    build: Callable[[Given], Authenticator]
    keys: Mapping[str, Key]

    compares_names: bool = False
    """True if *build* also gets the setting ``username_case``."""


def make_authenticator(settings: Settings, *, check: bool = False) -> Authenticator:
    """Return the back end, or a chain of them with the file of ``passwords`` first. Raises ConfigError.

    If *check* is true, each back end is tried with the login of an unknown name, within a time limit.
    """
    members: list[Authenticator] = []
    case = settings.username_case
    if settings.passwords is not None:
        with settings.errors_of("passwords"):
            members.append(_passwords({"path": settings.passwords, "username_case": case}))
    with settings.errors_of("authenticator"):
        for number, content in enumerate(settings.authenticator, 1):
            members.append(_make_back_end(number, content, case, check=check))
    return members[0] if len(members) == 1 else Chain(members)


def _make_back_end(number: int, content: Mapping[str, Any], case: UsernameCase, *, check: bool) -> Authenticator:
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        given, hint = "", ""
        if isinstance(kind, str):
            given, hint = f", not {kind!r}", did_you_mean(kind, KINDS)
        raise ConfigError(f"number {number}: its kind must be one of {', '.join(KINDS)}{given}{hint}")
    keys = {key: value for key, value in content.items() if key != "kind"}
    way = _select_builder(KINDS[kind], {key.replace("-", "_") for key in keys})
    secrets: list[str] = []

    def build() -> Authenticator:
        given = read_table(keys, way.keys, NAMES)
        secrets.extend(secrets_of(given))
        back_end = way.build({**given, "username_case": case} if way.compares_names else given)
        if check:
            back_end.check()
        return back_end

    try:
        return run_with_timeout("", build) if check else build()
    except ConfigError as error:
        text = str(error)
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        text = f"{place}{error.strerror or error}"
    raise ConfigError(f"number {number} ({kind}): {masked(text, secrets)}")


def _select_builder(ways: Sequence[Builder], given: set[str]) -> Builder:
    """Return the way that has most of the given keys."""
    return max(ways, key=lambda way: len(given & {*way.keys, *(f"{name}_file" for name in way.keys)}))


def _passwords(given: Given) -> Authenticator:
    path = given["path"]
    with file_errors(path, f"geventpop3 passwd {shlex.quote(path)} USER"):
        return PasswordFile(**given)


def _pam(given: Given) -> Authenticator:
    return PamAuthenticator(**given)


def _ldap_by_dn(given: Given) -> Authenticator:
    return _ldap(UserDn(given.pop("template"), **_owner(given)), given)


def _ldap_by_search(given: Given) -> Authenticator:
    password = given.pop("bind_password").read()
    place = {name: given.pop(name) for name in ("base", "filter", "bind_dn")}
    return _ldap(UserSearch(**place, bind_password=password, **_owner(given)), given)


def _ldap(users: Users, given: Given) -> Authenticator:
    return LdapAuthenticator(given.pop("urls"), users, **_context(given), **given)


def _owner(given: Given) -> Given:
    """Remove and return the options of the owner: its attribute (None if the key is false) and ``username_case``."""
    compares = {"username_case": given.pop("username_case")}
    attribute = given.pop("owner_attribute", "")
    return compares if attribute == "" else {**compares, "owner_attribute": attribute or None}


def _sql(given: Given) -> Authenticator:
    name = given.pop("module")
    try:
        module = importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"the module {name} cannot be imported: install it in the environment of geventpop3"
        ) from None
    if not callable(getattr(module, "connect", None)):
        raise ConfigError(f"the module {name} has no function connect: give a database module of PEP 249")
    arguments = dict(given.pop("connect", {}))
    if "password" in given:
        arguments["password"] = given.pop("password").read()
    given.setdefault("paramstyle", getattr(module, "paramstyle", None))
    return SqlAuthenticator(partial(module.connect, **arguments), given.pop("query"), **given)


def _jwt(given: Given) -> Authenticator:
    given["policy"] = partial(same_name, username_case=given.pop("username_case"))
    if "jwks" not in given:
        return JwtVerifier(keys=_endpoint("keys", given), **given)
    path = given.pop("jwks")
    with open(path, "rb") as file:
        try:
            keys = json.load(file)
        except ValueError:
            raise ConfigError(f"{path}: not JSON") from None
    if not isinstance(keys, dict):
        raise ConfigError(f"{path}: not a JWK Set")
    return JwtVerifier(keys=keys, **given)


def _introspection(given: Given) -> Authenticator:
    secret = given.pop("client_secret").read()
    given["policy"] = partial(same_name, username_case=given.pop("username_case"))
    return IntrospectionVerifier(_endpoint("url", given), client_secret=secret, **given)


def _endpoint(name: str, given: Given) -> Endpoint:
    options = {option: given.pop(option) for option in ("allow_plaintext", "seconds") if option in given}
    return Endpoint(given.pop(name), **_context(given), **options)


def _context(given: Given) -> Given:
    """Return the option for a TLS context that trusts only the authorities in the file ``ca``, if one is given."""
    path = given.pop("ca", None)
    if path is None:
        return {}
    try:
        return {"context": ssl.create_default_context(cafile=path)}
    except ssl.SSLError:
        raise ConfigError(f"ca: {path}: contains no certificate in PEM form") from None
    except OSError as error:
        raise ConfigError(f"ca: {path}: {error.strerror}") from None


# Checks and tables of keys


def _algorithms(value: Any) -> tuple[str, ...]:
    return tuple(map(one_of(*ALGORITHMS), texts(value)))


def _attribute(value: Any) -> str | bool:
    return value if value is False else text(value)


def _module(value: Any) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", text(value)) is None:
        raise ConfigError(f"{value!r} is not the name of a module")
    return text(value)


NEEDED = Key(is_needed=True)
NEEDED_SECRET = Key(is_needed=True, is_secret=True)

_LDAP = {
    "urls": Key(texts, is_needed=True),
    "owner_attribute": Key(_attribute),
    "allow_plaintext": Key(switch),
    "ca": Key(),
    "seconds": Key(duration),
}
_ENDPOINT = {"allow_plaintext": Key(switch), "ca": Key(), "seconds": Key(duration)}
_CLAIMS = {"scope": Key(), "owner_claim": Key()}
_JWT = {
    "issuer": NEEDED,
    "audience": NEEDED,
    "algorithms": Key(_algorithms),
    "token_type": Key(),
    "leeway": Key(delay),
    **_CLAIMS,
}

KINDS: Mapping[str, Sequence[Builder]] = {
    "passwords": (Builder(_passwords, {"path": NEEDED}, compares_names=True),),
    "ldap": (
        Builder(_ldap_by_dn, {"template": NEEDED, **_LDAP}, compares_names=True),
        Builder(
            _ldap_by_search,
            {"base": NEEDED, "filter": NEEDED, "bind_dn": NEEDED, "bind_password": NEEDED_SECRET, **_LDAP},
            compares_names=True,
        ),
    ),
    "sql": (
        Builder(
            _sql,
            {
                "module": Key(_module, is_needed=True),
                "connect": Key(table),
                "password": Key(is_secret=True),
                "query": NEEDED,
                "survey": Key(),
                "paramstyle": Key(one_of(*MARKERS)),
            },
        ),
    ),
    "pam": (Builder(_pam, {"service": Key(), "folder": Key(), "refusal_seconds": Key(delay)}),),
    "oauth": (
        Builder(_jwt, {"keys": NEEDED, **_JWT, **_ENDPOINT}, compares_names=True),
        Builder(_jwt, {"jwks": NEEDED, **_JWT}, compares_names=True),
        Builder(
            _introspection,
            {
                "url": NEEDED,
                "client_id": NEEDED,
                "client_secret": NEEDED_SECRET,
                "audience": Key(),
                "issuer": Key(),
                "cache_seconds": Key(delay),
                **_CLAIMS,
                **_ENDPOINT,
            },
            compares_names=True,
        ),
    ),
}
