"""A back end in memory that answers what mechanisms ask, and remembers the dialogue."""

from collections.abc import Callable, Iterable

from geventpop3.auth.mechanisms import (
    CLEAR_SECRETS,
    MECHANISMS,
    PASSWORDS,
    TOKENS,
    Challenge,
    CheckPassword,
    CheckToken,
    Compute,
    Context,
    FindOwner,
    LookUp,
    MayActAs,
    exchange,
    scram_secrets,
)
from geventpop3.errors import Refusal

EVERYTHING = frozenset({PASSWORDS, TOKENS, CLEAR_SECRETS, scram_secrets("SHA-1"), scram_secrets("SHA-256")})

Response = bytes | None | Callable[[bytes], bytes | None]


def make_context(**fields):
    return Context(**{"mechanisms": MECHANISMS, "has": EVERYTHING, "clear_text": True, **fields})


class BackEnd:
    """*passwords* and *tokens* are of names, *secrets* what is stored; the owner of a name is ``<name>``."""

    def __init__(self, *, passwords=(), secrets=(), tokens=(), may_act=(), strangers=()):
        self.passwords = dict(passwords)
        self.secrets = dict(secrets)
        self.tokens = dict(tokens)
        self.may_act = set(may_act)
        self.strangers = set(strangers)
        self.sent = []
        self.asked = []
        self.responses = iter(())

    def play(self, name, responses: Iterable[Response], initial=None, **context):
        """The Identity that *responses* lead to; a response may be a function of its challenge."""
        self.sent, self.asked = [], []
        self.responses = iter(responses)
        return exchange(name, initial, make_context(**context), self.answer)

    def end(self, name, responses, initial=None, **context):
        """As ``play``, with a Refusal returned."""
        try:
            return self.play(name, responses, initial, **context)
        except Refusal as refusal:
            return refusal

    def answer(self, request):
        if isinstance(request, Challenge):
            self.sent.append(request.data)
            response = next(self.responses)
            return response(request.data) if callable(response) else response
        self.asked.append(request)
        match request:
            case CheckPassword(name, password):
                return f"<{name}>" if self.passwords.get(name) == password else None
            case CheckToken(name, token):
                owner = self.tokens.get(token)
                return f"<{owner}>" if owner is not None and name in (None, owner) else None
            case LookUp(name):
                return self.secrets.get(name)
            case FindOwner(name):
                return None if name in self.strangers else f"<{name}>"
            case MayActAs(authentication, authorization):
                return (authentication, authorization) in self.may_act
            case Compute(function):
                return function()
        raise AssertionError(f"an unknown request: {request!r}")
