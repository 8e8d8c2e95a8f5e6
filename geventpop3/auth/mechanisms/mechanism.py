"""The definition of a mechanism: a row of data and a generator function. The data decides if it can be offered.

A third party's mechanism is another row: ``{**MECHANISMS, "X-KEY": Mechanism(run, needs=...)}``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from geventpop3.auth.mechanisms.dialogue import Dialogue
from geventpop3.auth.secret import SCRAM_ITERATIONS

PASSWORDS = "an authenticator of passwords"
TOKENS = "an authenticator of OAuth tokens"
CLEAR_SECRETS = "clear-text secrets of all users"
CERTIFICATE = "a client certificate that was verified"
BINDING = "the octets of tls-server-end-point"


def scram_secrets(hash_name: str) -> str:
    """Return the need for ScramSecrets of one hash function, or clear-text secrets, of all users."""
    return f"SCRAM-{hash_name} secrets of all users"


def fresh_nonce() -> str:
    """Return 144 random bits as 24 characters of base64url; they suit SCRAM (no comma) and a msg-id."""
    return secrets.token_urlsafe(18)


_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The facts about the server and the connection that a mechanism may use; the driver makes one per AUTH command."""

    mechanisms: Mapping[str, Mechanism]
    """Table of mechanisms, in order of preference."""

    has: frozenset[str]
    """Needs that the back end meets: PASSWORDS, TOKENS, CLEAR_SECRETS, scram_secrets(...), a third party's own."""

    clear_text: bool
    """True if this connection may carry a password or a token in clear text."""

    hostname: str = "localhost"
    """Name of this server, for the challenge of CRAM-MD5."""

    certificate: str | None = None
    """Name that the client's verified certificate stands for, for EXTERNAL."""

    binding: bytes | None = None
    """Octets of tls-server-end-point (RFC 5929 section 4): a hash of the certificate that this client was shown."""

    scope: str | None = None
    """OAuth scope that a client should request (RFC 7628 section 3.2.2)."""

    openid_configuration: str | None = None
    """URL that describes to a client how to get a token (RFC 7628 section 3.2.2)."""

    iterations: tuple[int, ...] = (SCRAM_ITERATIONS,)
    """Usual iteration counts of SCRAM on this server, one or more; an unknown name gets one of them."""

    derives: bool = False
    """True if SCRAM must derive keys from the clear-text secrets of some users; it then derives keys for any name."""

    key: bytes = field(default=_KEY, repr=False)
    """Key of SCRAM's salts for names without stored salts; all processes of one server should share it."""

    canonical_name: Callable[[str], str] = field(default=str, repr=False)
    """Function from any spelling of a name to its one form. SCRAM sends one salt for all spellings, known or not."""

    nonce: Callable[[], str] = field(default=fresh_nonce, repr=False)
    """Function that returns a new string of printable ASCII without comma, blank, ``@`` and angle brackets."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One SASL mechanism: its requirements and its generator function.

    *needs* are sets; one member of each must be met. *clear_text* is True if the mechanism sends a password or a token
    in clear text. *takes_initial_response* is True if the AUTH command may carry the answer to its first challenge.
    """

    run: Callable[[Context], Dialogue]
    needs: tuple[frozenset[str], ...] = ()
    clear_text: bool = False
    takes_initial_response: bool = True

    @property
    def binds(self) -> bool:
        """True if the mechanism binds itself to the TLS channel."""
        return frozenset({BINDING}) in self.needs


def available(context: Context) -> dict[str, Mechanism]:
    """Return the mechanisms that this client can use now, in order of preference; CAPA and a bare AUTH list them."""
    return {
        name: mechanism
        for name, mechanism in possible(context).items()
        if context.clear_text or not mechanism.clear_text
    }


def possible(context: Context) -> dict[str, Mechanism]:
    """Return ``available`` and the mechanisms that lack only a secure connection."""
    met = set(context.has)
    if context.certificate is not None:
        met.add(CERTIFICATE)
    if context.binding is not None:
        met.add(BINDING)
    return {
        name: mechanism
        for name, mechanism in context.mechanisms.items()
        if all(alternatives & met for alternatives in mechanism.needs)
    }
