"""OAuth bearer tokens: the verifiers, the keys of issuers, and the HTTP endpoints."""

from geventpop3.auth.oauth.json_endpoint import Endpoint
from geventpop3.auth.oauth.jwks import GivenKeys, PublishedKeys
from geventpop3.auth.oauth.verifiers import IntrospectionVerifier, JwtVerifier, Policy, same_name

__all__ = ["Endpoint", "GivenKeys", "IntrospectionVerifier", "JwtVerifier", "Policy", "PublishedKeys", "same_name"]
