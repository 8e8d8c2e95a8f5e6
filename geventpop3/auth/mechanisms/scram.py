"""SCRAM (RFC 5802, RFC 7677), with and without tls-server-end-point as channel binding.

An unknown name gets its own salt and iteration count, the same each time. It fails at the same step as a wrong
password, after the same work. Nonces are bounded, the server sets iteration counts, the line length bounds the rest.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Generator
from functools import partial
from typing import Any

from geventpop3.auth.mechanisms.dialogue import (
    Challenge,
    Compute,
    CredentialsRejected,
    Dialogue,
    LookUp,
    Request,
    identity_of,
)
from geventpop3.auth.mechanisms.mechanism import (
    BINDING,
    CLEAR_SECRETS,
    Context,
    Mechanism,
    available,
    scram_secrets,
)
from geventpop3.auth.mechanisms.text import name_of_gs2
from geventpop3.auth.secret import SCRAM_HASHES, SCRAM_SALT_OCTETS, ClearSecret, ScramSecret
from geventpop3.errors import Refusal

_NONCE = rb"([!-+\--~]{1,512})"

# Section 7. The attribute "m" is in neither: "its presence in a client or a server message MUST cause authentication
# failure"; other unknown ones are ignored.
_FIRST = re.compile(
    rb"((n|y|p=([A-Za-z0-9.-]+)),(?:a=([^,\0]+))?,)(n=([^,\0]+),r=" + _NONCE + rb"(?:,[A-Za-ln-z]=[^,\0]+)*)"
)
_FINAL = re.compile(rb"(c=([A-Za-z0-9+/=]+),r=" + _NONCE + rb"(?:,[A-Za-ln-oq-z]=[^,\0]+)*),p=([A-Za-z0-9+/=]+)")


def _run(context: Context, hash_name: str, binds: bool) -> Dialogue:
    if (first := _FIRST.fullmatch((yield from Challenge(b"")))) is None:
        raise _malformed()
    header, flag, binding_type, authzid, bare, authcid, client_nonce = first.groups()
    name = name_of_gs2(authcid)
    authorization = None if authzid is None else name_of_gs2(authzid)
    bound = _bound(context, name, flag, binding_type, binds)
    secret = yield from _secret(context, hash_name, name)

    nonce = client_nonce + context.nonce().encode("ascii")
    server_first = b"r=%b,s=%b,i=%d" % (nonce, _base64(secret.salt), secret.iterations)
    if (final := _FINAL.fullmatch((yield from Challenge(server_first)))) is None:
        raise _malformed()
    without_proof, binding, final_nonce, proof = final.groups()
    try:
        proof = binascii.a2b_base64(proof, strict_mode=True)
    except ValueError:
        raise _malformed() from None
    signature = secret.server_signature(b",".join((bare, server_first, without_proof)), proof)
    # Section 6: "The server MUST always validate the client's "c=" field."
    is_bound = hmac.compare_digest(binding, _base64(header + bound))
    if signature is None or not is_bound or not hmac.compare_digest(final_nonce, nonce):
        raise CredentialsRejected(name)

    identity = yield from identity_of(name, authorization)
    # RFC 5034 section 4: "POP3 does not allow for additional data to be sent with a message indicating a successful
    # outcome". So the signature is sent in a challenge; the client checks it and sends an empty response.
    if (yield from Challenge(b"v=" + _base64(signature))):
        raise _malformed()
    return identity


def _bound(context: Context, name: str, flag: bytes, binding_type: bytes | None, binds: bool) -> bytes:
    """Return the octets that the client must have bound. Raises CredentialsRejected (section 6)."""
    if binds != (binding_type is not None):
        raise CredentialsRejected(
            name, "channel binding requires a mechanism named -PLUS, and such a mechanism requires channel binding"
        )
    if binding_type is not None:
        if binding_type != b"tls-server-end-point" or context.binding is None:
            raise CredentialsRejected(name, "the channel binding type is not supported")
        return context.binding
    if flag == b"y" and any(mechanism.binds for mechanism in available(context).values()):
        # "If the flag is set to "y" and the server supports channel binding, the server MUST fail authentication."
        raise CredentialsRejected(
            name, "the client did not see that the server supports channel binding: possible downgrade attack"
        )
    return b""


def _secret(context: Context, hash_name: str, name: str) -> Generator[Request[Any], Any, ScramSecret]:
    """Return the secret to check a proof of *name*; for an unknown name or no usable secret, one that no proof fits."""
    name = context.canonical_name(name)
    stored = yield from LookUp(name)
    digest = hmac.digest(context.key, f"{hash_name} {name}".encode(), "sha256")
    salt = digest[:SCRAM_SALT_OCTETS]
    iterations = context.iterations[digest[-1] % len(context.iterations)]
    if isinstance(stored, ClearSecret) or context.derives or CLEAR_SECRETS in context.has:
        # If some names need this work, every name does it: the time must not reveal which names exist.
        clear = stored if isinstance(stored, ClearSecret) else ClearSecret(os.urandom(16).hex().encode("ascii"))
        usual = yield from Compute(partial(clear.scram, hash_name, salt, iterations))
    else:
        size = hashlib.new(SCRAM_HASHES[hash_name]).digest_size
        usual = ScramSecret(hash_name, salt, iterations, os.urandom(size), os.urandom(size))
    return stored if isinstance(stored, ScramSecret) and stored.hash_name == hash_name else usual


def _malformed() -> Refusal:
    return Refusal("malformed message of SCRAM")


def _base64(octets: bytes) -> bytes:
    return binascii.b2a_base64(octets, newline=False)


def _scram(hash_name: str, *, binds: bool) -> Mechanism:
    needs = [frozenset({scram_secrets(hash_name), CLEAR_SECRETS})]
    if binds:
        needs.append(frozenset({BINDING}))
    return Mechanism(partial(_run, hash_name=hash_name, binds=binds), needs=tuple(needs))


SCRAM_SHA_1 = _scram("SHA-1", binds=False)
SCRAM_SHA_1_PLUS = _scram("SHA-1", binds=True)
SCRAM_SHA_256 = _scram("SHA-256", binds=False)
SCRAM_SHA_256_PLUS = _scram("SHA-256", binds=True)
