"""What OAUTHBEARER and XOAUTH2 share: a bearer token (RFC 6750), and bad news that come as one more challenge."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from geventpop3.auth.mechanisms.identity import CredentialsRejected, Dialogue, Identity
from geventpop3.auth.mechanisms.requests import CheckToken, LastWords

_CREDENTIALS = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
"""RFC 6750 section 2.1; the scheme is compared without case (RFC 7628 section 4), the token holds no control octet."""


def bearing(name: str | None, credentials: bytes, news: Mapping[str, str | None]) -> Dialogue:
    """The end of both mechanisms: *credentials* as HTTP's Authorization header has them, and *news* of their failure.

    Raises CredentialsRejected, once the client has heard and answered.
    """
    found = _CREDENTIALS.fullmatch(credentials)
    owner = None if found is None else (yield from CheckToken(name, found[1].decode("ascii")))
    if owner is None:
        yield from LastWords(json.dumps({key: value for key, value in news.items() if value is not None}).encode())
        raise CredentialsRejected("" if name is None else name)
    return Identity(owner if name is None else name, None, owner)
