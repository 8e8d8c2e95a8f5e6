"""The checks, one module a subject. Importing this package registers them."""

from geventpop3.testing.conformance.checks import (
    basics,
    content,
    extensions,
    login,
    maildrop,
    numbers,
    sasl,
    states,
    stls,
    top,
    uidl,
    update,
    utf8,
)

__all__ = [
    "basics",
    "content",
    "extensions",
    "login",
    "maildrop",
    "numbers",
    "sasl",
    "states",
    "stls",
    "top",
    "uidl",
    "update",
    "utf8",
]
