"""EXTERNAL (RFC 4422 appendix A): the client's certificate proves its name."""

from __future__ import annotations

from geventpop3.auth.mechanisms.dialogue import Challenge, Dialogue, identity_of
from geventpop3.auth.mechanisms.mechanism import CERTIFICATE, Context, Mechanism
from geventpop3.auth.mechanisms.text import decoded_name
from geventpop3.errors import AuthenticationFailed


def _run(context: Context) -> Dialogue:
    response = yield from Challenge(b"")
    authorization = decoded_name(response) if response else None
    if context.certificate is None:
        raise AuthenticationFailed("there is no client certificate")
    return (yield from identity_of(decoded_name(context.certificate.encode("utf-8", "surrogatepass")), authorization))


EXTERNAL = Mechanism(_run, needs=(frozenset({CERTIFICATE}),))
