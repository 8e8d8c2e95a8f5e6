"""Users in memory, with passwords in clear text: for tests, demonstrations and the first hour of an application."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from geventpop3.auth.authenticator import SecretAuthenticator
from geventpop3.auth.secret import ClearSecret


class MemoryUsers(SecretAuthenticator):
    """Names and passwords; each name is the owner of its maildrop. Raises TypeError unless all are str."""

    def __init__(self, users: Mapping[str, str]) -> None:
        given: object = users
        if not isinstance(given, Mapping) or not all(isinstance(text, str) for pair in given.items() for text in pair):
            raise TypeError("users is a dict of passwords by name, both str: write {'alice': 'secret'}")
        self._passwords = dict(users)

    def __repr__(self) -> str:
        return f"<MemoryUsers {len(self._passwords)} users>"

    def authenticate(self, name: str, password: str) -> str | None:
        stored = self._passwords.get(name)
        expected = ("" if stored is None else stored).encode("utf-8", "surrogateescape")
        matches = hmac.compare_digest(expected, password.encode("utf-8", "surrogatepass"))
        return name if matches and stored is not None else None

    def secret(self, name: str) -> ClearSecret | None:
        password = self._passwords.get(name)
        return None if password is None else ClearSecret(password.encode("utf-8", "surrogateescape"))

    def knows(self, name: str) -> bool:
        return name in self._passwords

    def answers_at_once(self) -> bool:
        return True
