"""Authenticators and users' secrets, independent of client sockets, the pipeline and gevent."""

from geventpop3.auth.authenticator import Authenticator, SecretAuthenticator, TokenAuthenticator
from geventpop3.auth.secret import ClearSecret, PasswordSecret, ScramSecret, Secret

__all__ = [
    "Authenticator",
    "ClearSecret",
    "PasswordSecret",
    "ScramSecret",
    "Secret",
    "SecretAuthenticator",
    "TokenAuthenticator",
]
