"""Verifiers of OAuth bearer tokens (RFC 6750), as OAUTHBEARER and XOAUTH2 send them: each finds a token's owner.

One verifier checks a token as a signed JWT (RFC 7519, RFC 8725, RFC 9068), which needs the extra ``oauth``. The other
asks the token's issuer (RFC 7662). The name that comes with a token must be that of its owner, unless a policy decides
otherwise.
"""

from __future__ import annotations

import base64
import hmac
import logging
import secrets
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus

from geventpop3.auth.authenticator import TokenAuthenticator
from geventpop3.auth.credentials import is_name, unavailable
from geventpop3.auth.oauth.json_endpoint import Endpoint, EndpointError
from geventpop3.auth.oauth.jwks import ALGORITHMS, GivenKeys, Keys, PublishedKeys
from geventpop3.errors import ConfigError, StoreUnavailable
from geventpop3.owners import UsernameCase, canonical_name

log = logging.getLogger("geventpop3.auth")

TOKEN_OCTETS = 16 << 10
"""Maximum octets of a token."""

MAX_CACHED_TOKENS = 10_000
"""Maximum number of tokens whose introspection is remembered."""

READ_CLAIMS = ("email_verified", "scope", "scp")
"""Claims that are read beside the owner's."""

Policy = Callable[[str, str], str | None]
"""Function ``policy(owner, name)``; it returns whose maildrop *owner*'s token opens for a client's *name*, or None."""


def same_name(owner: str, name: str, *, username_case: UsernameCase = "domain") -> str | None:
    """Return *owner* if *name* is a spelling of the same name, else None; this is the default policy."""
    return owner if canonical_name(name, username_case) == canonical_name(owner, username_case) else None


class TokenRefused(Exception):
    """The error of a token that is not in force or not good for this use; its text is for the log."""


class TokenVerifier(TokenAuthenticator):
    """The base of the verifiers: a token's claims give its owner and what it is good for."""

    def __init__(self, owner_claim: str, scope: str | None, policy: Policy) -> None:
        self._owner_claim = owner_claim
        self._scope = scope
        self._policy = policy

    @abstractmethod
    def claims(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that is in force. Raises TokenRefused and StoreUnavailable."""

    def check_token(self, name: str | None, token: str) -> str | None:
        try:
            if not 0 < len(token) <= TOKEN_OCTETS or not token.isascii():
                raise TokenRefused("the token is empty, too long, or not ASCII")
            owner = self._owner(self.claims(token))
        except TokenRefused as error:
            log.info("token refused: %s", error)
            return None
        return owner if name is None else self._policy(owner, name)

    def _owner(self, claims: Mapping[str, Any]) -> str:
        owner = claims.get(self._owner_claim)
        if not isinstance(owner, str) or not is_name(owner):
            raise TokenRefused(f"the claim {self._owner_claim} is missing or not a user name")
        if self._owner_claim == "email" and claims.get("email_verified", True) is not True:
            # OpenID Connect Core section 5.1: otherwise any person may have entered that address.
            raise TokenRefused("the email address is not verified")
        if self._scope is not None and self._scope not in _words(claims, "scope") | _words(claims, "scp"):
            raise TokenRefused(f"the scope {self._scope} is missing")
        # One form before any policy compares it; the policy decides about case.
        return canonical_name(owner, "keep")

    def authenticate(self, name: str, password: str) -> str | None:  # noqa: ARG002
        """Return None: no user has a password here."""
        return None

    def checks_passwords(self) -> bool:
        return False


class JwtVerifier(TokenVerifier):
    """A verifier of tokens that are JWTs, signed by *issuer* for *audience*.

    *keys* is the URL of the issuer's JWK Set, or its Endpoint, or such a set. *algorithms* are those that are accepted,
    never one of a shared secret. *token_type* is the required "typ", as ``at+jwt`` (RFC 9068 section 2.1), if the
    issuer sets it. *leeway* is in seconds. *owner_claim* is the claim that names the owner; *scope* must be among the
    token's. Raises ConfigError.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        keys: str | Endpoint | Mapping[str, Any],
        *,
        algorithms: Collection[str] = ("RS256", "ES256"),
        token_type: str | None = None,
        leeway: float = 30.0,
        owner_claim: str = "email",
        scope: str | None = None,
        policy: Policy = same_name,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(owner_claim, scope, policy)
        self._jwt = _jwt()
        if not issuer or not audience:
            raise ConfigError("OAuth: give the expected issuer and audience of the tokens")
        if not algorithms or not set(algorithms) <= ALGORITHMS.keys():
            raise ConfigError(f"OAuth: an algorithm of signatures must be one of {', '.join(ALGORITHMS)}")
        self._issuer = issuer
        self._audience = audience
        self._algorithms = tuple(algorithms)
        self._type = None if token_type is None else _type(token_type)
        self._leeway = leeway
        self._keys: Keys
        if isinstance(keys, (str, Endpoint)):
            self._keys = PublishedKeys(_endpoint(keys), self._algorithms, clock)
        else:
            try:
                self._keys = GivenKeys(keys, self._algorithms)
            except ValueError as error:
                raise ConfigError(f"OAuth: the JWK Set: {error}") from None

    def check(self) -> None:
        """Fetch the keys, where they are published. Raises ConfigError if there are none."""
        try:
            self._keys.find(None, self._algorithms[0])
        except StoreUnavailable as error:
            raise ConfigError(f"OAuth: {error.detail}") from None

    def claims(self, token: str) -> Mapping[str, Any]:
        jwt = self._jwt
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
            header = unverified["header"]
            algorithm, key_id = header.get("alg"), header.get("kid")
            # Checked first, so that a token of another issuer causes no fetch of keys.
            if unverified["payload"].get("iss") != self._issuer:
                raise TokenRefused("the issuer is not the expected one")
            if algorithm not in self._algorithms:
                raise TokenRefused("the algorithm of the signature is not accepted")
            if self._type is not None and _type(header.get("typ")) != self._type:
                raise TokenRefused("the type (typ) is not accepted")
            key = self._keys.find(key_id, algorithm)
            if key is None:
                raise TokenRefused("the key (kid) is unknown")
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as error:
            raise TokenRefused(type(error).__name__) from None
        return claims


class IntrospectionVerifier(TokenVerifier):
    """A verifier that asks the issuer's introspection endpoint at *url*, as a client with an id and a secret.

    *audience*, *issuer* and *scope*, where given, must be the token's. An answer for a token in force is kept for at
    most *cache_seconds*, so a withdrawn token may be accepted for that long. Raises ConfigError.
    """

    def __init__(
        self,
        url: str | Endpoint,
        client_id: str,
        client_secret: str,
        *,
        audience: str | None = None,
        issuer: str | None = None,
        scope: str | None = None,
        owner_claim: str = "username",
        policy: Policy = same_name,
        cache_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(owner_claim, scope, policy)
        self._endpoint = _endpoint(url)
        # RFC 6749 section 2.3.1: both are form-encoded first.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        self._authorization = "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")
        self._audience = audience
        self._issuer = issuer
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._cache: dict[bytes, tuple[float, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Ask about a token that no user has. Raises ConfigError if there is no valid answer."""
        try:
            answer = self._introspect(secrets.token_urlsafe(16))
        except StoreUnavailable as error:
            raise ConfigError(f"{error.detail}") from None
        if not isinstance(answer.get("active"), bool):
            # RFC 7662 section 2.2: "active" is REQUIRED.
            raise ConfigError(f"OAuth: {self._endpoint.url}: the response does not contain active, true or false")

    def _introspect(self, token: str) -> Mapping[str, Any]:
        try:
            form = {"token": token, "token_type_hint": "access_token"}
            return self._endpoint.post(form, {"Authorization": self._authorization})
        except EndpointError as error:
            raise unavailable(f"OAuth: {error}") from error

    def claims(self, token: str) -> Mapping[str, Any]:
        # Hashed with a key of this process, so that the cache holds nothing that opens a maildrop elsewhere.
        digest = hmac.digest(self._key, token.encode("ascii"), "sha256")
        with self._lock:
            until, claims = self._cache.get(digest, (0.0, {}))
        if self._clock() < until:
            return claims
        claims = self._introspect(token)
        now = self._clock()
        expires = claims.get("exp", now + self._cache_seconds)
        if claims.get("active") is not True:
            raise TokenRefused("the token is not active")
        if isinstance(expires, bool) or not isinstance(expires, (int, float)) or not expires > now:
            raise TokenRefused("the token has expired")
        if self._audience is not None and self._audience not in _words(claims, "aud", separator=None):
            raise TokenRefused("the audience is not the expected one")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise TokenRefused("the issuer is not the expected one")
        kept = {claim: claims[claim] for claim in (self._owner_claim, *READ_CLAIMS) if claim in claims}
        with self._lock:
            self._cache.pop(digest, None)
            while len(self._cache) >= MAX_CACHED_TOKENS:
                del self._cache[next(iter(self._cache))]
            self._cache[digest] = (min(expires, now + self._cache_seconds), kept)
        return kept


def _words(claims: Mapping[str, Any], claim: str, separator: str | None = " ") -> set[str]:
    """Return the values of a claim that is a list or a text; a text is split at *separator*, if any."""
    value = claims.get(claim)
    if isinstance(value, str):
        return {value} if separator is None else set(value.split(separator))
    return {word for word in value if isinstance(word, str)} if isinstance(value, list) else set()


def _type(value: object) -> str:
    """Return the "typ" of a header in one form: RFC 7515 section 4.1.9 lets "application/" be left out."""
    return str(value).lower().removeprefix("application/")


def _endpoint(place: str | Endpoint) -> Endpoint:
    return Endpoint(place) if isinstance(place, str) else place


def _jwt() -> ModuleType:
    try:
        import jwt
        from jwt.algorithms import has_crypto
    except ImportError:
        has_crypto = False
    if not has_crypto:
        raise ConfigError("OAuth needs an extra: pip install 'geventpop3[oauth]'")
    return jwt
