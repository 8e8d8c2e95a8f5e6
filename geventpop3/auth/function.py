"""An application's own function as a back end. What it raises is an accident, and not a wrong password."""

from __future__ import annotations

from collections.abc import Callable

from geventpop3.auth.authenticator import Authenticator
from geventpop3.errors import HandedOverError


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
