"""The authenticator of a service, called in a thread where it may wait; it receives names in canonical form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from geventpop3.auth.authenticator import Authenticator, SecretAuthenticator, TokenAuthenticator, ask
from geventpop3.auth.mechanisms import CLEAR_SECRETS, PASSWORDS, TOKENS, scram_secrets
from geventpop3.auth.secret import SCRAM_HASHES, Secret
from geventpop3.errors import ConfigError
from geventpop3.owners import UsernameCase, canonical_name, canonical_owner
from geventpop3.service.threads import AuthThreads

R = TypeVar("R")


class BackEnd:
    """The authenticator of one service, and the threads that it waits and hashes in.

    *username_case*: meaning of case in the names of users and owners, as ``MaildropService`` describes it.
    """

    def __init__(self, authenticator: Authenticator | None, threads: AuthThreads, username_case: UsernameCase) -> None:
        self.username_case = username_case
        self._threads = threads
        self._authenticator = None if authenticator is None else authenticator.in_threads(threads)

    @property
    def authenticator(self) -> Authenticator:
        """The authenticator. Raises ConfigError if there is none."""
        if self._authenticator is None:
            raise ConfigError(
                "MaildropService has no authenticator: pass one as its second argument, or use @service.authenticator"
            )
        return self._authenticator

    def add_authenticator(self, authenticator: Authenticator) -> None:
        """Set the authenticator of a service that has none. Raises ConfigError if it has one."""
        if self._authenticator is not None:
            raise ConfigError("the service has an authenticator already: combine several with Chain")
        self._authenticator = authenticator

    # Names

    def canonical_name(self, name: str) -> str:
        """Return the canonical form of *name*, which all its equal spellings share."""
        return canonical_name(name, self.username_case)

    def canonical_owner(self, owner: str) -> str:
        """Return the canonical form of *owner*. Raises StoreBroken if no maildrop can have this name."""
        return canonical_owner(owner, self.username_case)

    # Facts that need no thread

    def checks_passwords(self) -> bool:
        """Return whether any user can log in with a password."""
        return self.authenticator.checks_passwords()

    def has_clear_secrets(self) -> bool:
        """Return whether APOP and CRAM-MD5 could work: every user has a secret in clear text."""
        authenticator = self.authenticator
        return isinstance(authenticator, SecretAuthenticator) and authenticator.has_clear_secrets()

    def derives_scram_keys(self) -> bool:
        """Return whether a SCRAM login must derive keys, because not all users have stored ones."""
        authenticator = self.authenticator
        return not (isinstance(authenticator, SecretAuthenticator) and authenticator.has_scram_keys_alone())

    def scram_iterations(self) -> tuple[int, ...]:
        """Return the iteration counts of all users' SCRAM keys, in ascending order."""
        authenticator = self.authenticator
        if not isinstance(authenticator, SecretAuthenticator):
            return ()
        return tuple(sorted({count for name in SCRAM_HASHES for count in authenticator.scram_iterations(name)}))

    def secrets(self) -> frozenset[str]:
        """Return the kinds of secrets that the authenticator can check, as mechanisms name them."""
        return frozenset(self._secrets())

    def _secrets(self) -> Iterator[str]:
        authenticator = self.authenticator
        if authenticator.checks_passwords():
            yield PASSWORDS
        if isinstance(authenticator, TokenAuthenticator) and authenticator.checks_tokens():
            yield TOKENS
        if isinstance(authenticator, SecretAuthenticator):
            if authenticator.has_clear_secrets():
                yield CLEAR_SECRETS
            for hash_name in SCRAM_HASHES:
                if authenticator.scram_iterations(hash_name):
                    yield scram_secrets(hash_name)

    # Calls, in a thread if they may wait; each may raise StoreUnavailable

    def authenticate(self, name: str, password: str) -> str | None:
        """Return the owner that these credentials belong to, or None."""
        authenticator = self.authenticator
        name = canonical_name(name, self.username_case)
        return ask(self._threads, authenticator, authenticator.authenticate, name, password)

    def look_up(self, name: str) -> Secret | None:
        """Return the secret stored for *name*; None also if the authenticator gives out no secrets."""
        authenticator = self.authenticator
        if not isinstance(authenticator, SecretAuthenticator):
            return None
        return ask(self._threads, authenticator, authenticator.secret, self.canonical_name(name))

    def owner(self, name: str) -> str | None:
        """Return the owner of the maildrop of *name*, whose identity was proven."""
        authenticator = self.authenticator
        return ask(self._threads, authenticator, authenticator.owner, self.canonical_name(name))

    def check_token(self, name: str | None, token: str) -> str | None:
        """Return the owner of the maildrop that an OAuth token opens, or None."""
        authenticator = self.authenticator
        if not isinstance(authenticator, TokenAuthenticator):
            return None
        name = None if name is None else self.canonical_name(name)
        return ask(self._threads, authenticator, authenticator.check_token, name, token)

    def compute(self, function: Callable[[], R]) -> R:
        """Run a function that takes some milliseconds of processor time in a hashing thread."""
        return self._threads.compute(function)

    def close(self) -> None:
        """End the threads of this hub."""
        self._threads.close()

    def disown(self) -> None:
        """Forget the threads in a forked child: they are the parent's."""
        self._threads.disown()
