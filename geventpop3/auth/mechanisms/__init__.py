"""SASL mechanisms (RFC 4422) and their table, MECHANISMS.

A mechanism does no input or output: it yields requests (``dialogue``) and returns an Identity. ``exchange`` drives it.
"""

from collections.abc import Mapping

from geventpop3.auth.mechanisms.bearer import OAUTHBEARER, XOAUTH2
from geventpop3.auth.mechanisms.cram_md5 import CRAM_MD5
from geventpop3.auth.mechanisms.dialogue import (
    Challenge,
    CheckPassword,
    CheckToken,
    ClearTextRefused,
    Compute,
    CredentialsRejected,
    Dialogue,
    FailureChallenge,
    FindOwner,
    Identity,
    LookUp,
    MayActAs,
    Request,
)
from geventpop3.auth.mechanisms.exchange import exchange
from geventpop3.auth.mechanisms.external import EXTERNAL
from geventpop3.auth.mechanisms.login import LOGIN
from geventpop3.auth.mechanisms.mechanism import (
    BINDING,
    CERTIFICATE,
    CLEAR_SECRETS,
    PASSWORDS,
    TOKENS,
    Context,
    Mechanism,
    available,
    scram_secrets,
)
from geventpop3.auth.mechanisms.plain import PLAIN
from geventpop3.auth.mechanisms.scram import SCRAM_SHA_1, SCRAM_SHA_1_PLUS, SCRAM_SHA_256, SCRAM_SHA_256_PLUS

MECHANISMS: Mapping[str, Mechanism] = {
    "EXTERNAL": EXTERNAL,
    "SCRAM-SHA-256-PLUS": SCRAM_SHA_256_PLUS,
    "SCRAM-SHA-256": SCRAM_SHA_256,
    "SCRAM-SHA-1-PLUS": SCRAM_SHA_1_PLUS,
    "SCRAM-SHA-1": SCRAM_SHA_1,
    "OAUTHBEARER": OAUTHBEARER,
    "XOAUTH2": XOAUTH2,
    "PLAIN": PLAIN,
    "LOGIN": LOGIN,
    "CRAM-MD5": CRAM_MD5,
}
"""Mechanisms by name, in order of preference; copy the table to add or remove one."""

__all__ = [
    "MECHANISMS",
    "Mechanism",
    "Context",
    "available",
    "exchange",
    "Identity",
    "CredentialsRejected",
    "ClearTextRefused",
    "Dialogue",
    "Request",
    "Challenge",
    "FailureChallenge",
    "CheckPassword",
    "CheckToken",
    "LookUp",
    "FindOwner",
    "MayActAs",
    "Compute",
    "PASSWORDS",
    "TOKENS",
    "CLEAR_SECRETS",
    "CERTIFICATE",
    "BINDING",
    "scram_secrets",
]
