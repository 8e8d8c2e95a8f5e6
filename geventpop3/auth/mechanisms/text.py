"""Conversion of a client's octets to names and passwords; invalid ones are refused before any back end receives them.

Names have one form in every mechanism, the prepared one. RFC 5034 section 4: "If preparation of the authorization
identity fails or results in an empty string (unless it was transmitted as the empty string), the server MUST fail the
authentication."
"""

from __future__ import annotations

import re

from geventpop3.auth.credentials import NAME_OCTETS
from geventpop3.auth.saslprep import saslprep
from geventpop3.auth.secret import PASSWORD_OCTETS
from geventpop3.errors import AuthenticationFailed, Refusal

_CONTROLS = re.compile(r"[\0\r\n]")


def decoded_name(octets: bytes) -> str:
    """Return the prepared name. Raises AuthenticationFailed."""
    return _prepared(octets, NAME_OCTETS, "name")


def decoded_password(octets: bytes) -> str:
    """Return the prepared password. Raises AuthenticationFailed."""
    return _prepared(octets, PASSWORD_OCTETS, "password")


def raw_password_of(octets: bytes) -> str:
    """Return the password in the form that PASS gives it: not prepared, octets that are not UTF-8 as surrogate escapes.

    Raises AuthenticationFailed.
    """
    return _text(octets, PASSWORD_OCTETS, "password", "surrogateescape")


def _prepared(octets: bytes, limit: int, what: str) -> str:
    text = _text(octets, limit, what, "strict")
    try:
        prepared = saslprep(text)
    except ValueError:
        raise AuthenticationFailed(f"the {what} holds what SASLprep forbids") from None
    if not prepared:
        raise AuthenticationFailed(f"the {what} is empty")
    return prepared


def _text(octets: bytes, limit: int, what: str, errors: str) -> str:
    if not octets:
        raise AuthenticationFailed(f"the {what} is empty")
    if len(octets) > limit:
        raise AuthenticationFailed(f"the {what} is longer than {limit} octets")
    try:
        text = octets.decode("utf-8", errors)
    except UnicodeDecodeError:
        raise AuthenticationFailed(f"the {what} is not UTF-8") from None
    if _CONTROLS.search(text):
        raise AuthenticationFailed(f"the {what} holds NUL, CR or LF")
    return text


_BAD_ESCAPE = re.compile(rb"=(?!2C|3D)")


def name_of_gs2(octets: bytes) -> str:
    """Return the prepared name that a saslname stands for. Raises Refusal, AuthenticationFailed.

    RFC 5802 section 5.1: "If the server receives a username that contains '=' not followed by either '2C' or '3D',
    then the server MUST fail the authentication."
    """
    if _BAD_ESCAPE.search(octets):
        raise Refusal("malformed name: an equals sign that begins no escape")
    return decoded_name(octets.replace(b"=2C", b",").replace(b"=3D", b"="))
