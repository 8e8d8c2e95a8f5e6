"""OAUTHBEARER (RFC 7628) and XOAUTH2: a bearer token (RFC 6750); a failure is reported in one more challenge.

OAUTHBEARER has a GS2 header and key/value pairs. XOAUTH2 is the older mechanism of Google and Microsoft; most clients
still send it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from geventpop3.auth.mechanisms.dialogue import (
    Challenge,
    CheckToken,
    CredentialsRejected,
    Dialogue,
    FailureChallenge,
    Identity,
)
from geventpop3.auth.mechanisms.mechanism import TOKENS, Context, Mechanism
from geventpop3.auth.mechanisms.text import decoded_name, name_of_gs2
from geventpop3.errors import Refusal

_CREDENTIALS = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
"""RFC 6750 section 2.1. The scheme is compared without case (RFC 7628 section 4); the token holds no control octet."""


def check_bearer_token(name: str | None, credentials: bytes, news: Mapping[str, str | None]) -> Dialogue:
    """Check *credentials*, in the form of HTTP's Authorization header, and return the Identity.

    Both mechanisms end with this step. On failure, send *news* in a challenge; raise CredentialsRejected after the
    client has answered it.
    """
    found = _CREDENTIALS.fullmatch(credentials)
    owner = None if found is None else (yield from CheckToken(name, found[1].decode("ascii")))
    if owner is None:
        yield from FailureChallenge(
            json.dumps({key: value for key, value in news.items() if value is not None}).encode()
        )
        raise CredentialsRejected("" if name is None else name)
    return Identity(owner if name is None else name, None, owner)


_OAUTHBEARER = re.compile(rb"[ny],(?:a=([^,\0\x01]+))?,\x01((?:[A-Za-z]+=[\t\n\r -~]*\x01)*)\x01")
"""RFC 7628 section 3.1. The mechanism binds no channel, so the GS2 flag "p" is refused."""


def _oauthbearer(context: Context) -> Dialogue:
    found = _OAUTHBEARER.fullmatch((yield from Challenge(b"")))
    if found is None:
        raise Refusal("malformed message of OAUTHBEARER")
    name = None if found[1] is None else name_of_gs2(found[1])
    # Host and port are not checked: the client may have come through a proxy. "Unknown key/value pairs MUST be ignored
    # by the server."
    given = [pair[5:] for pair in found[2].split(b"\x01") if pair.startswith(b"auth=")]
    if len(given) > 1:
        raise Refusal("malformed message of OAUTHBEARER, more than one token")
    news = {
        "status": "invalid_token",
        "scope": context.scope,
        "openid-configuration": context.openid_configuration,
    }
    return (yield from check_bearer_token(name, given[0] if given else b"", news))


OAUTHBEARER = Mechanism(_oauthbearer, needs=(frozenset({TOKENS}),), clear_text=True)

_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01auth=([^\x01]*)\x01\x01")


def _xoauth2(context: Context) -> Dialogue:
    found = _XOAUTH2.fullmatch((yield from Challenge(b"")))
    if found is None:
        raise Refusal("malformed message of XOAUTH2")
    news = {"status": "401", "schemes": "bearer", "scope": context.scope}
    return (yield from check_bearer_token(decoded_name(found[1]), found[2], news))


XOAUTH2 = Mechanism(_xoauth2, needs=(frozenset({TOKENS}),), clear_text=True)
