"""A mechanism is a row of data and a generator function; what can be offered follows from the data, never from a list.

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
    """The need for ScramSecrets of one hash function, or clear-text secrets, of all users."""
    return f"SCRAM-{hash_name} secrets of all users"


def fresh_nonce() -> str:
    """144 random bits as 24 letters of base64url: fit for SCRAM (no comma) and for a msg-id."""
    return secrets.token_urlsafe(18)


_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a mechanism may know of this server and this connection; the driver makes one for each AUTH command."""

    mechanisms: Mapping[str, Mechanism]
    """The table, in order of preference."""

    has: frozenset[str]
    """The needs that the back end meets: PASSWORDS, TOKENS, CLEAR_SECRETS, scram_secrets(...), a third party's own."""

    clear_text: bool
    """Whether a password or a token may cross this connection as it is."""

    hostname: str = "localhost"
    """The name of this server, for the challenge of CRAM-MD5."""

    certificate: str | None = None
    """The name that the client's verified certificate stands for, for EXTERNAL."""

    binding: bytes | None = None
    """The octets of tls-server-end-point (RFC 5929 section 4): a hash of the certificate that this client was shown."""

    scope: str | None = None
    """The OAuth scope that a client should ask for (RFC 7628 section 3.2.2)."""

    openid_configuration: str | None = None
    """The URL where a client finds how to get a token (RFC 7628 section 3.2.2)."""

    iterations: tuple[int, ...] = (SCRAM_ITERATIONS,)
    """Iteration counts of SCRAM, one or more, that are usual here: of them a name that nobody has gets one."""

    derives: bool = False
    """Whether some users have clear-text secrets, of which SCRAM must derive keys: then it does so for any name."""

    key: bytes = field(default=_KEY, repr=False)
    """What SCRAM's salts for names without stored ones are made with; all processes of one server should share it."""

    canonical_name: Callable[[str], str] = field(default=str, repr=False)
    """Returns the one form of a name's spellings: SCRAM shows them all one salt, whether or not somebody has it."""

    nonce: Callable[[], str] = field(default=fresh_nonce, repr=False)
    """Makes a fresh string of printable ASCII without comma, blank, ``@`` and angle brackets."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One SASL mechanism: what it takes to offer it, and how it is done.

    *needs* are sets of which one member each must be met. *clear_text* says that it sends a password or a token as it
    is. *takes_initial_response* says that the answer to its first challenge may come with the AUTH command.
    """

    run: Callable[[Context], Dialogue]
    needs: tuple[frozenset[str], ...] = ()
    clear_text: bool = False
    takes_initial_response: bool = True

    @property
    def binds(self) -> bool:
        """Whether it binds itself to the TLS channel."""
        return frozenset({BINDING}) in self.needs


def available(context: Context) -> dict[str, Mechanism]:
    """The mechanisms that work for this client now, in order of preference: what CAPA and a bare AUTH list."""
    return {
        name: mechanism
        for name, mechanism in possible(context).items()
        if context.clear_text or not mechanism.clear_text
    }


def possible(context: Context) -> dict[str, Mechanism]:
    """As ``available``, with those that would only need a secure connection."""
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
