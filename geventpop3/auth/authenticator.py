"""The interface between the login path and a back end that knows users.

An authenticator says whose maildrop a name and a password open, or None; it never says why not. A back end that cannot
answer raises StoreUnavailable, which is ``[SYS/TEMP]`` and not ``[AUTH]`` (RFC 3206 section 4).

Its slow parts run in the calling thread, unless its user has ``Threads`` for them. Hashing burns a processor, so more
of it at once than there are cores only takes memory; waiting for a server costs nothing, so many calls may wait. The
two kinds of work never share threads: a slow server keeps no password from being hashed. Two back ends share no threads
that wait: a silent server keeps nobody from another server, and no file from being read.
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
    """Runs functions; either method returns or raises what the function does.

    Raises StoreUnavailable if too many are waiting already.
    """

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What takes a processor some milliseconds."""

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What may wait, for a disk or a server."""

    def apart(self) -> Threads:
        """Return the threads of one back end of several: it alone has those that wait, all share those that hash."""


class CallingThread:
    """No threads: everything is done at once by whoever asks."""

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    def apart(self) -> Self:
        return self


CALLING_THREAD = CallingThread()


class Authenticator(ABC):
    """Checks a name and a password, as USER and PASS or SASL PLAIN bring them."""

    @abstractmethod
    def authenticate(self, name: str, password: str) -> str | None:
        """The owner of the maildrop that these credentials open, or None.

        It takes the same time for an unknown name as for a wrong password. Octets that are not UTF-8 arrive as
        surrogate escapes. Raises StoreUnavailable if the back end is down.
        """

    def checks_passwords(self) -> bool:
        """Whether somebody can log in with a password, so that USER and PLAIN are worth offering; it never waits."""
        return True

    def knows(self, name: str) -> bool | None:  # noqa: ARG002  # for those that can tell
        """Whether *name* is for this back end to decide about, or None if it cannot tell, as here.

        A chain asks, so that a password that is wrong for one back end is not tried at the next. Raises
        StoreUnavailable.
        """
        return None

    def owner(self, name: str) -> str | None:
        """The owner of the maildrop of a *name* that was proven otherwise, by a digest, a certificate or a policy.

        None if nobody has that name; here the owner is the name. Raises StoreUnavailable.
        """
        return None if self.knows(name) is False else name

    def check(self) -> None:
        """Do what a login of a name that nobody has takes. Raises ConfigError with what failed.

        ``geventpop3 check`` calls it. Here nothing is done.
        """
        return

    def answers_at_once(self) -> bool:
        """Whether all methods take far less than a millisecond and never wait: no thread is used then."""
        return False

    def hashes(self) -> bool:
        """Whether what takes time is hashing: then no more calls run at once than there are cores.

        Otherwise, as here, it is taken to wait for others, and more may.
        """
        return False

    def in_threads(self, threads: Threads) -> Authenticator:  # noqa: ARG002  # for those that do several things
        """The same back end for one who must not be kept waiting: *threads* do its slow parts.

        Where several kinds of work are in one method, the answer is a copy that gives each to its own threads and
        answers at once otherwise. Here it is this back end itself: whoever asks it sees to the thread, as ``ask`` does.
        """
        return self


class SecretAuthenticator(Authenticator):
    """An authenticator that can hand out stored secrets, which enables the mechanisms that need them.

    Clients choose the strongest mechanism that is offered and try no other when it fails. So what needs a kind of
    secret (APOP, CRAM-MD5, SCRAM) is offered only where every user has it: one user with a hashed password, and all
    are left with passwords. The methods below say so for all users at once; they never wait.
    """

    @abstractmethod
    def secret(self, name: str) -> Secret | None:
        """What is stored for *name*, or None; it may say None for some users only. Raises StoreUnavailable."""

    def has_clear_secrets(self) -> bool:
        """Whether every user's secret is a ClearSecret: the greeting carries APOP's timestamp, CRAM-MD5 is offered."""
        return True

    def scram_iterations(self, hash_name: str) -> tuple[int, ...]:  # noqa: ARG002  # for those that have such
        """The different iteration counts of users' SCRAM keys for a hash function ("SHA-256").

        Empty if some user has neither such keys nor a ClearSecret, or nobody has such keys.
        """
        return ()

    def has_scram_keys_alone(self) -> bool:
        """Whether no user's secret is a ClearSecret, from which each login by SCRAM must derive the keys first.

        Unless that is so, all names cost the derivation, for the same time.
        """
        return False


class TokenAuthenticator(Authenticator):
    """An authenticator that can check OAuth bearer tokens, which enables OAUTHBEARER and XOAUTH2 (RFC 7628)."""

    @abstractmethod
    def check_token(self, name: str | None, token: str) -> str | None:
        """The owner of the maildrop that *token* opens, or None.

        *name* is whom the client says it is, if it does: the token must be good for that one. Raises StoreUnavailable
        if whoever issues the tokens or their keys cannot be asked.
        """

    def checks_tokens(self) -> bool:
        """Whether somebody can log in with a token; it never waits."""
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
    """Asks ``function(name, password)``, which gets exactly what the client sent, an empty password too.

    It returns the owner of the maildrop, or True if that is the name, or None or False if they are wrong. It may raise
    StoreUnavailable. It is called in a thread and may block, unless *at_once* promises that it never does.
    """

    def __init__(self, function: Callable[[str, str], str | bool | None], *, at_once: bool = False) -> None:
        self.function = function
        self.at_once = at_once

    def authenticate(self, name: str, password: str) -> str | None:
        """As every authenticator. Raises HandedOverError if the function returns what is no answer."""
        answer = self.function(name, password)
        if answer is None or answer is False:
            return None
        if answer is True:
            return name
        if isinstance(answer, str) and answer:
            return answer
        what = "an empty string" if answer == "" else f"a {type(answer).__name__}"
        raise HandedOverError(f"an authenticator's function returned {what}; expected an owner, True, False or None")

    def answers_at_once(self) -> bool:
        return self.at_once
