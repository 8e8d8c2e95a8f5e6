"""LOGIN (draft-murchison-sasl-login): USER and PASS in SASL's clothes, for clients that know nothing better."""

from __future__ import annotations

from geventpop3.auth.mechanisms.dialogue import Challenge, CheckPassword, Dialogue, acting
from geventpop3.auth.mechanisms.mechanism import PASSWORDS, Context, Mechanism
from geventpop3.auth.mechanisms.text import name_of, raw_password_of


def _run(_context: Context) -> Dialogue:
    # Section 2.2: "There is at least one widely deployed client which requires that the challenge strings transmitted
    # by the server be "Username:" and "Password:" respectively."
    name = name_of((yield from Challenge(b"Username:")))
    # Section 2: "the authorization authenticator is the same string as the traditional "password"", so as PASS has it.
    password = raw_password_of((yield from Challenge(b"Password:")))
    owner = yield from CheckPassword(name, password)
    return (yield from acting(name, owner, None))


LOGIN = Mechanism(_run, needs=(frozenset({PASSWORDS}),), clear_text=True)
"""The draft knows of no initial response, but clients send the name in one."""
