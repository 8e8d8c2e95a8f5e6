"""PLAIN (RFC 4616): one message with both names and the password."""

from __future__ import annotations

from geventpop3.auth.mechanisms.dialogue import Challenge, CheckPassword, Dialogue, authorized_identity
from geventpop3.auth.mechanisms.mechanism import PASSWORDS, Context, Mechanism
from geventpop3.auth.mechanisms.text import decoded_name, decoded_password
from geventpop3.errors import Refusal


def _run(_context: Context) -> Dialogue:
    # "message = [authzid] UTF8NUL authcid UTF8NUL passwd"
    fields = (yield from Challenge(b"")).split(b"\0")
    if len(fields) != 3:
        raise Refusal("malformed message of PLAIN, which has three fields")
    authorization = decoded_name(fields[0]) if fields[0] else None
    name, password = decoded_name(fields[1]), decoded_password(fields[2])
    owner = yield from CheckPassword(name, password)
    return (yield from authorized_identity(name, owner, authorization))


PLAIN = Mechanism(_run, needs=(frozenset({PASSWORDS}),), clear_text=True)
