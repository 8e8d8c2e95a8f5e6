"""Several back ends as one: the first that knows the user decides.

A back end that knows a name is the last to check its password. One that cannot tell checks it too, and if it refuses,
the next is asked. One that is down ends the login, because the name may be its own: put first the back ends that must
always work. A failed login asks each back end once, so that its time and its answer do not show which one knew the
user. Those that do not decide about the name check a random one.

The chain itself never waits. In a service each back end runs in the threads for its kind of work, and has waiting
threads of its own. One that is slow or silent delays only names that it knows, and names that no back end before it
knows. Users of a back end behind a silent one wait, because their names may be its own; users of one before it do not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from time import monotonic
from typing import ParamSpec, Self, TypeVar

from geventpop3.auth.authenticator import (
    CALLING_THREAD,
    Authenticator,
    SecretAuthenticator,
    Threads,
    TokenAuthenticator,
    ask,
)
from geventpop3.auth.secret import Secret
from geventpop3.errors import ConfigError, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

IMITATION_SECONDS = 1.0
"""Seconds for a look-up that only makes all names take the same time; a slower back end is passed over."""

IMITATION_PAUSE_SECONDS = 60.0
"""Seconds from that look-up's start to the next. Meanwhile answers for unknown names show that the back end is down."""


class Chain(SecretAuthenticator, TokenAuthenticator):
    """A chain of *members*, asked in their order. Raises ConfigError if there are none."""

    def __init__(self, members: Iterable[Authenticator]) -> None:
        self.members = tuple(members)
        self._threads: Mapping[int, Threads] = {}
        self._slow: dict[int, float] = {}
        """Start times of look-ups made for their time alone that have not succeeded, by the back end's ``id``."""
        if not self.members:
            raise ConfigError("a chain needs at least one back end")

    def authenticate(self, name: str, password: str) -> str | None:
        without_a_say = []
        members = iter(self.members)
        for member in members:
            known = self._ask(member, member.knows, name)
            if known is False:
                without_a_say.append(member)
                continue
            owner = self._ask(member, member.authenticate, name, password)
            if owner is not None:
                return owner
            if known:
                break
        for member in members:
            self._ask(member, member.knows, name)
            without_a_say.append(member)
        for member in without_a_say:
            # A name of no user, so that no failure counts against one; not the password, which may be almost right.
            self._ask(member, member.authenticate, f"nobody-{secrets.token_hex(8)}", secrets.token_hex(8))
        return None

    def checks_passwords(self) -> bool:
        return any(member.checks_passwords() for member in self.members)

    def knows(self, name: str) -> bool | None:
        cannot_tell = False
        for member in self.members:
            known = self._ask(member, member.knows, name)
            if known:
                return True
            cannot_tell |= known is None
        return None if cannot_tell else False

    def owner(self, name: str) -> str | None:
        cannot_tell = []
        for member in self.members:
            known = self._ask(member, member.knows, name)
            if known:
                return self._ask(member, member.owner, name)
            if known is None:
                cannot_tell.append(member)
        owners = (self._ask(member, member.owner, name) for member in cannot_tell)
        return next((owner for owner in owners if owner is not None), None)

    def check(self) -> None:
        for member in self.members:
            self._ask(member, member.check)

    def answers_at_once(self) -> bool:
        return bool(self._threads) or all(member.answers_at_once() for member in self.members)

    def in_threads(self, threads: Threads) -> Self:
        chain = copy(self)
        parts = [threads.apart() for _ in self.members]
        chain.members = tuple(map(lambda member, part: member.in_threads(part), self.members, parts))
        chain._threads = dict(zip(map(id, chain.members), parts, strict=True))
        chain._slow = {}
        return chain

    def _ask(self, member: Authenticator, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return ask(self._threads.get(id(member), CALLING_THREAD), member, method, *args, **kwargs)

    def secret(self, name: str) -> Secret | None:
        """Return the secret in the first back end that knows *name*; ask them all, to take the same time."""
        members = iter(self.members)
        for member in members:
            known, secret = self._secret_of(member, name)
            if known or secret is not None:
                for other in members:
                    self._imitate_look_up(other, name)
                return secret
        return None

    def _secret_of(self, member: Authenticator, name: str) -> tuple[bool | None, Secret | None]:
        known = self._ask(member, member.knows, name)
        return known, self._ask(member, member.secret, name) if isinstance(member, SecretAuthenticator) else None

    def _imitate_look_up(self, member: Authenticator, name: str) -> None:
        """Ask *member* only for the time that it takes, unless it did not answer lately: that would delay the login."""
        begin, now = self._slow.get(id(member)), monotonic()
        if begin is not None and IMITATION_SECONDS <= now - begin < IMITATION_PAUSE_SECONDS:
            return
        if begin is None or now - begin >= IMITATION_PAUSE_SECONDS:
            self._slow[id(member)] = now
        try:
            self._secret_of(member, name)
        except StoreUnavailable:
            return
        self._slow.pop(id(member), None)

    def has_clear_secrets(self) -> bool:
        members = [member for member in self.members if member.checks_passwords()]
        return bool(members) and all(_is_clear(member) for member in members)

    def scram_iterations(self, hash_name: str) -> tuple[int, ...]:
        """Return all counts if each member that checks passwords is fit for SCRAM with this hash function, else ()."""
        counts: dict[int, None] = {}
        for member in self.members:
            if member.checks_passwords():
                own = member.scram_iterations(hash_name) if isinstance(member, SecretAuthenticator) else ()
                if not own and not _is_clear(member):
                    return ()
                counts.update(dict.fromkeys(own))
        return tuple(counts)

    def has_scram_keys_alone(self) -> bool:
        secret = (member for member in self.members if isinstance(member, SecretAuthenticator))
        return all(member.has_scram_keys_alone() for member in secret)

    def check_token(self, name: str | None, token: str) -> str | None:
        """Return the first owner that a member finds; a member for another issuer finds none."""
        for member in self.members:
            if (
                isinstance(member, TokenAuthenticator)
                and (owner := self._ask(member, member.check_token, name, token)) is not None
            ):
                return owner
        return None

    def checks_tokens(self) -> bool:
        return any(member.checks_tokens() for member in self.members if isinstance(member, TokenAuthenticator))


def _is_clear(member: Authenticator) -> bool:
    return isinstance(member, SecretAuthenticator) and member.has_clear_secrets()
