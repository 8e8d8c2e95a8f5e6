"""The interface between the login path and a back end that knows users.

An authenticator returns the owner of the maildrop that a name and a password open, or None without a reason. A back end
that cannot answer raises StoreUnavailable, which is ``[SYS/TEMP]`` and not ``[AUTH]`` (RFC 3206 section 4).

Slow work runs in the calling thread, unless the caller has ``Threads`` for it. Hashing occupies a processor, so more
hashes at once than there are cores only take memory. Waiting for a server costs nothing, so many calls may wait. The
two kinds of work never share threads, so a slow server does not delay hashing. Two back ends share no waiting threads,
so a silent server delays neither another server nor the reading of a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ParamSpec, Protocol, Self, TypeVar

from geventpop3.auth.secret import Secret
from geventpop3.errors import HandedOverError

P = ParamSpec("P")
R = TypeVar("R")


class Threads(Protocol):
    """Native threads for slow work; ``compute`` and ``wait`` return or raise what the function does.

    Both raise StoreUnavailable if too many calls are waiting already.
    """

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that takes a processor some milliseconds."""

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that may wait for a disk or a server."""

    def apart(self) -> Threads:
        """Return the threads of one of several back ends: its own waiting threads and the shared hashing threads."""


class CallingThread:
    """``Threads`` without threads: each function runs at once, in the calling thread."""

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def apart(self) -> Self:
        return self


CALLING_THREAD = CallingThread()


class Authenticator(ABC):
    """A back end that checks a name and a password, as USER and PASS or SASL PLAIN send them."""

    @abstractmethod
    def authenticate(self, name: str, password: str) -> str | None:
        """Return the owner of the maildrop that these credentials open, or None.

        An unknown name takes the same time as a wrong password. Octets that are not UTF-8 arrive as surrogate escapes.
        Raises StoreUnavailable if the back end is down.
        """

    def checks_passwords(self) -> bool:
        """Return whether any user can log in with a password, so that USER and PLAIN are offered; never wait."""
        return True

    def knows(self, name: str) -> bool | None:  # noqa: ARG002  # for subclasses that can tell
        """Return whether *name* is for this back end to decide about, or None if it cannot tell, as here.

        A chain calls this, so that a password that is wrong for one back end is not tried at the next. Raises
        StoreUnavailable.
        """
        return None

    def owner(self, name: str) -> str | None:
        """Return the owner of the maildrop of a *name* that was proven by a digest, a certificate or a policy.

        Return None if no user has that name; here the owner is the name. Raises StoreUnavailable.
        """
        return None if self.knows(name) is False else name

    def check(self) -> None:
        """Try a login of a name that no user has. Raises ConfigError with what failed.

        ``geventpop3 check`` calls it. Here nothing is done.
        """
        return

    def answers_at_once(self) -> bool:
        """Return whether all methods take far less than a millisecond and never wait: no thread is used then."""
        return False

    def hashes(self) -> bool:
        """Return whether the slow work is hashing: then no more calls run at once than there are cores.

        If it is not, as here, the calls are taken to wait for others, and more may run.
        """
        return False

    def in_threads(self, threads: Threads) -> Authenticator:  # noqa: ARG002  # for subclasses with several kinds of work
        """Return this back end for a caller that must not block: *threads* do its slow work.

        A back end with several kinds of work in one method returns a copy. The copy gives each kind to its own threads
        and otherwise answers at once. Here it is this back end itself: the caller chooses the thread, as ``ask`` does.
        """
        return self


class SecretAuthenticator(Authenticator):
    """An authenticator that can return stored secrets, which enables the mechanisms that need them.

    Clients choose the strongest mechanism that is offered and try no other when it fails. So a mechanism that needs a
    kind of secret (APOP, CRAM-MD5, SCRAM) is offered only if every user has it. One user with a hashed password leaves
    all users with passwords. The methods after ``secret`` answer for all users at once; they never wait.
    """

    @abstractmethod
    def secret(self, name: str) -> Secret | None:
        """Return the secret stored for *name*, or None; only some users may have one. Raises StoreUnavailable."""

    def has_clear_secrets(self) -> bool:
        """Return whether every secret is a ClearSecret: then the greeting has APOP's timestamp, CRAM-MD5 is offered."""
        return True

    def scram_iterations(self, hash_name: str) -> tuple[int, ...]:  # noqa: ARG002  # for subclasses with such keys
        """Return the different iteration counts of users' SCRAM keys for a hash function ("SHA-256").

        Return () if some user has neither such keys nor a ClearSecret, or no user has such keys.
        """
        return ()

    def has_scram_keys_alone(self) -> bool:
        """Return whether no user's secret is a ClearSecret, from which each SCRAM login must derive the keys first.

        If one is, every name pays for the derivation, to take the same time.
        """
        return False


class TokenAuthenticator(Authenticator):
    """An authenticator that can check OAuth bearer tokens, which enables OAUTHBEARER and XOAUTH2 (RFC 7628)."""

    @abstractmethod
    def check_token(self, name: str | None, token: str) -> str | None:
        """Return the owner of the maildrop that *token* opens, or None.

        *name* is the name that the client sent, if any: the token must be good for it. Raises StoreUnavailable if the
        issuer of the tokens or of their keys cannot be reached.
        """

    def checks_tokens(self) -> bool:
        """Return whether any user can log in with a token; never wait."""
        return True


def ask(
    threads: Threads, authenticator: Authenticator, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call a *method* of *authenticator*, in the threads for its kind of work if it takes time."""
    if authenticator.answers_at_once():
        return method(*args, **kwargs)
    run = threads.compute if authenticator.hashes() else threads.wait
    return run(method, *args, **kwargs)


class FunctionAuthenticator(Authenticator):
    """An authenticator that calls ``function(name, password)`` with exactly what the client sent, also if empty.

    The function returns the owner of the maildrop, True if the owner is the name, or None or False to refuse. It may
    raise StoreUnavailable. It is called in a thread and may block, unless *at_once* promises that it never does.
    """

    def __init__(self, function: Callable[[str, str], str | bool | None], *, at_once: bool = False) -> None:
        self.function = function
        self.at_once = at_once

    def authenticate(self, name: str, password: str) -> str | None:
        """Return the owner, or None. Raises HandedOverError if the function returns no valid answer."""
        answer = self.function(name, password)
        if answer is None or answer is False:
            return None
        if answer is True:
            return name
        if isinstance(answer, str) and answer:
            return answer
        what = "an empty string" if answer == "" else f"a {type(answer).__name__}"
        raise HandedOverError(
            f"an authenticator's function returned {what}: return the owner as a str, True, False or None"
        )

    def answers_at_once(self) -> bool:
        return self.at_once
