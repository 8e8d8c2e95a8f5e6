"""OAUTHBEARER (RFC 7628): an OAuth 2.0 bearer token in a GS2 header and key/value pairs."""

from __future__ import annotations

import re

from geventpop3.auth.mechanisms.bearer import bearing
from geventpop3.auth.mechanisms.gs2 import name_of_gs2
from geventpop3.auth.mechanisms.identity import Dialogue
from geventpop3.auth.mechanisms.mechanism import TOKENS, Context, Mechanism
from geventpop3.auth.mechanisms.requests import Challenge
from geventpop3.errors import Refusal

_MESSAGE = re.compile(rb"[ny],(?:a=([^,\0\x01]+))?,\x01((?:[A-Za-z]+=[\t\n\r -~]*\x01)*)\x01")
"""Section 3.1; no channel is bound, so of GS2's flags "p" is refused."""


def _run(context: Context) -> Dialogue:
    found = _MESSAGE.fullmatch((yield from Challenge(b"")))
    if found is None:
        raise Refusal("malformed message of OAUTHBEARER")
    name = None if found[1] is None else name_of_gs2(found[1])
    # Of host and port nothing is known here but what the client says: it may have come through a proxy. "Unknown
    # key/value pairs MUST be ignored by the server."
    given = [pair[5:] for pair in found[2].split(b"\x01") if pair.startswith(b"auth=")]
    if len(given) > 1:
        raise Refusal("malformed message of OAUTHBEARER, more than one token")
    news = {
        "status": "invalid_token",
        "scope": context.scope,
        "openid-configuration": context.openid_configuration,
    }
    return (yield from bearing(name, given[0] if given else b"", news))


OAUTHBEARER = Mechanism(_run, needs=(frozenset({TOKENS}),), clear_text=True)
