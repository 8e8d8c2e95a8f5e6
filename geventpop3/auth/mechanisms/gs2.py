"""Names in a GS2 header and in SCRAM (RFC 5801 section 4, RFC 5802 section 5.1)."""

from __future__ import annotations

import re

from geventpop3.auth.mechanisms.text import name_of
from geventpop3.errors import Refusal

_BAD_ESCAPE = re.compile(rb"=(?!2C|3D)")


def name_of_gs2(octets: bytes) -> str:
    """The name that a saslname stands for, prepared. Raises Refusal, AuthenticationFailed.

    RFC 5802 section 5.1: "If the server receives a username that contains '=' not followed by either '2C' or '3D',
    then the server MUST fail the authentication."
    """
    if _BAD_ESCAPE.search(octets):
        raise Refusal("malformed name: an equals sign that is no escape")
    return name_of(octets.replace(b"=2C", b",").replace(b"=3D", b"="))
