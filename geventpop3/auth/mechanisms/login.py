"""LOGIN (draft-murchison-sasl-login): USER and PASS as a SASL mechanism, for clients without a better one."""

from __future__ import annotations

from geventpop3.auth.mechanisms.dialogue import Challenge, CheckPassword, Dialogue, authorized_identity
from geventpop3.auth.mechanisms.mechanism import PASSWORDS, Context, Mechanism
from geventpop3.auth.mechanisms.text import decoded_name, raw_password_of


def _run(_context: Context) -> Dialogue:
    # Section 2.2: "There is at least one widely deployed client which requires that the challenge strings transmitted
    # by the server be "Username:" and "Password:" respectively."
    name = decoded_name((yield from Challenge(b"Username:")))
    # Section 2: "the authorization authenticator is the same string as the traditional "password"", so decode as PASS.
    password = raw_password_of((yield from Challenge(b"Password:")))
    owner = yield from CheckPassword(name, password)
    return (yield from authorized_identity(name, owner, None))


LOGIN = Mechanism(_run, needs=(frozenset({PASSWORDS}),), clear_text=True)
"""The draft defines no initial response, but clients send the name in one."""
