"""CRAM-MD5 (RFC 2195): APOP with HMAC; like APOP, it needs clear-text secrets."""

from __future__ import annotations

import secrets

from geventpop3.auth.mechanisms.dialogue import Challenge, CredentialsRejected, Dialogue, LookUp, identity_of
from geventpop3.auth.mechanisms.mechanism import CLEAR_SECRETS, Context, Mechanism
from geventpop3.auth.mechanisms.text import decoded_name
from geventpop3.auth.secret import ClearSecret
from geventpop3.errors import Refusal

_UNMATCHED_SECRET = ClearSecret(secrets.token_bytes(16))


def _run(context: Context) -> Dialogue:
    # Section 2: "must correspond to that of an RFC 822 'msg-id'". A nonce replaces the timestamp.
    challenge = f"<{context.nonce()}@{context.hostname}>".encode()
    # Section 2: "the user name, a space, and a 'digest'". A name may contain blanks, a digest does not.
    octets, blank, digest = (yield from Challenge(challenge)).rpartition(b" ")
    if not blank:
        raise Refusal("malformed message of CRAM-MD5, which is a name, a space and a digest")
    name = decoded_name(octets)
    secret = yield from LookUp(name)
    known = secret if isinstance(secret, ClearSecret) else _UNMATCHED_SECRET
    if not known.matches_cram_md5(challenge, digest) or known is not secret:
        raise CredentialsRejected(name)
    return (yield from identity_of(name, None))


CRAM_MD5 = Mechanism(_run, needs=(frozenset({CLEAR_SECRETS}),), takes_initial_response=False)
